"""A backup's files: one for each partition and topic, and a manifest that is written last.

A file is gzip of frames. A frame is a record: key, value, time, headers, each with its length
before it (big-endian, 4 bytes; the length plus one, 0 for None). A state file holds the pairs of
one partition in key order, so equal states are equal files.

Without its manifest a directory is no backup: what was interrupted leaves none. What is made is for
its owner alone: members' ids, devices and addresses are in it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

__all__ = [
    "PRIVATE",
    "Archive",
    "ArchiveError",
    "Content",
    "File",
    "FileWriter",
    "Frame",
    "Manifest",
]

MANIFEST: Final = "manifest.json"

PRIVATE: Final = 0o700
"""The mode of a directory with what a backup holds."""

_FORM: Final = 1
_LENGTH: Final = struct.Struct(">I")
_TIME: Final = struct.Struct(">q")
_MOST_BYTES: Final = 64 << 20


class ArchiveError(Exception):
    """A backup cannot be used; the message is a sentence that says which file and why."""


class Frame(NamedTuple):
    """One record; `timestamp_ms` is 0 for a pair of the state."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """One file of a backup."""

    name: str
    content: str
    """`state`, `taken` (records of a topic that were processed) or `waiting` (that were not)."""
    topic: str
    """The suffix of the topic."""
    partition: int
    records: int
    sha256: str
    """Of the file as it lies there."""


class Content:
    """What files of a backup hold, as `File.content` says."""

    STATE: Final = "state"
    TAKEN: Final = "taken"
    WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of."""

    created_at: str
    release: str
    cluster_id: str
    app_id: str
    topic_prefix: str
    partitions: int
    state_format: int
    """The highest of any partition."""
    programme: str
    """A digest of the programme that the one who made the backup ran with."""
    positions: dict[str, dict[str, int]]
    """By partition and topic, up to where the input was processed."""
    ends: dict[str, int]
    """By partition, where the changelog ended."""
    files: list[File] = field(default_factory=list)
    form: int = _FORM

    @property
    def identity(self) -> str:
        """What tells this content from any other."""
        parts = [self.cluster_id, self.topic_prefix, str(self.partitions)]
        parts += [f"{file.name} {file.sha256}" for file in sorted(self.files, key=_by_name)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def file(self, content: str, topic: str, partition: int) -> File | None:
        """Return the file with that content, if there is one."""
        wanted = (content, topic, partition)
        found = (f for f in self.files if (f.content, f.topic, f.partition) == wanted)
        return next(found, None)


def _by_name(file: File) -> str:
    return file.name


class Archive:
    """A directory with a backup."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @classmethod
    def open(cls, directory: Path) -> Archive:
        """Read a backup's manifest. Raises `ArchiveError`."""
        try:
            fields = json.loads((directory / MANIFEST).read_text())
            if fields["form"] > _FORM:
                raise ArchiveError(f"{directory} is a backup of a newer release; use that one")
            files = [File(**file) for file in fields.pop("files")]
            return cls(directory, Manifest(**fields, files=files))
        except FileNotFoundError:
            raise ArchiveError(
                f"{directory} has no {MANIFEST}: it is no backup, or one that was interrupted"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"{directory / MANIFEST} cannot be read: {error}") from error

    def seal(self) -> None:
        """Write the manifest: from now on it is a backup."""
        part = self.directory / f"{MANIFEST}.part"
        with open(part, "w", opener=_private) as file:
            json.dump(asdict(self.manifest), file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.directory / MANIFEST)

    def frames(self, file: File) -> Iterator[Frame]:
        """Yield what a file holds. Raises `ArchiveError` where it is cut short or damaged."""
        try:
            with gzip.open(self.directory / file.name, "rb") as stream:
                while (frame := _read(stream)) is not None:
                    yield frame
        except (OSError, EOFError, struct.error, ValueError) as error:
            raise ArchiveError(f"{self.directory / file.name} is damaged: {error}") from error

    def read(self, content: str, topic: str, partition: int) -> Iterator[Frame]:
        """Yield what the backup has of a partition; nothing where it has none of it."""
        file = self.manifest.file(content, topic, partition)
        return iter(()) if file is None else self.frames(file)

    def check(self, file: File) -> None:
        """Compare a file with what the manifest says of it. Raises `ArchiveError`."""
        path = self.directory / file.name
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
        if digest.hexdigest() != file.sha256:
            raise ArchiveError(f"{path} is not what was written: its checksum differs")
        found = sum(1 for _ in self.frames(file))
        if found != file.records:
            raise ArchiveError(f"{path} has {found} records, the manifest says {file.records}")


class FileWriter:
    """Writes one file of a backup, frame by frame; `close` tells what it has become."""

    def __init__(self, directory: Path, content: str, topic: str, partition: int) -> None:
        self._name = f"{topic}-{partition:05d}.{content}.gz"
        self._path = directory / self._name
        self._about = content, topic, partition
        self._records = 0
        self._raw = os.fdopen(_private(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
        self._out = gzip.GzipFile(
            filename="", fileobj=self._raw, mode="wb", compresslevel=1, mtime=0
        )

    def add(self, frames: Iterable[Frame]) -> None:
        """Write frames behind those before."""
        for frame in frames:
            self._out.write(_encode(frame))
            self._records += 1

    def close(self) -> File:
        """Return what was written; it is safe on the disk."""
        self._out.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()
        with self._path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return File(self._name, *self._about, self._records, digest)


def _private(path: str | Path, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _encode(frame: Frame) -> bytes:
    parts = [_sized(frame.key), _sized(frame.value), _TIME.pack(frame.timestamp_ms)]
    parts.append(_LENGTH.pack(len(frame.headers)))
    for name, value in frame.headers:
        parts += [_sized(name.encode()), _sized(value)]
    return b"".join(parts)


def _sized(data: bytes | None) -> bytes:
    return _LENGTH.pack(0) if data is None else _LENGTH.pack(len(data) + 1) + data


def _read(stream: IO[bytes] | gzip.GzipFile) -> Frame | None:
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    key, value = _data(stream, start), _data(stream)
    timestamp_ms: int = _TIME.unpack(stream.read(_TIME.size))[0]
    (count,) = _LENGTH.unpack(stream.read(_LENGTH.size))
    headers: list[tuple[str, Any]] = []
    for _ in range(count):
        name = _data(stream)
        headers.append(((name or b"").decode(), _data(stream)))
    return Frame(key, value, timestamp_ms, tuple(headers))


def _data(stream: IO[bytes] | gzip.GzipFile, length: bytes | None = None) -> bytes | None:
    (size,) = _LENGTH.unpack(length if length is not None else stream.read(_LENGTH.size))
    if size == 0:
        return None
    if size > _MOST_BYTES:
        raise ValueError(f"a record of {size} bytes")
    data = stream.read(size - 1)
    if len(data) < size - 1:
        raise EOFError("the file ends within a record")
    return data
