"""Points that members send to each other: they arrive in full, or come back in full."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, MESSAGES, START_MS, Bench, DictState, outcomes, programme

from pointstream.contracts.programme import TransferFee
from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Decision, Outcome, Source, StateCorrupt
from pointstream.ledger.book import MAX_POINTS
from pointstream.ledger.codec import decode_transfer
from pointstream.ledger.messages import Message, decode_message, encode_message
from pointstream.ledger.state import erased_key
from pointstream.ledger.transfers import LOTS_PER_TRANSFER, fee_of
from pointstream.rules import CompiledProgramme

HOUR_MS = 3_600_000


class Partition(Bench):
    """A partition whose messages wait until they are carried."""

    def deliver(self) -> None:
        return None


class Post:
    """The members m1 and m2, in one partition or in two, and the messages on their way."""

    def __init__(self, compiled: CompiledProgramme | None = None, *, apart: bool = True) -> None:
        compiled = compiled or programme()
        self.sender = Partition(compiled)
        self.recipient = Partition(compiled) if apart else self.sender

    @property
    def partitions(self) -> list[Partition]:
        return list({id(p): p for p in (self.sender, self.recipient)}.values())

    def send(self, points: int, to: str = "m2", **fields: Any) -> Decision:
        fields.setdefault("actor", {"id": "m1", "role": "member"})
        return self.sender.give("points.transfer", "m1", to_member_id=to, points=points, **fields)

    def carry(self) -> list[Decision]:
        """Let the messages that are on their way arrive, but none that they bring about."""
        there = [(p, message) for p in self.partitions for message in p.messages]
        for partition in self.partitions:
            partition.messages.clear()
        return [
            _receive(self.sender if message.to == "m1" else self.recipient, message)
            for _, message in there
        ]

    def settle(self) -> list[Decision]:
        """Carry until nothing is on its way."""
        decisions: list[Decision] = []
        while any(p.messages for p in self.partitions):
            decisions += self.carry()
        return decisions

    def tick(self, now_ms: int) -> None:
        for partition in self.partitions:
            partition.tick(now_ms)

    def points(self) -> int:
        """All points of all members, and those under way."""
        total = 0
        for partition in self.partitions:
            partition.flush()
            for key, value in partition.state.values.items():
                if key[:1] == b"a":
                    account = partition.account(key[1:].decode())
                    for totals in account.wallets.values():
                        total += totals.available + totals.pending + totals.held - totals.debt
                elif key[:1] == b"w":
                    total += decode_transfer("points", value).points
            total -= sum(
                # Taken in already; only the sender has yet to hear of it.
                decode_transfer("points", self.sender.state.values[key]).points
                for key in self.sender.state.values
                for message in partition.messages
                if message.type == "transfer.settled"
                and message.body["reason"] is None
                and key == b"wm1\0" + message.body["transfer_id"].encode()
            )
        return total

    def entries(self, member: str, *kinds: str) -> list[dict[str, Any]]:
        return [
            e
            for p in self.partitions
            for e in p.entries
            if e["member_id"] == member and e["type"].removeprefix("points.") in kinds
        ]


def _receive(partition: Partition, message: Any) -> Decision:
    value = encode_message(decode_message(encode_message(message)))
    source = Source(MESSAGES, 0, partition.offset, partition.now_ms, None, value, ())
    partition.offset += 1
    partition._begin()
    partition._note(*partition.ledger.advance(partition.now_ms))
    decision = partition.ledger.receive(decode_message(value), source)
    partition._note(decision)
    partition._end()
    return decision


@pytest.fixture(params=[True, False], ids=["two partitions", "one partition"])
def apart(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def post_with(
    sender: int = 100, recipient: int = 5, *, apart: bool = True, days: int = 30, **settings: Any
) -> Post:
    """Both members with an order of so many CNY; points live so many days."""
    settings.setdefault("wallets", [{"id": "points", "expiry": {"days": days}}])
    post = Post(programme(**settings), apart=apart)
    if sender:
        post.sender.order("o1", sender)
    if recipient:
        post.recipient.order("o2", recipient, "m2")
    return post


def answer(post: Post) -> tuple[str, str | None, int, int]:
    """The latest answer: outcome, reason, seq, what is available after it."""
    told = post.sender.answers[-1]
    return told["outcome"], told.get("reason"), told["seq"], told["available_after"]


def gone(post: Post) -> bool:
    """Whether nothing is left of any transfer but its flows."""
    post.sender.flush()
    return post.sender.account("m1").transfers == 0 and not any(
        key[:1] == b"w" for p in post.partitions for key in p.state.values
    )


@pytest.mark.case(24)
def test_both_sides_have_it(apart: bool) -> None:
    """Points leave at once, arrive with the message, and the sum is the same at every step."""
    post = post_with(100, 5, apart=apart)

    started = post.send(30, event_id="c1")

    assert started.outcome is Outcome.TRANSFER_STARTED
    assert started.result is None
    assert (post.sender.available("m1"), post.recipient.available("m2")) == (70, 5)
    assert post.sender.account("m1").transfers == 1
    assert post.points() == 105
    assert outcomes(*post.carry()) == [Outcome.TRANSFER_RECEIVED]
    assert (post.sender.available("m1"), post.recipient.available("m2")) == (70, 35)
    assert post.points() == 105
    assert outcomes(*post.carry()) == [Outcome.TRANSFER_COMPLETED]
    assert answer(post) == ("accepted", None, 2, 70)
    assert post.points() == 105
    assert gone(post)


@pytest.mark.case(24)
def test_lots_keep_their_times() -> None:
    """What is spent first is sent first, and lives as long as it would have at the sender."""
    post = post_with(40, 0, days=30)
    post.sender.later(2)
    post.sender.order("o9", 60, store_id="s1")
    post.recipient.check_in("m2")
    post.recipient.order("o3", 5, "m2")
    post.tick(START_MS + 5 * DAY_MS)

    post.send(70)
    post.settle()

    (out,) = post.entries("m1", "transferred_out")
    (come,) = post.entries("m2", "transferred_in")
    until = [rfc3339(START_MS + days * DAY_MS) for days in (30, 32)]
    assert [(lot["delta"], lot["expires_at"]) for lot in out["lots"]] == [
        (-40, until[0]),
        (-30, until[1]),
    ]
    assert [(lot["delta"], lot["expires_at"]) for lot in come["lots"]] == [
        (40, until[0]),
        (30, until[1]),
    ]
    name = come["event_id"]
    assert [lot["lot_id"] for lot in come["lots"]] == [f"{name}.1", f"{name}.2"]
    # They stand in the order of spending, among the recipient's own.
    assert list(post.recipient.lots("m2").values()) == [40, 5, 30]


def test_entries_tell_who_why_and_which_transfer() -> None:
    """Both sides name the command, its actor and its shop, each other, and the same transfer."""
    post = post_with()
    shop = {"id": "till-4", "role": "store", "store_id": "s1"}

    post.send(30, event_id="c1", actor=shop, store_id="s1")
    post.settle()

    (out,), (come,) = post.entries("m1", "transferred_out"), post.entries("m2", "transferred_in")
    for entry in (out, come):
        assert entry["cause_event_id"] == "c1"
        assert entry["cause_type"] == "points.transfer"
        assert (entry["actor_id"], entry["store_id"]) == ("till-4", "s1")
        assert entry["transfer_id"] == out["event_id"]
    assert (out["counterparty_id"], come["counterparty_id"]) == ("m2", "m1")
    assert come["cause_topic"] == MESSAGES


def test_one_who_has_no_account_gets_nothing(apart: bool) -> None:
    """A mistyped member is not made an account by it: the points come back into their lots."""
    post = post_with(100, 0, apart=apart)
    lots = post.sender.lots("m1")

    post.send(30)
    assert outcomes(*post.settle()) == [Outcome.TRANSFER_REFUSED, Outcome.TRANSFER_RETURNED]

    assert answer(post) == ("rejected", "recipient_unknown", 3, 100)
    assert post.sender.lots("m1") == lots
    (back,) = post.entries("m1", "transferred_in")
    (out,) = post.entries("m1", "transferred_out")
    assert (back["amount"], back["delta"], back["reason"]) == (30, 30, "recipient_unknown")
    assert (back["transfer_id"], back["counterparty_id"]) == (out["event_id"], "m2")
    assert b"am2" not in post.recipient.books()
    assert gone(post)


def test_one_whose_commands_were_only_rejected_is_unknown() -> None:
    """Asking for points makes nobody a member, whether or not the batch has ended."""
    post = post_with(100, 0)
    post.recipient.batch = 100
    post.recipient.redeem(5, "m2")

    post.send(30)
    post.settle()

    assert answer(post)[1] == "recipient_unknown"


def test_one_who_registered_in_the_same_batch_is_known() -> None:
    """An account counts from the record that made it, not from when it is written."""
    post = post_with(100, 0)
    post.recipient.batch = 100
    post.recipient.give("member.registered", "m2")

    post.send(30)
    post.settle()

    assert answer(post)[0] == "accepted"
    assert post.recipient.available("m2") == 30


@pytest.mark.case(24)
def test_frozen_recipient_gets_nothing(apart: bool) -> None:
    """The points come back."""
    post = post_with(apart=apart)
    post.recipient.freeze("m2")

    post.send(30)
    post.settle()

    assert answer(post) == ("rejected", "recipient_frozen", 3, 100)
    assert post.recipient.available("m2") == 5
    assert gone(post)


@pytest.mark.case(24)
def test_erased_recipient_gets_nothing() -> None:
    """The points come back, and the member does not."""
    post = post_with(100, 0)
    post.recipient.state.put(erased_key(b"m2"), b"\x01")

    post.send(30)
    post.settle()

    assert answer(post) == ("rejected", "recipient_erased", 3, 100)
    assert b"am2" not in post.recipient.books()


@pytest.mark.case(24)
def test_recipient_that_is_erased_on_the_way_gets_nothing() -> None:
    """The points come back; nothing of them stays with the one who is gone."""
    post = post_with(100, 5, apart=False)
    post.send(30)
    waiting, post.sender.messages = post.sender.messages, []
    post.sender.command("account.erase", "m2")
    post.sender.messages += waiting

    post.settle()

    assert answer(post) == ("rejected", "recipient_erased", 3, 100)
    assert b"am2" not in post.recipient.books()


@pytest.mark.parametrize("into", ["m1", "m3"])
def test_what_was_sent_to_a_merged_member_goes_to_the_survivor(into: str) -> None:
    """Also where the merge came first only on the way, and where the survivor is the sender."""
    post = post_with(100, 5, apart=False)
    post.sender.order("o3", 1, "m3")
    post.send(30)
    waiting, post.sender.messages = post.sender.messages, []
    post.sender.command("account.merge", "m2", into_member_id=into)
    post.settle()
    post.sender.messages += waiting

    post.settle()

    assert answer(post)[:2] == ("accepted", None)
    assert post.sender.available(into) == {"m1": 105, "m3": 36}[into]
    assert post.sender.available("m2") == 0
    assert gone(post)


def test_sender_with_a_transfer_under_way_is_neither_merged_nor_erased() -> None:
    """The points may yet come back; once they have, nothing is in the way."""
    post = post_with(100, 5, apart=False)
    post.send(30, to="nobody")

    merge = post.sender.command("account.merge", "m1", into_member_id="m2")
    erase = post.sender.command("account.erase", "m1")
    post.settle()

    assert outcomes(merge, erase) == [Outcome.TRANSFER_UNDER_WAY] * 2
    assert post.sender.command("account.erase", "m1").outcome is Outcome.ERASED


def test_sender_that_is_about_to_be_merged_sends_nothing() -> None:
    """What came back would find the account empty and closed."""
    post = post_with(100, 5, apart=False)
    post.sender.command("account.merge", "m1", into_member_id="m2")

    assert post.send(30).outcome is Outcome.ACCOUNT_MERGING
    post.settle()
    assert post.sender.available("m2") == 105


def test_recipient_that_can_hold_no_more_gets_nothing() -> None:
    """A wallet's sums stay numbers that every reader holds exactly."""
    post = post_with(100, 0)
    for number in range(9):
        post.recipient.adjust(min(10**15, MAX_POINTS - number * 10**15), "m2")
    post.recipient.adjust(MAX_POINTS - 9 * 10**15 - 29, "m2")

    post.send(30)
    post.settle()

    assert answer(post)[:2] == ("rejected", "limit_reached")
    post.send(29)
    post.settle()
    assert answer(post)[:2] == ("accepted", None)
    assert post.recipient.wallet("m2").granted == MAX_POINTS


