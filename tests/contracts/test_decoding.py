"""What is taken, what is refused, and with which code and words."""

import json
from typing import Any

import orjson
import pytest
from golden_samples import key_of, sample, samples, schema

from pointstream.contracts.decoding import Decoded, Refusal, decode
from pointstream.contracts.inputs import ItemWithdrawn, OrderPaid, RulesetWithdrawn, Withdrawn
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.vocabulary import DeadLetterCode

KEY = b"m-1001"


def decoded(
    value: dict[str, Any], headers: list[tuple[str, bytes]] | None = None, topic: str | None = None
) -> Decoded | Refusal:
    """Decode a body as JSON on the topic of its type, under the key that it should have."""
    return decode(
        topic or topic_of_type(value["type"]), key_of(value), orjson.dumps(value), headers or []
    )


def refused(name: str, **fields: Any) -> Refusal:
    """What is said about a golden sample with some fields changed; `...` leaves one out."""
    value = {k: v for k, v in {**sample(name), **fields}.items() if v is not ...}
    answer = decode(topic_of_type(name), KEY, orjson.dumps(value))
    assert isinstance(answer, Refusal)
    return answer


@pytest.mark.parametrize(("name", "value"), samples("inputs"))
def test_every_golden_sample_is_taken(name: str, value: dict[str, Any]) -> None:
    """Each sample decodes to an event of its own type."""
    answer = decoded(value)
    assert isinstance(answer, Decoded), answer
    assert answer.event.type == name


def test_a_full_order_arrives_with_every_field() -> None:
    """Nothing of an order is lost or changed on the way in."""
    answer = decoded(sample("order.paid", 1))
    assert isinstance(answer, Decoded)
    order = answer.event
    assert isinstance(order, OrderPaid)
    assert (order.order_id, order.currency, order.paid_minor) == ("o-2", "CNY", 30_000)
    assert (order.points_paid, order.campaign_codes) == (500, ("spring-2026",))
    assert (order.store_id, order.brand_id, order.channel) == ("sh-017", "lumen", "pos")
    assert [(line.paid_minor, line.earns) for line in order.lines] == [
        (25_000, True),
        (5_000, False),
    ]
    assert order.geo is not None
    assert (order.geo.lat, order.geo.lon) == (31.2304, 121.4737)
    assert order.occurred_at_ms == 1_772_331_330_123


# --- the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_key_is_refused(key: bytes | None) -> None:
    """Without a key nobody owns the record."""
    answer = decode("orders", key, orjson.dumps(sample("order.paid")))
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.KEY_MISSING


@pytest.mark.parametrize("key", [b"m-1002", b"M-1001", b"m-1001 ", b"\xff\xfe"])
def test_a_key_other_than_the_member_is_refused(key: bytes) -> None:
    """The key placed the record: another one means another member's partition."""
    answer = decode("orders", key, orjson.dumps(sample("order.paid")))
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.KEY_MISMATCH


def test_a_key_is_compared_as_utf8() -> None:
    """A member may have a name in any script."""
    value = {**sample("checkin.recorded"), "member_id": "会员-7"}
    assert isinstance(decoded(value), Decoded)


def test_a_value_over_the_limit_is_refused_unread() -> None:
    """One byte more than allowed is too large, whatever it says."""
    value = orjson.dumps(sample("order.paid"))
    assert isinstance(decode("orders", KEY, value, max_bytes=len(value)), Decoded)
    answer = decode("orders", KEY, value, max_bytes=len(value) - 1)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.TOO_LARGE
    assert str(len(value)) in answer.message


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"order",
        b'{"a": 1',
        b'{"a": 1} {"b": 2}',
        b"{'a': 1}",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"[" * 5_000,
    ],
    ids=["null", "empty", "word", "cut", "two", "quotes", "bom", "utf-8", "surrogate", "deep"],
)
def test_what_is_not_json_is_refused(value: bytes | None) -> None:
    """Only JSON in UTF-8 without a byte order mark is JSON here."""
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.NOT_JSON


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("catalogue", ItemWithdrawn(item_id="mug")),
        ("rules", RulesetWithdrawn(ruleset_id="mug")),
    ],
)
def test_a_tombstone_withdraws_what_its_key_names(topic: str, event: Withdrawn) -> None:
    """On the compacted inputs, where it has a meaning; its headers say nothing."""
    answer = decode(topic, b"mug", None, [("ce_id", b"x")])
    assert isinstance(answer, Decoded)
    assert answer.event == event
    assert answer.digest != decode(topic, b"tote", None)[1]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, DeadLetterCode.KEY_MISSING),
        (b"", DeadLetterCode.KEY_MISSING),
        (b"\xff", DeadLetterCode.KEY_MISMATCH),
        (b"m\0g", DeadLetterCode.KEY_MISMATCH),
        (b"m" * 129, DeadLetterCode.KEY_MISMATCH),
    ],
)
def test_a_tombstone_whose_key_is_no_id_is_refused(key: bytes | None, code: DeadLetterCode) -> None:
    """Nothing can have been published under it."""
    answer = decode("catalogue", key, None)
    assert isinstance(answer, Refusal)
    assert answer.code is code


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused_even_where_ignored(literal: str) -> None:
    """What another JSON reader could not read again is not taken, in unknown fields either."""
    value = orjson.dumps(sample("order.paid"))[:-1] + f', "unknown": {literal}}}'.encode()
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.NOT_JSON


