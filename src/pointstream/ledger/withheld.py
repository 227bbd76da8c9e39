"""Lots that a flag keeps from being spent, one by one: under review, or held.

A lot that has never been spendable is **under review**: pending, with an activation that never
comes, and it says itself under which flags and when it would have become active. One that is
spendable already is **held**, by a hold under an id that no command can name; no time ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_hold,
    decode_lot,
    encode_hold,
    encode_lot,
    encode_order,
    split_lot_key,
    split_pending_key,
)
from pointstream.ledger.moves import credit, look_ahead, reduce
from pointstream.ledger.records import Account, Hold, HoldState, Lot
from pointstream.ledger.shares import Share, put_share, shares
from pointstream.ledger.state import (
    NEVER,
    held_key,
    held_prefix,
    hold_key,
    lots_prefix,
    order_key,
    pending_key,
    pending_prefix,
    prefix_stop,
    time_bytes,
)

UNDER_REVIEW: Final = "under_review"
"""The reason of entries that hold points for a flag."""

__all__ = [
    "base_of_lot",
    "end_hold",
    "flagged_lots",
    "free_lots",
    "hold_lots",
    "lots_of",
    "put_pending",
    "take_held",
    "under_review",
]


def base_of_lot(lot_id: str) -> str:
    """Return what the ids of all lots of one event begin with."""
    return lot_id.rpartition("-")[0]


def under_review(
    book: Book, account: Account, wallet: str, flag_id: str
) -> Iterator[tuple[bytes, Lot]]:
    """Yield the lots under review for a flag, with their keys. Writing meanwhile is allowed."""
    prefix = pending_prefix(account.member, wallet)
    start = prefix + time_bytes(NEVER)
    for key, value in list(book.state.scan(start, prefix_stop(prefix))):
        times = split_pending_key(key, len(prefix))
        lot = decode_lot(wallet, *times, value)
        if lot.review is not None and flag_id in lot.review[1:]:
            yield key, lot


def flagged_lots(
    scan: Callable[[bytes, bytes], Iterable[tuple[bytes, bytes]]],
) -> Iterator[tuple[str, str, int, list[str]]]:
    """Yield all lots of a partition that are under review: wallet, id, points and flags.

    `scan` is that of its state.
    """
    for key, value in scan(b"q", b"r"):
        member, wallet, _ = key.split(b"\0", 2)
        prefix = len(member) + len(wallet) + 2
        lot = decode_lot(wallet.decode(), *split_pending_key(key, prefix), value)
        if lot.review is not None:
            yield lot.wallet, lot.lot_id, lot.points, lot.review[1:]


def lots_of(
    book: Book, account: Account, wallet: str, bases: Iterable[str]
) -> tuple[list[tuple[bytes, Lot]], list[tuple[bytes, Lot]]]:
    """Return the pending and the spendable lots that came of some events, with their keys."""
    wanted = set(bases)
    pending: list[tuple[bytes, Lot]] = []
    spendable: list[tuple[bytes, Lot]] = []
    prefix = pending_prefix(account.member, wallet)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        times = split_pending_key(key, len(prefix))
        if base_of_lot(times[3]) in wanted:
            pending.append((key, decode_lot(wallet, *times, value)))
    prefix = lots_prefix(account.member, wallet)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, lot_id = split_lot_key(key, len(prefix))
        if base_of_lot(lot_id) in wanted:
            spendable.append((key, decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)))
    return pending, spendable


def put_pending(book: Book, account: Account, key: bytes, lot: Lot) -> None:
    """Move a pending lot to the time it becomes active now; refunds of its order must find it."""
    book.state.delete(key)
    new_key = pending_key(
        account.member,
        lot.wallet,
        lot.activates_ms,
        lot.expires_ms,
        lot.earned_ms,
        lot.lot_id,
    )
    there = book.state.get(new_key)
    if there is not None:
        # Part of a lot that came from a merged member.
        known = decode_lot(
            lot.wallet, lot.activates_ms, lot.expires_ms, lot.earned_ms, lot.lot_id, there
        )
        lot.points += known.points
        if lot.review is not None and known.review is not None:
            lot.review = list(dict.fromkeys([*known.review, *lot.review[1:]]))
    book.state.put(new_key, encode_lot(lot))
    if lot.order_id is not None:
        order = book.order(account.member, lot.order_id)
        for award in order.awards if order is not None else ():
            if award.lot_id == lot.lot_id:
                award.activates_ms = lot.activates_ms
                assert order is not None
                book.state.put(order_key(account.member, lot.order_id), encode_order(order))
    book.ring(account, lot.activates_ms)


def hold_lots(
    book: Book, account: Account, share: Share, wallet: str, lots: list[tuple[bytes, Lot]]
) -> None:
    """Take all of some spendable lots into the flag's hold. The caller writes the share."""
    totals = account.wallets[wallet]
    points = sum(lot.points for _, lot in lots)
    moved: list[tuple[int, int, LotChange | None]] = []
    hold_id = _hold_id(book, account, share, wallet, points)
    for key, lot in lots:
        reduce(book, totals, key, lot, lot.points)
        own = held_key(account.member, wallet, hold_id, lot.expires_ms, lot.earned_ms, lot.lot_id)
        there = book.state.get(own)
        change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
        moved.append((lot.points, -lot.points, change))
        if there is not None:
            # What has come back of a lot of which the rest is held already.
            lot.points += decode_lot(wallet, 0, 0, 0, "", there).points
        book.state.put(own, encode_lot(lot))
    look_ahead(book, account, wallet, totals)
    totals.held += points
    cause = Cause.flag(account.member, share.flag_id, book.now_ms)
    kind = MovementType.HELD
    book.emit_split(
        account, wallet, totals, kind, moved, cause, flag_id=share.flag_id, reason=UNDER_REVIEW
    )


