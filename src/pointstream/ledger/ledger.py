"""The ledger of one partition: records and time go in, decisions come out.

How it is used, batch by batch:

    ledger.open(state)                  the state of this batch, over what is committed
    for each record:
        ledger.advance(time)            timers that are due by then ring first
        ledger.decide(event, ...)
    ledger.close()                      accounts are written, standings come out

Where a batch ends makes no difference to any decision or to any byte of the state. One object
serves one partition for as long as the process owns it; a new object over the same state goes on
where the other stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

from pointstream.contracts.inputs import (
    ActivityRecorded,
    CheckinRecorded,
    CommandEnvelope,
    DetectorsPublished,
    DetectorsWithdrawn,
    InputEvent,
    ItemPublished,
    ItemWithdrawn,
    MemberEnvelope,
    MemberEvent,
    MemberRegistered,
    MemberUpdated,
    OrderCancelled,
    OrderPaid,
    OrderRefunded,
    ReferralFirstOrder,
    ReferralRegistered,
    RulesetPublished,
    RulesetWithdrawn,
    Withdrawn,
)
from pointstream.contracts.programme import Clock
from pointstream.contracts.shadows import shadowed
from pointstream.contracts.vocabulary import CommandOutcome, DeadLetterCode
from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.book import Book
from pointstream.ledger.catalogue import item_published, item_withdrawn
from pointstream.ledger.cause import Cause
from pointstream.ledger.closed import closed, keep_erasure, readdressed
from pointstream.ledger.commands import command_given
from pointstream.ledger.dated import schedule_all
from pointstream.ledger.decision import Decision, Outcome, SetAside, Source, Standing
from pointstream.ledger.detectorbook import (
    DETECTOR_SETS,
    detectors_published,
    detectors_withdrawn,
)
from pointstream.ledger.earning import (
    activity_recorded,
    checkin_recorded,
    first_order,
    referral_registered,
)
from pointstream.ledger.errors import LedgerError
from pointstream.ledger.given import given_rows, keep_given
from pointstream.ledger.members import member_recorded
from pointstream.ledger.memory import Memory
from pointstream.ledger.messages import Message
from pointstream.ledger.messaging import received
from pointstream.ledger.notes import Note
from pointstream.ledger.orders import dead, order_cancelled, order_paid, order_refunded
from pointstream.ledger.rulebook import load_rule_sets, rule_set_published, rule_set_withdrawn
from pointstream.ledger.scored import Trace
from pointstream.ledger.shadows import load_shadows, shadow_published, shadow_withdrawn
from pointstream.ledger.standing import standing_of
from pointstream.ledger.state import (
    PARTITION_KEY,
    KeyValues,
    time_bytes,
)
from pointstream.ledger.telling import take_notes
from pointstream.ledger.tiers import settle
from pointstream.ledger.timers import ring
from pointstream.ledger.uncounting import uncount
from pointstream.ledger.watching import keep, look
from pointstream.ledger.windows import Windows
from pointstream.ledger.withholding import hold_again
from pointstream.rules.compile import CompiledProgramme
from pointstream.rules.tables import Version

__all__ = ["ACCOUNTS_KEPT", "Ledger"]

ACCOUNTS_KEPT: Final = 4_096
"""Decoded accounts kept from one batch to the next (about 1 KB each)."""

_PROFILES: Final[frozenset[type]] = frozenset((MemberRegistered, MemberUpdated))

_Handler = Callable[[Book, bytes, Any, Cause, Source], Decision]

_HANDLERS: Final[dict[type, _Handler]] = {
    OrderPaid: order_paid,
    OrderRefunded: order_refunded,
    OrderCancelled: order_cancelled,
    CheckinRecorded: checkin_recorded,
    ReferralRegistered: referral_registered,
    ReferralFirstOrder: first_order,
    ActivityRecorded: activity_recorded,
    MemberRegistered: member_recorded,
    MemberUpdated: member_recorded,
}

_REMEMBERED: Final = frozenset(
    {
        Outcome.POINTS_AWARDED,
        Outcome.NOTHING_EARNED,
        Outcome.AWARD_UNDER_WAY,
        Outcome.ORDER_REFUNDED,
        Outcome.ORDER_CANCELLED,
        Outcome.ORDER_COMPLETED,
        Outcome.PARKED_UNTIL_ORDER,
        Outcome.MEMBER_RECORDED,
        # Under way: a repeat must not start it again before the answer is there.
        Outcome.TRANSFER_STARTED,
        Outcome.AWAITING_CONSENT,
        Outcome.STOCK_ASKED,
        Outcome.MERGE_ASKED,
        Outcome.REVIEW_ASKED,
        Outcome.RESYNC_ASKED,
        # Ignored: the id must not come to stand for another content all the same.
        Outcome.ORDER_ALREADY_AWARDED,
        Outcome.REFUND_ALREADY_TAKEN,
        Outcome.ORDER_ALREADY_CANCELLED,
        Outcome.ALREADY_CHECKED_IN,
        Outcome.REFERRAL_ALREADY_AWARDED,
        Outcome.ACTIVITY_ALREADY_AWARDED,
        Outcome.MEMBER_KNOWN_LATER,
    }
)
"""Outcomes after which an event's id is used. Answered commands are remembered in any case."""


