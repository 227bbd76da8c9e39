"""Processes and their ends: a child that goes with its parent, a start that can be called off.

Only the standard library's quick parts are imported: a signal may come while the rest still loads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

__all__ = ["ends_with_parent", "exit_when_asked"]

_PR_SET_PDEATHSIG = 1


def ends_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for `subprocess`: on Linux the child gets the signal when this process dies.

    Elsewhere it does nothing.
    """
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        if sys.platform != "linux":
            return
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, with_signal, 0, 0, 0)
        if os.getppid() != parent:
            # It died before the kernel was told: nobody would be told any more.
            os._exit(128 + with_signal)

    return between_fork_and_exec


def exit_when_asked(status: int = 0, *, say: Callable[[], None] = lambda: None) -> None:
    """From now on SIGTERM and SIGINT end the process at once with the status.

    For times at which nothing needs an orderly end: at once means that no `finally` runs. `say` is
    called before, to leave a word in the log. To be called in the main thread.
    """

    def end(number: int, frame: FrameType | None) -> None:
        # The signal may have come in the midst of writing a line.
        with contextlib.suppress(Exception):
            say()
        os._exit(status)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
