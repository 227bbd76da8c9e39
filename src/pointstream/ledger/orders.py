"""Orders: what they earn, and what refunds and cancellations undo.

An order's record keeps what each rule gave and the rule set it came from, so that a refund is
computed by the rules of the order's own time: after refunds of R out of P, what is asked back is
E - points(P - R), summed up over all refunds so far. Nothing depends on the order of refunds.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from pointstream.contracts.inputs import OrderCancelled, OrderPaid, OrderRefunded
from pointstream.contracts.tiers import MONEY
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger.awards import Awarding
from pointstream.ledger.book import MAX_POINTS, Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.comparing import compare_shadows
from pointstream.ledger.decision import DeadLetter, Decision, Outcome, Source
from pointstream.ledger.facts import Facts
from pointstream.ledger.parking import Parked, park, parked_for, unpark
from pointstream.ledger.paying import count_paid
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Line, Order
from pointstream.ledger.scored import Due
from pointstream.ledger.scoring import score_order
from pointstream.ledger.settling import settle
from pointstream.ledger.state import order_key

__all__ = [
    "MAX_REFUNDS",
    "dead",
    "grant_fits",
    "order_cancelled",
    "order_paid",
    "order_refunded",
    "release_parked",
    "too_many",
    "wrong_currency",
]

MAX_REFUNDS: Final = 1_000
"""An order remembers its refunds; without a bound its record would grow past what Kafka takes."""


def dead(outcome: Outcome, code: DeadLetterCode, message: str, source: Source) -> Decision:
    """Return the decision about a record that cannot be taken."""
    return Decision(outcome, dead_letters=[DeadLetter(code, message, source)])


def wrong_currency(book: Book, currency: str, source: Source) -> Decision:
    """Return the decision about money in another currency than the programme's."""
    return dead(
        Outcome.CURRENCY_NOT_SUPPORTED,
        DeadLetterCode.CURRENCY_NOT_SUPPORTED,
        f"the programme counts in {book.programme.currency}, the event in {currency}",
        source,
    )


def grant_fits(account: Account, dues: Sequence[Due]) -> bool:
    """Tell whether a wallet can hold what is about to be given, whatever came before."""
    # The sum over all wallets bounds each of them, and is far from any real grant.
    granted = sum([due.points for due in dues])
    for due in dues:
        totals = account.wallets.get(due.reward.wallet)
        if granted + (totals.granted if totals is not None else 0) > MAX_POINTS:
            return False
    return True


def too_many(source: Source) -> Decision:
    """Return the decision about an event that would earn more than a wallet can hold."""
    return dead(
        Outcome.POINTS_OUT_OF_RANGE,
        DeadLetterCode.POINTS_OUT_OF_RANGE,
        f"a wallet cannot be given more than {MAX_POINTS} points",
        source,
    )


def order_paid(book: Book, member: bytes, event: OrderPaid, cause: Cause, src: Source) -> Decision:
    """Award an order, then whatever refunds of it were waiting."""
    key = order_key(member, event.order_id)
    if book.memory.knows(key):
        return Decision(Outcome.ORDER_ALREADY_AWARDED)
    programme = book.programme
    if event.currency != programme.currency:
        return wrong_currency(book, event.currency, src)
    earned_ms = cause.occurred_ms
    order = Order(
        0,
        event.paid_minor,
        earned_ms,
        event.store_id,
        event.brand_id,
        event.channel,
        [],
        [Line(line.line_id, line.paid_minor, line.earns) for line in event.lines],
        taken_ms=book.now_ms,
    )
    account = book.account(event.member_id, member)
    facts = Facts(book, account, earned_ms)
    table = book.rules_at(earned_ms)
    dues = score_order(table, event, order, facts, book.trace)
    if dues and not grant_fits(account, dues):
        return too_many(src)
    if book.shadows:
        compare_shadows(
            book,
            account,
            cause,
            dues,
            lambda other: score_order(other, event, order, facts),
            event.order_id,
        )

    account.orders += 1
    if table.asks_spend:
        count_paid(book, member, event.paid_minor, earned_ms)
    book.active(account, earned_ms)
    awarding = Awarding(book, account, cause, earned_ms, event.order_id)
    for due in dues:
        book.keep_rule_set(due.reward.ruleset_hash)
        award = awarding.give(due.reward, due.points)
        if award is not None:
            award.multiplier = due.multiplier
            award.kept = due.kept
            order.awards.append(award)
    if MONEY in programme.measured_in:
        count(book, account, MONEY, event.paid_minor, earned_ms, cause)
    decision = Decision(awarding.outcome)
    if account.parked:
        decision.dead_letters.extend(release_parked(book, account, event.order_id, order) or ())
    book.put_order(member, event.order_id, order, new=True)
    return decision


