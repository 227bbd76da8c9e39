"""Rows of a file become inputs, and each row that can't says why; nothing stops at one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from pointstream.contracts.decoding import Refusal, decode
from pointstream.contracts.inputs import CheckinRecorded, MemberRegistered, OrderPaid
from pointstream.contracts.topics import topic_of_type
from pointstream.operations.rows import (
    BadRow,
    CsvMapping,
    InputRow,
    MappingError,
    csv_rows,
    json_rows,
)

_ORDER = {
    "event_id": "e-1",
    "type": "order.paid",
    "member_id": "M-1",
    "occurred_at": "2026-03-01T10:00:00+08:00",
    "order_id": "O-1",
    "currency": "CNY",
    "paid_minor": 1200,
}


def _refuses(row: InputRow) -> tuple[str, str] | None:
    decoded = decode(row.topic, row.key, row.value, row.headers)
    return (str(decoded.code), decoded.message) if isinstance(decoded, Refusal) else None


def _json(
    text: bytes, *, validate: bool = True, topic: str | None = None
) -> list[InputRow | BadRow]:
    chunks = json_rows(
        io.BytesIO(text),
        topic_of_type,
        refuses=_refuses if validate else None,
        fallback_topic=topic,
    )
    return [row for chunk in chunks for row in chunk]


def _csv(text: str, kind: str, *mappings: str, delimiter: str = ",") -> list[InputRow | BadRow]:
    models = {
        "order.paid": OrderPaid,
        "checkin.recorded": CheckinRecorded,
        "member.registered": MemberRegistered,
    }
    mapping = CsvMapping(models[kind], kind, mappings)
    topic = topic_of_type(kind)
    chunks = csv_rows(
        io.StringIO(text, newline=""), mapping, topic, refuses=_refuses, delimiter=delimiter
    )
    return [row for chunk in chunks for row in chunk]


def test_good_lines_around_bad_ones_are_kept() -> None:
    """Each bad line is reported with its number and reason; the others come through unchanged."""
    good = json.dumps(_ORDER).encode()
    no_money = json.dumps({**_ORDER, "paid_minor": "12.00"}).encode()
    unknown = json.dumps({**_ORDER, "type": "order.dreamt-of"}).encode()
    lines = [good, b"{", b"", b"[1]", no_money, unknown, b"\xff\xfe", good]

    rows = _json(b"\n".join(lines))

    assert [row.line for row in rows] == [1, 2, 4, 5, 6, 7, 8]
    assert [row.code for row in rows if isinstance(row, BadRow)] == [
        "not_json",
        "schema_invalid",
        "schema_invalid",
        "unknown_type",
        "not_json",
    ]
    taken = [row for row in rows if isinstance(row, InputRow)]
    assert [(row.topic, row.key, row.value) for row in taken] == [("orders", b"M-1", good)] * 2


def test_lines_come_as_soon_as_they_are_there() -> None:
    """A slow pipe's line isn't kept waiting for the next one."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.reads = 0

        def read1(self, size: int) -> bytes:
            self.reads += 1
            return json.dumps(_ORDER).encode() + b"\n" if self.reads < 3 else b""

    pipe = Pipe()
    chunks: Iterator[list[InputRow | BadRow]] = json_rows(
        pipe,  # type: ignore[arg-type]
        topic_of_type,
        refuses=_refuses,
    )

    assert len(next(chunks)) == 1
    assert pipe.reads == 1


def test_a_line_longer_than_a_read_is_one_row() -> None:
    """Chunks of the file end anywhere, rows only at line ends; the last needs none."""
    long = json.dumps({**_ORDER, "note": "x" * 200_000}).encode()

    rows = _json(long + b"\r\n" + long)

    assert [(row.line, isinstance(row, InputRow)) for row in rows] == [(1, True), (2, True)]
    assert isinstance(rows[0], InputRow)
    assert rows[0].value == long


def test_a_structured_cloudevent_is_taken_with_its_headers() -> None:
    """One line may be a whole CloudEvent; the key is the member of its data."""
    data = {name: _ORDER[name] for name in ("member_id", "order_id", "currency", "paid_minor")}
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "till",
        "type": "order.paid",
        "time": _ORDER["occurred_at"],
        "data": data,
    }

    [row] = _json(json.dumps(event).encode())

    assert isinstance(row, InputRow), row
    assert (row.topic, row.key) == ("orders", b"M-1")
    assert dict(row.headers)["content-type"].startswith(b"application/cloudevents+json")