@pytest.mark.parametrize("value", [b"[]", b"1", b'"order"', b"null", b"true"])
def test_a_value_that_is_no_object_is_refused(value: bytes) -> None:
    """JSON that is not one object fits no schema."""
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID


def test_of_a_name_given_twice_the_last_counts() -> None:
    """Duplicate names are read as most JSON readers do, the type included."""
    value = orjson.dumps({**sample("order.paid"), "paid_minor": 1})[:-1] + b', "paid_minor": 2}'
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Decoded)
    assert isinstance(answer.event, OrderPaid)
    assert answer.event.paid_minor == 2

    value = value[:-1] + b', "type": "order.cancelled"}'
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Decoded)
    assert answer.event.type == "order.cancelled"


def test_a_topic_that_is_no_input_is_an_error_of_the_caller() -> None:
    """Only a programming error raises."""
    with pytest.raises(KeyError):
        decode("balance-changes", KEY, b"{}")


# --- the type ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["order.payed", "points.redeem", "", None, 5, ["order.paid"]])
def test_a_type_that_the_topic_does_not_take_is_refused(given: object) -> None:
    """An unknown type, or one of another topic; the message says what the topic takes."""
    answer = refused("order.paid", type=given)
    assert answer.code is DeadLetterCode.UNKNOWN_TYPE
    assert "order.paid, order.refunded, order.cancelled" in answer.message


def test_a_missing_type_is_said_to_be_missing() -> None:
    """No type at all is told apart from a wrong one."""
    answer = decode("check-ins", KEY, b"{}")
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.UNKNOWN_TYPE
    assert "missing" in answer.message


# --- the fields ----------------------------------------------------------------------------------


def test_unknown_fields_are_ignored() -> None:
    """A publisher may send more than we read, on every level."""
    value = sample("order.paid", 1)
    value["loyalty"] = {"any": ["thing", None]}
    value["lines"][0]["colour"] = "red"
    answer, plain = decoded(value), decoded(sample("order.paid", 1))
    assert isinstance(answer, Decoded)
    assert isinstance(plain, Decoded)
    assert answer.event == plain.event


@pytest.mark.parametrize("name", sorted({name for name, _ in samples("inputs")}))
def test_each_required_field_is_asked_for_by_name(name: str) -> None:
    """A record without one of its required fields is refused, and told which."""
    smallest = sample(name)
    for field in set(schema(f"inputs/{name}")["required"]) - {"type"}:
        value = {k: v for k, v in smallest.items() if k != field}
        answer = decode(topic_of_type(name), key_of(smallest), orjson.dumps(value))
        assert isinstance(answer, Refusal), field
        assert answer.code is DeadLetterCode.SCHEMA_INVALID
        assert answer.message.startswith(f"{field}: "), answer.message


@pytest.mark.parametrize(
    "given", [12.0, 12.5, "12", True, False, [12], -1, 10**15 + 1, 2**63, 2**64, 10**30]
)
def test_money_is_a_whole_number_in_range(given: object) -> None:
    """No fraction, no text, no truth value, nothing below zero or beyond exact reach."""
    value = json.dumps({**sample("order.paid"), "paid_minor": given}).encode()
    answer = decode("orders", KEY, value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith("paid_minor: ")


@pytest.mark.parametrize("given", [0, 10**15])
def test_money_at_the_ends_of_its_range_is_taken(given: int) -> None:
    """The limits themselves are allowed."""
    assert isinstance(decoded({**sample("order.paid"), "paid_minor": given}), Decoded)


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a\x00b", "a\nb", "a\x7fb", "a\x85b", 7, {"id": "x"}]
)
def test_an_id_is_short_text_without_control_characters(given: object) -> None:
    """A NUL in an id would let one member's state key reach into another's."""
    answer = refused("order.paid", order_id=given)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith("order_id: ")


