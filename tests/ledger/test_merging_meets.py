"""What a merge or an erasure meets half way, and members who make it hard on purpose."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pytest
from ledger_support import Bench, outcomes, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome, leaving


class Slow(Bench):
    """A bench whose messages arrive one by one, when they are told to."""

    waits = False

    def deliver(self) -> None:
        if not self.waits:
            super().deliver()

    def step(self, messages: int = 1) -> None:
        """Let the oldest messages arrive."""
        for _ in range(messages):
            self.arrive(self.messages.pop(0))


def publish(bench: Bench, item_id: str, **fields: Any) -> None:
    """Publish an item of the catalogue."""
    body = {"type": "item.published", "item_id": item_id, "occurred_at": rfc3339(bench.now_ms)}
    bench.give_body({**body, "event_id": f"of-{item_id}", "member_id": item_id, **fields})


def merge(bench: Bench, old: str = "old", survivor: str = "new", **fields: Any) -> None:
    bench.command("account.merge", old, into_member_id=survivor, **fields)


@pytest.mark.case(32)
@pytest.mark.parametrize("end", ["time", "command"])
def test_a_hold_ends_in_full_whatever_has_arrived_of_it(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Its lots may come in several messages: until all are there, nothing ends it."""
    monkeypatch.setattr(leaving, "KEYS_PER_MESSAGE", 2)
    bench = Slow()
    for number in range(3):
        bench.order(f"o{number}", 10, member="old")
    bench.hold("h", 25, member="old", expires_at="2026-03-02T00:00:00Z")
    bench.order("o9", 1, member="new")
    bench.waits = True
    merge(bench)
    bench.step(3)
    assert 0 < bench.wallet("new").held < 25

    if end == "time":
        bench.later(days=1)
    else:
        early = bench.capture("h", member="new")
        assert early.outcome is Outcome.HOLD_UNKNOWN
    bench.waits = False
    bench.deliver()
    bench.later(days=1)

    assert bench.moved("voided") == [25]
    assert (bench.available("new"), bench.wallet("new").held) == (31, 0)


@pytest.mark.case(32)
@pytest.mark.parametrize("same", [True, False])
def test_no_hold_of_a_survivor_is_mixed_up_with_one_that_arrives(same: bool) -> None:
    """Whatever ids a survivor's holds have, also the one that an arriving hold would get."""
    bench = Bench()
    bench.order("o1", 100, member="old")
    bench.order("o2", 100, member="new")
    other = f"x~{blake2b(b'old', digest_size=4).hexdigest()}"
    bench.hold("x", 30, member="old")
    bench.hold(other, 10, member="new")
    if same:
        bench.hold("x", 5, member="new")

    merge(bench)
    done = [bench.capture("x", member="new"), bench.capture(other, member="new")]

    assert set(outcomes(*done)) == {Outcome.POINTS_CAPTURED}
    assert bench.wallet("new").redeemed == (15 if same else 40)
    bench.later(days=30)
    assert (bench.available("new"), bench.wallet("new").held) == (185 if same else 160, 0)


@pytest.mark.case(32)
@pytest.mark.parametrize("policy", ["within_balance", "debt"])
def test_a_refund_finds_a_survivor_who_never_had_a_point(policy: str) -> None:
    """All was spent before the merge: the survivor has the order, and no wallet."""
    bench = Bench(programme(refund_policy=policy))
    bench.order("o1", 100, member="old")
    bench.redeem(100, member="old")
    bench.give("member.registered", "new")
    merge(bench)

    bench.refund("o1", "r1", 60, member="old")

    assert bench.entries[-1]["member_id"] == "new"
    owed = bench.wallet("new")
    assert (owed.debt, owed.written_off) == ((60, 0) if policy == "debt" else (0, 60))


@pytest.mark.case(32)
@pytest.mark.parametrize("kind", ["account.merge", "account.erase"])
def test_what_was_refused_before_a_merge_stays_refused_for_that_reason(kind: str) -> None:
    """A repeated command has its recorded answer, also one that is not passed on."""
    bench = Bench(programme(consent_always=["account.erase"]))
    bench.order("o1", 1, member="old")
    bench.order("o2", 1, member="new")
    bench.freeze("new")
    fields: dict[str, Any] = {"event_id": "first", "occurred_ms": bench.now_ms}
    if kind == "account.merge":
        fields["into_member_id"] = "new"
    bench.command(kind, "old", **fields)
    if kind == "account.erase":
        bench.command(
            "review.reject",
            "old",
            flag_id=bench.flags[0]["flag_id"],
            reason="no",
        )
    bench.unfreeze("new")
    merge(bench, event_id="second")

    bench.command(kind, "old", **fields)

    told = [answer for answer in bench.answers if answer["command_id"] == "first"]
    assert told[0] == told[1]
    assert told[0]["reason"] in ("recipient_frozen", "consent_denied")


