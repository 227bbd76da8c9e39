"""Rule sets published while the ledger runs: accepted, refused, in force, withdrawn, dropped."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme

from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger.codec import decode_list
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.messages import Message
from pointstream.ledger.state import (
    TOLD_RULE_SETS_START,
    TOLD_RULE_SETS_STOP,
    rule_set_owner_key,
)
from pointstream.rules import compile as compiling

MINUTE_MS = 60_000


def rule_set(version: int, points: int = 2, *, id: str = "head-office", **fields: Any) -> Any:
    """A rule set with one rule: so many points per 1.00."""
    return {"id": id, "version": version, "rules": [{**SPEND, "points": points}], **fields}


def publish(
    bench: Bench,
    content: dict[str, Any],
    *,
    event_id: str = "",
    occurred_ms: int | None = None,
) -> Decision:
    """Publish a rule set, dated now unless said."""
    body = {
        "event_id": event_id or f"{content['id']}-{content['version']}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(bench.now_ms if occurred_ms is None else occurred_ms),
        "ruleset_id": content["id"],
        "ruleset": content,
    }
    return bench.give_record("rules", content["id"].encode(), dumps(body))


def withdraw(bench: Bench, id: str = "head-office") -> Decision:
    return bench.give_record("rules", id.encode(), None)


def earned(bench: Bench, order_id: str, occurred_ms: int | None = None) -> tuple[int, int]:
    """Points and version by which an order of 10.00 is paid."""
    before = len(bench.entries)
    bench.order(order_id, 10, occurred_ms=bench.now_ms if occurred_ms is None else occurred_ms)
    made = bench.entries[before:]
    return sum(e["amount"] for e in made), sum(e["rule_version"] for e in made)


def kept(bench: Bench) -> int:
    """How many versions and bounds the partition keeps."""
    bench.flush()
    return len(list(bench.state.scan(TOLD_RULE_SETS_START, TOLD_RULE_SETS_STOP)))


def refused(decision: Decision) -> str:
    """What the dead letter of a refused rule set says."""
    assert decision.outcome is Outcome.RULESET_INVALID
    (letter,) = decision.dead_letters
    assert letter.code is DeadLetterCode.RULESET_INVALID
    return letter.message


def test_a_version_without_a_beginning_holds_from_its_publication() -> None:
    """Given v1 of the programme, when v2 is published, then it scores what happens from then on
    and nothing that happened before, however late that comes."""
    bench = Bench()
    bench.later(1)

    assert publish(bench, rule_set(2)).outcome is Outcome.RULESET_PUBLISHED

    assert earned(bench, "after") == (20, 2)
    assert earned(bench, "before", bench.now_ms - 1) == (10, 1)


def test_a_version_holds_for_its_span_and_leaves_the_rest_to_the_one_below() -> None:
    """Given v2 for one day, tomorrow, then each event has the version of its own moment."""
    bench = Bench()
    from_ms, to_ms = START_MS + DAY_MS, START_MS + 2 * DAY_MS
    publish(bench, rule_set(2, effective_from=rfc3339(from_ms), effective_to=rfc3339(to_ms)))
    bench.later(5)

    versions = [
        earned(bench, f"o{at_ms}", at_ms)[1] for at_ms in (from_ms - 1, from_ms, to_ms - 1, to_ms)
    ]

    assert versions == [1, 2, 2, 1]


def test_a_rule_set_of_a_new_id_holds_beside_the_others() -> None:
    """Given a programme, when a shop publishes its own rule set, then an order is paid by both."""
    bench = Bench()

    publish(bench, rule_set(1, 3, id="shop-7"))

    assert earned(bench, "o")[0] == 10 + 30


def test_all_is_as_before_with_a_new_ledger_over_the_same_state() -> None:
    """Given a version and a withdrawal, when the owner moves, then the same rules are in force."""
    bench = Bench()
    publish(bench, rule_set(1, 3, id="shop-7"))
    publish(bench, rule_set(2))
    bench.later(1)
    withdraw(bench, "shop-7")
    bench.flush()
    bench.restart()

    assert earned(bench, "late", bench.now_ms - DAY_MS) == (20 + 30, 2 + 1)
    assert earned(bench, "now") == (20, 2)
    assert refused(publish(bench, rule_set(1, 9, id="shop-7"))).startswith("version: 1 ")


def test_the_order_in_which_rule_sets_came_is_no_matter_after_a_move_nor_before() -> None:
    """Two partitions that were told in other orders, and one that has moved, award alike."""
    orders = []
    for ids in (("spring", "autumn"), ("autumn", "spring")):
        for moved in (False, True):
            bench = Bench()
            for id_ in ids:
                assert publish(bench, rule_set(1, id=id_)).outcome is Outcome.RULESET_PUBLISHED
            # A second version of the first takes no other place either.
            publish(bench, rule_set(2, id=ids[0]))
            if moved:
                bench.restart()
            versions = {("spring", "autumn"): {2: "spring", 1: "autumn"}}.get(
                ids, {2: "autumn", 1: "spring"}
            )
            bench.order("o", 10)
            told = [(e["rule_version"], e["amount"]) for e in bench.entries]
            orders.append(
                ["own" if amount == 10 else versions[version] for version, amount in told]
            )
    assert orders == [["own", "autumn", "spring"]] * 4


def test_refunds_go_by_the_version_of_the_order_whatever_came_after() -> None:
    """Given an order by v2, when v3 came and v2 is dropped, then a refund still takes v2's."""
    bench = Bench(programme(refund_window="P10D"))
    publish(bench, rule_set(2))
    bench.order("o", 10)
    publish(bench, rule_set(3, 7))
    bench.later(5)
    bench.refund("o", "r1", 5)
    bench.later(6)
    assert kept(bench) == 1
    bench.restart()

    bench.refund("o", "r2", 5)

    assert [e["amount"] for e in bench.entries] == [20, 10, 10]
    assert bench.available() == 0