def test_a_nul_in_a_reason_does_not_come_to_readers() -> None:
    """PostgreSQL has none in a text: each sink would stop at the entry, for good."""
    taken = decoded({**sample("points.adjust"), "reason": "a\x00b\x00"})
    assert isinstance(taken, Decoded)
    assert taken.event.reason == "a\ufffdb\ufffd"


@pytest.mark.parametrize("given", ["x" * 128, "é" * 128, "a b", '"', "订单"])
def test_an_id_may_be_any_other_text(given: str) -> None:
    """Characters are counted, not bytes."""
    assert isinstance(decoded({**sample("order.paid"), "order_id": given}), Decoded)


@pytest.mark.parametrize(
    "given",
    [
        "2026-03-01T10:15:30",
        "2026-03-01 10:15:30Z",
        "2026-03-01T10:15Z",
        "2026-03-01",
        "2026-03-01T10:15:30+0800",
        "2026-03-01T10:15:30+25:00",
        "2026-02-30T10:15:30Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T10:15:60Z",
        "2026-03-01T10:15:30Z\n",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "1772331330",
        1_772_331_330,
        1_772_331_330.5,
    ],
)
def test_a_time_is_rfc_3339_with_an_offset(given: object) -> None:
    """Nothing that two readers could take for two moments is a time."""
    answer = refused("order.paid", occurred_at=given)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith("occurred_at: must be an RFC 3339 time with an offset")


