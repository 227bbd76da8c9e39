"""Holds: points reserved, then spent (captured), freed (voided), or freed by time.

A hold takes its points out of their lots at once, so nothing else can spend them, and remembers
the lots: each part has a key of its own and keeps its expiry. A lot that expires while it is held
can still be captured; freed, it expires at once.

A hold's id is used once. How it ended is remembered for the refund window, then the sweep deletes
it.

A redemption that waits for stock holds its points in the same way, under an id that no command can
name (`own_hold_id`). No time ends such a hold, and when it ends it is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pointstream.contracts.inputs import PointsCapture, PointsHold, PointsVoid
from pointstream.contracts.vocabulary import MovementType, Reason
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.aging import expire
from pointstream.ledger.answers import MAIN_WALLET, accepted, rejected
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_hold,
    decode_lot,
    encode_hold,
    encode_lot,
    remembered_until_ms,
    split_lot_key,
)
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.errors import ConservationBreach, StateCorrupt
from pointstream.ledger.moves import credit, overdue, spendable, take
from pointstream.ledger.records import Account, Hold, HoldState, Lot
from pointstream.ledger.rights import may_end
from pointstream.ledger.state import (
    NEVER,
    held_key,
    held_prefix,
    hold_key,
    prefix_stop,
)

__all__ = [
    "capture",
    "free",
    "hold_timed_out",
    "hold_timer",
    "own_hold_id",
    "points_captured",
    "points_held",
    "points_voided",
    "reserve",
]

_ENDED = {
    HoldState.CAPTURED: Reason.HOLD_ALREADY_CAPTURED,
    HoldState.VOIDED: Reason.HOLD_ALREADY_VOIDED,
    HoldState.EXPIRED: Reason.HOLD_EXPIRED,
}


def points_held(book: Book, account: Account, event: PointsHold, cause: Cause) -> Decision:
    """Reserve points, if they are there."""
    wallet = MAIN_WALLET
    if account.frozen:
        return rejected(account, event, Reason.ACCOUNT_FROZEN)
    if _hold(book, account, event.hold_id) is not None:
        return rejected(account, event, Reason.HOLD_EXISTS)
    alive_ms = max(book.now_ms, cause.occurred_ms)
    due_ms = alive_ms + book.programme.hold_ms
    if event.expires_at is not None:
        due_ms = epoch_ms(event.expires_at)
        if due_ms <= alive_ms:
            return rejected(account, event, Reason.EXPIRY_IN_THE_PAST)
    if spendable(book, account, wallet, alive_ms) < event.points:
        return rejected(account, event, Reason.INSUFFICIENT_POINTS)

    hold = Hold(NEVER, HoldState.OPEN, wallet, event.points, due_ms, event.store_id)
    book.active(account, cause.occurred_ms)
    reserve(book, account, event.hold_id, hold, cause)
    return accepted(account, event, Outcome.POINTS_HELD)


def points_captured(book: Book, account: Account, event: PointsCapture, cause: Cause) -> Decision:
    """Spend what was held, or a part of it: the part that expires first. The rest is freed."""
    if account.frozen:
        return rejected(account, event, Reason.ACCOUNT_FROZEN)
    hold = _open_hold(book, account, event, cause)
    if isinstance(hold, Reason):
        return rejected(account, event, hold)
    points = hold.points if event.points is None else event.points
    if points > hold.points:
        return rejected(account, event, Reason.CAPTURE_EXCEEDS_HOLD)

    book.active(account, cause.occurred_ms)
    _capture(book, account, event.hold_id, hold, points, cause)
    return accepted(account, event, Outcome.POINTS_CAPTURED)


def points_voided(book: Book, account: Account, event: PointsVoid, cause: Cause) -> Decision:
    """Free what was held. A frozen account may: nothing is spent by it."""
    hold = _open_hold(book, account, event, cause)
    if isinstance(hold, Reason):
        return rejected(account, event, hold)
    book.active(account, cause.occurred_ms)
    _free(book, account, hold, _end(book, account, event.hold_id, hold, HoldState.VOIDED), cause)
    return accepted(account, event, Outcome.POINTS_VOIDED)


def hold_timed_out(book: Book, what: bytes, due_ms: int) -> Decision:
    """Free what was held for too long. Its timer has rung; `what` is what the timer names."""
    member, _, name = what.partition(b"\0")
    hold_id = name.decode()
    account = book.account(member.decode(), member)
    hold = _hold(book, account, hold_id)
    if hold is None or hold.state is not HoldState.OPEN:
        # A hold that ends takes its timer with it.
        raise StateCorrupt(f"the time of hold {hold_id!r} is over, but it is not open")
    lots = _end(book, account, hold_id, hold, HoldState.EXPIRED)
    kind = MovementType.VOIDED.value
    cause = Cause.timer(account.member, f"timer.{kind}", due_ms)
    cause.reason = Reason.HOLD_EXPIRED.value
    _free(book, account, hold, lots, cause)
    return Decision(Outcome.HOLD_TIMED_OUT)


def own_hold_id(member_id: str, command_id: str) -> str:
    """Return the id of the hold that a command makes for itself: it has a control character.

    It names the member as well: a survivor of a merge may have two commands of one id under way.
    """
    return f"\x01{member_id}\x01{command_id}"


def reserve(
    book: Book, account: Account, hold_id: str, hold: Hold, cause: Cause, **names: Any
) -> None:
    """Make a hold. The caller has made sure that the points are there and the id is new.

    `names` go into the entry: the order, the item. So do those of the functions below.
    """
    wallet, member = hold.wallet, account.member
    totals = account.wallets[wallet]
    alive_ms = max(book.now_ms, cause.occurred_ms)
    taken = take(book, account, wallet, totals, hold.points, alive_ms)
    totals.held += hold.points
    for lot in taken:
        key = held_key(member, wallet, hold_id, lot.expires_ms, lot.earned_ms, lot.lot_id)
        book.state.put(key, encode_lot(lot))
    book.memory.put(hold_key(member, hold_id), encode_hold(hold))
    if hold.due_ms != NEVER:
        book.timers.put(hold.due_ms, hold_timer(account, hold_id))
    book.emit_split(
        account,
        wallet,
        totals,
        MovementType.HELD,
        [(lot.points, -lot.points, _change(book, lot, -lot.points)) for lot in taken],
        cause,
        **names,
    )


def capture(book: Book, account: Account, hold_id: str, cause: Cause, **names: Any) -> list[Lot]:
    """Spend all of a hold that must be open; return the lots it took, each with its points."""
    hold = _must_be_open(book, account, hold_id)
    return _capture(book, account, hold_id, hold, hold.points, cause, **names)


def free(book: Book, account: Account, hold_id: str, cause: Cause, **names: Any) -> None:
    """Give all of a hold that must be open back to its lots."""
    hold = _must_be_open(book, account, hold_id)
    lots = _end(book, account, hold_id, hold, HoldState.VOIDED)
    _free(book, account, hold, lots, cause, **names)


def _must_be_open(book: Book, account: Account, hold_id: str) -> Hold:
    hold = _hold(book, account, hold_id)
    if hold is None or hold.state is not HoldState.OPEN:
        raise StateCorrupt(f"a member has no open hold {hold_id!r}")
    return hold


def _capture(
    book: Book,
    account: Account,
    hold_id: str,
    hold: Hold,
    points: int,
    cause: Cause,
    **names: Any,
) -> list[Lot]:
    captured, rest = _split(_end(book, account, hold_id, hold, HoldState.CAPTURED), points)
    totals = account.wallets[hold.wallet]
    totals.held -= points
    totals.redeemed += points
    book.emit_split(
        account,
        hold.wallet,
        totals,
        MovementType.CAPTURED,
        # They left their lots when they were held.
        [(lot.points, 0, _change(book, lot, 0)) for lot in captured],
        cause,
        store_id=hold.store_id,
        **names,
    )
    _free(book, account, hold, rest, cause, **names)
    return captured


def _hold(book: Book, account: Account, hold_id: str) -> Hold | None:
    """Return a hold that is open, or whose end is still remembered."""
    value = book.state.get(hold_key(account.member, hold_id))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return None
    return decode_hold(value)


def _open_hold(
    book: Book, account: Account, event: PointsCapture | PointsVoid, cause: Cause
) -> Hold | Reason:
    """Return the hold that a command is about to end, or the reason why it cannot."""
    hold = _hold(book, account, event.hold_id)
    if hold is None:
        return Reason.HOLD_UNKNOWN
    if not may_end(event, hold):
        return Reason.NOT_PERMITTED
    if hold.state is not HoldState.OPEN:
        return _ENDED[hold.state]
    # A command may be dated a little ahead of partition time: the hold is over by then.
    return Reason.HOLD_EXPIRED if hold.due_ms <= cause.occurred_ms else hold


def _end(book: Book, account: Account, hold_id: str, hold: Hold, state: HoldState) -> list[Lot]:
    """End a hold; return the lots it took, in the order of spending. Its points are nowhere now."""
    hold.state = state
    hold.until_ms = book.now_ms + book.programme.refund_window_ms
    if hold.due_ms != NEVER:
        book.state.put(hold_key(account.member, hold_id), encode_hold(hold))
        book.timers.drop(hold.due_ms, hold_timer(account, hold_id))
    else:
        book.state.delete(hold_key(account.member, hold_id))
    prefix = held_prefix(account.member, hold.wallet, hold_id)
    size = len(prefix)
    lots: list[Lot] = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        lots.append(decode_lot(hold.wallet, 0, *split_lot_key(key, size), value))
        book.state.delete(key)
    found = sum(lot.points for lot in lots)
    if found != hold.points:
        raise ConservationBreach(account.member_id, hold.wallet, hold.points, found)
    return lots


def _split(lots: list[Lot], points: int) -> tuple[list[Lot], list[Lot]]:
    """Return the first so many points of some lots, and the rest."""
    first: list[Lot] = []
    rest: list[Lot] = []
    left = points
    for lot in lots:
        part = min(left, lot.points)
        left -= part
        for side, share in ((first, part), (rest, lot.points - part)):
            if share:
                side.append(replace(lot, points=share))
    return first, rest


def _free(
    book: Book, account: Account, hold: Hold, lots: list[Lot], cause: Cause, **names: Any
) -> None:
    """Give held points back to their lots; what expired meanwhile expires now."""
    if not lots:
        return
    wallet = hold.wallet
    totals = account.wallets[wallet]
    moved: list[tuple[int, int, LotChange | None]] = []
    for lot in lots:
        points = lot.points
        totals.held -= points
        delta = credit(book, account, totals, lot, again=True)
        moved.append((points, delta, _change(book, lot, delta) if delta else None))
    book.emit_split(
        account,
        wallet,
        totals,
        MovementType.VOIDED,
        moved,
        cause,
        store_id=hold.store_id,
        **names,
    )
    if overdue(book, account, totals):
        expire(book, account, wallet, totals, book.now_ms, cause)


def _change(book: Book, lot: Lot, delta: int) -> LotChange:
    return lot_change(lot.lot_id, delta, lot.expires_ms, book)


def hold_timer(account: Account, hold_id: str) -> bytes:
    """Return what the timer of an open hold names."""
    return b"h%b\0%b" % (account.member, hold_id.encode())
