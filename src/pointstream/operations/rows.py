"""Rows of a file as inputs: JSON Lines of any input type, or CSV with a mapping of columns.

A row is either an input, with topic, key and value as they are to be sent, or a bad row that says
what is wrong with it. Nothing here stops at a bad row.
"""

from __future__ import annotations

import csv
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, BinaryIO, TextIO

import orjson
from pydantic import BaseModel

__all__ = [
    "BadRow",
    "CsvMapping",
    "InputRow",
    "MappingError",
    "Refuses",
    "csv_rows",
    "json_rows",
]

Headers = tuple[tuple[str, bytes], ...]
_STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
_CHUNK_BYTES = 1 << 16
_CSV_CHUNK_ROWS = 500


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row that can be sent; `topic` is the suffix such as `orders`, `line` counts from 1."""

    line: int
    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be sent, and why: a code of the dead-letter vocabulary, and a sentence."""

    line: int
    code: str
    reason: str


class MappingError(ValueError):
    """A column mapping that can't work; the message says what to change."""


# Asks the contract: None when the row would be taken, else (code, reason).
Refuses = Callable[[InputRow], tuple[str, str] | None]
TopicOf = Callable[[str], str]


def json_rows(
    stream: BinaryIO,
    topic_of_type: TopicOf,
    *,
    refuses: Refuses | None,
    fallback_topic: str | None = None,
) -> Iterator[list[InputRow | BadRow]]:
    """Yield the rows of a JSON Lines stream in chunks, as they arrive; empty lines are passed over.

    With `refuses`, every row is checked before it is yielded as an input. Without, a row is bad
    only when it is impossible to say where to send it: no known type, and no `fallback_topic`.
    """
    line_number = 0
    for lines in _lines(stream):
        rows: list[InputRow | BadRow] = []
        for line in lines:
            line_number += 1
            if line and not line.isspace():
                row = _json_row(line_number, line.strip(), topic_of_type, fallback_topic)
                rows.append(_checked(row, refuses))
        yield rows


def _lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Lines in chunks of what is there: a slow pipe yields at once what it has."""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    rest = b""
    while chunk := read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    if rest:
        yield [rest]


def _json_row(
    line_number: int, line: bytes, topic_of_type: TopicOf, fallback_topic: str | None
) -> InputRow | BadRow:
    member_id: Any = None
    kind: Any = None
    headers: Headers = ()
    problem = ("schema_invalid", "the line isn't a JSON object")
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        problem = ("not_json", f"the line isn't JSON: {error}")
        body = None
    if isinstance(body, dict):
        problem = ("schema_invalid", "the field `type` is missing")
        kind = body.get("type")
        inner: Any = body
        if "specversion" in body:
            headers = _STRUCTURED
            inner = body.get("data")
        if isinstance(inner, dict):
            member_id = _key_of(kind, inner)
    topic = fallback_topic
    if isinstance(kind, str):
        try:
            topic = topic_of_type(kind)
        except (KeyError, ValueError):
            problem = ("unknown_type", f"{kind!r} is not an input type")
    if topic is None:
        return BadRow(line_number, *problem)
    key = member_id.encode() if isinstance(member_id, str) else None
    return InputRow(line_number, topic, key, line, headers)


def _key_of(kind: Any, body: Mapping[str, Any]) -> Any:
    if kind == "ruleset.published":
        return body.get("ruleset_id")
    if kind == "item.published":
        return body.get("item_id")
    return body.get("member_id")


def _checked(row: InputRow | BadRow, refuses: Refuses | None) -> InputRow | BadRow:
    if refuses is None or isinstance(row, BadRow):
        return row
    refusal = refuses(row)
    return row if refusal is None else BadRow(row.line, *refusal)


# -- CSV -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    field: tuple[str, ...]
    column: str | None  # None: the constant
    constant: str
    factor: int


class CsvMapping:
    """Which column fills which field of one input type.

    Each mapping is `field=Column`, `field=Column*100` (a decimal amount times a whole number, for
    money kept in major units) or `field:=constant`; a dotted field fills a nested object. Columns
    named exactly like a field need no mapping. Raises `MappingError` for a mapping that names no
    field of the type.
    """

    def __init__(self, model: type[BaseModel], type_name: str, mappings: Sequence[str]) -> None:
        self._model = model
        self._type_name = type_name
        self._columns = [self._parse(text) for text in mappings]

    def _parse(self, text: str) -> _Column:
        match = re.fullmatch(r"([\w.]+)(:?=)(.+?)(?:\*(\d+))?", text.strip())
        if match is None:
            raise MappingError(
                f"{text!r} isn't a mapping: write field=Column, field=Column*100 or field:=constant"
            )
        field, sign, right, factor = match.groups()
        path = tuple(field.split("."))
        if path[0] not in self._model.model_fields:
            known = ", ".join(sorted(self._model.model_fields))
            raise MappingError(f"{self._type_name} has no field {path[0]!r}; it has: {known}")
        if sign == ":=":
            return _Column(path, None, right + (f"*{factor}" if factor else ""), 1)
        return _Column(path, right, "", int(factor or 1))

    def bind(self, header: Sequence[str]) -> Callable[[Sequence[str]], dict[str, Any]]:
        """Return the function from a row's cells to an event, for a file with this header.

        Raises `MappingError` when a mapped column isn't in the header.
        """
        where = {name.strip(): place for place, name in enumerate(header)}
        mapped = {column.field for column in self._columns}
        columns = list(self._columns)
        for name in where:
            if (name,) not in mapped and name in self._model.model_fields and name != "type":
                columns.append(_Column((name,), name, "", 1))
        for column in columns:
            if column.column is not None and column.column not in where:
                there = ", ".join(where)
                raise MappingError(f"the file has no column {column.column!r}; it has: {there}")

        def event_of(cells: Sequence[str]) -> dict[str, Any]:
            event: dict[str, Any] = {"type": self._type_name}
            for column in columns:
                if column.column is None:
                    text = column.constant
                else:
                    place = where[column.column]
                    text = cells[place].strip() if place < len(cells) else ""
                if text:  # an empty cell is a field that isn't there
                    self._fill(event, column, text)
            return event

        return event_of

    def _fill(self, event: dict[str, Any], column: _Column, text: str) -> None:
        *parents, name = column.field
        annotation: Any = self._model.model_fields[column.field[0]].annotation
        target = event
        for parent in parents:
            target = target.setdefault(parent, {})
            annotation = _inner_annotation(annotation, name)
        target[name] = _cell(".".join(column.field), annotation, column.factor, text)


def _inner_annotation(annotation: Any, name: str) -> Any:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            field = option.model_fields.get(name)
            if field is not None:
                return field.annotation
    return str


def _options(annotation: Any) -> list[Any]:
    """The plain types behind an annotation: unions and `Annotated` unwrapped."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for part in typing.get_args(annotation) for inner in _options(part)]
    return [annotation]


