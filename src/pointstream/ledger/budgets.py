"""Budgets: points that all members together get at most by the rules of a campaign.

The owner of a budget's key decides (`grants.py`): it grants what is left of the budget, and no
partition gives a point of it before. Its answer is the end of what `awards.py` began.

A budget is spent by what is awarded. Points that a refund takes back do not return to it: what has
been told of a campaign stays true, and nobody can empty a budget and fill it again by returning
goods. What comes back is only what could not be awarded at all.
"""

from __future__ import annotations

from typing import Any

from pointstream.ledger import grants
from pointstream.ledger.awards import award_of, tell_nothing_granted
from pointstream.ledger.book import Book
from pointstream.ledger.caps import make_room
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.grants import Grant
from pointstream.ledger.moves import give
from pointstream.ledger.orders import grant_fits
from pointstream.ledger.records import Account, Award
from pointstream.ledger.scored import Due
from pointstream.ledger.settling import settle
from pointstream.ledger.underway import UnderWay, take_under_way
from pointstream.rules.model import Reward

__all__ = ["budget_granted"]


def budget_granted(book: Book, account: Account, grant: Grant, source: Source) -> Decision:
    """Award what the budget granted, and settle refunds that came before its answer."""
    under_way = take_under_way(book, account.member, grant.ask_id)
    reward = book.rule_set(under_way.ruleset_hash).rewards[under_way.rule_id]
    points = grant.granted
    # A wallet that the programme has no more takes nothing in; a confirmed fraud earns nothing.
    gone = reward.wallet not in book.programme.wallets
    if gone or under_way.confirmed or not grant_fits(account, [Due(reward, points)]):
        grants.give_back(book, grant.kind, grant.key, points)
        points = 0
    make_room(book, account.member, reward.caps, under_way.points - points, under_way.earned_ms)
    award = _award(book, account, reward, under_way, points)
    if under_way.order_id is not None:
        _go_on_with_order(book, account, under_way.order_id, grant.ask_id, award, under_way.refund)
    book.change(account)
    return Decision(Outcome.POINTS_AWARDED if points else Outcome.NOTHING_EARNED)


def _award(
    book: Book, account: Account, reward: Reward, under_way: UnderWay, points: int
) -> Award | None:
    """Give what was granted, in the name of the event that earned it."""
    cause = Cause.of_fields(account.member, under_way.cause)
    order_id, reason, campaign_id = under_way.order_id, under_way.reason, under_way.campaign_id
    if not points:
        tell_nothing_granted(
            book, account, reward, under_way.due, cause, order_id, reason, campaign_id
        )
        return None
    due = under_way.due if points < under_way.due else None
    book.wait_until_ms = under_way.wait_until_ms
    lot = give(
        book,
        account,
        reward,
        points,
        cause,
        under_way.earned_ms,
        order_id,
        reason,
        due,
        campaign_id,
    )
    return award_of(book, reward, lot, points)


def _go_on_with_order(
    book: Book,
    account: Account,
    order_id: str,
    ask_id: str,
    award: Award | None,
    refund: dict[str, Any] | None,
) -> None:
    """Note with the order what the budget granted, and undo what refunds ask back of it."""
    order = book.order(account.member, order_id)
    if order is None:
        return
    place = [known.lot_id for known in order.awards].index(ask_id)
    if award is None:
        del order.awards[place]
    else:
        award.multiplier = order.awards[place].multiplier
        award.kept = order.awards[place].kept
        order.awards[place] = award
    if award is not None and refund is not None:
        cause = Cause.of_fields(account.member, refund)
        settle(book, account, order_id, order, order.money_left_minor, cause)
    book.put_order(account.member, order_id, order)
