"""The command line: one module per group of commands, each a thin shell over `operations` and
`agents`.

What lives here parses arguments, shows progress and answers, and turns expected faults into a
sentence and an exit code (0 done, 1 failed, 2 wrong usage). No decision about points and no
protocol belongs here.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] == ["worker"]:
        # Before the rest loads, which takes a second: a stop is a clean end from the beginning.
        from pointstream.operations.processes import exit_when_asked

        exit_when_asked()
    from pointstream.cli.app import app

    app()
