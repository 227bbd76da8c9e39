"""Whatever the bytes, decoding answers."""

import string
from typing import Any

import orjson
import pytest
from golden_samples import key_of, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.contracts.decoding import Decoded, Refusal, decode
from pointstream.contracts.topics import INPUT_TYPES, topic_of_type

TOPICS = st.sampled_from(sorted(INPUT_TYPES))
SAMPLES = [value for _, value in samples("inputs")]
FIELDS = sorted({field for value in SAMPLES for field in value})
HEADER_NAMES = st.sampled_from(
    ["ce_id", "ce_type", "ce_time", "ce_source", "ce_subject", "ce_specversion", "content-type"]
) | st.text(max_size=9)
HEADER_VALUES = (
    st.binary(max_size=20)
    | st.sampled_from([b"1.0", b"application/cloudevents+json", b"order.paid"])
    | st.none()
)
HEADERS: Any = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=4)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["order.paid", "2026-03-01T10:15:30Z", "0000-00-00T00:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def check(topic: str, key: bytes | None, value: bytes | None, headers: Any) -> None:
    """An answer, and a refusal that can be put into a header."""
    answer = decode(topic, key, value, headers)
    assert isinstance(answer, Decoded | Refusal)
    if isinstance(answer, Refusal):
        assert answer.message
        assert len(answer.message) <= 500
        assert answer.message.isprintable()
        answer.message.encode()


@given(TOPICS, st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=99), HEADERS)
@settings(max_examples=300, deadline=None)
def test_any_bytes_get_an_answer(
    topic: str, key: bytes | None, value: bytes | None, headers: Any
) -> None:
    """Noise in key, value and headers."""
    check(topic, key, value, headers)


@given(
    st.sampled_from(SAMPLES),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(string.printable, max_size=5), JSON),
    HEADERS,
)
@settings(max_examples=500, deadline=None)
def test_any_change_of_a_good_record_gets_an_answer(
    value: dict[str, Any], changes: dict[str, Any], headers: Any
) -> None:
    """Good records with some fields replaced by any JSON whatever."""
    check(topic_of_type(value["type"]), key_of(value), orjson.dumps({**value, **changes}), headers)


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=300, deadline=None)
def test_any_damage_to_a_good_record_gets_an_answer(
    value: dict[str, Any], data: st.DataObject
) -> None:
    """One byte of a good record replaced, or the rest cut off."""
    good = orjson.dumps(value)
    at = data.draw(st.integers(0, len(good) - 1))
    rest = good[at + 1 :] if data.draw(st.booleans()) else b""
    bad = good[:at] + data.draw(st.binary(max_size=1)) + rest
    check(topic_of_type(value["type"]), key_of(value), bad, [])


@pytest.mark.parametrize("depth", [500, 900, 1000, 1020, 1024, 5000])
@pytest.mark.parametrize("field", ["type", "event_id", "lines", "unknown"])
def test_nesting_of_any_depth_gets_an_answer(depth: int, field: str) -> None:
    """JSON that Python can parse but neither print nor compare; in the body or wrapped twice."""
    deep = b"[" * depth + b"]" * depth
    check("orders", b"k", b'{"%s":%s}' % (field.encode(), deep), [])
    wrapped = b'{"specversion":"1.0","id":%s,"data":{"%s":%s}}' % (deep, field.encode(), deep)
    structured = [("content-type", b"application/cloudevents+json")]
    check("orders", b"k", wrapped, structured)
    check("orders", b"k", wrapped.replace(b'"id"', b'"type"'), structured)