def end_hold(book: Book, account: Account, hold_id: str, wallet: str) -> list[Lot]:
    """End a flag's hold; return its lots. Their points are still counted as held."""
    book.state.delete(hold_key(account.member, hold_id))
    lots: list[Lot] = []
    prefix = held_prefix(account.member, wallet, hold_id)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        lots.append(decode_lot(wallet, 0, *split_lot_key(key, len(prefix)), value))
        book.state.delete(key)
    return lots


def free_lots(
    book: Book, account: Account, wallet: str, lots: list[Lot], flag_id: str, cause: Cause
) -> None:
    """Give held points back to their lots. What another flag is about is held again then."""
    if not lots:
        return
    totals = account.wallets[wallet]
    moved: list[tuple[int, int, LotChange | None]] = []
    for lot in lots:
        points = lot.points
        totals.held -= points
        delta = credit(book, account, totals, lot, again=True)
        change = lot_change(lot.lot_id, delta, lot.expires_ms, book) if delta else None
        moved.append((points, delta, change))
    kind = MovementType.VOIDED
    book.emit_split(account, wallet, totals, kind, moved, cause, flag_id=flag_id)


def take_held(book: Book, account: Account, wallet: str, lot_id: str, wanted: int) -> list[Lot]:
    """Take points of one lot out of the holds of flags; return them. They still count as held."""
    taken: list[Lot] = []
    left = wanted
    for share in shares(book, account):
        for hold_id, of in list(share.holds.items()):
            prefix = held_prefix(account.member, wallet, hold_id)
            for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
                times = split_lot_key(key, len(prefix))
                if not left or of != wallet or times[2] != lot_id:
                    continue
                lot = decode_lot(wallet, 0, *times, value)
                part = min(lot.points, left)
                left -= part
                taken.append(replace(lot, points=part))
                lot.points -= part
                if lot.points:
                    book.state.put(key, encode_lot(lot))
                else:
                    book.state.delete(key)
                _resize(book, account, share, hold_id, -part)
    return taken


def _hold_id(book: Book, account: Account, share: Share, wallet: str, points: int) -> str:
    """Return the hold that a flag has in a wallet, made if need be, with so many points more."""
    for hold_id, of in share.holds.items():
        if of == wallet:
            _resize(book, account, share, hold_id, points)
            return hold_id
    # Names the member as well: a survivor of a merge may have a share of its own.
    hold_id = f"\x01{account.member_id}\x01{share.flag_id}\x01{wallet}"
    share.holds[hold_id] = wallet
    hold = Hold(NEVER, HoldState.OPEN, wallet, points, NEVER, None)
    book.memory.put(hold_key(account.member, hold_id), encode_hold(hold))
    return hold_id


def _resize(book: Book, account: Account, share: Share, hold_id: str, points: int) -> None:
    """Change how many points a hold has; one without any is gone."""
    key = hold_key(account.member, hold_id)
    value = book.state.get(key)
    assert value is not None, hold_id
    hold = decode_hold(value)
    hold.points += points
    if hold.points:
        book.state.put(key, encode_hold(hold))
    else:
        book.state.delete(key)
        del share.holds[hold_id]
        put_share(book, account, share)
