"""Flags at random, beside refunds, transfers, redemptions and merges: each point is asked once."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from driver_bench import DriverBench
from flags_support import new_ledger, review, suspicion, watched
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import SPEND, Bench, rule

from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.ledger.suspicion import Suspicion, flag_id_of
from pointstream.operations.history import MemberThen

MEMBERS = ("a", "b", "c", "d")
ORDERS = 8
members = st.integers(0, len(MEMBERS) - 1)
orders = st.integers(0, ORDERS - 1)
points = st.integers(1, 60)
actions = st.sampled_from([FlagAction.HOLD, FlagAction.HOLD, FlagAction.BLOCK])
step = st.one_of(
    st.tuples(st.just("order"), members, orders),
    st.tuples(st.just("refund"), orders, points),
    st.tuples(st.just("redeem"), members, points),
    st.tuples(st.just("send"), members, members, points),
    st.tuples(st.just("send"), members, members, points),
    st.tuples(st.just("hold"), members, points),
    st.tuples(st.just("void"), st.integers(0, 3)),
    st.tuples(st.just("merge"), members, members),
    st.tuples(st.just("unfreeze"), members),
    st.tuples(st.just("suspect"), st.sets(orders, min_size=1, max_size=5), actions),
    st.tuples(st.just("suspect"), st.sets(orders, min_size=1, max_size=5), actions),
    st.tuples(st.just("decide"), st.integers(0, 5), st.booleans(), members),
    st.tuples(st.just("decide"), st.integers(0, 5), st.booleans(), members),
)
steps = st.lists(step, min_size=10, max_size=50)


class Story:
    """What happens, and what must have been asked back by the end of it."""

    def __init__(self, bench: Bench, suspicions: dict[str, Suspicion], paid: list[int]) -> None:
        self.bench = bench
        self.suspicions = suspicions
        self.paid = paid
        self.owner: dict[int, str] = {}
        self.refunded: dict[int, int] = defaultdict(int)
        self.flags: list[tuple[str, set[int]]] = []
        self.ended: dict[str, str] = {}
        self.made = 0
        for member in MEMBERS:
            bench.order(f"first-{member}", 1, member)

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        getattr(self, kind)(*rest)
        self.bench.later(ms=1)

    def order(self, member: int, number: int) -> None:
        if number not in self.owner:
            self.owner[number] = MEMBERS[member]
            self.bench.order(
                f"o{number}", self.paid[number], MEMBERS[member], event_id=f"x{number}"
            )

    def refund(self, number: int, back: int) -> None:
        back = min(back, self.paid[number] - self.refunded[number])
        if number in self.owner and back:
            self.refunded[number] += back
            self.made += 1
            self.bench.refund(f"o{number}", f"r{self.made}", back, self.owner[number])

    def redeem(self, member: int, spent: int) -> None:
        self.bench.redeem(spent, MEMBERS[member])

    def send(self, sender: int, to: int, sent: int) -> None:
        self.bench.command(
            "points.transfer", MEMBERS[sender], points=sent, to_member_id=MEMBERS[to]
        )

    def hold(self, member: int, held: int) -> None:
        self.made += 1
        self.bench.hold(f"h{self.made % 4}", held, MEMBERS[member])

    def void(self, number: int) -> None:
        for member in MEMBERS:
            self.bench.void(f"h{number}", member)

    def merge(self, old: int, into: int) -> None:
        self.bench.command("account.merge", MEMBERS[old], into_member_id=MEMBERS[into])

    def unfreeze(self, member: int) -> None:
        self.bench.unfreeze(MEMBERS[member])

    def suspect(self, numbers: set[int], action: FlagAction) -> None:
        """A flag about some orders, whosever they are, found by a check-in of the first one's."""
        numbers = {number for number in numbers if number in self.owner}
        if not numbers:
            return
        self.made += 1
        event_id = f"s{self.made}"
        found = suspicion(
            detector=f"d{self.made}",
            action=action,
            entity_kind=EntityKind.DEVICE,
            entity_id=f"d{self.made % 3}",
            events=tuple((self.owner[number], f"x{number}") for number in sorted(numbers)),
            members=tuple({self.owner[number]: None for number in sorted(numbers)}),
        )
        self.suspicions[event_id] = found
        self.bench.check_in(self.owner[min(numbers)], event_id=event_id)
        self.flags.append((flag_id_of(found), numbers))

    def decide(self, which: int, release: bool, member: int) -> None:
        if which < len(self.flags):
            self._decide(self.flags[which], release, member)

    def _decide(self, flag: tuple[str, set[int]], release: bool, member: int) -> None:
        flag_id, numbers = flag
        concerned = sorted({self.owner[number] for number in numbers})
        self.made += 1
        answer_id = f"v{self.made}"
        how = "release" if release else "reject"
        review(
            self.bench,
            how,
            flag_id,
            concerned[member % len(concerned)],
            event_id=answer_id,
        )
        (answer,) = (a for a in self.bench.answers if a["command_id"] == answer_id)
        if flag_id in self.ended:
            past = {"release": "flag_already_released", "reject": "flag_already_rejected"}
            assert answer["reason"] == past[self.ended[flag_id]]
        else:
            assert answer["outcome"] == "accepted"
            self.ended[flag_id] = how

    def wait(self, days: int) -> None:
        self.bench.later(days)

    def finish(self) -> None:
        """Decide what is open, and free what commands hold."""
        for flag in self.flags:
            if flag[0] not in self.ended:
                self._decide(flag, bool(len(self.flags) % 2), 0)
        for number in range(4):
            self.void(number)

    @property
    def rejected(self) -> set[int]:
        """The orders of rejected flags."""
        return {
            number
            for flag_id, numbers in self.flags
            if self.ended[flag_id] == "reject"
            for number in numbers
        }

    def asked(self) -> int:
        """What refunds and rejections ask back, each point of an order once."""
        rejected = self.rejected
        return sum(
            self.paid[number] if number in rejected else self.refunded[number]
            for number in self.owner
        )


