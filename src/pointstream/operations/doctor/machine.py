"""This machine: settings, versions, and the directory that a worker keeps its state in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from pointstream.operations.configuration import check_configuration
from pointstream.operations.doctor.findings import Finding, problem, right, worth_a_look
from pointstream.operations.premises import PremisesError, claim_directory
from pointstream.operations.settings import Settings

__all__ = ["look_at_directory", "look_at_settings", "look_at_versions"]

_OLDEST_PYTHON = (3, 11)
_SUSPECT = "SUSPECT"
#: A compaction of RocksDB may need as much again as it holds; below this it is near.
_FREE_BYTES = 1 << 30
_FREE_SHARE = 0.1
_MIB = 1 << 20


def look_at_settings() -> Iterator[Finding]:
    """What `config check` finds."""
    found = check_configuration()
    for each in found:
        say = problem if each.problem else worth_a_look
        yield say("settings", f"{each.setting}: {each.message}", each.remedy)
    if not found:
        yield right("settings", "they fit")


def look_at_versions() -> Iterator[Finding]:
    """Python and the libraries, against what this version was made for."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        yield problem("versions", f"Python {python} is too old", f"install {oldest} or newer")
    wrong = 0
    for line in requires("pointstream") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        remedy = "install the pinned ones: pip install --require-hashes -r requirements.txt"
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            wrong += 1
            yield problem("versions", f"{wanted.name} is not installed", remedy)
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong += 1
            words = f"{wanted.name} is {found}, made for {wanted.specifier}"
            yield problem("versions", words, remedy)
    if not wrong:
        libraries = ", ".join(
            f"{name} {version(name)}" for name in ("aiokafka", "faust-streaming", "rocksdict")
        )
        own = version("pointstream")
        yield right("versions", f"pointstream {own}, Python {python}, {libraries}")


def look_at_directory(settings: Settings) -> Iterator[Finding]:
    """Space, who uses it, whose files are in it. Creates nothing where there is nothing."""
    path = settings.data_dir
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    yield from _space(there)
    if not path.exists():
        yield right("directory", f"{path} does not exist yet; a worker makes it")
        return
    yield from _owner(path)
    yield from _files(path)


def _space(path: Path) -> Iterator[Finding]:
    usage = shutil.disk_usage(path)
    words = f"{path} has {usage.free // _MIB:,} MiB free of {usage.total // _MIB:,}"
    if usage.free < _FREE_BYTES:
        remedy = "make room, or name another with POINTSTREAM_DATA_DIR: a worker stops without"
        yield problem("disk", words, remedy)
    elif usage.free < usage.total * _FREE_SHARE:
        yield worth_a_look("disk", words, "make room before it is full")
    else:
        yield right("disk", words)


def _owner(path: Path) -> Iterator[Finding]:
    try:
        claim_directory(path, wait_seconds=0).close()
    except PremisesError as error:
        if "another worker" in str(error):
            yield right("directory", f"a worker runs on {path}")
        else:
            yield problem("directory", str(error), "make it writable for the worker's user")
    else:
        yield right("directory", f"no worker uses {path} now")


def _files(path: Path) -> Iterator[Finding]:
    """A file that RocksDB cannot open ends the worker when its partition comes to it."""
    size, foreign = 0, None
    for directory, _, names in os.walk(path):
        for name in names:
            file = Path(directory, name)
            try:
                size += file.stat().st_size
            except FileNotFoundError:
                continue  # A worker that runs has compacted it away.
            if not os.access(file, os.R_OK | os.W_OK):
                foreign = foreign or file
            if name == _SUSPECT:
                yield worth_a_look(
                    "directory",
                    f"{directory} met a read error; its state is thrown away at the next start "
                    "and restored from the changelog",
                    "look into the system's log for faults of the disk",
                )
    if foreign is not None:
        words = f"{foreign} cannot be read and written by this user"
        yield problem("directory", words, f"chown -R the worker's user {path}")
    yield right("directory", f"{path} holds {size // _MIB:,} MiB of state")
