"""Standings that are sent again: the same bytes, of those who were asked for, in bounded steps."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import Bench, outcomes

from pointstream.contracts.wire import dumps
from pointstream.ledger import Outcome
from pointstream.ledger.messages import Message
from pointstream.ledger.resyncing import LOOKED_AT, PACE_MS, RESYNCED, SENT

STORE = {"id": "desk", "role": "store", "store_id": "s1"}


def sent(bench: Bench) -> dict[str, bytes]:
    """The latest standing of each member since the last call, both systems together."""
    bench.flush()
    told = {each.member_id: dumps([each.crm_sync, each.mall_sync]) for each in bench.standings}
    bench.standings.clear()
    return told


def resync_all(bench: Bench, name: str = "all", **fields: Any) -> Any:
    return bench.command("accounts.resync", name, reason="asked", **fields)


def at_home(bench: Bench, member: str, store: str) -> None:
    bench.give("member.registered", member, home_store_id=store)


def test_a_standing_is_sent_again_as_it_was() -> None:
    """Same `seq`, same bytes; no entry, and the account is not written."""
    bench = Bench()
    bench.order("o1", 100)
    bench.hold("h1", 30)
    before, books = sent(bench), bench.books()
    bench.later(0.5)

    decision = bench.command("account.resync")

    assert decision.outcome is Outcome.STANDING_SENT
    assert decision.result is not None
    assert (decision.result["resent"], decision.result["seq"]) == (1, 2)
    assert sent(bench) == before
    assert len(bench.entries) == 2
    after = bench.books()
    changed = {key for key in {*books, *after} if books.get(key) != after.get(key)}
    assert {key[:1] for key in changed} == {b"M"}


def test_a_command_given_again_is_answered_and_sends_nothing() -> None:
    """As every command is."""
    bench = Bench()
    bench.order("o1", 100)
    first = bench.command("account.resync", event_id="r")
    sent(bench)

    again = bench.command("account.resync", event_id="r", occurred_ms=bench.now_ms, reason="asked")

    assert (again.outcome, again.result) == (Outcome.COMMAND_ALREADY_ANSWERED, first.result)
    assert sent(bench) == {}


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_what_changes_in_the_same_batch_is_sent_once_as_it_is_then(batch: int) -> None:
    """The latest counts, whichever came first."""
    bench = Bench(batch=batch)
    bench.order("o1", 100)
    bench.command("account.resync")
    bench.order("o2", 7)
    bench.command("account.resync")
    bench.flush()

    told = [each.crm_sync["seq"] for each in bench.standings if each.crm_sync is not None]
    assert told == {1: [1, 1, 2, 2], 2: [1, 2], 5: [2]}[batch]


def test_of_a_member_who_is_unknown_nothing_is_sent() -> None:
    """And no account comes to be."""
    bench = Bench()

    decision = bench.command("account.resync", "nobody")

    assert decision.result is not None
    assert (decision.result["outcome"], decision.result["resent"]) == ("accepted", 0)
    assert sent(bench) == {}


def test_one_who_was_erased_gets_the_tombstones_again() -> None:
    """A database that was put back from a backup has the row again."""
    bench = Bench()
    bench.order("o1", 100)
    bench.command("account.erase")
    sent(bench)

    decision = bench.command("account.resync")
    refused = bench.command("account.resync", actor={"id": "m1", "role": "member"})

    assert decision.result is not None
    assert (decision.result["outcome"], decision.result["resent"]) == ("accepted", 1)
    assert refused.outcome is Outcome.NOT_PERMITTED
    assert sent(bench) == {"m1": dumps([None, None])}


def test_one_who_was_merged_is_sent_under_the_own_id() -> None:
    """Not the survivor in its place, and a repeat is answered as before."""
    bench = Bench()
    bench.order("o1", 100)
    bench.order("o2", 10, "m2")
    bench.command("account.merge", into_member_id="m2")
    before = sent(bench)

    decision = bench.command("account.resync", event_id="r")
    again = bench.command("account.resync", event_id="r")

    assert decision.outcome is Outcome.STANDING_SENT
    assert (again.outcome, again.result) == (Outcome.COMMAND_ALREADY_ANSWERED, decision.result)
    assert sent(bench) == {"m1": before["m1"]}


def test_all_are_sent_merged_ones_too_and_erased_ones_not() -> None:
    """Who is left out of a resync of all is no member any more."""
    bench = Bench()
    for number in range(1, 6):
        bench.order(f"o{number}", 100, f"m{number}")
    bench.command("account.erase", "m4")
    bench.command("account.merge", "m5", into_member_id="m1")
    before = sent(bench)
    del before["m4"]
    began_ms = bench.now_ms

    decision = resync_all(bench, event_id="r")
    assert decision.outcome is Outcome.RESYNC_ASKED
    assert outcomes(resync_all(bench, event_id="r")) == [Outcome.EVENT_ALREADY_TAKEN]
    bench.later(ms=1)

    assert sent(bench) == before
    assert bench.answers[-1]["resent"] == 4
    assert (bench.answers[-1]["command_id"], bench.answers[-1]["member_id"]) == ("r", "all")
    again = resync_all(bench, event_id="r", occurred_ms=began_ms)
    assert (again.outcome, again.result) == (Outcome.COMMAND_ALREADY_ANSWERED, bench.answers[-1])
    assert not [key for key in bench.books() if key[:1] == b"1"]


def test_a_shops_members_are_those_who_are_at_home_there() -> None:
    """By the latest that was told; who only bought there is not one of them."""
    bench = Bench()
    for member, store in (("m1", "s1"), ("m2", "s2"), ("m3", "s1"), ("m4", "s1")):
        at_home(bench, member, store)
    bench.order("o5", 100, "m5", store_id="s1")
    bench.give("member.updated", "m3", home_store_id="s2")
    sent(bench)

    resync_all(bench, home_store_id="s1", actor=STORE, store_id="s1")
    bench.later(ms=1)

    assert set(sent(bench)) == {"m1", "m4"}
    assert bench.answers[-1]["resent"] == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"actor": STORE, "store_id": "s1"},
        {"actor": STORE, "store_id": "s1", "home_store_id": "s2"},
        {"actor": STORE, "store_id": "s2", "home_store_id": "s2"},
        {"actor": {"id": "all", "role": "member"}},
        {"name": "m1"},
    ],
)
def test_shops_ask_for_their_own_and_no_member_names_a_request(fields: dict[str, Any]) -> None:
    """A shop that asked for all would learn how many there are."""
    bench = Bench()
    bench.order("o1", 100)
    sent(bench)

    assert resync_all(bench, **fields).outcome is Outcome.NOT_PERMITTED
    bench.later(1)
    assert sent(bench) == {}


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_a_walk_is_bounded_and_events_go_on_between_its_steps(batch: int) -> None:
    """At most so many standings a step, whatever happens meanwhile; everybody once."""
    bench = Bench(batch=batch)
    members = [f"m{number:04}" for number in range(SENT * 3 + 5)]
    for member in members:
        bench.order(f"o-{member}", 1, member)
    sent(bench)

    resync_all(bench)
    steps = []
    for step in range(5):
        bench.tick(bench.now_ms + (PACE_MS if step else 0))
        bench.order(f"late-{step}", 1, "late")
        told = sent(bench)
        steps.append(len(told.keys() - {"late"}))
        assert "late" in told

    assert steps == [SENT, SENT, SENT, 5, 0]
    # The one who came to be in between is met, where it comes after what was walked over.
    assert bench.answers[-1]["resent"] == len(members)


def test_a_step_looks_at_a_bounded_number_of_accounts() -> None:
    """Also where nobody among them is asked for."""
    bench = Bench()
    for number in range(LOOKED_AT + 1):
        bench.order(f"o{number}", 1, f"m{number:04}")
    at_home(bench, f"m{LOOKED_AT:04}", "s1")
    sent(bench)

    resync_all(bench, home_store_id="s1")
    bench.later(ms=0)
    assert sent(bench) == {}
    bench.later(ms=PACE_MS)
    assert set(sent(bench)) == {f"m{LOOKED_AT:04}"}


def test_a_restart_goes_on_where_the_walk_stood() -> None:
    """Nobody comes twice, nobody is left out."""
    bench = Bench()
    members = {f"m{number:04}" for number in range(SENT * 2)}
    for member in members:
        bench.order(f"o-{member}", 1, member)
    sent(bench)

    resync_all(bench)
    told: list[str] = []
    for _ in range(4):
        bench.restart()
        bench.later(ms=PACE_MS)
        told += sent(bench)

    assert len(told) == len(members)
    assert set(told) == members


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_who_is_met_does_not_depend_on_where_batches_end(batch: int) -> None:
    """An account that came to be in the batch of the step is met by it."""
    bench = Bench(batch=batch)
    bench.order("o1", 100)
    resync_all(bench)
    bench.later(ms=1)

    assert bench.answers[-1]["resent"] == 1


def test_a_report_that_nobody_waits_for_stops_nobody() -> None:
    """A replay of what was recorded may begin between question and answer."""
    bench = Bench()
    bench.arrive(Message(RESYNCED, "all", {"command_id": "r", "sent": 3}))

    assert bench.decisions[-1].outcome is Outcome.RESYNC_TOLD
    assert bench.answers == []
