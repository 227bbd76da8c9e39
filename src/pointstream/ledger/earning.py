"""What members earn besides orders: check-ins with their streaks, referrals, activities."""

from __future__ import annotations

from collections.abc import Callable

from pointstream.contracts.inputs import (
    ActivityRecorded,
    CheckinRecorded,
    ReferralFirstOrder,
    ReferralRegistered,
)
from pointstream.ledger.awards import Awarding
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import remembered
from pointstream.ledger.comparing import compare_shadows
from pointstream.ledger.completing import completed
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.facts import Facts
from pointstream.ledger.lineage import note_referral
from pointstream.ledger.orders import grant_fits, too_many, wrong_currency
from pointstream.ledger.records import Account, Run
from pointstream.ledger.scored import Due, Trace
from pointstream.ledger.scoring import (
    score_activity,
    score_check_in,
    score_first_order,
    score_referral,
)
from pointstream.ledger.state import business_key, pseudonym, time_bytes
from pointstream.ledger.waiting import activity_key
from pointstream.rules.index import RuleTable

__all__ = [
    "activity_recorded",
    "checkin_recorded",
    "first_order",
    "join_runs",
    "referral_registered",
]


def checkin_recorded(
    book: Book, member: bytes, event: CheckinRecorded, cause: Cause, src: Source
) -> Decision:
    """Award a check-in, once per local day, and the bonuses that it adds to its streak."""
    programme = book.programme
    day = programme.calendar.local_day(cause.occurred_ms)
    key = business_key(member, "checkin", str(day))
    again = book.memory.knows(key)
    # No key but the event's id keeps a second check-in of a day from counting twice: what is older
    # than an id is remembered for may have been paid already.
    may_repeat = book.now_ms - cause.occurred_ms < book.windows.of_command(cause.occurred_ms)
    account = book.account(event.member_id, member)
    joined = None if again else _joined(book, account, day, cause.occurred_ms)
    merged = Run(day, day)
    if joined:
        merged = Run(min(day, joined[0].first_day), max(day, joined[-1].last_day))
    facts = Facts(book, account, cause.occurred_ms)

    def score(table: RuleTable, trace: Trace | None = None) -> list[Due]:
        return score_check_in(
            table,
            event,
            facts,
            again=again,
            may_repeat=may_repeat,
            joined=joined,
            days=merged.days,
            trace=trace,
        )

    dues = score(book.rules_at(cause.occurred_ms), book.trace)
    if not grant_fits(account, dues):
        return too_many(src)
    if book.shadows:
        compare_shadows(book, account, cause, dues, score)
    if again and not dues:
        return Decision(Outcome.ALREADY_CHECKED_IN)
    if not dues:
        # It must not use up the day: a later one may be made where a rule does pay.
        book.active(account, cause.occurred_ms)
        return Decision(Outcome.NOTHING_EARNED)

    if not again:
        _remember(book, key, cause)
    if joined is not None:
        _put_run(book, account, merged)
    book.active(account, cause.occurred_ms)
    awarding = Awarding(book, account, cause, cause.occurred_ms)
    for due in dues:
        if due.points:
            awarding.give(due.reward, due.points, due.reason)
    return Decision(awarding.outcome)


def _joined(book: Book, account: Account, day: int, occurred_ms: int) -> list[Run] | None:
    """Return the runs, earliest first, that a check-in makes one; None if it is in no streak.

    A day later than all others goes on from the last run. A day before that was missed mends the
    streak only if it arrives within the late window: else None.
    """
    runs = account.runs
    late = book.now_ms - occurred_ms > book.programme.late_window_ms
    if runs and day < runs[-1].last_day and late:
        return None
    if any(run.first_day <= day <= run.last_day for run in runs):
        return None
    return [run for run in runs if run.last_day == day - 1 or run.first_day == day + 1]


def _put_run(book: Book, account: Account, merged: Run) -> None:
    """Put a run in the place of those it joins, and drop what no check-in can mend any more."""
    runs = [
        run
        for run in account.runs
        if run.last_day < merged.first_day or run.first_day > merged.last_day
    ]
    runs.append(merged)
    runs.sort(key=lambda run: run.first_day)
    account.runs = _mendable(book, runs)


def _mendable(book: Book, runs: list[Run]) -> list[Run]:
    """Return the latest run, and those before it that a late check-in can still join."""
    programme = book.programme
    # The earliest day that can still be checked in may join the run that ended the day before.
    earliest_ms = max(0, book.now_ms - programme.late_window_ms)
    oldest_day = programme.calendar.local_day(earliest_ms) - 1
    return [run for run in runs[:-1] if run.last_day >= oldest_day] + runs[-1:]