@pytest.mark.parametrize(
    ("settings", "fields", "outcome"),
    [
        ({}, {"points": 101}, Outcome.INSUFFICIENT_POINTS),
        ({}, {"points": 10, "to": "m1"}, Outcome.TRANSFER_TO_SELF),
        ({}, {"points": 10, "actor": {"id": "m2", "role": "member"}}, Outcome.NOT_PERMITTED),
        (
            {},
            {"points": 10, "actor": {"id": "t", "role": "store", "store_id": "s1"}},
            Outcome.NOT_PERMITTED,
        ),
        ({"enabled": False}, {"points": 10}, Outcome.NOT_SUPPORTED),
        ({"min_points": 11}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"max_points": 9}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"daily_points": 9}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"fee": {"points": 1}}, {"points": 100}, Outcome.INSUFFICIENT_POINTS),
    ],
)
def test_what_may_not_leave_does_not(
    settings: dict[str, Any], fields: dict[str, Any], outcome: Outcome
) -> None:
    """The answer is there at once, nothing is sent, and the state keeps only the answer."""
    post = post_with(100, transfers=settings)
    before = post.sender.books()

    decision = post.send(event_id="c1", **fields)

    assert decision.outcome is outcome
    assert decision.result is not None
    assert decision.result["reason"] == outcome.value
    assert not post.sender.messages
    after = post.sender.books()
    assert {key for key in after if after[key] != before.get(key)} == {b"Mm1\0c1"}


