"""Members, standings, the check of the books, and what an event costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ledger_support import SPEND, Bench, DictState, programme, rule

from pointstream.ledger import (
    Account,
    ConservationBreach,
    Outcome,
    Totals,
    conservation,
    decode_account,
)
from pointstream.ledger.book import LOTS_PER_ENTRY
from pointstream.ledger.codec import decode_list, encode_account
from pointstream.ledger.state import account_key, event_key, profile_key


def test_member_events_may_come_in_any_order() -> None:
    """Each field keeps the latest word about it; a field that is not given stays."""
    early = {"segments": ["new"], "birthday": "03-08", "home_store_id": "s1"}
    late = {"segments": ["vip", "tea"], "tags": {"size": 4}}
    states = []
    for swapped in (False, True):
        bench = Bench()
        told = [("member.registered", early, 2_000), ("member.updated", late, 1_000)]
        for number, (type_, fields, age_ms) in enumerate(reversed(told) if swapped else told):
            bench.give(
                type_, event_id=f"{type_}{number}", occurred_ms=bench.now_ms - age_ms, **fields
            )
        (profile,) = decode_list(bench.books()[profile_key(b"m1")])
        assert {name: value for name, (value, _) in profile.items()} == {**early, **late}
        assert bench.standings[-1].crm_sync["segments"] == ["vip", "tea"]
        states.append(bench.books()[profile_key(b"m1")])

    assert states[0] == states[1]


def test_member_event_that_tells_nothing_new_changes_nothing() -> None:
    """An older word about a field that is known from later is ignored."""
    bench = Bench()
    bench.give("member.updated", home_store_id="s2")
    before = bench.books()

    older = bench.give(
        "member.updated", event_id="older", home_store_id="s1", occurred_ms=bench.now_ms - 1
    )

    assert older.outcome is Outcome.MEMBER_KNOWN_LATER
    after = bench.books()
    del after[event_key(b"m1", "older")]
    assert after == before, "nothing but its id is kept"


def test_null_in_a_member_event_is_the_same_as_leaving_it_out() -> None:
    """What was told before stays, also when nothing else is told."""
    bench = Bench()
    bench.give("member.registered", birthday="05-01", home_store_id="s1")
    bench.later(1)
    bench.give("member.updated", birthday=None, home_store_id="s2")
    before = bench.books()[profile_key(b"m1")]
    bench.give("member.updated", birthday=None)

    (profile,) = decode_list(bench.books()[profile_key(b"m1")])
    assert {name: told[0] for name, told in profile.items()} == {
        "birthday": "05-01",
        "home_store_id": "s2",
    }
    assert bench.books()[profile_key(b"m1")] == before


def test_standing_is_given_once_per_batch_and_member() -> None:
    """The latest one, and none for a member to whom nothing happened."""
    bench = Bench(
        programme(
            SPEND,
            rule("spend", id="g", wallet="growth", per_minor=1_000),
            wallets=[{"id": "points"}, {"id": "growth", "spendable": False}],
        ),
        batch=4,
    )
    bench.order("o1", 100)
    bench.order("o2", 50, member="m2")
    bench.redeem(30)
    bench.redeem(3_000, member="m3")
    bench.flush()

    assert [s.member_id for s in bench.standings] == ["m1", "m2"]
    crm, mall = bench.standings[0].crm_sync, bench.standings[0].mall_sync
    assert (crm["seq"], crm["available"], crm["growth_available"]) == (3, 70, 10)
    assert (crm["lifetime_earned"], crm["lifetime_redeemed"]) == (100, 30)
    assert mall["available"] == 70
    assert crm["last_activity_at"] == crm["updated_at"] == "2026-03-01T16:00:00.000Z"


@pytest.mark.parametrize(
    ("wallet", "outcome"),
    [("growth", Outcome.WALLET_NOT_SPENDABLE), ("gold", Outcome.WALLET_UNKNOWN)],
)
def test_only_spendable_wallets_can_be_redeemed_from(wallet: str, outcome: Outcome) -> None:
    """Growth drives tiers and buys nothing; a wallet that is not declared does not exist."""
    bench = Bench(
        programme(
            rule("spend", wallet="growth", per_minor=100),
            wallets=[{"id": "points"}, {"id": "growth", "spendable": False}],
        )
    )
    bench.order("o1", 100)

    assert bench.redeem(1, wallet=wallet).outcome is outcome


def test_books_that_do_not_balance_stop_the_partition() -> None:
    """The breach knows the member, and tells the wallet and both sides."""
    bench = Bench()
    bench.order("o1", 100)
    bench.flush()
    key = account_key(b"m1")
    account = decode_account(key, bench.state.values[key])
    account.wallets["points"].available += 1
    bench.state.put(key, encode_account(account))
    bench.restart()

    with pytest.raises(ConservationBreach, match=r"wallet 'points' .* 101 .* 102 ") as caught:
        bench.order("o2", 1)
    assert (caught.value.member_id, caught.value.wallet) == ("m1", "points")
    assert (caught.value.came_in, caught.value.accounted_for) == (101, 102)


def test_lots_that_hold_less_than_the_account_says_stop_the_partition() -> None:
    """Points that are in no lot cannot be spent, and are not made up."""
    bench = Bench()
    bench.order("o1", 100)
    bench.flush()
    (lot,) = [key for key in bench.state.values if key[:1] == b"l"]
    bench.state.delete(lot)

    with pytest.raises(ConservationBreach):
        bench.redeem(50)


def test_account_value_survives_the_codec() -> None:
    """What is written is read back, and the tool that adds it up finds both sides."""
    bench = Bench(programme(SPEND, rule("check_in", points=2, streak={"days": 2, "points": 9})))
    bench.order("o1", 100)
    bench.check_in()
    bench.later(1)
    bench.check_in()
    bench.flush()
    key = account_key(b"m1")
    value = bench.state.values[key]

    account = decode_account(key, value)

    assert encode_account(account) == value
    assert account.member_id == "m1"
    assert account.seq == 4
    assert conservation(account) == [("points", 113, 113)]
    assert conservation(Account("x", b"x", wallets={"points": Totals(available=5, earned=4)})) == [
        ("points", 4, 5)
    ]


class CountingState(DictState):
    """Counts how many values are read."""

    read = 0

    def get(self, key: bytes) -> bytes | None:
        self.read += 1
        return super().get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for pair in super().scan(start, stop):
            self.read += 1
            yield pair


def test_earning_costs_the_same_however_many_lots_a_member_has() -> None:
    """It reads no lot, and the account's value does not grow."""
    compiled = programme(wallets=[{"id": "points", "expiry": {"months": 12, "end_of": "month"}}])
    costs = []
    for lots in (10, 3_000):
        state = CountingState()
        bench = Bench(compiled, state=state, batch=500)
        for number in range(lots):
            bench.order(f"o{number}", 10)
        bench.flush()
        bench.restart()
        state.read = 0
        bench.order("new", 10)
        bench.redeem(1)
        bench.check_in()
        bench.flush()
        costs.append((state.read, len(state.values[account_key(b"m1")])))

    (few, short), (many, long) = costs
    assert few == many
    assert long - short < 20


def test_a_movement_of_very_many_lots_is_split_into_entries() -> None:
    """Each fits into a record; together they are the movement, and the answer counts them all."""
    bench = Bench(batch=500)
    for number in range(LOTS_PER_ENTRY + 5):
        bench.order(f"o{number}", 2)

    decision = bench.redeem(2 * LOTS_PER_ENTRY + 10)

    assert [(e["amount"], len(e["lots"])) for e in decision.entries] == [
        (2 * LOTS_PER_ENTRY, LOTS_PER_ENTRY),
        (10, 5),
    ]
    assert decision.result is not None
    assert decision.result["seq"] == decision.entries[-1]["seq"]
    assert bench.available() == 0