def test_without_validation_only_the_way_must_be_known() -> None:
    """A row with a type goes to its topic, any other to the topic that is named."""
    wrong = json.dumps({"type": "order.paid"}).encode()

    assert [type(row) for row in _json(wrong + b"\n{", validate=False)] == [InputRow, BadRow]
    named = _json(wrong + b"\n{", validate=False, topic="check-ins")
    assert [(row.topic, row.key) for row in named if isinstance(row, InputRow)] == [
        ("orders", None),
        ("check-ins", None),
    ]


def test_csv_columns_fill_fields() -> None:
    """By mapping, by constant, by factor, or by having the field's very name."""
    text = (
        "event_id,Member,When,OrderNo,Amount,Lat,Lon\n"
        "e-1,M-1,2026-03-01T10:00:00+08:00,O-1,12.50,31.2,121.4\n"
    )
    mappings = (
        "member_id=Member",
        "occurred_at=When",
        "order_id=OrderNo",
        "paid_minor=Amount*100",
        "currency:=CNY",
        "geo.lat=Lat",
        "geo.lon=Lon",
    )

    [row] = _csv(text, "order.paid", *mappings)

    assert isinstance(row, InputRow), row
    assert (row.line, row.topic, row.key) == (2, "orders", b"M-1")
    assert json.loads(row.value) == {
        "type": "order.paid",
        "event_id": "e-1",
        "member_id": "M-1",
        "occurred_at": "2026-03-01T10:00:00+08:00",
        "order_id": "O-1",
        "paid_minor": 1250,
        "currency": "CNY",
        "geo": {"lat": 31.2, "lon": 121.4},
    }


def test_csv_reports_bad_rows_with_their_lines() -> None:
    """No number, no whole minor unit, a row cut short; and a quoted cell may span lines."""
    head = "event_id,member_id,occurred_at,order_id,currency,paid_minor\n"
    good = "e-{0},M-1,2026-03-01T10:00:00Z,O-{0},CNY,100\n"
    text = (
        head
        + good.format(1)
        + good.format(2).replace("100", "a lot")
        + good.format(3).replace("100", "1.5")
        + "e-4,M-1\n"
        + good.format('"5\nand more"').replace("e-", "")
        + "\n"
        + good.format(6)
    )

    rows = _csv(text, "order.paid")

    assert [row.line for row in rows if isinstance(row, InputRow)] == [2, 10]
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert [row.line for row in bad][:3] == [3, 4, 5]
    assert "isn't a number" in bad[0].reason
    assert "whole number" in bad[1].reason
    assert "occurred_at" in bad[2].reason


def test_csv_lists_and_empty_cells() -> None:
    """Lists are split at semicolons, empty cells are left out, a byte order mark goes."""
    text = (
        "\ufeffevent_id;member_id;occurred_at;segments;birthday\n"
        "e-1;M-1;2026-03-01T10:00:00Z;student;\n"
    )

    [row] = _csv(text, "member.registered", delimiter=";")
    assert isinstance(row, InputRow), row
    event = json.loads(row.value)
    assert event["segments"] == ["student"]
    assert "birthday" not in event

    [row] = _csv(
        'event_id,member_id,occurred_at,segments\ne-1,M-1,2026-03-01T10:00:00Z,"a; b"\n',
        "member.registered",
    )
    assert isinstance(row, InputRow), row
    assert json.loads(row.value)["segments"] == ["a", "b"]


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("order_id", "isn't a mapping"),
        ("order_nr=No", "no field 'order_nr'"),
        ("order_id=Nope", "no column 'Nope'"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(mapping: str, says: str) -> None:
    """Before any row is sent, with the names that would work."""
    with pytest.raises(MappingError, match=says):
        _csv("event_id,No\n", "order.paid", mapping)


def test_an_empty_file_has_no_rows() -> None:
    """Neither form minds."""
    assert _json(b"") == []
    assert _csv("", "checkin.recorded") == []