def test_a_withdrawal_ends_all_versions_at_its_own_time() -> None:
    """Given two versions, when the rule set is withdrawn, then late events are still scored, later
    ones are not, and a second withdrawal changes nothing."""
    bench = Bench()
    publish(bench, rule_set(2))
    bench.later(1)
    withdrawn_ms = bench.now_ms

    assert withdraw(bench).outcome is Outcome.RULESET_WITHDRAWN
    bench.later(1)
    withdraw(bench)

    assert earned(bench, "late", withdrawn_ms - 1) == (20, 2)
    assert earned(bench, "at", withdrawn_ms) == (0, 0)
    assert earned(bench, "now") == (0, 0)


def test_only_a_higher_number_brings_a_withdrawn_rule_set_back() -> None:
    """Given a withdrawn rule set, then its old numbers are used up and the next one holds."""
    bench = Bench()
    withdraw(bench)

    assert refused(publish(bench, rule_set(1, 9))) == (
        "version: 1 was withdrawn; only a version above 1 brings the rule set back"
    )
    bench.later(1)
    publish(bench, rule_set(2))

    assert earned(bench, "o") == (20, 2)


def test_a_withdrawn_version_published_again_is_refused_and_a_redelivery_is_not() -> None:
    """Given v2 that was withdrawn, when it is published anew, then whoever does it is told that
    nothing holds; when the first record comes twice, it is ignored."""
    bench = Bench()
    publish(bench, rule_set(2), event_id="first")
    withdraw(bench)

    again = publish(bench, rule_set(2), event_id="first")

    assert again.outcome is Outcome.RULESET_ALREADY_KNOWN
    assert "was withdrawn" in refused(publish(bench, rule_set(2), event_id="second"))
    assert earned(bench, "o") == (0, 0)


def test_a_publication_dated_back_holds_from_its_own_date() -> None:
    """Given v2 dated an hour ago, then it scores what happened since, taken from now on."""
    bench = Bench()
    hour_ms = 60 * MINUTE_MS
    bench.later(1)

    publish(bench, rule_set(2), occurred_ms=bench.now_ms - hour_ms)

    assert earned(bench, "since", bench.now_ms - hour_ms) == (20, 2)
    assert earned(bench, "before", bench.now_ms - hour_ms - 1) == (10, 1)


def test_a_version_below_one_that_ends_is_kept() -> None:
    """Given v2 without an end and v3 for a day, when refund_window has gone by over both, then v2
    is in force again: only a version without an end makes those below it old."""
    bench = Bench(programme(refund_window="P10D"))
    publish(bench, rule_set(2))
    publish(bench, rule_set(3, 9, effective_to=rfc3339(bench.now_ms + DAY_MS)))
    bench.later(30)

    assert kept(bench) == 1
    assert earned(bench, "o") == (20, 2)


