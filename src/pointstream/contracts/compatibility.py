"""Whether the schemas still keep what released ones promise.

`schemas/released/VERSION` holds the schemas of a release as they were, with samples of its records.
Whatever is changed afterwards must fit both ways:

- **inputs**: what a publisher writes by a released schema is taken by the present one;
- **outputs**: what is written by the present one can be read by a released one, and has its fields.

A later version may add a field, a type or a word to a list, and readers are told so: an unknown
word of an output is no break. All else that is not known to be harmless counts as one.

The rules are those of JSON Schema 2020-12 for the keywords that the generated schemas use: one
schema fits another if each value that is valid by the first is valid by the second. That is decided
keyword by keyword, which can only err on the side of a break.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["RELEASED", "Break", "breaks", "releases"]

RELEASED: Final = "released"
"""The folder in `schemas/` with a folder for each release."""

_Schema = Mapping[str, Any]

_NOTES: Final = frozenset(
    ("$schema", "$id", "$defs", "title", "description", "examples", "discriminator")
)
"""Keywords that say nothing about what is valid."""
_LOWEST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHEST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOOKED_AT: Final = frozenset(
    (
        *_NOTES,
        *_LOWEST,
        *_HIGHEST,
        "$ref",
        "anyOf",
        "oneOf",
        "const",
        "enum",
        "type",
        "default",
        "properties",
        "required",
        "additionalProperties",
        "items",
    )
)


@dataclass(frozen=True, slots=True)
class Break:
    """One promise that is not kept."""

    release: str
    file: str
    """Of the schema, inside the release's folder."""
    path: str
    """Where in the record, such as `lines[].quantity`; empty for the record itself."""
    what: str
    """In words."""

    def __str__(self) -> str:
        place = f" {self.path}:" if self.path else ""
        return f"{self.file} of {self.release}:{place} {self.what}"


def releases(directory: Path) -> list[str]:
    """Return the releases that a directory of schemas keeps, oldest first."""
    found = [path.name for path in (directory / RELEASED).glob("*") if path.is_dir()]
    return sorted(found, key=lambda name: [int(part) for part in name.split(".")])


def breaks(directory: Path) -> list[Break]:
    """Return every promise of a release that the present schemas of a directory break."""
    return [found for release in releases(directory) for found in _breaks(directory, release)]


def _breaks(directory: Path, release: str) -> Iterator[Break]:
    root = directory / RELEASED / release
    for path in sorted(root.glob("*/*.schema.json")):
        file = str(path.relative_to(root))
        now = directory / file
        if not now.exists():
            yield Break(release, file, "", "is gone; what was released stays")
            continue
        then_schema, now_schema = _read(path), _read(now)
        inputs = file.startswith("inputs/")
        fit = _Fit(then_schema, now_schema) if inputs else _Fit(now_schema, then_schema)
        fit.inputs = inputs
        for place, what in fit.check():
            yield Break(release, file, place, what)
    yield from _topic_breaks(directory, release)


def _topic_breaks(directory: Path, release: str) -> Iterator[Break]:
    file = "asyncapi.json"
    then = _read(directory / RELEASED / release / file)["channels"]
    now = _read(directory / file)["channels"]
    for name, channel in then.items():
        present = now.get(name)
        if present is None:
            yield Break(release, file, name, "the topic is gone; what was released stays")
            continue
        if present["address"] != channel["address"]:
            yield Break(release, file, name, f"the topic is called {present['address']!r} now")
        for gone in channel["messages"].keys() - present["messages"].keys():
            yield Break(release, file, name, f"{gone} travels on it no more")
        was, is_ = (_cleanup(each) for each in (channel, present))
        if was != is_:
            yield Break(release, file, name, f"cleanup.policy was {was} and is {is_}")


def _cleanup(channel: _Schema) -> Any:
    return channel["bindings"]["kafka"]["topicConfiguration"].get("cleanup.policy")


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


_Found = Iterator[tuple[str, str]]


