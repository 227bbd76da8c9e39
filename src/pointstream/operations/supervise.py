"""Starts a process anew when it dies, for as long as nobody asks it to stop.

A worker ends itself on any fault inside a transaction; its whole recovery is a new start. That is
only worth something when somebody starts it: a service manager in production, this module where
there is none.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from pointstream.operations.processes import ends_with_parent

__all__ = ["EXIT_USAGE", "Backoff", "supervise"]

#: What a process ends with that was told something that cannot work: a new start would not help.
EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next start.

    The first wait is ``first_seconds``; each further one is twice as long, up to
    ``longest_seconds``. After a life of ``steady_seconds`` or more it begins again at the first.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    steady_seconds: float = 60.0

    def after(self, short_lives: int) -> float:
        """Seconds to wait after so many lives in a row that were cut short; 1 or more."""
        # Bounded: 2.0 ** 1024 does not fit a float, and the process may die for weeks.
        doublings = min(short_lives - 1, 32)
        return float(min(self.longest_seconds, self.first_seconds * 2**doublings))


class _Stop:
    """Whether SIGTERM or SIGINT came, and whom to pass it on to."""

    def __init__(self) -> None:
        self.asked = False
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.pass_on()

    def pass_on(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)


def supervise(
    command: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    backoff: Backoff = Backoff(),
    give_up_after: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Run ``command`` until it stops by itself or is asked to, starting it anew when it fails.

    Exit code 2, wrong usage, is final: whatever is wrong then is wrong the next time, too.

    SIGTERM and SIGINT to this process stop the command with SIGTERM, and it is not started again.
    On Linux the command gets SIGTERM, too, when this process is killed. To be called in the main
    thread, which alone may handle signals.

    Args:
        command: program and arguments.
        environ: its whole environment; None for this process's own.
        backoff: how long to wait before a new start.
        give_up_after: so many failures in a row, each after less than ``backoff.steady_seconds``,
            are final; None never gives up.
        say: told in one line when the command died and when it is started anew.

    Returns:
        The exit code of the command's last life: 0 after a clean stop, else its own, as a shell
        gives it (128 + number, had a signal ended it). 0 when asked to stop between two lives, or
        so early in one that the command had not yet learnt to handle it.

    Raises:
        OSError: the command cannot be started at all.
    """
    stop = _Stop()
    short_lives = 0
    with _handling_signals(stop):
        while not stop.asked:
            started = time.monotonic()
            code = _one_life(command, environ, stop)
            if stop.asked and code == 128 + signal.SIGTERM:
                return 0
            if stop.asked or code in (0, EXIT_USAGE):
                return code
            lived = time.monotonic() - started
            short_lives = 1 if lived >= backoff.steady_seconds else short_lives + 1
            if give_up_after is not None and short_lives >= give_up_after:
                say(f"died {short_lives} times in a row, last with exit code {code}: giving up")
                return code
            wait = backoff.after(short_lives)
            say(f"died with exit code {code} after {lived:.1f} s; starting anew in {wait:.1f} s")
            _sleep(wait, stop)
    return 0


def _one_life(command: Sequence[str], environ: Mapping[str, str] | None, stop: _Stop) -> int:
    # In a process group of its own: the terminal's Ctrl-C then reaches it once, as our SIGTERM.
    # And it goes when we do: nobody would start an orphan anew.
    process = subprocess.Popen(
        command, env=environ, preexec_fn=ends_with_parent(signal.SIGTERM), process_group=0
    )
    stop.process = process
    if stop.asked:  # The signal came while it was being started.
        stop.pass_on()
    try:
        code = process.wait()
    finally:
        stop.process = None
    return code if code >= 0 else 128 - code


def _sleep(seconds: float, stop: _Stop) -> None:
    deadline = time.monotonic() + seconds
    while not stop.asked and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


@contextlib.contextmanager
def _handling_signals(stop: _Stop) -> Iterator[None]:
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
