"""The catalogue: items published, priced, limited and withdrawn, and members who redeem them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, MESSAGES, START_MS, Bench, outcomes, programme

from pointstream.contracts.inputs import ItemWithdrawn
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Decision, Outcome, Source, StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.state import prefix_stop, redeemed_prefix


class Shop(Bench):
    """A bench with a catalogue. Messages can be kept back, as between two partitions."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.waiting: list[Message] | None = None

    def publish(self, item_id: str = "mug", price: int = 100, **fields: Any) -> Decision:
        self._made += 1
        body = {
            "event_id": fields.pop("event_id", f"i{self._made}"),
            "type": "item.published",
            "item_id": item_id,
            "occurred_at": rfc3339(fields.pop("occurred_ms", self.now_ms)),
            "price_points": price,
            **fields,
        }
        # What it is keyed by is of no matter here: one partition is everybody's.
        return self.give_body({**body, "member_id": item_id})

    def withdraw(self, item_id: str = "mug") -> Decision:
        key = item_id.encode()
        source = Source("points.catalogue", 0, self.offset, self.now_ms, key, None)
        self.offset += 1
        self._begin()
        decision = self.ledger.decide(ItemWithdrawn(item_id=item_id), b"-" * 16, source)
        self._note(decision)
        self._end()
        self.deliver()
        return decision

    def buy(self, item_id: str = "mug", member: str = "m1", **fields: Any) -> str:
        """Redeem an item; return how it ended, or `stock_asked` if it waits."""
        fields.setdefault("actor", {"id": member, "role": "member"})
        decision = self.give("points.redeem", member, item_id=item_id, **fields)
        if decision.outcome is not Outcome.STOCK_ASKED or self.waiting is not None:
            return decision.outcome.value
        answer = self.answers[-1]
        return str(answer.get("reason", answer["outcome"]))

    def deliver(self) -> None:
        """Deliver what is under way, but for what is kept back."""
        if self.waiting is None:
            super().deliver()
        else:
            self.waiting.extend(self.messages)
            self.messages.clear()

    def hold_back(self) -> None:
        """Let nothing arrive from now on."""
        self.waiting = []

    def let_go(self, first: int | None = None) -> None:
        """Let arrive what was kept back, or the first so many messages of it."""
        assert self.waiting is not None
        waiting, self.waiting = self.waiting, None
        if first is None:
            self.messages.extend(waiting)
            self.deliver()
            return
        for message in waiting[:first]:
            self.arrive(message)
        self.waiting = [*waiting[first:], *self.messages]
        self.messages.clear()

    @contextmanager
    def meanwhile(self, member: str, **fields: Any) -> Iterator[None]:
        """Redeem a mug; its question is only asked at the end of the block."""
        self.hold_back()
        assert self.buy("mug", member, **fields) == "stock_asked"
        assert self.waiting
        asked, self.waiting = self.waiting, None
        yield
        self.messages.extend(asked)
        self.deliver()

    def rich(self, points: int = 1_000, member: str = "m1") -> None:
        self.order(f"o{self._made}", points, member)

    def redeemed(self, member: str = "m1") -> list[bytes]:
        """The counts of limited items that are kept for a member."""
        prefix = redeemed_prefix(member.encode())
        return [value for _, value in self.state.scan(prefix, prefix_stop(prefix))]


# --- price and availability ----------------------------------------------------------------------


def test_an_item_costs_its_price_for_each_piece() -> None:
    """The price comes from the catalogue, and the entry names what was bought."""
    shop = Shop()
    shop.publish("mug", 250)
    shop.rich()
    assert shop.buy("mug", quantity=3) == "points_redeemed"
    assert shop.buy("mug") == "points_redeemed"
    assert shop.available() == 0
    entry = shop.entries[-2]
    assert (entry["type"], entry["amount"], entry["item_id"], entry["quantity"]) == (
        "points.redeemed",
        750,
        "mug",
        3,
    )


def test_an_item_that_nobody_published_is_unknown() -> None:
    """Nothing is spent on it."""
    shop = Shop()
    shop.rich()
    assert shop.buy("mug") == "item_unknown"
    assert shop.available() == 1_000


