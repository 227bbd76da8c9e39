"""Writes the dashboards beside this file; `--check` only looks whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from .overview import OVERVIEW
from .panels import as_json
from .points import POINTS

_DIRECTORY = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Return 0, or 1 if `--check` found a file that is not as it would be written."""
    stale = []
    for board in (OVERVIEW, POINTS):
        file, text = _DIRECTORY / f"{board.name}.json", as_json(board)
        if not file.exists() or file.read_text() != text:
            stale.append(file.name)
            if "--check" not in arguments:
                file.write_text(text)
    if stale and "--check" in arguments:
        print(f"not up to date: {', '.join(stale)}; run `make dashboards`", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