def test_points_in_too_many_lots_do_not_leave_at_once() -> None:
    """What is under way fits into a record, and nothing of it is cut off."""
    post = post_with(0, 5)
    for number in range(LOTS_PER_TRANSFER + 1):
        post.sender.order(f"p{number}", 2)

    refused = post.send(2 * LOTS_PER_TRANSFER + 1)
    taken = post.send(2 * LOTS_PER_TRANSFER)
    post.settle()

    assert outcomes(refused, taken) == [Outcome.LIMIT_REACHED, Outcome.TRANSFER_STARTED]
    assert post.recipient.available("m2") == 5 + 2 * LOTS_PER_TRANSFER


def test_frozen_sender_sends_nothing() -> None:
    """Sending is spending."""
    post = post_with()
    post.sender.freeze("m1")

    assert post.send(30).outcome is Outcome.ACCOUNT_FROZEN


def test_sender_that_is_frozen_on_the_way_gets_the_points_back() -> None:
    """They are the sender's own: a freeze stops spending, and takes nothing."""
    post = post_with(100, 0)
    post.send(30)
    post.sender.freeze("m1")

    post.settle()

    assert answer(post) == ("rejected", "recipient_unknown", 3, 100)
    assert post.sender.wallet("m1").pending == 0


def test_repeat_of_a_command_starts_nothing(apart: bool) -> None:
    """Under way it is ignored; then it gets the recorded answer, as often as it comes."""
    post = post_with(apart=apart)
    post.send(30, event_id="c1", occurred_ms=START_MS)
    again = post.send(30, event_id="c1", occurred_ms=START_MS)
    assert again.outcome is Outcome.EVENT_ALREADY_TAKEN
    post.carry()
    again = post.send(30, event_id="c1", occurred_ms=START_MS)
    assert again.outcome is Outcome.EVENT_ALREADY_TAKEN
    post.settle()
    first = post.sender.answers[-1]

    for _ in range(2):
        again = post.send(30, event_id="c1", occurred_ms=START_MS)
        assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
        assert again.result == first
    assert post.sender.available("m1") == 70
    assert post.recipient.available("m2") == 35
    assert not any(p.messages for p in post.partitions)


