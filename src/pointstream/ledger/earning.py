"""What members earn besides orders: check-ins with their streaks, referrals, activities."""

from __future__ import annotations

from pointstream.contracts.inputs import (
    ActivityRecorded,
    CheckinRecorded,
    ReferralFirstOrder,
    ReferralRegistered,
)
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import remembered
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.moves import give
from pointstream.ledger.orders import grant_fits, too_many, wrong_currency
from pointstream.ledger.records import Account, Run
from pointstream.ledger.state import business_key
from pointstream.rules.model import Reward

__all__ = ["activity_recorded", "checkin_recorded", "first_order", "referral_registered"]

_DAY_MS = 86_400_000


def checkin_recorded(
    book: Book, member: bytes, event: CheckinRecorded, cause: Cause, src: Source
) -> Decision:
    """Award a check-in, once per local day, and the bonuses its streak has come to."""
    programme = book.programme
    day = programme.calendar.local_day(cause.occurred_ms)
    key = business_key(member, "checkin", str(day))
    again = book.memory.knows(key)
    rewards = [
        reward
        for reward in programme.rules_at(cause.occurred_ms).check_ins
        if (reward.matches is None or reward.matches(event)) and (reward.every_time or not again)
    ]
    if again and not rewards:
        return Decision(Outcome.ALREADY_CHECKED_IN)
    account = book.account(event.member_id, member)
    run = None if again else _run_with(book, account, day, cause.occurred_ms)
    grants: list[tuple[Reward, int]] = []
    bonuses: list[tuple[str, int]] = []
    for reward in rewards:
        grants.append((reward, reward.points))
        if run is not None:
            due = reward.bonuses_due(run.last_day - run.first_day + 1)
            due -= run.paid.get(reward.rule_id, 0)
            if due > 0:
                bonuses.append((reward.rule_id, due))
                grants.append((reward, due * reward.streak_points))
    if not grant_fits(account, grants):
        return too_many(src)

    if not again:
        _remember(book, key)
    if run is not None:
        for rule_id, due in bonuses:
            run.paid[rule_id] = run.paid.get(rule_id, 0) + due
        _put_run(book, account, run)
    paid_before: set[str] = set()
    for granted, points in grants:
        reason = "streak" if granted.rule_id in paid_before else None
        paid_before.add(granted.rule_id)
        give(book, account, granted, points, cause, cause.occurred_ms, reason=reason)
    book.active(account, cause.occurred_ms)
    return Decision(Outcome.POINTS_AWARDED if grants else Outcome.NOTHING_EARNED)


def _run_with(book: Book, account: Account, day: int, occurred_ms: int) -> Run | None:
    """Return the run of days that a check-in makes or mends; the account is not changed yet.

    A day later than all others goes on from the last run. A day before that was missed mends the
    streak only if it arrives within the late window: else None.
    """
    runs = account.runs
    late = book.now_ms - occurred_ms > book.programme.late_window_ms
    if runs and day < runs[-1].last_day and late:
        return None
    merged = Run(day, day)
    for run in runs:
        if run.first_day <= day <= run.last_day:
            return None
        if run.last_day == day - 1:
            merged.first_day = run.first_day
        elif run.first_day == day + 1:
            merged.last_day = run.last_day
        else:
            continue
        for rule_id, paid in run.paid.items():
            merged.paid[rule_id] = merged.paid.get(rule_id, 0) + paid
    return merged


def _put_run(book: Book, account: Account, merged: Run) -> None:
    """Put a run in the place of those it joins, and drop what no check-in can mend any more."""
    programme = book.programme
    oldest_day = programme.calendar.local_day(
        max(0, book.now_ms - programme.late_window_ms - _DAY_MS)
    )
    runs = [
        run
        for run in account.runs
        if run.last_day < merged.first_day or run.first_day > merged.last_day
    ]
    runs.append(merged)
    runs.sort(key=lambda run: run.first_day)
    account.runs = [run for run in runs[:-1] if run.last_day >= oldest_day] + runs[-1:]


def referral_registered(
    book: Book, member: bytes, event: ReferralRegistered, cause: Cause, src: Source
) -> Decision:
    """Award a referral, once per referee."""
    key = business_key(member, "registered", event.referee_id)
    if book.memory.knows(key):
        return Decision(Outcome.REFERRAL_ALREADY_AWARDED)
    grants: list[tuple[Reward, int]] = [
        (reward, reward.points)
        for reward in book.programme.rules_at(cause.occurred_ms).referrals.get("registered", ())
        if reward.matches is None or reward.matches(event)
    ]
    return _award_once(book, member, event.member_id, key, grants, cause, src)


def first_order(
    book: Book, member: bytes, event: ReferralFirstOrder, cause: Cause, src: Source
) -> Decision:
    """Award the first order of a referee, once per referee."""
    key = business_key(member, "first_order", event.referee_id)
    if book.memory.knows(key):
        return Decision(Outcome.REFERRAL_ALREADY_AWARDED)
    if event.currency != book.programme.currency:
        return wrong_currency(book, event.currency, src)
    grants: list[tuple[Reward, int]] = [
        (reward, reward.points)
        for reward in book.programme.rules_at(cause.occurred_ms).referrals.get("first_order", ())
        if (reward.matches is None or reward.matches(event))
        and event.paid_minor >= reward.min_minor
    ]
    return _award_once(book, member, event.member_id, key, grants, cause, src)


def activity_recorded(
    book: Book, member: bytes, event: ActivityRecorded, cause: Cause, src: Source
) -> Decision:
    """Award an activity, once per activity and reference."""
    key = business_key(member, "activity", event.activity, event.reference)
    if book.memory.knows(key):
        return Decision(Outcome.ACTIVITY_ALREADY_AWARDED)
    if event.currency is not None and event.currency != book.programme.currency:
        return wrong_currency(book, event.currency, src)
    grants: list[tuple[Reward, int]] = []
    for reward in book.programme.rules_at(cause.occurred_ms).activities.get(event.activity, ()):
        if reward.matches is None or reward.matches(event):
            points = reward.points(event.quantity, event.value_minor)
            if points:
                grants.append((reward, points))
    return _award_once(
        book, member, event.member_id, key, grants, cause, src, reason=event.activity
    )


def _award_once(
    book: Book,
    member: bytes,
    member_id: str,
    key: bytes,
    grants: list[tuple[Reward, int]],
    cause: Cause,
    source: Source,
    *,
    reason: str | None = None,
) -> Decision:
    account = book.account(member_id, member)
    if not grant_fits(account, grants):
        return too_many(source)
    _remember(book, key)
    for reward, points in grants:
        give(book, account, reward, points, cause, cause.occurred_ms, reason=reason)
    book.active(account, cause.occurred_ms)
    return Decision(Outcome.POINTS_AWARDED if grants else Outcome.NOTHING_EARNED)


def _remember(book: Book, key: bytes) -> None:
    book.memory.put(key, remembered(book.now_ms + book.programme.refund_window_ms))
