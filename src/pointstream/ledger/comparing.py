"""What a candidate in shadow would have given for an event, held against what the rules gave.

The event is scored once more by the code that scored it, with the candidate in the place of its
rule set, before anything of it is awarded: both are asked about the same member. Nothing is
written, and nothing that goes wrong in it reaches the event.

What is only nearly as if the candidate were in force:

- Caps are looked at as they stand, with what the rules in force have used of them. A cap that they
  have too goes on from there. Of one that is the candidate's own nothing was ever used, so within
  its day, week or month it binds each event alone.
- Of budgets each is taken to grant all that it is asked for, on both sides.
- What members paid by day is counted only while a rule in force asks for it.
- What once per day or member earned by the rules in force has been had, by the candidate too; and
  what the candidate would have given before was not given.
- Refunds are not compared: they take back what was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pointstream.contracts.lifetimes import Activation, Expiry
from pointstream.ledger.book import MAX_POINTS, Book
from pointstream.ledger.caps import Room
from pointstream.ledger.cause import Cause
from pointstream.ledger.records import Account
from pointstream.ledger.scored import Due
from pointstream.rules.index import RuleTable
from pointstream.rules.model import Reward
from pointstream.rules.tables import Version

__all__ = ["compare_shadows"]

_Name = tuple[str, str, str, str]
"""Rule set, rule, wallet and reason of an award; no reason is an empty one."""


class _Award(NamedTuple):
    """What one rule gives: what is due, what caps leave of it, and how long that waits and lives
    where it is not as the wallet says."""

    due: int
    left: int
    activation: Activation | None = None
    expiry: Expiry | None = None


_NOTHING: Final = _Award(0, 0)
_Given = dict[_Name, _Award]


def compare_shadows(
    book: Book,
    account: Account,
    cause: Cause,
    dues: list[Due],
    score: Callable[[RuleTable], list[Due]],
    order_id: str | None = None,
) -> None:
    """Tell of each candidate that would have given something else than `dues`.

    `score` scores the event by other rules. Nothing of the event may have been awarded yet.
    """
    at_ms = cause.occurred_ms
    for candidate in book.shadows.at(at_ms):
        error: str | None = None
        given: _Given = {}
        would: _Given = {}
        try:
            given = _given(book, account, at_ms, dues, None)
            scored = score(book.shadows.table(candidate, at_ms))
            if sum(due.points for due in scored) > MAX_POINTS:
                error = "points_out_of_range"
            else:
                would = _given(book, account, at_ms, scored, candidate)
        except Exception as failure:
            # Whatever a candidate does: it must not stop the partition, nor cost anyone a point.
            error = type(failure).__name__
        if error is not None or _got(given) != _got(would):
            _tell(book, account, cause, candidate, given, would, error, order_id)


def _given(
    book: Book, account: Account, at_ms: int, dues: list[Due], candidate: Version | None
) -> _Given:
    """Return what dues come to after caps."""
    given: _Given = {}
    room = Room(book, account.member, at_ms, counts=False)
    for due in dues:
        reward = due.reward
        left = room.take(reward.caps, due.points) if reward.limited else due.points
        rule_set = _rule_set_of(book, reward, candidate)
        key = rule_set, reward.rule_id, reward.wallet, due.reason or ""
        given[key] = _Award(due.points, left, reward.activation, reward.expiry)
    return given


def _got(given: _Given) -> dict[_Name, tuple[Any, ...]]:
    """Return what the member gets: what is due and not granted makes no difference."""
    return {name: award[1:] for name, award in given.items() if award.left}


def _rule_set_of(book: Book, reward: Reward, candidate: Version | None) -> str:
    if candidate is not None and candidate.compiled.hash == reward.ruleset_hash:
        return candidate.id
    return book.rule_set(reward.ruleset_hash).id


def _tell(
    book: Book,
    account: Account,
    cause: Cause,
    candidate: Version,
    given: _Given,
    would: _Given,
    error: str | None,
    order_id: str | None,
) -> None:
    against = book.shadows.against(candidate, cause.occurred_ms)
    diff: dict[str, Any] = {
        "event_id": f"{cause.base}-{candidate.compiled.hash}",
        "member_id": account.member_id,
        "ruleset_id": candidate.id,
        "ruleset_version": candidate.number,
        "ruleset_hash": candidate.compiled.hash,
        "against_version": None if against is None else against.number,
        "awards": [
            _award(name, given.get(name), would.get(name)) for name in sorted({*given, *would})
        ],
        "occurred_at": book.text(cause.occurred_ms),
        "recorded_at": book.text(book.now_ms),
        "cause_event_id": cause.event_id,
        "cause_type": cause.type,
        "cause_topic": cause.topic,
        "cause_partition": cause.partition,
        "cause_offset": cause.offset,
        "order_id": order_id,
        "store_id": cause.store_id,
        "brand_id": cause.brand_id,
        "channel": cause.channel,
    }
    if error is not None:
        diff["error"] = error
    book.more().shadow_diffs.append(diff)


def _award(name: _Name, given: _Award | None, would: _Award | None) -> dict[str, Any]:
    rule_set, rule, wallet, reason = name
    due, left, *_ = given or _NOTHING
    would_be_due, would_give, *_ = would or _NOTHING
    award: dict[str, Any] = {
        "ruleset_id": rule_set,
        "rule_id": rule,
        "wallet": wallet,
        "due": due,
        "given": left,
        "would_be_due": would_be_due,
        "would_give": would_give,
        "other_life": given is not None and would is not None and given[2:] != would[2:],
    }
    if reason:
        award["reason"] = reason
    return award
