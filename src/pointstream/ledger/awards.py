"""Awards of rules that have caps or a budget: less may be granted than the rule gives.

First the member's caps cut what the rule gave, then the owner of the budget is asked for the rest.
Until it answers (`budgets.py`), the award waits under a key of its own, and no point of it is in
the account. Room under the caps is taken when the budget is asked: two awards under way must not
both use it.

What a rule gave is told as `due` wherever less was granted, also where nothing was.
"""

from __future__ import annotations

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger import grants
from pointstream.ledger.book import Book
from pointstream.ledger.caps import Room
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Outcome
from pointstream.ledger.grants import GrantKind
from pointstream.ledger.moves import give
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Award, Lot
from pointstream.ledger.scored import Granted, note_granted
from pointstream.ledger.underway import UnderWay, keep_under_way
from pointstream.rules.model import Reward

__all__ = ["Awarding", "award_of", "tell_nothing_granted"]


class Awarding:
    """Gives what one event earns, rule by rule."""

    def __init__(
        self,
        book: Book,
        account: Account,
        cause: Cause,
        earned_ms: int,
        order_id: str | None = None,
    ) -> None:
        self._book = book
        self._account = account
        self._cause = cause
        self._earned_ms = earned_ms
        self._order_id = order_id
        self._room: Room | None = None
        self._given = False
        self._asked = 0

    @property
    def outcome(self) -> Outcome:
        """What has become of the event so far."""
        if self._given:
            return Outcome.POINTS_AWARDED
        return Outcome.AWARD_UNDER_WAY if self._asked else Outcome.NOTHING_EARNED

    def give(self, reward: Reward, points: int, reason: str | None = None) -> Award | None:
        """Give what caps leave of what a rule gave, or ask the rule's budget for that.

        Returns the award for the order's record, or None if caps leave nothing.
        """
        book, account, earned_ms = self._book, self._account, self._earned_ms
        left, due = points, None
        if reward.limited:
            if self._room is None:
                self._room = Room(book, account.member, earned_ms)
            looks = self._room.look(reward.caps) if book.trace is not None else ()
            left = self._room.take(reward.caps, points)
            if book.trace is not None:
                granted = Granted(points, left, looks, reward.budget, reason)
                note_granted(book.trace, reward, granted)
            if not left:
                campaign_id = book.programme.campaign_of(reward.budget)
                tell_nothing_granted(
                    book, account, reward, points, self._cause, self._order_id, reason, campaign_id
                )
                return None
            if reward.budget is not None:
                return self._ask(reward, reward.budget, left, points, reason)
            due = points if left < points else None
        self._given = True
        lot = give(book, account, reward, left, self._cause, earned_ms, self._order_id, reason, due)
        return award_of(book, reward, lot, left)

    def _ask(
        self, reward: Reward, budget_id: str, points: int, due: int, reason: str | None
    ) -> Award:
        """Ask the budget for points, and keep what is needed to go on with its answer."""
        book, account = self._book, self._account
        budget = book.programme.budgets[budget_id]
        # With the sequence number: an id that was forgotten may come again.
        ask_id = f"{self._cause.entry_id(account.seq)}-{self._asked}"
        self._asked += 1
        book.keep_rule_set(reward.ruleset_hash)
        under_way = UnderWay(
            reward.ruleset_hash,
            reward.rule_id,
            points,
            due,
            self._earned_ms,
            self._order_id,
            reason,
            book.programme.campaign_of(budget_id) or budget_id,
            self._cause.fields(),
            wait_until_ms=book.wait_until_ms,
        )
        keep_under_way(book, account.member, ask_id, under_way)
        if reward.wallet in book.programme.measured_in:
            # Nothing yet, but the ladder is measured from here on: a refund will take off later.
            count(book, account, reward.wallet, 0, self._earned_ms, self._cause)
        grants.ask(
            book,
            GrantKind.BUDGET,
            budget_id,
            points,
            member_id=account.member_id,
            ask_id=ask_id,
            partial=True,
            limit=budget.points,
            note={},
        )
        return Award(reward.ruleset_hash, reward.rule_id, reward.wallet, ask_id, 0, 0, 0)


def award_of(book: Book, reward: Reward, lot: Lot, points: int) -> Award:
    """Return what an order's record keeps of an award."""
    return Award(
        reward.ruleset_hash,
        reward.rule_id,
        reward.wallet,
        lot.lot_id,
        lot.activates_ms,
        lot.expires_ms,
        points,
        # Over before the order came: gone already, as what expires later.
        expired=points if lot.over_by(book.now_ms) else 0,
    )


def tell_nothing_granted(
    book: Book,
    account: Account,
    reward: Reward,
    due: int,
    cause: Cause,
    order_id: str | None,
    reason: str | None,
    campaign_id: str | None,
) -> None:
    """Write the entry of an award of which caps or the budget left nothing.

    No point moves, but whoever asks why there are none finds what was due.
    """
    book.emit(
        account,
        reward.wallet,
        book.totals(account, reward.wallet),
        MovementType.EARNED,
        0,
        0,
        cause,
        [],
        reward=reward,
        order_id=order_id,
        reason=reason,
        due=due,
        campaign_id=campaign_id,
    )