def test_returned_command_stays_rejected() -> None:
    """A recipient that is there by now makes no difference to a command that was answered."""
    post = post_with(100, 0)
    post.send(30, event_id="c1", occurred_ms=START_MS)
    post.settle()
    post.recipient.order("o2", 5, "m2")

    again = post.send(30, event_id="c1", occurred_ms=START_MS)

    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert again.result is not None
    assert again.result["reason"] == "recipient_unknown"
    assert post.send(30, event_id="c2").outcome is Outcome.TRANSFER_STARTED


def test_debt_at_the_recipient_is_paid_first() -> None:
    """As with all credits; the lot holds what is left."""
    post = post_with(100, 50, refund_policy="debt")
    post.recipient.redeem(50, "m2")
    post.recipient.refund("o2", "r1", 20, "m2")
    assert post.recipient.wallet("m2").debt == 20

    post.send(30)
    post.settle()

    totals = post.recipient.wallet("m2")
    assert (totals.available, totals.debt, totals.transferred_in) == (10, 0, 30)
    (come,) = post.entries("m2", "transferred_in")
    assert (come["amount"], come["delta"], come["debt_after"]) == (30, 10, 0)
    assert [lot["delta"] for lot in come["lots"]] == [10]


@pytest.mark.case(24)
def test_what_expired_on_the_way_expires_at_the_recipient() -> None:
    """It arrives, and is gone in an entry of its own; the rest stays."""
    post = post_with(40, 5, days=30)
    post.sender.later(2)
    post.sender.order("o9", 60)
    post.send(70)
    post.tick(START_MS + 31 * DAY_MS)

    post.settle()

    told = [
        (e["type"], e["amount"], e["available_after"])
        for e in post.entries("m2", "transferred_in", "expired")[1:]
    ]
    assert told == [("points.transferred_in", 70, 70), ("points.expired", 40, 30)]
    assert answer(post)[0] == "accepted"