def release_parked(
    book: Book, account: Account, order_id: str, order: Order
) -> list[DeadLetter] | None:
    """Take what was waiting for an order. The caller writes the order.

    Returns the dead letters of what does not fit it, or None if nothing was waiting.
    """
    waiting = parked_for(book, account, order_id)
    letters: list[DeadLetter] = []
    for parked in waiting:
        unpark(book, account, parked)
        letters.extend(_release(book, account, order_id, order, parked).dead_letters)
    return letters if waiting else None


def _release(book: Book, account: Account, order_id: str, order: Order, parked: Parked) -> Decision:
    event, source = parked.event, parked.source
    cause = Cause(account.member, event, event.occurred_at_ms, source)
    if isinstance(event, OrderRefunded):
        decision = _refund(book, account, order, event, cause, source)
    else:
        decision = _cancel(book, account, order_id, order, cause)
    if decision.dead_letters:
        # Not taken after all: given again, it must be looked at again.
        book.memory.forget_event(account.member, event.event_id)
    return decision


def order_refunded(
    book: Book, member: bytes, event: OrderRefunded, cause: Cause, src: Source
) -> Decision:
    """Undo what the refunded money earned, or park the refund until its order comes."""
    order = book.order(member, event.order_id)
    account = book.account(event.member_id, member)
    if order is None:
        park(book, account, event, src)
        return Decision(Outcome.PARKED_UNTIL_ORDER)
    decision = _refund(book, account, order, event, cause, src)
    if decision.outcome is Outcome.ORDER_REFUNDED:
        book.put_order(member, event.order_id, order)
    return decision


def order_cancelled(
    book: Book, member: bytes, event: OrderCancelled, cause: Cause, src: Source
) -> Decision:
    """Undo all that is left of an order, or park the cancellation until its order comes."""
    order = book.order(member, event.order_id)
    account = book.account(event.member_id, member)
    if order is None:
        park(book, account, event, src)
        return Decision(Outcome.PARKED_UNTIL_ORDER)
    decision = _cancel(book, account, event.order_id, order, cause)
    if decision.outcome is Outcome.ORDER_CANCELLED:
        book.put_order(member, event.order_id, order)
    return decision


def _refund(
    book: Book, account: Account, order: Order, event: OrderRefunded, cause: Cause, source: Source
) -> Decision:
    refund = blake2b(event.refund_id.encode(), digest_size=12).hexdigest()
    if refund in order.refunds and book.memory.dedupe:
        return Decision(Outcome.REFUND_ALREADY_TAKEN)
    if len(order.refunds) == MAX_REFUNDS:
        return dead(
            Outcome.REFUND_EXCEEDS_ORDER,
            DeadLetterCode.REFUND_EXCEEDS_ORDER,
            f"the order has had {MAX_REFUNDS} refunds, more are not taken one by one",
            source,
        )
    # A refund that comes after the cancellation is still a true one of the money it names, so the
    # sum of refunds is what counts here, not what is left.
    refunded_minor = order.refunded_minor + event.refunded_minor
    if refunded_minor > order.paid_minor:
        return dead(
            Outcome.REFUND_EXCEEDS_ORDER,
            DeadLetterCode.REFUND_EXCEEDS_ORDER,
            f"refunds of {refunded_minor} minor units out of an order of {order.paid_minor}",
            source,
        )
    refunds: list[tuple[Line, int]] = []
    if order.lines:
        lines = {line.line_id: line for line in order.lines}
        for part in event.lines:
            line = lines.get(part.line_id)
            if line is None:
                return dead(
                    Outcome.LINE_UNKNOWN,
                    DeadLetterCode.LINE_UNKNOWN,
                    f"the order has no line {part.line_id!r}",
                    source,
                )
            if line.refunded_minor + part.refunded_minor > line.paid_minor:
                return dead(
                    Outcome.REFUND_EXCEEDS_ORDER,
                    DeadLetterCode.REFUND_EXCEEDS_ORDER,
                    f"refunds of line {part.line_id!r} exceed its {line.paid_minor} minor units",
                    source,
                )
            refunds.append((line, part.refunded_minor))

    paid_minor = order.money_left_minor
    for line, minor in refunds:
        line.refunded_minor += minor
    order.refunded_minor = refunded_minor
    if not order.paid_minor:
        order.returned = True
    order.refunds.append(refund)
    settle(book, account, event.order_id, order, paid_minor, cause)
    return Decision(Outcome.ORDER_REFUNDED)


def _cancel(book: Book, account: Account, order_id: str, order: Order, cause: Cause) -> Decision:
    if order.cancelled:
        return Decision(Outcome.ORDER_ALREADY_CANCELLED)
    paid_minor = order.money_left_minor
    order.cancelled = order.returned = True
    settle(book, account, order_id, order, paid_minor, cause)
    return Decision(Outcome.ORDER_CANCELLED)