def join_runs(book: Book, account: Account, others: list[Run]) -> None:
    """Put the check-in days of a merged account to those of the survivor.

    Runs that overlap or touch become one. No bonus is paid for it: what a run is worth more now
    counts as paid, like a run that was paid by other rules.
    """
    joined: list[Run] = []
    for run in sorted([*account.runs, *others], key=lambda run: (run.first_day, run.last_day)):
        if joined and run.first_day <= joined[-1].last_day + 1:
            joined[-1].last_day = max(joined[-1].last_day, run.last_day)
        else:
            joined.append(Run(run.first_day, run.last_day))
    account.runs = _mendable(book, joined)


def referral_registered(
    book: Book, member: bytes, event: ReferralRegistered, cause: Cause, src: Source
) -> Decision:
    """Award a referral, once per referee."""
    key = business_key(member, "registered", pseudonym(event.referee_id))
    if book.memory.knows(key):
        return Decision(Outcome.REFERRAL_ALREADY_AWARDED)
    account = book.account(event.member_id, member)
    facts = Facts(book, account, cause.occurred_ms)

    def score(table: RuleTable, trace: Trace | None = None) -> list[Due]:
        return score_referral(table, event, facts, trace)

    dues = score(book.rules_at(cause.occurred_ms), book.trace)
    decision = _award_once(book, account, key, dues, cause, src, score)
    return _referred(book, account, event, dues, decision, cause)


def first_order(
    book: Book, member: bytes, event: ReferralFirstOrder, cause: Cause, src: Source
) -> Decision:
    """Award the first order of a referee, once per referee."""
    key = business_key(member, "first_order", pseudonym(event.referee_id))
    if book.memory.knows(key):
        return Decision(Outcome.REFERRAL_ALREADY_AWARDED)
    if event.currency != book.programme.currency:
        return wrong_currency(book, event.currency, src)
    account = book.account(event.member_id, member)
    facts = Facts(book, account, cause.occurred_ms)

    def score(table: RuleTable, trace: Trace | None = None) -> list[Due]:
        return score_first_order(table, event, facts, trace)

    dues = score(book.rules_at(cause.occurred_ms), book.trace)
    decision = _award_once(book, account, key, dues, cause, src, score)
    return _referred(book, account, event, dues, decision, cause)


def _referred(
    book: Book,
    account: Account,
    event: ReferralRegistered | ReferralFirstOrder,
    dues: list[Due],
    decision: Decision,
    cause: Cause,
) -> Decision:
    """Note whom an award was for, where detectors are in use: it goes if that one is a fraud."""
    if book.traced and dues and not decision.dead_letters:
        note_referral(book, account, event.referee_id, cause)
    return decision


def activity_recorded(
    book: Book, member: bytes, event: ActivityRecorded, cause: Cause, src: Source
) -> Decision:
    """Award an activity, once per activity and reference; orders may have waited for it."""
    key = activity_key(member, event.activity, event.reference)
    if book.memory.knows(key):
        return Decision(Outcome.ACTIVITY_ALREADY_AWARDED)
    if event.currency is not None and event.currency != book.programme.currency:
        return wrong_currency(book, event.currency, src)
    account = book.account(event.member_id, member)
    facts = Facts(book, account, cause.occurred_ms)

    def score(table: RuleTable, trace: Trace | None = None) -> list[Due]:
        return score_activity(table, event, facts, trace)

    dues = score(book.rules_at(cause.occurred_ms), book.trace)
    body = time_bytes(cause.occurred_ms)
    decision = _award_once(book, account, key, dues, cause, src, score, body)
    if not decision.dead_letters:
        done = completed(book, account, event.activity, event.reference, cause)
        if done and not dues:
            decision.outcome = Outcome.ORDER_COMPLETED
    return decision


def _award_once(
    book: Book,
    account: Account,
    key: bytes,
    dues: list[Due],
    cause: Cause,
    source: Source,
    score: Callable[[RuleTable], list[Due]],
    body: bytes = b"",
) -> Decision:
    if not grant_fits(account, dues):
        return too_many(source)
    if book.shadows:
        compare_shadows(book, account, cause, dues, score)
    _remember(book, key, cause, body)
    book.active(account, cause.occurred_ms)
    awarding = Awarding(book, account, cause, cause.occurred_ms)
    for due in dues:
        awarding.give(due.reward, due.points, due.reason)
    return Decision(awarding.outcome)


def _remember(book: Book, key: bytes, cause: Cause, body: bytes = b"") -> None:
    # From the event's own date, if that is ahead: until the key is forgotten, the event must have
    # become too old to be taken again.
    since_ms = max(book.now_ms, cause.occurred_ms)
    book.memory.put(key, remembered(since_ms + book.programme.refund_window_ms, body))