def story(
    make: Any,
    steps: list[Any],
    paid: list[int],
    policy: str,
    wallet: dict[str, Any] | None = None,
    **settings: Any,
) -> Story:
    found: dict[str, Suspicion] = {}
    compiled = watched(
        SPEND,
        rule("activity", activity="nothing", points=1),
        refund_policy=policy,
        wallets=[{"id": "points", **(wallet or {})}],
    )
    told = Story(make(compiled, new_ledger=new_ledger(found), **settings), found, paid)
    for step in steps:
        told.do(step)
    told.finish()
    return told


def check(told: Story, *, expires: bool = False) -> None:
    """All is where it must be: nothing is left of flags, and all that was asked was taken once."""
    for member in MEMBERS:
        then, wallet = MemberThen(member), told.bench.wallet(member)
        for entry in told.bench.entries:
            if entry["member_id"] == member:
                then.add(entry)
        folded = then.wallets["points"]
        assert folded.pending_in_lots() == wallet.pending
        assert sum(lot.points for lot in folded.lots.values()) == wallet.available + wallet.pending
    wallets = [told.bench.wallet(member) for member in MEMBERS]
    taken = sum(wallet.reversed for wallet in wallets)
    assert taken <= told.asked()
    if not expires and told.bench.programme.refund_policy != "only_pending":
        # That one writes off what a review may find and take later.
        assert taken + sum(wallet.written_off for wallet in wallets) == told.asked()
    assert sum(wallet.held for wallet in wallets) == 0
    books = told.bench.books()
    assert not [key for key in books if key[:1] in b"bfh"]
    assert all(told.bench.account(member).flags == 0 for member in MEMBERS)
    released = [wallet.pending for wallet in wallets]
    frozen = [told.bench.account(member).frozen for member in MEMBERS]
    assert all(not left or cold for left, cold in zip(released, frozen, strict=True))


@settings(max_examples=150, deadline=None)
@given(
    steps=steps,
    paid=st.lists(st.integers(1, 100), min_size=ORDERS, max_size=ORDERS),
    policy=st.sampled_from(["only_pending", "within_balance", "debt"]),
)
def test_each_point_is_asked_back_once_whatever_happens(
    steps: list[Any], paid: list[int], policy: str
) -> None:
    """By refunds or by reviews, wherever it has gone; conservation is checked at every record."""
    check(story(Bench, steps, paid, policy))


@settings(max_examples=40, deadline=None)
@given(
    steps=steps,
    paid=st.lists(st.integers(1, 100), min_size=ORDERS, max_size=ORDERS),
    policy=st.sampled_from(["within_balance", "debt"]),
)
def test_it_is_so_over_partitions(steps: list[Any], paid: list[int], policy: str) -> None:
    """Owners and members apart, and every question a message."""
    check(story(DriverBench, steps, paid, policy))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.one_of(step, step, st.tuples(st.just("wait"), st.integers(1, 2)))),
    paid=st.lists(st.integers(1, 100), min_size=ORDERS, max_size=ORDERS),
    policy=st.sampled_from(["only_pending", "within_balance", "debt"]),
    wallet=st.sampled_from(
        [
            {"activation": {"after": "P1D"}, "expiry": {"days": 3}},
            {"activation": {"after": "P4D"}, "expiry": {"days": 3}},
            {"expiry": {"kind": "sliding", "days": 2}},
        ]
    ),
)
def test_no_point_is_asked_back_twice_while_time_goes_on(
    steps: list[Any], paid: list[int], policy: str, wallet: dict[str, Any]
) -> None:
    """Points become active and expire meanwhile: what has expired is asked of nobody."""
    told = story(Bench, steps, paid, policy, wallet)
    told.bench.later(10)
    check(told, expires=True)


@settings(max_examples=30, deadline=None)
@given(steps=steps, paid=st.lists(st.integers(1, 100), min_size=ORDERS, max_size=ORDERS))
def test_batches_make_no_difference(steps: list[Any], paid: list[int]) -> None:
    """The same state and the same entries, flag by flag and byte by byte."""
    one, many = (story(Bench, steps, paid, "within_balance", batch=size) for size in (1, 7))
    assert one.bench.books() == many.bench.books()
    assert one.bench.entries == many.bench.entries
    assert one.bench.flags == many.bench.flags
