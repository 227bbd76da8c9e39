"""Points that members send to each other: they arrive in full, or come back in full.

`tests/agents/test_transfers.py` has the case through the whole job: here the messages are kept back
and carried by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, MESSAGES, START_MS, Bench, DictState, outcomes, programme
from transfer_support import answer, gone, post_with, receive

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome, StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.state import erased_key


@pytest.fixture(params=[True, False], ids=["two partitions", "one partition"])
def apart(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.case(24)
@pytest.mark.bare_ledger("carries the messages by hand")
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
@pytest.mark.bare_ledger("carries the messages by hand")
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
@pytest.mark.bare_ledger("carries the messages by hand")
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
@pytest.mark.bare_ledger("carries the messages by hand")
def test_erased_recipient_gets_nothing() -> None:
    """The points come back, and the member does not."""
    post = post_with(100, 0)
    post.recipient.state.put(erased_key(b"m2"), b"\x01")

    post.send(30)
    post.settle()

    assert answer(post) == ("rejected", "recipient_erased", 3, 100)
    assert b"am2" not in post.recipient.books()


@pytest.mark.case(24)
@pytest.mark.bare_ledger("carries the messages by hand")
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


@pytest.mark.case(24)
@pytest.mark.bare_ledger("carries the messages by hand")
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
        receive(
            post.sender,
            Message("transfer.settled", "m1", {"transfer_id": "t", "reason": None}),
        )
