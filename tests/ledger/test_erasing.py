"""A member is forgotten: nothing of the id is left but a digest, and the sums stay right."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, Bench, programme, rule

from pointstream.ledger import Outcome
from pointstream.ledger.codec import decode_sums

ID = "forget-me"


def erase(bench: Bench, member: str = ID, **fields: Any) -> dict[str, Any]:
    """Erase a member; return the answer to the command."""
    decision = bench.command("account.erase", member, **fields)
    assert decision.result is not None
    return decision.result


def traces(bench: Bench, *ids: str) -> list[bytes]:
    """The keys that hold an id, in themselves or in their value."""
    return [
        key
        for key, value in bench.books().items()
        for id_ in ids
        if id_.encode() in key or id_.encode() in value
    ]


def busy(bench: Bench, member: str = ID) -> None:
    """Let a member have something of every kind."""
    bench.order("o1", 100, member=member)
    bench.redeem(10, member=member, order_id="o1")
    bench.hold("h1", 20, member=member)
    bench.hold("h2", 5, member=member)
    bench.void("h2", member=member)
    bench.refund("o9", "r9", 3, member=member)
    bench.check_in(member)
    bench.give("referral.registered", member, referee_id="friend")
    bench.give("member.registered", member, segments=["vip"], referrer_id="friend")


def rich() -> Bench:
    return Bench(
        programme(
            rule("spend", points=1, per_minor=100),
            rule("check_in", points=1),
            rule("referral", when="registered", points=5),
            wallets=[
                {"id": "points", "expiry": {"days": 300}},
                {"id": "growth", "spendable": False, "activation": {"after": "P2D"}},
            ],
        )
    )


@pytest.mark.case(33)
def test_nothing_of_an_erased_member_is_left_in_the_state() -> None:
    """No key and no value; the CRM and the mall get tombstones, the command its answer."""
    bench = rich()
    busy(bench)
    bench.adjust(40, ID, wallet="growth")
    assert traces(bench, ID)

    answer = erase(bench, event_id="c1", reason="asked to")

    assert (answer["outcome"], answer["available_after"]) == ("accepted", 0)
    assert not traces(bench, ID)
    assert not [key for key in bench.books() if key[:1] == b"t"]
    last = bench.standings[-1]
    assert (last.member_id, last.crm_sync, last.mall_sync) == (ID, None, None)


@pytest.mark.case(33)
def test_what_is_left_is_cleared_and_the_sums_of_the_programme_stay_right() -> None:
    """Available, pending and held points are cleared out with an entry that says so."""
    bench = rich()
    busy(bench)
    before = bench.wallet(ID)
    start = len(bench.entries)

    answer = erase(bench, event_id="c1", reason="asked to")

    entries = bench.entries[start:]
    assert [e["type"] for e in entries] == ["points.cleared"]
    entry = entries[0]
    assert entry["amount"] == before.available + before.held == 96
    assert (entry["available_after"], entry["held_after"]) == (0, 0)
    assert (entry["reason"], entry["actor_id"]) == ("asked to", "clerk")
    assert answer["seq"] == entry["seq"]
    sums = decode_sums(bench.books()[b"x"])
    assert sums.accounts == 1
    totals = sums.wallets["points"]
    assert (totals.earned, totals.redeemed, totals.cleared) == (106, 10, 96)
    assert totals.balances()


@pytest.mark.case(33)
def test_a_late_event_does_not_bring_the_member_back() -> None:
    """Events are dead letters, commands are rejected, each time; time passes without effect."""
    bench = rich()
    busy(bench)
    erase(bench)
    books = bench.books()

    late = [
        bench.order("o2", 10, member=ID),
        bench.refund("o1", "r1", 10, member=ID),
        bench.check_in(ID),
        bench.give("member.updated", ID, segments=["vip"]),
    ]
    assert {d.outcome for d in late} == {Outcome.ACCOUNT_ERASED}
    assert [letter.code for d in late for letter in d.dead_letters] == ["account_erased"] * 4
    for _ in range(2):
        result = bench.redeem(1, member=ID, event_id="c9", occurred_ms=START_MS).result
        assert result is not None
        assert result["reason"] == "account_erased"
    bench.later(days=400)
    assert bench.books() == books
    assert bench.standings[-1].crm_sync is None


def test_the_command_is_answered_the_same_again() -> None:
    """Given once more it is accepted still; another one is rejected."""
    bench = rich()
    busy(bench)
    first = erase(bench, event_id="c1", occurred_ms=START_MS)
    bench.restart()
    assert erase(bench, event_id="c1", occurred_ms=START_MS) == first
    assert erase(bench, event_id="c1", occurred_ms=START_MS + 1)["reason"] == "account_erased"
    assert erase(bench, event_id="c2")["reason"] == "account_erased"


def test_a_frozen_member_can_be_erased() -> None:
    """With what was kept pending past its time of activation."""
    bench = rich()
    bench.order("o1", 10, member=ID)
    bench.freeze(ID)
    bench.order("o2", 20, member=ID)
    assert erase(bench)["outcome"] == "accepted"
    assert bench.entries[-1]["amount"] == 30
    assert not traces(bench, ID)


def test_a_debt_is_written_off() -> None:
    """An entry says so, and the books balance."""
    bench = Bench(programme(refund_policy="debt"))
    bench.order("o1", 100, member=ID)
    bench.redeem(80, member=ID)
    bench.refund("o1", "r1", 100, member=ID)
    assert bench.wallet(ID).debt == 80
    erase(bench)
    entry = bench.entries[-1]
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.adjusted", 80, 0)
    assert entry["debt_after"] == 0
    assert decode_sums(bench.books()[b"x"]).wallets["points"].balances()


@pytest.mark.case(33)
def test_who_was_merged_into_an_erased_member_is_erased_too() -> None:
    """Over a chain of merges: the old accounts name the survivor, and would give the id away."""
    bench = rich()
    for member in ("alter-1", "alter-2", ID):
        busy(bench, member)
    bench.command("account.merge", "alter-1", into_member_id="alter-2")
    bench.command("account.merge", "alter-2", into_member_id=ID)
    erase(bench)

    assert not traces(bench, ID, "alter-1", "alter-2")
    gone = [s.member_id for s in bench.standings if s.crm_sync is None]
    assert sorted(gone) == ["alter-1", "alter-2", ID]
    late = bench.order("o5", 10, member="alter-1")
    assert late.dead_letters[0].code == "account_erased"


def test_the_sums_of_several_erased_accounts_add_up() -> None:
    """One that was erased, and one that had been merged into it."""
    bench = rich()
    for member in ("alter", ID):
        busy(bench, member)
    bench.command("account.merge", "alter", into_member_id=ID)
    erase(bench)
    sums = decode_sums(bench.books()[b"x"])
    assert sums.accounts == 2
    totals = sums.wallets["points"]
    assert (totals.earned, totals.cleared) == (2 * 106, 2 * 96)
    assert totals.transferred_in == totals.transferred_out == 96
    assert totals.balances()


@pytest.mark.case(33)
def test_other_members_do_not_remember_the_id() -> None:
    """Who was brought by the erased member, and who brought them."""
    bench = rich()
    bench.give("referral.registered", "friend", referee_id=ID)
    bench.give("member.registered", "friend", referrer_id=ID)
    bench.order("o1", 10, member=ID)
    erase(bench)
    assert not traces(bench, ID)
    again = bench.give("referral.registered", "friend", referee_id=ID)
    assert again.outcome is Outcome.REFERRAL_ALREADY_AWARDED


def test_only_a_member_on_their_own_can_be_erased() -> None:
    """Not one that was merged, nor one that nobody named who may."""
    bench = rich()
    for member in (ID, "other"):
        busy(bench, member)
    member_itself = {"id": ID, "role": "member"}
    assert erase(bench, actor=member_itself)["reason"] == "not_permitted"
    bench.command("account.merge", "other", into_member_id=ID)
    assert erase(bench, "other")["reason"] == "account_merged"
    assert traces(bench, ID)


def test_erasing_an_unknown_member_keeps_later_events_out() -> None:
    """The command can come before the first event."""
    bench = rich()
    assert erase(bench)["outcome"] == "accepted"
    assert not traces(bench, ID)
    assert bench.order("o1", 10, member=ID).outcome is Outcome.ACCOUNT_ERASED


@pytest.mark.parametrize("batch", [7, 1000])
def test_the_batch_size_does_not_show(batch: int) -> None:
    """Erased and written in one batch or in many: the same state, byte for byte."""
    books = []
    for size in (1, batch):
        bench = rich()
        bench.batch = size
        busy(bench)
        busy(bench, "other")
        bench.command("account.merge", "other", into_member_id=ID)
        erase(bench)
        bench.order("o2", 10, member=ID)
        bench.tick(START_MS + DAY_MS)
        books.append(bench.books())
    assert books[0] == books[1]
