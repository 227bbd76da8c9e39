"""How values become bytes: times, JSON and CloudEvents headers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import orjson

__all__ = ["MAX_TIME_MS", "cloudevent_headers", "dumps", "epoch_ms", "loads", "rfc3339"]

MAX_TIME_MS = 253_402_300_799_999
"""The last moment that has a name on the wire: 9999-12-31T23:59:59.999Z."""

_VERSION = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)

dumps = orjson.dumps
"""A value as compact JSON, UTF-8, keys in the order they were put in."""

loads = orjson.loads
"""JSON bytes as a value. Of a name given twice the last counts. Raises `ValueError`."""


def rfc3339(time_ms: int) -> str:
    """A moment as text: UTC, milliseconds, `Z`.

    `time_ms` is in milliseconds since the epoch, 0 to `MAX_TIME_MS`; beyond that `OverflowError`.

    >>> rfc3339(1_772_331_330_123)
    '2026-03-01T02:15:30.123Z'
    """
    minute, rest_ms = divmod(time_ms, 60_000)
    return f"{_minute(minute)}:{rest_ms // 1_000:02d}.{rest_ms % 1_000:03d}Z"


@lru_cache(maxsize=4_096)
def _minute(minute: int) -> str:
    # Most moments of a stream share their minute with others, and `isoformat` is slow.
    return (_EPOCH_WITHOUT_ZONE + timedelta(minutes=minute)).isoformat(timespec="minutes")


def epoch_ms(moment: datetime) -> int:
    """An aware moment as whole milliseconds since the epoch; what is finer is cut off."""
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=256)
def _header(name: str, value: str) -> tuple[str, bytes]:
    # Of these there are few, and a header in each of many records: one object serves them all.
    return name, value.encode()


def cloudevent_headers(
    type: str,
    event_id: str,
    time: str,
    source: str,
    *,
    subject: str | None = None,
    extra: Sequence[tuple[str, bytes]] = (),
) -> list[tuple[str, bytes]]:
    """The headers of a CloudEvents 1.0 record in binary mode.

    `time` is RFC 3339 text, as `rfc3339` gives it; `subject` is the member or other entity that the
    record is about. `extra` headers follow as they are.
    """
    headers = [
        _VERSION,
        ("ce_id", event_id.encode()),
        _header("ce_source", source),
        _header("ce_type", type),
        ("ce_time", time.encode()),
        _JSON,
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    headers.extend(extra)
    return headers