def test_points_that_are_not_the_price_are_refused() -> None:
    """A till that shows an old price sells nothing by it; with the right one it does."""
    shop = Shop()
    shop.publish("mug", 250)
    shop.rich()
    assert shop.buy("mug", quantity=2, points=250) == "price_changed"
    assert shop.buy("mug", quantity=2, points=500) == "points_redeemed"


def test_too_few_points_buy_nothing() -> None:
    """Neither at once, nor where stock would have to be asked for."""
    shop = Shop()
    shop.publish("mug", 251)
    shop.publish("tote", 251, stock=5)
    shop.rich(1_000)
    assert shop.buy("mug", quantity=4) == "insufficient_points"
    assert shop.buy("tote", quantity=4) == "insufficient_points"
    assert not shop.messages
    assert shop.available() == 1_000


def test_a_frozen_account_redeems_no_item() -> None:
    """It spends nothing at all."""
    shop = Shop()
    shop.publish()
    shop.rich()
    shop.freeze()
    assert shop.buy() == "account_frozen"


@pytest.mark.parametrize(
    ("at_ms", "ends"),
    [(-1, "item_not_available"), (0, "ok"), (DAY_MS - 1, "ok"), (DAY_MS, "item_not_available")],
)
def test_an_item_can_be_redeemed_from_and_until_just_before(at_ms: int, ends: str) -> None:
    """By the command's own time, not by when it arrives."""
    shop = Shop()
    shop.publish(valid_from=rfc3339(START_MS + DAY_MS), valid_until=rfc3339(START_MS + 2 * DAY_MS))
    shop.rich()
    shop.later(days=3)
    outcome = shop.buy(occurred_ms=START_MS + DAY_MS + at_ms)
    assert outcome == ("points_redeemed" if ends == "ok" else ends)


# --- limits --------------------------------------------------------------------------------------


def test_a_member_gets_no_more_than_the_limit_for_life() -> None:
    """Counted over all redemptions, each member and item by itself."""
    shop = Shop()
    shop.publish("mug", 10, limit_per_member=3)
    shop.publish("tote", 10, limit_per_member=1)
    shop.rich()
    shop.rich(member="m2")
    bought = [shop.buy("mug", quantity=2), shop.buy("mug", quantity=2), shop.buy("mug")]
    assert bought == ["points_redeemed", "limit_reached", "points_redeemed"]
    assert [shop.buy("tote"), shop.buy("mug", "m2")] == ["points_redeemed"] * 2
    shop.later(days=1_000)
    assert shop.buy("mug") == "limit_reached"


LADDER = {
    "id": "club",
    "tiers": [{"id": "silver", "threshold": 0}, {"id": "gold", "threshold": 100_000}],
}


def test_a_limit_by_tier_leaves_out_who_has_another_tier() -> None:
    """And everybody, where the programme has no tiers."""
    for compiled in (programme(ladders=[LADDER]), programme()):
        shop = Shop(compiled)
        shop.publish("mug", 10, limit_per_tier={"gold": 2})
        shop.rich()
        assert shop.buy("mug") == "tier_too_low"


def test_a_limit_by_tier_binds_beside_the_one_for_all() -> None:
    """The smaller of the two."""
    for limits, pieces in (({}, 2), ({"limit_per_member": 1}, 1), ({"limit_per_member": 3}, 2)):
        shop = Shop(programme(ladders=[LADDER]))
        shop.publish("mug", 10, limit_per_tier={"silver": 2, "gold": 5}, **limits)
        shop.rich()
        bought = [shop.buy("mug") for _ in range(3)]
        assert bought == ["points_redeemed"] * pieces + ["limit_reached"] * (3 - pieces)


def test_what_was_not_limited_is_not_counted() -> None:
    """Nothing is kept of it; a limit that comes later counts from then on."""
    shop = Shop()
    shop.publish("mug", 10)
    shop.rich()
    shop.buy("mug")
    assert shop.redeemed() == []
    shop.publish("mug", 10, limit_per_member=1)
    assert [shop.buy("mug"), shop.buy("mug")] == ["points_redeemed", "limit_reached"]