class _Fit:
    """Whether what a writer may write is taken by a reader."""

    inputs = True

    def __init__(self, writer: _Schema, reader: _Schema) -> None:
        self._writer = writer
        self._reader = reader
        self._compared: dict[tuple[int, int], list[tuple[str, str]]] = {}
        """What was found between two parts. Of parts that hold themselves, such as conditions,
        nothing as long as they are being compared: whatever is wrong is found on the way."""

    def check(self) -> _Found:
        """Yield what does not fit: where, and why."""
        yield from self._fits(self._writer, self._reader, "")

    def _fits(self, writer: _Schema, reader: _Schema, at: str) -> _Found:
        writer, reader = _resolve(writer, self._writer), _resolve(reader, self._reader)
        pair = id(writer), id(reader)
        if pair not in self._compared:
            self._compared[pair] = []
            self._compared[pair] = list(self._parts_fit(writer, reader, ""))
        for place, what in self._compared[pair]:
            yield _join(at, place), what

    def _parts_fit(self, writer: _Schema, reader: _Schema, at: str) -> _Found:
        written, read = _choices(writer), _choices(reader)
        if written and not _says_more(writer):
            for choice in written:
                yield from self._fits(choice, reader, at)
            return
        if not read or _says_more(reader):
            yield from self._values(writer, reader, at)
            yield from self._bounds(writer, reader, at)
            if not {"properties", "required"}.isdisjoint(reader):
                yield from self._objects(writer, reader, at)
            if "items" in reader:
                yield from self._fits(writer.get("items", {}), reader["items"], f"{at}[]")
        if read:
            for choice in written if written and _says_more(reader) else [writer]:
                # One choice has to take all of it. If none does, the nearest says best why.
                tried = [list(self._fits(choice, taken, at)) for taken in read]
                yield from min(tried, key=len)

    def _values(self, writer: _Schema, reader: _Schema, at: str) -> _Found:
        listed, known = _words(writer), _words(reader)
        if known is not None:
            if listed is None:
                yield at, f"is one of {_told(known)} to the one side, and anything to the other"
            elif (unknown := [word for word in listed if word not in known]) and (
                # Readers are told that words are added. What they tell records apart by is none.
                self.inputs or "const" in writer or "const" in reader
            ):
                yield at, f"{_told(unknown)} is not among {_told(known)}"
            elif not self.inputs and (gone := [word for word in known if word not in listed]):
                yield at, f"{_told(gone)} is gone from the list"
        types = writer.get("type"), reader.get("type")
        if types[1] is not None and types[0] != types[1] and types != ("integer", "number"):
            yield at, f"is {types[0] or 'anything'} to the one side, and {types[1]} to the other"

    def _bounds(self, writer: _Schema, reader: _Schema, at: str) -> _Found:
        for keyword in _LOWEST:
            least = reader.get(keyword)
            if least is not None and writer.get(keyword, float("-inf")) < least:
                yield at, _bound(keyword, writer, reader)
        for keyword in _HIGHEST:
            most = reader.get(keyword)
            if most is not None and writer.get(keyword, float("inf")) > most:
                yield at, _bound(keyword, writer, reader)
        for keyword in reader.keys() - _LOOKED_AT:
            if writer.get(keyword) != reader[keyword]:
                yield at, _bound(keyword, writer, reader)

    def _objects(self, writer: _Schema, reader: _Schema, at: str) -> _Found:
        written, read = writer.get("properties", {}), reader.get("properties", {})
        needed = set(reader.get("required", ())) - set(writer.get("required", ()))
        for name in sorted(needed):
            yield _join(at, name), "is needed by the one side, and optional for the other"
        then, now = (written, read) if self.inputs else (read, written)
        for name in sorted(then.keys() - now.keys()):
            yield _join(at, name), "is gone; what was released stays"
        for name in sorted(written.keys() & read.keys()):
            was, is_ = written[name].get("default"), read[name].get("default")
            if self.inputs and was != is_:
                # Left out, it means something else than when it was released.
                yield _join(at, name), f"the default was {was} and is {is_}"
            yield from self._fits(written[name], read[name], _join(at, name))
        others = reader.get("additionalProperties", True)
        for name in sorted(written.keys() - read.keys()):
            if others is False:
                yield _join(at, name), "is not allowed by the other side"
            elif isinstance(others, Mapping):
                yield from self._fits(written[name], others, _join(at, name))


def _resolve(schema: _Schema, root: _Schema) -> _Schema:
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        schema = root["$defs"][name]
    return schema


def _choices(schema: _Schema) -> list[_Schema]:
    choices: list[_Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return choices


def _says_more(schema: _Schema) -> bool:
    """Tell whether something holds beside the choices."""
    return bool(schema.keys() - _NOTES - {"anyOf", "oneOf", "default"})


def _words(schema: _Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    words: list[Any] | None = schema.get("enum")
    return words


def _told(words: list[Any]) -> str:
    return ", ".join(map(str, words))


def _bound(keyword: str, writer: _Schema, reader: _Schema) -> str:
    return (
        f"{keyword} is {writer.get(keyword, 'open')} for who writes, and"
        f" {reader.get(keyword)} for who reads"
    )


def _join(at: str, name: str) -> str:
    if not name or not at:
        return at or name
    return f"{at}{name}" if name.startswith("[]") else f"{at}.{name}"
