"""Times and headers as we write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.contracts.wire import MAX_TIME_MS, cloudevent_headers, dumps, epoch_ms, rfc3339


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_772_331_330_120, "2026-03-01T02:15:30.120Z"),
        (1_835_395_199_999, "2028-02-28T23:59:59.999Z"),
        (1_835_395_200_000, "2028-02-29T00:00:00.000Z"),
        (MAX_TIME_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(time_ms: int, text: str) -> None:
    """Always three digits and `Z`, so that texts sort as times do."""
    assert rfc3339(time_ms) == text


def test_a_time_beyond_the_last_is_an_error() -> None:
    """Nothing wraps around."""
    with pytest.raises(OverflowError):
        rfc3339(MAX_TIME_MS + 1)


@given(st.integers(0, MAX_TIME_MS))
def test_a_time_survives_the_way_out_and_in(time_ms: int) -> None:
    """No moment is shifted by rounding."""
    assert epoch_ms(datetime.fromisoformat(rfc3339(time_ms))) == time_ms


def test_milliseconds_do_not_depend_on_the_offset() -> None:
    """A moment is a moment."""
    moment = datetime(2026, 3, 1, 2, 15, 30, 999_999, tzinfo=UTC)
    shanghai = moment.astimezone(timezone(timedelta(hours=8)))
    assert epoch_ms(moment) == epoch_ms(shanghai) == 1_772_331_330_999


def test_headers_are_cloudevents_binary_mode() -> None:
    """All required attributes, as UTF-8 text, and what the caller adds last."""
    headers = cloudevent_headers(
        "points.earned", "id-会", rfc3339(0), "pointstream", subject="m-1", extra=[("x", b"\xff")]
    )
    assert headers[-1] == ("x", b"\xff")
    assert dict(headers[:-1]) == {
        "ce_specversion": b"1.0",
        "ce_id": "id-会".encode(),
        "ce_source": b"pointstream",
        "ce_type": b"points.earned",
        "ce_time": b"1970-01-01T00:00:00.000Z",
        "ce_subject": b"m-1",
        "content-type": b"application/json",
    }


def test_a_record_without_subject_has_no_such_header() -> None:
    """An empty one would name an entity without a name."""
    assert "ce_subject" not in dict(cloudevent_headers("t", "i", rfc3339(0), "s"))


def test_json_is_compact_utf8_in_the_given_order() -> None:
    """The same dictionary gives the same bytes."""
    assert dumps({"b": "é", "a": [1, None]}) == '{"b":"é","a":[1,null]}'.encode()