# --- versions ------------------------------------------------------------------------------------


def test_the_latest_version_counts_in_whatever_order_they_come() -> None:
    """By `occurred_at`; an older one that arrives late changes nothing."""
    shop = Shop()
    shop.rich()
    shop.later(days=1)
    assert shop.publish("mug", 200).outcome is Outcome.ITEM_PUBLISHED
    late = shop.publish("mug", 100, occurred_ms=START_MS)
    assert late.outcome is Outcome.ITEM_KNOWN_LATER
    shop.buy("mug")
    assert shop.moved("redeemed") == [200]


def test_a_redelivered_version_is_ignored_and_a_changed_one_refused() -> None:
    """One id is one content, as for every event."""
    shop = Shop()
    shop.publish("mug", 100, event_id="v1")
    assert shop.publish("mug", 100, event_id="v1").outcome is Outcome.EVENT_ALREADY_TAKEN
    refused = shop.publish("mug", 50, event_id="v1")
    assert refused.dead_letters[0].code is DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT


def test_a_version_dated_ahead_is_refused() -> None:
    """It would count over all that come after it, until its time."""
    shop = Shop()
    ahead = shop.publish("mug", 100, occurred_ms=START_MS + DAY_MS)
    assert ahead.outcome is Outcome.TOO_FAR_IN_FUTURE
    shop.rich()
    assert shop.buy("mug") == "item_unknown"


def test_a_withdrawn_item_is_unknown_until_a_later_version_comes() -> None:
    """The version that was withdrawn does not come back by being sent again."""
    shop = Shop()
    shop.rich()
    shop.publish("mug", 100, event_id="v1")
    assert shop.withdraw().outcome is Outcome.ITEM_WITHDRAWN
    assert shop.buy("mug") == "item_unknown"
    shop.publish("mug", 100, event_id="v1", occurred_ms=START_MS)
    assert shop.buy("mug") == "item_unknown"
    shop.later(days=1)
    shop.publish("mug", 300, event_id="v2")
    assert shop.buy("mug") == "points_redeemed"


def test_withdrawing_what_is_not_there_tells_nobody() -> None:
    """No partition has anything to forget."""
    shop = Shop()
    shop.hold_back()
    shop.withdraw()
    assert shop.waiting == []


# --- stock ---------------------------------------------------------------------------------------


def test_stock_is_sold_once() -> None:
    """The last piece goes to who asked first, and the others keep their points."""
    shop = Shop()
    shop.publish("mug", 100, stock=3)
    shop.rich()
    assert [shop.buy("mug", quantity=2) for _ in range(2)] == ["accepted", "out_of_stock"]
    assert [shop.buy("mug") for _ in range(2)] == ["accepted", "out_of_stock"]
    wallet = shop.wallet()
    assert (wallet.available, wallet.held, wallet.redeemed) == (700, 0, 300)


def test_while_stock_is_asked_for_the_points_are_held_and_there_is_no_answer() -> None:
    """Nobody can spend them twice, and the command is answered once, when it is known."""
    shop = Shop()
    shop.publish("mug", 600, stock=3)
    shop.rich()
    shop.hold_back()
    assert shop.buy("mug", event_id="c1") == "stock_asked"
    assert shop.buy("mug", event_id="c1") == "event_already_taken"
    assert shop.buy("mug") == "insufficient_points"
    assert [a["command_id"] for a in shop.answers] == [shop.answers[-1]["command_id"]]
    assert (shop.wallet().available, shop.wallet().held) == (400, 600)
    shop.let_go()
    assert [(a["command_id"], a["outcome"]) for a in shop.answers][1:] == [("c1", "accepted")]
    assert (shop.wallet().available, shop.wallet().held) == (400, 0)
    again = shop.give(
        "points.redeem",
        item_id="mug",
        event_id="c1",
        actor={"id": "m1", "role": "member"},
        occurred_ms=shop.now_ms,
    )
    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert again.result == shop.answers[1]