@pytest.mark.case(32)
def test_a_merge_that_is_forgotten_is_not_answered_anew() -> None:
    """Accepted once, it is too old when it comes again after the time for which it is known."""
    bench = Bench()
    bench.order("o1", 1, member="old")
    bench.order("o2", 1, member="new")
    at_ms = bench.now_ms
    merge(bench, event_id="c1", occurred_ms=at_ms)
    bench.later(days=31)

    again = bench.command(
        "account.merge", "old", into_member_id="new", event_id="c1", occurred_ms=at_ms
    )

    assert again.outcome is Outcome.TOO_OLD
    assert [answer["outcome"] for answer in bench.answers] == ["accepted"]


def test_two_commands_of_one_id_keep_their_own_answers() -> None:
    """One of the survivor, and one that came along with a merge and is answered later."""
    bench = Slow()
    bench.order("o1", 100, member="old")
    bench.order("o2", 100, member="new")
    now = bench.now_ms
    publish(bench, "cup", price_points=40, stock=1)
    bench.redeem(10, member="new", event_id="same", occurred_ms=now)
    bench.waits = True
    fields: dict[str, Any] = {"item_id": "cup", "actor": {"id": "old", "role": "member"}}
    bench.give("points.redeem", "old", event_id="same", occurred_ms=now, **fields)
    merge(bench)
    # The answer about the stock comes when all has moved.
    asked = bench.messages.pop(0)
    bench.waits = False
    bench.deliver()
    bench.arrive(asked)
    bench.deliver()
    assert bench.available("new") == 150

    again = bench.redeem(10, member="new", event_id="same", occurred_ms=now)

    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert again.result == bench.answers[0]


@pytest.mark.case(33)
def test_a_refund_that_waits_when_its_member_is_erased_is_a_dead_letter() -> None:
    """It was taken to be looked at later: nothing is skipped without a word."""
    bench = Bench()
    bench.order("o1", 10)
    bench.refund("o2", "r1", 5)

    erased = bench.command("account.erase")

    (letter,) = erased.dead_letters
    assert letter.code == "account_erased"
    assert b'"r1"' in (letter.source.value or b"")
    assert bench.later(days=30) == []


def test_a_price_beyond_all_numbers_is_above_every_limit() -> None:
    """Price times quantity can be more than a record can say: it waits for consent all the same."""
    bench = Bench(programme(limits={"member": {"redeem": 100}}))
    bench.order("o1", 10)
    publish(bench, "moon", price_points=10**15)

    decision = bench.give(
        "points.redeem",
        item_id="moon",
        quantity=10**9,
        actor={"id": "m1", "role": "member"},
    )

    assert decision.outcome is Outcome.AWAITING_CONSENT
    bench.later(days=30)
    assert bench.answers[-1]["reason"] == "review_required"


def test_a_budget_grants_nothing_to_a_wallet_that_is_no_more() -> None:
    """The wallet went from the programme while the budget was asked: the budget has it back."""
    coins = {"id": "b", "points": 1_000, "wallet": "coins"}
    both = [{"id": "points"}, {"id": "coins"}]
    award = rule("spend", points=1, per_minor=100, budget="b", wallet="coins")
    bench = Slow(programme(award, wallets=both, budgets=[coins]))
    bench.waits = True
    bench.order("o1", 100)
    bench.refund("o1", "r1", 30)
    bench.programme = programme()
    bench.restart()
    bench.waits = False

    bench.deliver()
    bench.cancel("o1")

    assert bench.entries[0]["due"] == 100
    assert bench.wallet(wallet="coins").earned == 0
    bench.programme = programme(award, wallets=both, budgets=[coins])
    bench.restart()
    bench.order("o2", 1_000)
    assert bench.wallet(wallet="coins").earned == 1_000
