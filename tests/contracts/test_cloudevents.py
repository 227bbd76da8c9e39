"""CloudEvents in: binary and structured mode mean the same as plain JSON."""

from typing import Any

import orjson
import pytest
from golden_samples import key_of, sample, samples

from pointstream.contracts.cloudevents import without_cloudevents
from pointstream.contracts.decoding import Decoded, Refusal, decode
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.vocabulary import DeadLetterCode

Headers = list[tuple[str, bytes]]

STRUCTURED = ("content-type", b"application/cloudevents+json; charset=utf-8")
ATTRIBUTES = {"event_id": "id", "type": "type", "occurred_at": "time", "source": "source"}


def binary(value: dict[str, Any]) -> tuple[dict[str, Any], Headers]:
    """The same event in binary mode: a bare body, the rest in headers."""
    body = {k: v for k, v in value.items() if k not in ATTRIBUTES and k != "member_id"}
    headers = [(f"ce_{ATTRIBUTES[k]}", v.encode()) for k, v in value.items() if k in ATTRIBUTES]
    if "member_id" in value:
        headers.append(("ce_subject", value["member_id"].encode()))
    return body, [("ce_specversion", b"1.0"), ("content-type", b"application/json"), *headers]


def structured(value: dict[str, Any]) -> dict[str, Any]:
    """The same event in structured mode: a bare body inside a wrapper."""
    body, headers = binary(value)
    wrapper = {k.removeprefix("ce_"): v.decode() for k, v in headers if k.startswith("ce_")}
    return {**wrapper, "datacontenttype": "application/json", "data": body}


def plain(value: dict[str, Any]) -> Decoded | Refusal:
    """Decode plain JSON."""
    return decode(topic_of_type(value["type"]), key_of(value), orjson.dumps(value))


@pytest.mark.parametrize(("name", "value"), samples("inputs"))
def test_three_forms_give_one_event_and_one_digest(name: str, value: dict[str, Any]) -> None:
    """Nobody can tell afterwards in which form a record came."""
    topic, key = topic_of_type(name), key_of(value)
    body, headers = binary(value)

    in_binary = decode(topic, key, orjson.dumps(body), headers)
    in_structured = decode(topic, key, orjson.dumps(structured(value)), [STRUCTURED])

    assert isinstance(in_binary, Decoded)
    assert plain(value) == in_binary == in_structured


def test_a_complete_body_with_headers_that_agree_is_taken() -> None:
    """What we emit ourselves has both; the time may be written with another offset."""
    value = sample("order.paid", 1)
    _, headers = binary(value)
    headers = [h for h in headers if h[0] != "ce_time"]
    headers.append(("ce_time", b"2026-03-01T10:15:30.123+08:00"))
    assert decode("orders", key_of(value), orjson.dumps(value), headers) == plain(value)


def test_a_structured_record_may_repeat_its_attributes_as_headers() -> None:
    """The Kafka binding allows it; they must agree all the same."""
    value = sample("order.paid")
    headers = [STRUCTURED, ("ce_id", value["event_id"].encode())]
    wrapped = orjson.dumps(structured(value))
    assert decode("orders", key_of(value), wrapped, headers) == plain(value)

    answer = decode("orders", key_of(value), wrapped, [STRUCTURED, ("ce_id", b"other")])
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.ENVELOPE_CONFLICT


@pytest.mark.parametrize(
    ("header", "given"),
    [
        ("ce_id", b"another"),
        ("ce_type", b"order.cancelled"),
        ("ce_time", b"2026-03-01T10:15:30.124+08:00"),
        ("ce_time", b"yesterday"),
        ("ce_source", b"web"),
        ("ce_memberid", b"m-2"),
        ("ce_storeid", b"sh-1"),
    ],
)
def test_a_header_that_contradicts_the_body_is_a_conflict(header: str, given: bytes) -> None:
    """Which of the two is true can't be known, and the message names both."""
    value = sample("order.paid", 1)
    answer = decode("orders", key_of(value), orjson.dumps(value), [(header, given)])
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.ENVELOPE_CONFLICT
    assert answer.message.startswith(f"{header} and ")


def test_a_wrapper_that_contradicts_its_data_is_a_conflict() -> None:
    """In structured mode the wrapper is the header."""
    value = structured(sample("order.paid"))
    value["data"]["event_id"] = "another"
    answer = decode("orders", b"m-1001", orjson.dumps(value), [STRUCTURED])
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.ENVELOPE_CONFLICT
    assert answer.message == "id and event_id say different things"


@pytest.mark.parametrize("data", [None, [], ["order"], "order", 1])
def test_a_wrapper_without_an_object_in_it_is_refused(data: object) -> None:
    """There is nothing that could be the event."""
    value = {**structured(sample("order.paid")), "data": data}
    answer = decode("orders", b"m-1001", orjson.dumps(value), [STRUCTURED])
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith("data: ")


def test_the_parsed_value_is_left_as_it_was() -> None:
    """What is filled in goes into a copy."""
    value: dict[str, Any] = {"order_id": "o-1"}
    assert without_cloudevents(value, [("ce_id", b"e")]) == {"order_id": "o-1", "event_id": "e"}
    assert value == {"order_id": "o-1"}


def test_a_subject_may_name_something_else_than_the_member() -> None:
    """Publishers put the order there as well; the body's member counts."""
    value = sample("order.paid")
    headers = [("ce_subject", b"orders/o-1")]
    assert decode("orders", key_of(value), orjson.dumps(value), headers) == plain(value)


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ([("ce_specversion", b"0.3")], "ce_specversion: must be 1.0"),
        ([("ce_id", b"\xff")], "ce_id: the header must be UTF-8"),
        ([("content-type", b"application/cloudevents+avro")], "content-type must be"),
        ([("content-type", b"application/cloudevents-batch+json")], "content-type must be"),
        ([("Content-Type", b"application/CloudEvents+JSON")], "data: must be a JSON object"),
    ],
)
def test_what_cloudevents_does_not_allow_is_refused(headers: Headers, start: str) -> None:
    """Another version, another format, a batch, no data."""
    value = sample("order.paid")
    answer = decode("orders", key_of(value), orjson.dumps(value), headers)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith(start)


def test_headers_of_others_are_left_alone() -> None:
    """Trace headers and the like may hold anything, bytes that are no text included."""
    value = sample("order.paid")
    headers = [("traceparent", b"\xff\x00"), ("content-type", b"application/json"), ("", b"")]
    assert decode("orders", key_of(value), orjson.dumps(value), headers) == plain(value)


def test_a_null_header_is_no_header() -> None:
    """Kafka allows a header without a value."""
    value = sample("order.paid")
    headers: Any = [("ce_id", None), ("content-type", None)]
    assert decode("orders", key_of(value), orjson.dumps(value), headers) == plain(value)