def test_the_entries_of_a_redemption_with_stock_tell_of_one_command() -> None:
    """Held, then captured or voided: same command, same item, same till."""
    shop = Shop()
    shop.publish("mug", 100, stock=1)
    shop.rich()
    till = {"store_id": "s1", "channel": "pos", "order_id": "o-9"}
    actor = {"id": "clerk", "role": "store", "store_id": "s1"}
    shop.buy("mug", event_id="c1", actor=actor, **till)
    shop.buy("mug", event_id="c2", actor=actor, **till)
    entries = shop.entries[1:]
    assert [(e["cause_event_id"], e["type"]) for e in entries] == [
        ("c1", "points.held"),
        ("c1", "points.captured"),
        ("c2", "points.held"),
        ("c2", "points.voided"),
    ]
    for entry in entries:
        assert (entry["item_id"], entry["quantity"], entry["actor_id"]) == ("mug", 1, "clerk")
        assert {name: entry[name] for name in till} == till
        assert entry["cause_type"] == "points.redeem"
    assert [e.get("reason") for e in entries] == [None, None, None, "out_of_stock"]
    assert entries[1]["cause_topic"] == MESSAGES


def test_publishing_again_with_the_same_stock_adds_nothing_and_a_higher_one_the_rest() -> None:
    """Stock is how many may ever be redeemed; what is redeemed is counted on."""
    shop = Shop()
    shop.publish("mug", 10, stock=2)
    shop.rich()
    assert [shop.buy("mug"), shop.buy("mug")] == ["accepted", "accepted"]
    shop.publish("mug", 10, stock=2)
    assert shop.buy("mug") == "out_of_stock"
    shop.publish("mug", 10, stock=3)
    assert [shop.buy("mug"), shop.buy("mug")] == ["accepted", "out_of_stock"]
    shop.publish("mug", 10, stock=1)
    assert shop.buy("mug") == "out_of_stock"
    shop.publish("mug", 10)
    assert shop.buy("mug") == "points_redeemed"


def test_withdrawing_and_publishing_again_fills_no_shelf() -> None:
    """What was redeemed stays counted."""
    shop = Shop()
    shop.publish("mug", 10, stock=1)
    shop.rich()
    shop.buy("mug")
    shop.withdraw()
    shop.later(days=1)
    shop.publish("mug", 10, stock=1)
    assert shop.buy("mug") == "out_of_stock"


def test_an_item_withdrawn_while_stock_is_asked_for_is_unknown() -> None:
    """It is not sold out, it is gone; the points come back."""
    shop = Shop()
    shop.publish("mug", 100, stock=5)
    shop.rich()
    with shop.meanwhile("m1"):
        shop.withdraw()
    assert shop.answers[-1]["reason"] == "item_unknown"
    assert shop.available() == 1_000


def test_what_is_under_way_counts_for_the_limit_and_what_failed_does_not() -> None:
    """Two redemptions at once are not one too many, and a refused one is not used up."""
    shop = Shop()
    shop.publish("mug", 10, stock=1, limit_per_member=2)
    shop.rich()
    shop.hold_back()
    assert [shop.buy("mug"), shop.buy("mug"), shop.buy("mug")] == [
        "stock_asked",
        "stock_asked",
        "limit_reached",
    ]
    shop.let_go()
    shop.publish("mug", 10, stock=9, limit_per_member=2)
    assert [shop.buy("mug"), shop.buy("mug")] == ["accepted", "limit_reached"]


def test_the_price_is_that_of_the_moment_the_points_were_held() -> None:
    """A new price while stock is asked for is for those who come after."""
    shop = Shop()
    shop.publish("mug", 100, stock=5)
    shop.rich()
    shop.hold_back()
    shop.buy("mug")
    shop.publish("mug", 200, stock=5)
    shop.let_go()
    assert shop.moved("captured") == [100]