def test_what_expired_on_the_way_back_expires_at_the_sender() -> None:
    """Points and fee come back into their own lots, and what is over goes at once."""
    post = post_with(40, 0, days=30, transfers={"fee": {"points": 5}})
    post.sender.later(2)
    post.sender.order("o9", 60)
    post.send(37)
    post.sender.tick(START_MS + 31 * DAY_MS)

    post.settle()

    assert answer(post)[:2] == ("rejected", "recipient_unknown")
    told = [(e["type"], e["amount"], e["available_after"]) for e in post.sender.entries[4:]]
    assert told == [
        ("points.transferred_in", 37, 95),
        ("points.expired", 37, 58),
        ("points.restored", 5, 63),
        ("points.expired", 3, 60),
    ]


def test_sender_spends_no_point_twice_while_it_is_under_way() -> None:
    """What has left is not there, whatever becomes of it."""
    post = post_with(100, 0)
    post.send(70)

    assert post.sender.redeem(31).outcome is Outcome.INSUFFICIENT_POINTS
    assert post.send(31).outcome is Outcome.INSUFFICIENT_POINTS
    post.settle()
    assert post.sender.redeem(100).outcome is Outcome.POINTS_REDEEMED


def test_two_transfers_under_way_end_each_by_itself() -> None:
    """One arrives, one comes back."""
    post = post_with(100, 5)
    post.send(30, event_id="c1")
    post.sender.give(
        "points.transfer",
        "m1",
        to_member_id="m3",
        points=20,
        event_id="c2",
        actor={"id": "m1", "role": "member"},
    )
    assert post.sender.account("m1").transfers == 2
    post.settle()

    assert [(a["command_id"], a["outcome"]) for a in post.sender.answers] == [
        ("c1", "accepted"),
        ("c2", "rejected"),
    ]
    assert post.sender.available("m1") == 70
    assert gone(post)


def test_fee_is_paid_by_the_sender_on_top() -> None:
    """It is spent, with a reason of its own, and the recipient gets what was sent."""
    post = post_with(100, 5, transfers={"fee": {"points": 2, "permille": 100}})

    post.send(50)
    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.transferred_out, totals.redeemed) == (43, 50, 7)
    (fee,) = post.entries("m1", "redeemed")
    assert (fee["amount"], fee["delta"], fee["reason"]) == (7, -7, "transfer_fee")
    assert post.recipient.available("m2") == 55


def test_fee_is_given_back_with_the_points() -> None:
    """Into its own lots, with their own expiry."""
    post = post_with(100, 0, transfers={"fee": {"points": 7}})
    lots = post.sender.lots("m1")

    post.send(50)
    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.redeemed, totals.restored) == (100, 7, 7)
    (fee,) = post.entries("m1", "restored")
    assert (fee["amount"], fee["reason"]) == (7, "transfer_fee")
    assert post.sender.lots("m1") == lots


@pytest.mark.parametrize(
    ("fee", "points", "due"),
    [
        ({}, 1_000, 0),
        ({"points": 3}, 1, 3),
        ({"permille": 15}, 199, 2),
        ({"points": 1, "permille": 15}, 200, 4),
        ({"permille": 10, "min": 5}, 100, 5),
        ({"permille": 10, "max": 5}, 1_000, 5),
    ],
)
def test_fee_follows_its_terms(fee: dict[str, int], points: int, due: int) -> None:
    """A sum, a share rounded down, a least and a most."""
    assert fee_of(TransferFee.model_validate(fee), points) == due


