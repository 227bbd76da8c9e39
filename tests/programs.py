"""Programs of the system that a few tests run: where they are, or how to get them.

Nothing that pip or Maven brings belongs here. On a machine without such a program its tests are
skipped with a line that says what to install; where `POINTSTREAM_PROGRAMS` is `required`, as in
`.ci/run`, which installs them, a missing one fails the test: a proof must not go missing unseen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

__all__ = ["chromium", "postgresql_bin", "prometheus", "promtool"]


def prometheus() -> Path:
    """The Prometheus server; skips or fails the test without one."""
    return _found("prometheus", "prometheus")


def promtool() -> Path:
    """The checker that comes with Prometheus; skips or fails the test without one."""
    return _found("promtool", "prometheus")


def chromium() -> Path:
    """A browser that draws pages without a screen; skips or fails the test without one."""
    return _found("chromium", "chromium")


def postgresql_bin() -> Path:
    """The directory with `initdb` and `postgres`; skips or fails the test without one.

    Debian keeps them out of the path, in a directory for each version: the newest is taken.
    """
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    return _found("initdb", "postgresql", newest_first).parent


def _found(name: str, package: str, directories: Iterable[Path] = ()) -> Path:
    for directory in directories:
        if (directory / name).is_file():
            return directory / name
    if (path := shutil.which(name)) is not None:
        return Path(path)
    message = f"no `{name}` on this machine: apt-get install {package}"
    if os.environ.get("POINTSTREAM_PROGRAMS") == "required":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