def test_no_command_can_end_the_hold_of_a_redemption() -> None:
    """Its id is not one that a record can carry; and when it has ended, nothing is left of it."""
    shop = Shop()
    shop.publish("mug", 100, stock=5)
    shop.rich()
    shop.hold_back()
    shop.buy("mug", event_id="c1")
    assert outcomes(shop.capture("c1"), shop.void("c1")) == [Outcome.HOLD_UNKNOWN] * 2
    shop.flush()
    assert [key for key in shop.state.values if key[:1] in (b"H", b"h")]
    shop.later(days=100)
    assert shop.wallet().held == 100
    shop.let_go()
    shop.flush()
    assert not [key for key in shop.state.values if key[:1] in (b"H", b"h")]


# --- what can happen to the member meanwhile -----------------------------------------------------


def test_who_was_frozen_meanwhile_spends_nothing_and_the_piece_goes_back() -> None:
    """The next one gets it."""
    shop = Shop()
    shop.publish("mug", 100, stock=1)
    shop.rich()
    shop.rich(member="m2")
    shop.hold_back()
    shop.buy("mug", "m1")
    shop.freeze("m1")
    shop.let_go()
    assert shop.answers[-1]["reason"] == "account_frozen"
    assert (shop.wallet().available, shop.wallet().held) == (1_000, 0)
    assert shop.buy("mug", "m2") == "accepted"


def test_the_piece_of_who_was_erased_meanwhile_goes_back() -> None:
    """And the command is answered all the same."""
    shop = Shop()
    shop.publish("mug", 100, stock=1, limit_per_member=1)
    shop.rich()
    shop.rich(member="m2")
    with shop.meanwhile("m1", event_id="c1"):
        shop.command("account.erase", "m1")
    answer = shop.answers[-1]
    assert (answer["command_id"], answer["reason"]) == ("c1", "account_erased")
    assert not shop.redeemed("m1")
    assert shop.buy("mug", "m2") == "accepted"


@pytest.mark.parametrize("stock", [0, 1])
def test_who_was_merged_meanwhile_pays_as_the_survivor(stock: int) -> None:
    """Hold and count have moved, the answer is passed on, and the command stays answered."""
    shop = Shop()
    shop.publish("mug", 100, stock=stock, limit_per_member=1)
    shop.rich()
    shop.rich(member="m2")
    with shop.meanwhile("m1", event_id="c1"):
        shop.command("account.merge", "m1", into_member_id="m2")
        assert (shop.wallet("m2").available, shop.wallet("m2").held) == (1_900, 100)
        assert shop.buy("mug", "m2", event_id="c2") == "limit_reached"
    answer = shop.answers[-1]
    assert answer["command_id"] == "c1"
    assert answer["outcome"] == ("accepted" if stock else "rejected")
    wallet = shop.wallet("m2")
    assert (wallet.available, wallet.held) == (2_000 - 100 * stock, 0)
    shop.buy("mug", "m1", event_id="c1", occurred_ms=START_MS)
    assert shop.answers[-1] == answer
    # Who has had the only piece gets no other; who got none may try again.
    assert shop.buy("mug", "m2") == ("limit_reached" if stock else "out_of_stock")


def test_an_answer_for_a_hold_that_is_not_there_stops_the_partition() -> None:
    """The books are wrong then: going on would lose the points."""
    shop = Shop()
    shop.publish("mug", 100, stock=1)
    shop.rich()
    shop.hold_back()
    shop.buy("mug")
    shop.flush()
    for key in [key for key in shop.state.values if key[:1] == b"H"]:
        shop.state.delete(key)
    with pytest.raises(StateCorrupt, match="no open hold"):
        shop.let_go()


# --- orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stock", [None, 5])
@pytest.mark.parametrize("returned_first", [False, True])
def test_an_item_bought_with_an_order_gives_its_points_back_when_that_is_returned(
    stock: int | None, returned_first: bool
) -> None:
    """As any points that paid, into their own lots; the piece stays counted as redeemed."""
    shop = Shop()
    limits = {} if stock is None else {"stock": 1}
    shop.publish("mug", 100, **limits)
    shop.rich()
    lots = shop.lots()
    shop.order("o-9", 10)
    if returned_first:
        shop.cancel("o-9")
    shop.buy("mug", order_id="o-9")
    if not returned_first:
        shop.cancel("o-9")
    assert shop.moved("restored") == [100]
    assert shop.lots() == lots
    assert shop.buy("mug") == ("points_redeemed" if stock is None else "out_of_stock")


