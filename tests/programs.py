"""Programs of the system that a few tests run: where they are, or how to get them.

Nothing that pip or Maven brings belongs here. On a machine without such a program its tests are
skipped with a line that says what to do; where `POINTSTREAM_PROGRAMS` is `required`, as in
`.ci/run`, which installs them, a missing one fails the test: a proof must not go missing unseen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["chromium", "compose_spec", "helm", "postgresql_bin", "prometheus", "promtool"]


_CACHE = Path(__file__).parents[1] / ".cache"


def prometheus() -> Path:
    """The Prometheus server; skips or fails the test without one."""
    return _found("prometheus", "prometheus")


def promtool() -> Path:
    """The checker that comes with Prometheus; skips or fails the test without one."""
    return _found("promtool", "prometheus")


def chromium() -> Path:
    """A browser that draws pages without a screen; skips or fails the test without one."""
    return _found("chromium", "chromium")


def helm() -> Path:
    """Helm, built by `make programs` or the system's; skips or fails the test without one."""
    return _built("helm", "helm")


def compose_spec() -> Path:
    """The reference reader of compose files, which Docker's is made of, built by `make programs`;
    skips or fails the test without it."""
    return _built("compose-go", "cmd")


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
    return _missing(f"no `{name}` on this machine: apt-get install {package}")


def _built(directory: str, name: str) -> Path:
    """A program of the newest version that was built; else, but for `cmd`, the system's."""
    found = sorted(_CACHE.glob(f"{directory}-*/{name}"), key=lambda path: path.stat().st_mtime)
    if found:
        return found[-1]
    if name == directory and (path := shutil.which(name)) is not None:
        return Path(path)
    return _missing(f"no `{directory}` here: `make programs` builds it, with Go 1.26 or newer")


def _missing(message: str) -> NoReturn:
    if os.environ.get("POINTSTREAM_PROGRAMS") == "required":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