def test_daily_limit_counts_local_days() -> None:
    """In Shanghai a new day begins at 16:00 UTC; an earlier day's command counts on its own day."""
    post = post_with(500, 5, transfers={"daily_points": 100})
    post.tick(START_MS + 23 * HOUR_MS)

    first = post.send(60)
    over = post.send(41)
    rest = post.send(40)
    post.tick(START_MS + 24 * HOUR_MS - 1)
    late = post.send(1)
    post.tick(START_MS + 24 * HOUR_MS)
    anew = post.send(100)
    back = post.send(1, occurred_ms=START_MS + 24 * HOUR_MS - 1)

    assert outcomes(first, over, rest, late, anew, back) == [
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
    ]


def test_returned_transfer_uses_up_no_limit() -> None:
    """Nothing was sent in the end; while it is under way it counts."""
    post = post_with(500, 0, transfers={"daily_points": 100})

    post.send(100)
    under_way = post.send(1)
    post.settle()
    after = post.send(100)

    assert outcomes(under_way, after) == [Outcome.LIMIT_REACHED, Outcome.TRANSFER_STARTED]


def test_what_was_sent_on_a_day_is_forgotten_when_no_command_of_it_can_come() -> None:
    """The state does not grow with the days."""
    post = post_with(500, 5, transfers={"daily_points": 100}, days=300, dedup_window="P2D")
    post.send(100)
    post.settle()
    assert any(key[:1] == b"S" for key in post.sender.books())

    post.tick(START_MS + 3 * DAY_MS)
    for number in range(4_200):
        post.sender.check_in(f"c{number}")

    assert not any(key[:1] == b"S" for key in post.sender.books())


def test_refund_of_what_was_sent_follows_the_policy() -> None:
    """As of points that were spent: the recipient keeps them."""
    post = post_with(100, 5, refund_policy="debt")
    post.send(80)
    post.settle()

    post.sender.cancel("o1")

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.debt) == (0, 80)
    assert post.recipient.available("m2") == 85


def test_points_that_come_back_pay_what_was_owed_meanwhile() -> None:
    """A refund on the way makes a debt; the way back pays it."""
    post = post_with(100, 0, refund_policy="debt")
    post.send(80)
    post.sender.cancel("o1")
    assert post.sender.wallet("m1").debt == 80

    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.debt) == (0, 0)


def test_received_points_are_not_taken_back_with_an_order_of_the_same_name() -> None:
    """The lot is no order's lot: a refund of the recipient's own takes only what that earned, and
    its end names none."""
    post = Post(programme(wallets=[{"id": "points", "expiry": {"days": 30}}]))
    post.sender.order("same", 100)
    post.recipient.order("same", 10, "m2")
    post.send(50)
    post.settle()

    post.recipient.cancel("same", "m2")

    assert post.recipient.available("m2") == 50
    post.tick(START_MS + 31 * DAY_MS)
    (expired,) = post.entries("m2", "expired")
    assert (expired["amount"], expired["order_id"]) == (50, None)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_make_no_difference(batch: int) -> None:
    """The same commands in one partition give the same bytes however they are batched."""

    def run(size: int) -> tuple[list[dict[str, Any]], dict[bytes, bytes]]:
        bench = Bench(
            programme(transfers={"fee": {"points": 1}, "daily_points": 90}),
            batch=size,
            state=DictState(),
        )
        for number in range(4):
            bench.order(f"o{number}", 50 + number, f"m{number % 2}")
        for number in range(12):
            bench.command(
                "points.transfer", f"m{number % 3}", to_member_id=f"m{(number + 1) % 4}", points=9
            )
        bench.later(1)
        return bench.entries, bench.books()

    assert run(batch) == run(3)


def test_message_for_a_transfer_that_is_not_under_way_stops_the_partition() -> None:
    """Points would be made or lost; it is the state that is wrong then."""
    post = post_with()
    with pytest.raises(StateCorrupt, match="not under way"):
        _receive(
            post.sender,
            Message("transfer.settled", "m1", {"transfer_id": "t", "reason": None}),
        )