def _cell(field: str, annotation: Any, factor: int, text: str) -> Any:
    options = _options(annotation)
    origins = [typing.get_origin(option) or option for option in options]
    if factor != 1 or int in origins or float in origins:
        try:
            number = Decimal(text) * factor
        except InvalidOperation:
            raise ValueError(f"{field}: {text!r} isn't a number") from None
        if float in origins:
            return float(number)
        if number != number.to_integral_value():
            raise ValueError(f"{field}: {text!r} doesn't give a whole number")
        return int(number)
    if bool in origins:
        lowered = text.lower()
        if lowered not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(f"{field}: {text!r} is neither true nor false")
        return lowered in ("true", "1", "yes")
    if text[0] in "[{" and str not in origins:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{field}: the cell isn't JSON: {error}") from None
    if any(origin in (list, tuple) for origin in origins):
        return [part.strip() for part in text.split(";")]
    return text


def csv_rows(
    stream: TextIO,
    mapping: CsvMapping,
    topic: str,
    *,
    refuses: Refuses | None,
    delimiter: str = ",",
) -> Iterator[list[InputRow | BadRow]]:
    """Yield the rows of a CSV stream with a header line, in chunks.

    Raises `MappingError` when the header lacks a mapped column.
    """
    reader = csv.reader(stream, delimiter=delimiter)
    header = next(reader, None)
    if header is None:
        return
    event_of = mapping.bind([header[0].removeprefix("\ufeff"), *header[1:]] if header else [])
    while chunk := list(_numbered(reader)):
        yield [
            _checked(_csv_row(line, cells, event_of, topic), refuses)
            for line, cells in chunk
            if cells
        ]


def _numbered(reader: Any) -> Iterable[tuple[int, list[str]]]:
    # The number of the line on which the row ends: a quoted cell may span several.
    for cells in islice(reader, _CSV_CHUNK_ROWS):
        yield reader.line_num, cells


def _csv_row(
    line: int, cells: Sequence[str], event_of: Callable[[Sequence[str]], dict[str, Any]], topic: str
) -> InputRow | BadRow:
    try:
        event = event_of(cells)
    except ValueError as error:
        return BadRow(line, "schema_invalid", str(error))
    key = _key_of(event["type"], event)
    return InputRow(
        line, topic, key.encode() if isinstance(key, str) else None, orjson.dumps(event)
    )
