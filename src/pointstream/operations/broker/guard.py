"""Runs one program and lets it not outlive the process that asked for it.

Started as a script of its own (``python -I -S guard.py …``), so it imports nothing of the
package and is up in a few milliseconds. It is the parent of the program, and its standard input
is a pipe whose other end only the asking process holds:

* one byte per order on the pipe: ``T`` terminate, ``K`` kill, ``S`` stop (freeze), ``C`` continue;
* end of file, or another parent process than at the start, means that the asking process is gone,
  by whatever means: the program gets SIGTERM, then SIGKILL after the grace time, and its directory
  is removed where that was asked for.

Orders go through the pipe, not through signals by process id: only the parent knows that the id
still belongs to the program. On Linux the kernel kills the program should the guard itself be
killed. The exit code is the program's own, as a shell gives it (128 + signal number).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.5
_ORDERS = {
    b"T": signal.SIGTERM,
    b"K": signal.SIGKILL,
    b"S": signal.SIGSTOP,
    b"C": signal.SIGCONT,
}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--grace-seconds", type=float, required=True)
    parser.add_argument("--remove", help="directory that must not be left behind by a dead parent")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    # A wake-up byte per SIGCHLD ends the wait below as soon as the program does.
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    # The guard has one thread, so running Python between fork and exec is safe here.
    program = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )
    print(program.pid, flush=True)

    orphaned = False
    while program.poll() is None:
        ready, _, _ = select.select([sys.stdin, woken], [], [], _POLL_SECONDS)
        if woken in ready:
            os.read(woken, 512)
        order = os.read(sys.stdin.fileno(), 1) if sys.stdin in ready else None
        if order == b"" or os.getppid() != options.parent:
            orphaned = True
            _end(program, options.grace_seconds)
        elif order is not None and program.poll() is None:
            program.send_signal(_ORDERS[order])

    # An orphan must not leave its data behind; nobody else is left to remove them.
    if options.remove and (orphaned or os.getppid() != options.parent):
        shutil.rmtree(options.remove, ignore_errors=True)
        _remove_if_empty(os.path.dirname(options.remove))
    code = program.returncode
    return code if code >= 0 else 128 - code


def _end(program: subprocess.Popen[bytes], grace_seconds: float) -> None:
    # A frozen program takes no SIGTERM before it is continued.
    program.send_signal(signal.SIGTERM)
    program.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    while program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if program.poll() is None:
        program.kill()
        program.wait()


def _remove_if_empty(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(directory)


if __name__ == "__main__":
    sys.exit(_main())