def test_points_that_expired_while_stock_was_asked_for_can_be_spent_but_not_kept() -> None:
    """As with every hold: captured they are spent, freed they expire at once."""
    lives = {"id": "points", "expiry": {"days": 30}}
    for stock, spent in ((1, 100), (0, 0)):
        shop = Shop(programme(wallets=[lives]))
        shop.publish("mug", 100, stock=stock)
        shop.rich(100)
        shop.hold_back()
        shop.buy("mug")
        shop.later(days=40)
        shop.let_go()
        wallet = shop.wallet()
        assert (wallet.redeemed, wallet.expired, wallet.held) == (spent, 100 - spent, 0)


# --- a second actor's consent --------------------------------------------------------------------


@pytest.mark.parametrize("stock", [None, 5])
def test_an_item_that_costs_more_than_a_shop_may_spend_waits_for_consent(stock: int | None) -> None:
    """Its price counts, though the command names no points; then it goes on as it would have."""
    shop = Shop(programme(limits={"store": {"redeem": 100}}))
    shop.publish("mug", 60, **({} if stock is None else {"stock": stock}))
    shop.rich()
    till = {"actor": {"id": "till", "role": "store", "store_id": "s1"}, "store_id": "s1"}
    assert shop.buy("mug", quantity=2, event_id="c1", **till) == "awaiting_consent"
    flag_id = shop.flags[-1]["flag_id"]
    shop.command("review.release", flag_id=flag_id, reason="a good customer")
    (answer,) = [answer for answer in shop.answers if answer["command_id"] == "c1"]
    assert answer["outcome"] == "accepted"
    for entry in shop.entries[1:]:
        assert (entry["actor_id"], entry["confirmed_by"]) == ("till", "clerk")
    assert shop.available() == 880


# --- always --------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), st.sampled_from(["m1", "m2", "m3"]), st.integers(1, 4)),
        st.tuples(st.just("stock"), st.integers(0, 20), st.none()),
        st.tuples(st.just("withdraw"), st.none(), st.none()),
        st.tuples(st.just("freeze"), st.sampled_from(["m1", "m2"]), st.booleans()),
        st.tuples(st.just("deliver"), st.integers(1, 5), st.none()),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([1, 7]))
@settings(max_examples=150, deadline=None)
def test_never_oversold_whatever_falls_between(steps: Any, batch: int) -> None:
    """Buying, publishing again, withdrawing, freezing, with messages that arrive at any time."""
    shop = Shop(batch=batch)
    for member in ("m1", "m2", "m3"):
        shop.rich(100, member)
    stock = highest = 10
    shop.publish("mug", 10, stock=stock)
    shop.hold_back()
    for what, one, other in steps:
        if what == "buy":
            shop.buy("mug", one, quantity=other)
        elif what == "stock":
            highest = max(highest, one)
            shop.later(ms=1)
            shop.publish("mug", 10, stock=one)
        elif what == "withdraw":
            shop.withdraw()
        elif what == "freeze":
            (shop.freeze if other else shop.unfreeze)(one)
        else:
            shop.let_go(one)
    shop.let_go()
    captured = [e for e in shop.entries if e["type"] == "points.captured"]
    assert sum(e["quantity"] for e in captured) <= highest
    assert sum(e["amount"] for e in captured) == 10 * sum(e["quantity"] for e in captured)
    for member in ("m1", "m2", "m3"):
        wallet = shop.wallet(member)
        assert (wallet.held, wallet.available + wallet.redeemed) == (0, 100)
    asked = [d for d in shop.decisions if d.outcome is Outcome.STOCK_ASKED]
    later = [d for d in shop.decisions if d.effects and d.effects.answers]
    assert len(asked) == len(later)