@pytest.mark.parametrize(
    ("given", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T10:15:30+08:00", 1_772_331_330_000),
        ("2026-02-28T21:15:30.5-05:00", 1_772_331_330_500),
        ("2026-03-01T02:15:30.123999Z", 1_772_331_330_123),
        ("2026-03-01T02:15:30.123999999Z", 1_772_331_330_123),
        ("2026-03-01T02:15:30-00:00", 1_772_331_330_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_time_becomes_whole_milliseconds(given: str, time_ms: int) -> None:
    """What is finer than a millisecond is cut off, never rounded into the next day."""
    answer = decoded({**sample("order.paid"), "occurred_at": given})
    assert isinstance(answer, Decoded)
    assert answer.event.occurred_at_ms == time_ms


@pytest.mark.parametrize(
    ("name", "fields", "path"),
    [
        ("order.paid", {"currency": "cny"}, "currency: must be an ISO 4217 code"),
        ("order.paid", {"campaign_codes": ["ok", ""]}, "campaign_codes[1]: "),
        ("order.paid", {"campaign_codes": "spring"}, "campaign_codes: "),
        ("order.paid", {"geo": {"lat": 91, "lon": 0}}, "geo.lat: "),
        ("order.paid", {"geo": {"lat": 0}}, "geo.lon: "),
        ("order.paid", {"lines": [{"line_id": "1", "quantity": 0, "paid_minor": 12_800}]}, "lines"),
        ("activity.recorded", {"value_minor": 5}, "value_minor and currency go together"),
        ("activity.recorded", {"currency": "CNY"}, "value_minor and currency go together"),
        ("member.registered", {"birthday": "02-30"}, "birthday: must be a day of the calendar"),
        ("member.registered", {"birthday": "1/2"}, "birthday: "),
        ("member.registered", {"tags": {"size": 4.2}}, "tags.size: must be a text, an integer"),
        ("points.redeem", {"points": ...}, "points or item_id must be given"),
        ("points.redeem", {"quantity": 2}, "quantity needs an item_id"),
        (
            "item.published",
            {
                "valid_from": "2026-03-01T00:00:00+08:00",
                "valid_until": "2026-02-28T16:00:00Z",
            },
            "valid_until must be later than valid_from",
        ),
        ("points.redeem", {"points": 0}, "points: "),
        ("points.redeem", {"actor": {"id": "a", "role": "king"}}, "actor.role: "),
        ("points.adjust", {"points": 0}, "points must not be 0"),
        ("points.adjust", {"reason": ""}, "reason: "),
        ("points.hold", {"expires_at": "soon"}, "expires_at: must be an RFC 3339 time"),
    ],
)
def test_a_misfit_is_told_by_its_path(name: str, fields: dict[str, Any], path: str) -> None:
    """A publisher reads where it is wrong and what is allowed there."""
    answer = refused(name, **fields)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert answer.message.startswith(path), answer.message


def test_a_message_stays_short_printable_and_without_the_values() -> None:
    """It becomes a header: bounded, on one line, and with nothing personal in it."""
    lines = [{"line_id": "secret\n", "quantity": "secret"} for _ in range(100)]
    answer = refused("order.paid", lines=lines, campaign_codes=["secret\r\n" * 99])
    assert len(answer.message) <= 500
    assert answer.message.isprintable()
    assert "secret" not in answer.message
    assert answer.message.endswith("more")

    answer = refused("member.registered", tags={"a\n\u2028" * 40 + str(n): 0.5 for n in range(3)})
    assert len(answer.message) <= 500
    assert answer.message.isprintable()


def test_null_in_a_field_that_may_be_left_out_is_the_same_as_leaving_it_out() -> None:
    """Many publishers write null for what they don't know."""
    value = sample("order.paid", 1)
    bare = {**value, "points_paid": None, "campaign_codes": None, "geo": None, "store_id": None}
    bare["lines"] = [{**line, "earns": None, "sku": None} for line in value["lines"]]
    left_out = {k: v for k, v in bare.items() if v is not None}
    left_out["lines"] = [{k: v for k, v in line.items() if v is not None} for line in bare["lines"]]
    assert isinstance(decoded(bare), Decoded)
    assert decoded(bare) == decoded(left_out)


def test_null_in_a_required_field_is_refused() -> None:
    """Null is no value."""
    assert refused("order.paid", order_id=None).message == "order_id: Field required"


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize(
    ("name", "money"), [("order.paid", "paid"), ("order.refunded", "refunded")]
)
def test_lines_that_do_not_add_up_are_refused(name: str, money: str, by: int) -> None:
    """One minor unit more or less than the whole, and nobody can tell what a line earned."""
    value = sample(name, 1)
    value["lines"][0][f"{money}_minor"] += by
    answer = decoded(value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.LINES_DO_NOT_ADD_UP
    assert str(value[f"{money}_minor"]) in answer.message
    assert str(value[f"{money}_minor"] + by) in answer.message


def test_no_lines_say_nothing_about_the_whole() -> None:
    """An empty list is the same as none."""
    assert isinstance(decoded({**sample("order.paid"), "lines": []}), Decoded)


@pytest.mark.parametrize("name", ["order.paid", "order.refunded"])
def test_a_line_named_twice_is_refused(name: str) -> None:
    """A refund of that line could mean either."""
    value = sample(name, 1)
    line = value["lines"][0]
    half = {k: 0 if k.endswith("_minor") else v for k, v in line.items()}
    answer = decoded({**value, "lines": [*value["lines"], half]})
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID
    assert "unique" in answer.message


def test_a_rule_set_with_an_unknown_field_is_refused() -> None:
    """A rule that nobody follows must not look as if it were in force."""
    value = sample("ruleset.published")
    value["ruleset"]["rules"][0]["per_mnor"] = 5
    answer = decoded(value)
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID


def test_a_rule_set_under_another_id_than_its_own_is_refused() -> None:
    """The key, the record and the rule set name the same thing."""
    answer = decoded({**sample("ruleset.published"), "ruleset_id": "other"})
    assert isinstance(answer, Refusal)
    assert answer.code is DeadLetterCode.SCHEMA_INVALID


def test_a_rule_set_with_a_span_in_it_is_taken() -> None:
    """What JSON has no form for has a digest all the same: it must not stop a partition."""
    value = sample("ruleset.published")
    rules = [{"id": "spend", "kind": "spend", "per_minor": 100, "activation": {"after": "P7D"}}]
    value["ruleset"] = {**value["ruleset"], "rules": rules}
    taken = decoded(value)
    assert isinstance(taken, Decoded)
    longer = [{**rules[0], "activation": {"after": "P8D"}}]
    other = decoded({**value, "ruleset": {**value["ruleset"], "rules": longer}})
    assert isinstance(other, Decoded)
    assert taken.digest != other.digest
