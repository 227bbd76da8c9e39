"""Dead letters taken apart, addressed, chosen, and judged before they are sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from pointstream.contracts.programme import Programme
from pointstream.contracts.topics import INPUT_TYPES, topic_specs
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import rfc3339
from pointstream.operations.deadletters import (
    REMEDIES,
    Address,
    AddressInvalid,
    Letter,
    Wanted,
    headers_of_replay,
    letter_of,
)
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.replays import Marks, Replayer
from pointstream.operations.verdicts import PUBLISHED_BY, Judge, Verdict

NOW_MS = 1_793_000_000_000
SPEND = {"id": "spend", "kind": "spend", "points": 1, "per_minor": 100}
PROGRAMME = Programme.model_validate(
    {"id": "test", "rule_sets": [{"id": "all", "version": 1, "rules": [SPEND]}]}
)
JUDGE = Judge("points.", PROGRAMME, NOW_MS)
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

Headers = Sequence[tuple[str, bytes]]


def why(code: str = "refund_without_order", topic: str = "points.orders") -> Headers:
    """The headers that a worker adds."""
    return (
        ("__streams.errors.exception", code.encode()),
        ("__streams.errors.message", b"for this reason"),
        ("__streams.errors.topic", topic.encode()),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"1207"),
        ("points.error.code", code.encode()),
    )


def order(**fields: Any) -> bytes:
    return orjson.dumps(
        {
            "event_id": "e1",
            "type": "order.paid",
            "member_id": "m1",
            "occurred_at": rfc3339(NOW_MS),
            "order_id": "o1",
            "currency": "CNY",
            "paid_minor": 100,
            **fields,
        }
    )


ORDER, WHY = order(), why()


def letter(
    value: bytes | None = ORDER,
    headers: Headers = WHY,
    key: bytes | None = b"m1",
) -> Letter:
    record = SimpleNamespace(
        topic="points.dead-letters",
        partition=3,
        offset=41,
        timestamp=NOW_MS,
        key=key,
        value=value,
        headers=tuple(headers),
    )
    return letter_of(cast(Record, record))


def test_the_input_is_what_it_was() -> None:
    """Key, value and headers, also a header of one of our names that the input had itself."""
    own = (TRACE, ("points.error.code", b"theirs"), ("empty", b""))
    found = letter(b"\xff\x00", (*own, *why("not_json")))

    assert (found.key, found.value, found.headers) == (b"m1", b"\xff\x00", own)
    assert (found.code, found.message) == ("not_json", "for this reason")
    assert found.address == Address("points.dead-letters", 3, 41)
    assert found.source == Address("points.orders", 3, 1207)
    assert (found.attempts, found.replayed_from) == (1, None)


def test_each_replay_counts_and_leaves_the_rest_as_it_was() -> None:
    """What is refused again is known as the same input, tried once more."""
    first = letter(headers=(TRACE, *why()))
    second = letter(headers=(*headers_of_replay(first), *why()))
    third = letter(headers=(*headers_of_replay(second), *why()))

    assert [each.attempts for each in (first, second, third)] == [1, 2, 3]
    assert third.replayed_from == "points.dead-letters/3/41"
    assert first.headers == second.headers == third.headers == (TRACE,)


@pytest.mark.parametrize(
    "headers",
    [(), (TRACE,), why()[:-1], (*why()[:4], ("__streams.errors.offset", b"x"), why()[5])],
)
def test_a_record_that_is_no_dead_letter_of_ours_cannot_be_sent(headers: Headers) -> None:
    """Somebody else wrote it, or a header is missing: nobody knows where to."""
    found = letter(headers=headers)

    assert found.source is None
    assert "does not tell" in (JUDGE(found).impossible or "")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("3/41", Address("points.dead-letters", 3, 41)),
        ("3-41", Address("points.dead-letters", 3, 41)),
        ("points.dead-letters/3/41", Address("points.dead-letters", 3, 41)),
        ("points.orders-3-1207", Address("points.orders", 3, 1207)),
        ("check-ins/0/7", Address("points.check-ins", 0, 7)),
    ],
)
def test_either_address_names_a_dead_letter(text: str, address: Address) -> None:
    """Its own, or its input's."""
    assert Address.parse(text, "points.") == address
    assert Wanted(addresses=frozenset({address})).fits(letter()) == (
        address.topic != "points.check-ins"
    )