def test_what_is_withdrawn_is_dropped_in_its_time() -> None:
    """Given a version withdrawn long after it began, when refund_window has gone by, then neither
    the partition nor the owner keeps it, and the owner still knows its number."""
    bench = Bench(programme(refund_window="P10D"))
    publish(bench, rule_set(1, id="sale"))
    bench.later(20)
    withdraw(bench, "sale")
    bench.later(11)

    assert kept(bench) == 1
    publish(bench, rule_set(2, id="sale"))
    bench.flush()
    value = bench.state.get(rule_set_owner_key("sale"))
    assert value is not None
    newest, ended, taken = decode_list(value)
    assert (newest, ended, [row[0] for row in taken]) == (2, 1, [2])


def test_withdrawing_what_is_not_there_does_nothing() -> None:
    """Given no rule set of an id, when it is withdrawn, then nothing is told or kept."""
    bench = Bench()

    decision = withdraw(bench, "no-such.rule-set")

    assert decision.outcome is Outcome.RULESET_WITHDRAWN
    assert decision.effects is None
    assert kept(bench) == 0


def test_the_same_version_again_is_known() -> None:
    """Given v2, when it is published again, by another event and at another time, then it holds
    from where it held; the programme's own v1 is known as well."""
    bench = Bench()
    publish(bench, rule_set(2))
    held_ms = bench.now_ms
    bench.later(1)

    assert publish(bench, rule_set(2), event_id="x").outcome is Outcome.RULESET_ALREADY_KNOWN
    assert publish(bench, rule_set(1, 1)).outcome is Outcome.RULESET_ALREADY_KNOWN
    assert earned(bench, "o", held_ms) == (20, 2)


def test_a_number_is_used_once() -> None:
    """Given v5, then v5 with other content, v4 and the programme's v1 are refused: what was scored
    by a number must stay what it says."""
    bench = Bench()
    publish(bench, rule_set(5))

    for number in (5, 4, 1):
        message = refused(publish(bench, rule_set(number, 9), event_id=f"x{number}"))
        assert message == (
            f"version: {number} is not above 5, the newest that is known; a number is used once,"
            " the next is 6"
        )

    assert earned(bench, "o") == (20, 5)


def test_one_event_id_is_not_two_versions() -> None:
    """Given v2, when v3 comes under the same event_id, then it is a dead letter."""
    bench = Bench()
    publish(bench, rule_set(2), event_id="e")

    decision = publish(bench, rule_set(3), event_id="e")

    assert decision.outcome is Outcome.ID_REUSED_WITH_OTHER_CONTENT
    assert earned(bench, "o") == (20, 2)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{**SPEND, "wallet": "miles"}], "rules[0].wallet: "),
        ([SPEND, {**SPEND, "id": "b", "budget": "x"}], "rules[1].budget: unknown budget 'x'; this"),
        (
            [{**SPEND, "id": f"r{n}", "wallet": "miles"} for n in range(9)],
            "; and 6 more",
        ),
    ],
)
def test_what_does_not_fit_the_programme_is_refused_and_the_old_one_stays(
    rules: list[dict[str, Any]], says: str
) -> None:
    """Given a rule set that asks for what is not there, then path and what is allowed are told."""
    bench = Bench()

    message = refused(publish(bench, rule_set(2, rules=rules)))

    assert says in message or message.endswith(says)
    assert len(message) <= 500
    assert earned(bench, "o") == (10, 1)
    assert kept(bench) == 0


