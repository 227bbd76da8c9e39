"""The digest: what counts as the same content, now and in later versions."""

import json
from typing import Any

import orjson
import pytest
from golden_samples import GOLDEN, key_of, sample, samples

from pointstream.contracts.decoding import DIGEST_BYTES, Decoded, decode
from pointstream.contracts.topics import topic_of_type


def digest(value: dict[str, Any]) -> bytes:
    """The digest of a body that fits."""
    answer = decode(topic_of_type(value["type"]), key_of(value), orjson.dumps(value))
    assert isinstance(answer, Decoded), answer
    return answer.digest


def reversed_keys(value: Any) -> Any:
    """The same value with the fields of every object in reverse order."""
    if isinstance(value, dict):
        return {k: reversed_keys(v) for k, v in reversed(value.items())}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_digests_stay_what_they_were() -> None:
    """Ids are remembered with their digests over upgrades: another digest for the same content
    would turn every redelivery after an upgrade into a dead letter."""
    remembered = json.loads((GOLDEN / "digests.json").read_text())
    assert {value["event_id"]: digest(value).hex() for _, value in samples("inputs")} == remembered
    assert len(set(remembered.values())) == len(remembered)


@pytest.mark.parametrize(("name", "value"), samples("inputs"))
def test_the_order_of_fields_does_not_count(name: str, value: dict[str, Any]) -> None:
    """On no level."""
    assert digest(reversed_keys(value)) == digest(value)
    assert len(digest(value)) == DIGEST_BYTES


@pytest.mark.parametrize(
    "same",
    [
        {"occurred_at": "2026-02-28T21:15:30.123-05:00"},
        {"occurred_at": "2026-03-01T02:15:30.123000Z"},
        {"source": "somewhere else"},
        {"unknown": 1},
    ],
)
def test_what_says_the_same_is_the_same(same: dict[str, Any]) -> None:
    """Another offset, another publisher, something we don't read."""
    value = sample("order.paid", 1)
    assert digest({**value, **same}) == digest(value)


def test_a_time_that_is_not_the_first_is_compared_as_a_moment_too() -> None:
    """Every time of an event, not only `occurred_at`."""
    value = sample("points.hold", 1)
    assert value["expires_at"] == "2026-03-01T10:30:30+08:00"
    assert digest({**value, "expires_at": "2026-03-01T02:30:30Z"}) == digest(value)
    assert digest({**value, "expires_at": "2026-03-01T10:30:30Z"}) != digest(value)


def test_a_default_written_out_is_the_same_as_left_out() -> None:
    """So a publisher may begin to send it."""
    value = sample("order.paid")
    assert digest({**value, "points_paid": 0, "lines": [], "geo": None}) == digest(value)


@pytest.mark.parametrize(
    "other",
    [
        {"event_id": "order.paid-9"},
        {"paid_minor": 12_801},
        {"occurred_at": "2026-03-01T10:15:30.001+08:00"},
        {"currency": "HKD"},
        {"points_paid": 1},
        {"store_id": "sh-018"},
        {"campaign_codes": ["spring"]},
        {"lines": [{"line_id": "1", "quantity": 1, "paid_minor": 12_800}]},
        {"geo": {"lat": 0, "lon": 0}},
    ],
)
def test_any_other_content_is_other(other: dict[str, Any]) -> None:
    """Every field that we read counts."""
    value = sample("order.paid")
    assert digest({**value, **other}) != digest(value)


def test_the_order_of_lines_counts() -> None:
    """A list is not a set."""
    value = sample("order.paid", 1)
    assert digest({**value, "lines": value["lines"][::-1]}) != digest(value)