class _Closed:
    """Stands in for the state between batches: nothing may be read or written there."""

    def __getattr__(self, name: str) -> NoReturn:
        raise LedgerError("the ledger is used between close and open")


_CLOSED: Final = cast(KeyValues, _Closed())


class Ledger:
    """The ledger of one partition."""

    def __init__(
        self,
        programme: CompiledProgramme,
        *,
        dedupe: bool = True,
        accounts_kept: int = ACCOUNTS_KEPT,
    ) -> None:
        """`dedupe=False` switches off what keeps an event from counting twice. It exists so that
        a test can show what that guards, and has no other use."""
        self._programme = programme
        self._book = Book(programme, accounts_kept)
        self._memory = self._book.memory = Memory(programme.dedup_window_ms, dedupe=dedupe)
        self._stored = b""
        self._behind = False
        self._windows = self._book.windows = Windows(programme)

    @property
    def behind(self) -> bool:
        """Whether timers are still due by the time last advanced to, because of a limit.

        Nothing can be decided then: a record must not find points that were gone by its time.
        """
        return self._behind

    @property
    def now_ms(self) -> int:
        """Partition time: the latest time that was advanced to. It never goes back."""
        return self._book.now_ms

    @property
    def by_events(self) -> bool:
        """Whether partition time is the latest event's, and not the broker's (`clock: events`)."""
        return self._programme.source.clock is Clock.EVENTS

    @property
    def checks(self) -> int:
        """How many times the books of a wallet were found right since the object was made."""
        return self._book.checks

    def rules_in_force(self, at_ms: int | None = None) -> list[Version]:
        """Return the version of each rule set that holds at a moment, or at partition time."""
        return self._book.rules.tables.in_force(self._book.now_ms if at_ms is None else at_ms)

    def among(self, partitions: int) -> None:
        """Tell the ledger of how many partitions it is one; until then it is the only one."""
        self._book.partitions = partitions

    def tell(self, trace: Trace | None) -> None:
        """Tell in `trace` how the events are scored that come from now on; None: no more.

        It changes nothing of what they come to.
        """
        self._book.trace = trace

    def take_set_aside(self) -> list[SetAside]:
        """Return the rule sets that were found not to fit this programme since the last call."""
        found = list(self._book.set_aside)
        self._book.set_aside.clear()
        return found

    def event_time_ms(self, event: InputEvent | Withdrawn, timestamp_ms: int) -> int:
        """Return the time to advance to before an event, with `clock: events`; 0 for none.

        An event that is dated ahead even of its record brings none: one wrong date must not let
        everybody's points expire. It is too far in the future then.
        """
        if not isinstance(event, MemberEnvelope):
            return 0
        at_ms = event.occurred_at_ms
        return at_ms if at_ms <= timestamp_ms + self._programme.future_tolerance_ms else 0

    def open(self, state: KeyValues) -> None:
        """Begin a batch on its state."""
        book, memory = self._book, self._memory
        book.state = memory.state = book.timers.state = state
        if not self._stored:
            self._load(state)

    def advance(self, now_ms: int, limit: int | None = None) -> list[Decision]:
        """Move partition time on, and let ring what is due by then, in due order.

        A time before partition time counts as partition time. With a `limit`, at most so many
        timers ring. If more are due, `behind` is true and partition time stands at the last one
        that rang: advance to the same time again, in this transaction or after a commit or crash.
        In how many steps makes no difference to what comes out.
        """
        book, memory = self._book, self._memory
        now_ms = max(now_ms, book.now_ms)
        decisions: list[Decision] = []
        if now_ms >= book.timers.next_ms:
            for due_ms, what in book.timers.due(now_ms, limit):
                if due_ms > book.now_ms:
                    book.now_ms = memory.now_ms = due_ms
                decision = ring(book, what, due_ms)
                if decision is not None:
                    decisions.append(self._finish(decision))
        self._behind = now_ms >= book.timers.next_ms
        if not self._behind:
            book.now_ms = memory.now_ms = now_ms
        return decisions

    def decide(
        self,
        event: InputEvent | Withdrawn,
        digest: bytes,
        source: Source,
        *,
        as_member: str | None = None,
    ) -> Decision:
        """Decide about one event. `digest` stands for its content, `source` is its raw record.

        `as_member` names the account it counts for, where that is another than the event says:
        the survivor of a merge.
        """
        if self._behind:
            raise LedgerError("an event was given while earlier timers are due")
        book, memory = self._book, self._memory
        # One class and not the four others: models answer `isinstance` class by class, in Python.
        if not isinstance(event, MemberEnvelope):
            return self._finish(self._published(event, digest, source))
        if as_member is not None:
            event = readdressed(event, as_member)
        occurred_ms = event.occurred_at_ms
        if occurred_ms > book.now_ms + self._programme.future_tolerance_ms:
            return _too_far_in_future(book, occurred_ms, source)
        member = event.member_id.encode()
        account = book.account(event.member_id, member)
        if account.closed:
            return self._finish(closed(book, account, event, digest, source))
        event_id = event.event_id
        known = memory.known_event(member, event_id)
        if known is not None:
            return _known(known, digest, source)
        if occurred_ms <= book.now_ms - self._windows.shortest_ms:
            memory_ms = self._memory_of(event, occurred_ms)
            if memory_ms is not None and occurred_ms <= book.now_ms - memory_ms:
                return dead(
                    Outcome.TOO_OLD,
                    DeadLetterCode.TOO_OLD,
                    f"the event is dated {book.now_ms - occurred_ms} ms back; whether one of its"
                    f" kind was taken before is known for {memory_ms} ms",
                    source,
                )
        cause = Cause(member, event, occurred_ms, source)
        handler = _HANDLERS.get(type(event), command_given)
        looked = look(book, account, event, occurred_ms) if book.detectors.any else None
        decision = handler(book, member, event, cause, source)
        result = decision.result
        if result is None:
            if decision.outcome in _REMEMBERED:
                if looked is not None:
                    keep(book, account, event, looked)
                given = given_rows(book, member, event_id) if book.given else ()
                memory.keep_event(member, event_id, digest, b"", given, occurred_ms=occurred_ms)
        else:
            if looked is not None and result["outcome"] == CommandOutcome.ACCEPTED:
                keep(book, account, event, looked)
            if account.erased:
                # Remembered like all commands, but not under the member's id.
                keep_erasure(book, account, digest, result["seq"])
            else:
                given = given_rows(book, member, event_id) if book.given else ()
                answer = dumps(result)
                memory.keep_event(member, event_id, digest, answer, given, occurred_ms=occurred_ms)
        memory.sweep()
        return self._finish(decision)

    def _published(
        self,
        event: ItemPublished
        | ItemWithdrawn
        | RulesetPublished
        | RulesetWithdrawn
        | DetectorsPublished
        | DetectorsWithdrawn,
        digest: bytes,
        source: Source,
    ) -> Decision:
        book = self._book
        if isinstance(event, ItemWithdrawn):
            return item_withdrawn(book, event)
        if isinstance(event, ItemPublished):
            occurred_ms = event.occurred_at_ms
            if occurred_ms > book.now_ms + self._programme.future_tolerance_ms:
                return _too_far_in_future(book, occurred_ms, source)
            return item_published(book, event, digest, source)
        if isinstance(event, RulesetWithdrawn):
            candidate_of = shadowed(event.ruleset_id)
            if candidate_of is not None:
                return shadow_withdrawn(book, candidate_of)
            return rule_set_withdrawn(book, event, source)
        if isinstance(event, DetectorsWithdrawn):
            return detectors_withdrawn(book, event, source)
        # With the clock of the events, the partition may stand at a time long ago.
        now_ms = max(book.now_ms, source.timestamp_ms)
        if event.occurred_at_ms > now_ms + self._programme.future_tolerance_ms:
            return _too_far_in_future(book, event.occurred_at_ms, source)
        if isinstance(event, DetectorsPublished):
            return detectors_published(book, event, source)
        take = shadow_published if event.shadow else rule_set_published
        return take(book, event, source)

    def take_notes(self) -> list[Note]:
        """Return what owners of other keys must be told, besides messages, and begin anew.

        To be called before the batch is closed: see `notes.packed`.
        """
        return take_notes(self._book)

    def receive(self, message: Message, source: Source) -> Decision:
        """Decide about a message from the owner of another partition, or from this one.

        Raises `StateCorrupt` for one of an unknown type: skipped, points would be lost with it.
        """
        if self._behind:
            raise LedgerError("a message was given while earlier timers are due")
        decision = received(self._book, message, source)
        self._memory.sweep()
        return self._finish(decision)

    def close(self) -> list[Standing]:
        """End the batch: write what has changed; return the standing of each member it touched."""
        book, memory = self._book, self._memory
        memory.close()
        standings = [standing_of(book, account) for account in book.accounts_shown()]
        stored = b"\x01%b%b%b" % (
            time_bytes(book.now_ms),
            memory.new.to_bytes(4, "big"),
            memory.cursor,
        )
        if stored != self._stored:
            book.state.put(PARTITION_KEY, stored)
            self._stored = stored
        book.outstanding.store(book.state)
        # A batch's state holds all that it wrote; an idle partition must not hold on to it.
        book.state = memory.state = book.timers.state = _CLOSED
        return standings

    def _memory_of(self, event: MemberEvent, occurred_ms: int) -> int | None:
        """Return for how long it is known that an event was taken, or None if it may come again.

        Taken once more after that, it would count twice: commands are known by their id, the rest
        by business keys. A member event tells what the member is, however often it comes.
        """
        if isinstance(event, CommandEnvelope):
            return self._windows.of_command(occurred_ms)
        if type(event) in _PROFILES:
            return None
        return self._windows.of_event(occurred_ms)

    def _load(self, state: KeyValues) -> None:
        book, memory = self._book, self._memory
        stored = state.get(PARTITION_KEY)
        if stored is not None:
            self._stored = stored
            book.now_ms = memory.now_ms = int.from_bytes(stored[1:9], "big")
            memory.new = int.from_bytes(stored[9:13], "big")
            memory.cursor = stored[13:]
            load_rule_sets(book)
            DETECTOR_SETS.load(book)
            load_shadows(book)
        book.outstanding.load(state)
        self._windows.load(state, book.now_ms)
        schedule_all(book)

    def _finish(self, decision: Decision) -> Decision:
        """Hand over the entries made, after the books of all touched wallets were checked."""
        book = self._book
        book.suspect = ()
        if book.came_back:
            hold_again(book)
        book.step_up = None
        if book.undone:
            uncount(book)
        if book.measured:
            settle(book)
        book.wait_until_ms = 0
        if book.given:
            keep_given(book)
        if book.entries:
            decision.entries = book.entries
            book.entries = []
            book.check()
        if book.effects is not None:
            decision.effects = book.effects
            book.effects = None
        return decision


def _too_far_in_future(book: Book, occurred_ms: int, source: Source) -> Decision:
    return dead(
        Outcome.TOO_FAR_IN_FUTURE,
        DeadLetterCode.TOO_FAR_IN_FUTURE,
        f"the event is dated {occurred_ms - book.now_ms} ms ahead of the partition",
        source,
    )


def _known(known: tuple[bytes, bytes], digest: bytes, source: Source) -> Decision:
    known_digest, answer = known
    if known_digest != digest:
        return dead(
            Outcome.ID_REUSED_WITH_OTHER_CONTENT,
            DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
            "the event_id was used before, for an event with other content",
            source,
        )
    if answer:
        return Decision(Outcome.COMMAND_ALREADY_ANSWERED, result=loads(answer))
    return Decision(Outcome.EVENT_ALREADY_TAKEN)