def test_a_version_that_ends_before_it_begins_is_refused() -> None:
    """Given no effective_from and an effective_to before the publication, then it is refused."""
    bench = Bench()

    message = refused(publish(bench, rule_set(2, effective_to=rfc3339(bench.now_ms))))

    assert message.startswith("effective_to: must be later")


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a fault in the compiler itself, then the rule set is refused and the ledger goes on."""
    bench = Bench()

    def broken(*args: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(compiling, "_reward", broken)

    assert refused(publish(bench, rule_set(2))) == "it cannot be compiled: too deep"
    assert earned(bench, "o") == (10, 1)


def test_a_publication_dated_ahead_of_its_record_is_a_dead_letter() -> None:
    """Given an occurred_at far ahead, then it is too_far_in_future; effective_from may be ahead."""
    bench = Bench()

    ahead = publish(bench, rule_set(2), occurred_ms=bench.now_ms + 10 * MINUTE_MS)
    fine = publish(bench, rule_set(2, effective_from=rfc3339(bench.now_ms + 90 * DAY_MS)))

    assert ahead.outcome is Outcome.TOO_FAR_IN_FUTURE
    assert fine.outcome is Outcome.RULESET_PUBLISHED


@pytest.mark.parametrize(
    "span",
    [
        {"effective_from": "0001-01-01T00:00:00+14:00"},
        {"effective_to": "9999-12-31T23:59:59-14:00"},
        {"effective_from": "0001-01-01T00:00:00Z", "effective_to": "0001-01-02T00:00:00Z"},
    ],
)
def test_spans_at_the_ends_of_the_calendar_stop_nothing(span: dict[str, str]) -> None:
    """Given the first or last moment of the calendar, then the ledger takes it or refuses it."""
    bench = Bench()

    publish(bench, rule_set(2, **span))
    bench.later(1)
    bench.restart()

    assert earned(bench, "o")[1] in (1, 2)


def test_versions_that_no_event_can_ask_for_are_dropped() -> None:
    """Given versions that are over or outdone, when refund_window has gone by, then they are gone,
    the newest stays, and scoring is as before."""
    bench = Bench(programme(refund_window="P10D"))
    for number in range(2, 12):
        publish(bench, rule_set(number, number))
        bench.later(1)
    publish(bench, rule_set(1, id="sale", effective_to=rfc3339(bench.now_ms + DAY_MS)))
    assert kept(bench) == 11

    bench.later(8)
    assert earned(bench, "old", bench.now_ms - 9 * DAY_MS - 1)[1] == 10
    bench.later(12)

    assert kept(bench) == 1
    assert earned(bench, "o") == (110, 11)
    bench.flush()
    bench.restart()
    assert earned(bench, "again") == (110, 11)


def test_a_withdrawn_rule_set_of_the_programme_does_not_come_back_when_it_is_forgotten() -> None:
    """Given a withdrawn rule set of the file, when all versions are dropped, then it stays away."""
    bench = Bench(programme(refund_window="P10D"))
    publish(bench, rule_set(2))
    withdraw(bench)
    bench.later(11)

    assert kept(bench) == 1
    bench.flush()
    bench.restart()
    assert earned(bench, "o") == (0, 0)


def test_a_rule_set_that_no_longer_fits_is_set_aside_and_comes_back() -> None:
    """Given v2 into a wallet, when a programme without that wallet comes, then v1 is in force, the
    ledger says what is not; and with the wallet v2 is there again."""
    wallets = [{"id": "points"}, {"id": "miles"}]
    with_miles = programme(wallets=wallets)
    bench = Bench(with_miles)
    publish(bench, rule_set(2, rules=[{**SPEND, "wallet": "miles"}]))
    bench.flush()

    bench.programme = programme()
    bench.restart()
    assert earned(bench, "o1") == (10, 1)
    (aside,) = bench.ledger.take_set_aside()
    assert (aside.rule_set, aside.version) == ("head-office", 2)
    assert aside.reason.startswith("rules[0].wallet: ")
    assert bench.ledger.take_set_aside() == []

    bench.flush()
    bench.programme = with_miles
    bench.restart()
    assert earned(bench, "o2") == (10, 2)
    assert bench.ledger.take_set_aside() == []


def test_a_version_told_by_an_owner_with_another_programme_is_set_aside() -> None:
    """Given two workers with two programmes, when one tells what the other cannot use, then the
    other goes on without it and keeps it."""
    bench = Bench()
    fields = rule_set(2, rules=[{**SPEND, "wallet": "miles"}])
    body = {"from_ms": bench.now_ms, "to_ms": None, "ruleset": fields}

    bench.arrive(Message("ruleset.told", None, body))

    assert bench.decisions[-1].outcome is Outcome.RULESET_SET_ASIDE
    assert earned(bench, "o") == (10, 1)
    assert kept(bench) == 1


def test_a_programme_that_takes_a_published_number_is_told_of() -> None:
    """Given a published v2, when the file brings another v2, then the published one counts."""
    bench = Bench()
    publish(bench, rule_set(2))
    bench.flush()

    bench.programme = programme(rule_sets=[rule_set(2, 9, effective_from="2020-01-01T00:00:00Z")])
    bench.restart()

    assert earned(bench, "o") == (20, 2)
    assert [aside.version for aside in bench.ledger.take_set_aside()] == [2]