@pytest.mark.parametrize("text", ["", "41", "orders", "orders/3", "a b/3/41", "3/41/x"])
def test_what_is_no_address_is_told(text: str) -> None:
    """With two that are."""
    with pytest.raises(AddressInvalid, match=r"points\.orders/3/1207"):
        Address.parse(text, "points.")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(codes=frozenset({"refund_without_order", "not_json"})), True),
        (Wanted(codes=frozenset({"not_json"})), False),
        (Wanted(topics=frozenset({"points.orders"}), partitions=frozenset({3})), True),
        (Wanted(topics=frozenset({"points.commands"})), False),
        (Wanted(partitions=frozenset({4})), False),
        (Wanted(member_id="m1", since_ms=NOW_MS, until_ms=NOW_MS), True),
        (Wanted(member_id="m2"), False),
        (Wanted(since_ms=NOW_MS + 1), False),
        (Wanted(until_ms=NOW_MS - 1), False),
    ],
)
def test_dead_letters_are_chosen_by_all_that_is_asked(wanted: Wanted, fits: bool) -> None:
    """Each filter narrows."""
    assert wanted.fits(letter()) == fits


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (letter(), None),
        (letter(b"{"), "not_json"),
        (letter(None), "not_json"),
        (letter(b" " * 262_145), "too_large"),
        (letter(key=None), "key_missing"),
        (letter(key=b"m2"), "key_mismatch"),
        (letter(order(type="order.sent")), "unknown_type"),
        (letter(order(paid_minor=-1)), "schema_invalid"),
        (letter(order(currency="EUR")), "currency_not_supported"),
        (letter(order(occurred_at=rfc3339(NOW_MS + 300_000))), None),
        (letter(order(occurred_at=rfc3339(NOW_MS + 301_000))), "too_far_in_future"),
        (letter(headers=why("too_old")), "too_old"),
        (letter(headers=why("account_erased")), "account_erased"),
        (letter(headers=why("id_reused_with_other_content")), "id_reused_with_other_content"),
        # The release that refused it did not know what this one does.
        (letter(headers=why("schema_invalid")), None),
        (letter(headers=why("a_later_code")), None),
    ],
)
def test_what_would_be_refused_again_is_known_before(found: Letter, refused: str | None) -> None:
    """As far as it can be without the ledger."""
    verdict = JUDGE(found)

    assert verdict.impossible is None
    assert (verdict.refused or "").partition(":")[0] == (refused or "")


@pytest.mark.parametrize("suffix", sorted(PUBLISHED_BY))
def test_what_could_take_a_newer_ones_place_is_left_to_its_own_command(suffix: str) -> None:
    """Whatever else is said of it; what is on any other topic stands beside what came later."""
    found = letter(headers=why("ruleset_invalid", f"points.{suffix}"), key=b"all")

    verdict = JUDGE(found)

    assert PUBLISHED_BY[suffix] in (verdict.left_out(anyway=False) or "")
    assert verdict.left_out(anyway=True) is None
    assert JUDGE(letter()).left_out(anyway=False) is None


def test_every_input_that_is_compacted_has_its_command() -> None:
    """One that is added would else be replayed over what is newer."""
    specs = topic_specs()
    compacted = {s.suffix for s in specs if s.direction == "in" and s.cleanup == "compact"}

    assert set(PUBLISHED_BY) == compacted


def test_an_input_of_no_topic_of_ours_cannot_be_sent() -> None:
    """One that is no input, or of which it is not sure which one; what to do is told."""
    for topic in ("points.gone", "backorders", "points.crm-sync", "points.orders.old"):
        told = JUDGE(letter(headers=why(topic=topic))).impossible or ""
        assert topic in told
        assert "publish" in told


@pytest.mark.parametrize("old", ["before.", "points.before.", "before-", ""])
def test_what_waited_through_a_move_is_sent_to_the_same_input_of_now(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refund that was parked names the topic that it came on, of the prefix of then."""
    found = letter(headers=why(topic=f"{old}orders"))
    replayer = Replayer("nowhere:9092", prefix="points.", app_id="test")
    asked = []

    async def existing(_: CommittedReader, topic: str) -> Sequence[int]:
        asked.append(topic)
        return range(12)

    monkeypatch.setattr(CommittedReader, "existing", existing)

    assert JUDGE(found) == Verdict()
    to = asyncio.run(replayer._place(found))
    assert asked == ["points.orders"]
    assert to == Address("points.orders", partition_of(b"m1", 12), 0)


def test_no_inputs_name_ends_with_anothers() -> None:
    """Else a topic of an older prefix could be two inputs."""
    for name in INPUT_TYPES:
        assert [other for other in INPUT_TYPES if name.endswith(other)] == [name]


def test_a_mark_is_of_one_dead_letter() -> None:
    """Where the topic was made anew, another one has its offset."""
    marks = Marks()
    mark = {"partition": 3, "offset": 41, "source": "points.orders/3/1207", "sent_at": "then"}
    marks.take(mark)

    assert marks.of(letter()) == "then"
    assert marks.of(letter(headers=why(topic="points.commands"))) is None


def test_every_code_has_a_remedy() -> None:
    """One that is added to the contract must be told, too."""
    assert set(REMEDIES) == set(DeadLetterCode)
    assert "later release" in letter(headers=why("a_later_code")).remedy
