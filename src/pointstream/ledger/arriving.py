"""How a survivor takes over what a merged account had.

Points come in with the lots they were in, and with their times; a lot that is over by now expires
by the account's timer, at once. What both members have once only is the survivor's: an order id, a
business key, an event id; of a profile the field that was told later counts.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.arrival import Arrival
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_hold,
    decode_list,
    decode_lot,
    decode_order,
    encode_lot,
    remembered_until_ms,
    split_lot_key,
    split_pending_key,
)
from pointstream.ledger.completing import completed
from pointstream.ledger.decision import DeadLetter
from pointstream.ledger.earning import join_runs
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.holds import hold_timer
from pointstream.ledger.leaving import DEBT
from pointstream.ledger.moves import credit, take
from pointstream.ledger.orders import release_parked
from pointstream.ledger.parking import adopt
from pointstream.ledger.payments import give_back
from pointstream.ledger.ranks import Rank
from pointstream.ledger.records import Account, HoldState, Lot, Run
from pointstream.ledger.sliding import slide_in
from pointstream.ledger.state import (
    NEVER,
    held_key,
    held_prefix,
    hold_key,
    merged_key,
    order_key,
    prefix_stop,
)
from pointstream.ledger.taking_over import REMEMBERED, remember
from pointstream.ledger.tiers import inherit
from pointstream.ledger.underway import without_order
from pointstream.ledger.waiting import activity_key

__all__ = ["arrive"]

_OTHER_SEQ: Final = 1 << 32
"""Added to the place of a payment that the survivor has one at: no account has so many entries."""


def arrive(book: Book, account: Account, body: dict[str, Any], cause: Cause) -> list[DeadLetter]:
    """Take over what one message holds; return the dead letters of refunds that do not fit."""
    arrival = Arrival(book, account, cause, body["from"])
    book.active(account, body["last_activity_ms"])
    for wallet, slides in body["slides"].items():
        for expires_ms, from_ms in slides:
            slide_in(book.totals(account, wallet), expires_ms, 0, from_ms)
    for kind, rest, value in body["keys"]:
        take_over = _KINDS.get(kind)
        if take_over is None:
            raise StateCorrupt(f"keys of the kind {kind!r} cannot be taken over")
        take_over(arrival, b64decode(rest), b64decode(value))
    arrival.tell()
    rest = body.get("account")
    if rest is not None:
        for wallet, debt in rest["debts"].items():
            _owe(arrival, wallet, debt)
        for ladder in book.programme.ladders:
            row = rest["tiers"].get(ladder.id)
            if row is not None:
                days = [(day, amount) for of, day, amount in rest["days"] if of == ladder.id]
                inherit(book, account, ladder, Rank(*row), days, cause)
        join_runs(book, account, [Run(*run) for run in rest["runs"]])
        account.orders += rest["orders"]
        account.welcomed = account.welcomed or rest["welcomed"]
        book.state.put(merged_key(account.member, arrival.old_id.encode()), b"\x01")
    return arrival.letters


def _owe(arrival: Arrival, wallet: str, debt: int) -> None:
    """Take a debt over, and pay it with what is available."""
    book, account = arrival.book, arrival.account
    totals = book.totals(account, wallet)
    paid = min(debt, totals.available)
    moved: list[tuple[int, int, LotChange | None]] = []
    if paid:
        for lot in take(book, account, wallet, totals, paid, 0):
            change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
            moved.append((lot.points, -lot.points, change))
    if debt > paid:
        totals.debt += debt - paid
        moved.append((debt - paid, 0, None))
    totals.transferred_out += debt
    kind = MovementType.MERGED_OUT
    book.emit_split(
        account,
        wallet,
        totals,
        kind,
        moved,
        arrival.cause,
        reason=DEBT,
        counterparty_id=arrival.old_id,
    )


def _lot(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    wallet, _, tail = rest.partition(b"\0")
    lot = decode_lot(wallet.decode(), 0, *split_lot_key(tail, 0), value)
    points = lot.points
    _as_there(book, b"l%b\0%b" % (account.member, rest), lot)
    delta = credit(book, account, book.totals(account, lot.wallet), lot, again=True)
    arrival.came(lot, points, delta, delta or None)


def _pending(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    wallet, _, tail = rest.partition(b"\0")
    lot = decode_lot(wallet.decode(), *split_pending_key(tail, 0), value)
    points = lot.points
    key = b"q%b\0%b" % (account.member, rest)
    lot.points += _as_there(book, key, lot)
    book.state.put(key, encode_lot(lot))
    book.totals(account, lot.wallet).pending += points
    book.ring(account, lot.activates_ms)
    arrival.came(lot, points, 0, points)


def _as_there(book: Book, key: bytes, lot: Lot) -> int:
    """Let a lot be the one that the survivor has under the same key, if it has; return its points.

    Part of a lot may have come to the survivor before: then it is one lot again.
    """
    there = book.state.get(key)
    if there is None:
        return 0
    points, lot.order_id, lot.rule_id, lot.store_id, *more = decode_list(there)
    lot.awaits = more[0] if more else None
    if len(more) > 1 and lot.review is not None:
        lot.review = list(dict.fromkeys([*more[1], *lot.review[1:]]))
    return int(points)


def _hold(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    hold, hold_id = decode_hold(value), rest.decode()
    arrived = _arrived_id(arrival, hold_id)
    if not arrival.counts(hold_key(account.member, hold_id), value):
        if hold.state is not HoldState.OPEN:
            return
        # Two holds with one id: this one goes on under another, so that each ends once.
        hold_id = _renamed(arrival, hold_id)
    book.memory.put(hold_key(account.member, hold_id), value)
    if hold.state is not HoldState.OPEN:
        return
    if hold.due_ms != NEVER:
        book.timers.put(hold.due_ms, hold_timer(account, hold_id))
    prefix = held_prefix(account.member, hold.wallet, arrived)
    own = held_prefix(account.member, hold.wallet, hold_id)
    for key, lot in list(book.state.scan(prefix, prefix_stop(prefix))):
        book.state.delete(key)
        book.state.put(own + key[len(prefix) :], lot)


def _held_lot(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    wallet, hold, tail = rest.split(b"\0", 2)
    lot = decode_lot(wallet.decode(), 0, *split_lot_key(tail, 0), value)
    # Whether the hold keeps its id is known when it comes itself, perhaps in a later message.
    hold_id = _arrived_id(arrival, hold.decode())
    key = held_key(account.member, lot.wallet, hold_id, lot.expires_ms, lot.earned_ms, lot.lot_id)
    book.state.put(key, value)
    book.totals(account, lot.wallet).held += lot.points
    arrival.came(lot, lot.points, 0, 0)


def _arrived_id(arrival: Arrival, hold_id: str) -> str:
    """Return the id under which the lots of a hold wait for it: one that nobody can give."""
    return f"{hold_id}\x01{arrival.old_id}"


def _renamed(arrival: Arrival, hold_id: str) -> str:
    """Return another id for a hold; anybody may have used the first one already."""
    other = f"{hold_id}~{blake2b(arrival.old_id.encode(), digest_size=4).hexdigest()}"
    while arrival.book.state.get(hold_key(arrival.account.member, other)) is not None:
        other += "~"
    return other


def _payment(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    order_id, place = rest[:-13], rest[-12:]
    prefix = b"P%b\0%b\0" % (account.member, order_id)
    seq = int.from_bytes(place[:8], "big")
    while book.state.get(prefix + place) is not None:
        seq += _OTHER_SEQ
        place = seq.to_bytes(8, "big") + place[8:]
    book.memory.put(prefix + place, value)
    _bring_back(arrival, order_id.decode())


def _order(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    key, order_id = order_key(account.member, rest.decode()), rest.decode()
    if not arrival.counts(key, value):
        for award in decode_order(value).awards:
            if not award.points:
                without_order(book, account.member, award.lot_id)
        return
    book.memory.put(key, value)
    _release(arrival, order_id)
    _bring_back(arrival, order_id)
    for wallet in book.programme.wallets.values():
        if wallet.on_activity is not None:
            _complete(arrival, wallet.on_activity, order_id)


def _business_key(arrival: Arrival, rest: bytes, value: bytes) -> None:
    if remember(arrival, b"B", rest, value) and rest.startswith(b"activity\0"):
        _, activity, reference = rest.decode().split("\0")
        _complete(arrival, activity, reference)


def _complete(arrival: Arrival, activity: str, order_id: str) -> None:
    """Activate what of an order waits for an activity, if only now both are known."""
    book, account = arrival.book, arrival.account
    value = book.state.get(activity_key(account.member, activity, order_id))
    if value is not None and remembered_until_ms(value) > book.now_ms:
        arrival.tell()
        cause = arrival.cause.at(int.from_bytes(value[-8:], "big"))
        completed(book, account, activity, order_id, cause)


def _parked(arrival: Arrival, rest: bytes, value: bytes) -> None:
    order_id = rest[:-9].decode()
    adopt(arrival.book, arrival.account, order_id, value)
    _release(arrival, order_id)


def _release(arrival: Arrival, order_id: str) -> None:
    """Take refunds that were waiting for an order, if both are there now."""
    book, account = arrival.book, arrival.account
    order = book.order(account.member, order_id) if account.parked else None
    if order is not None:
        arrival.tell()
        letters = release_parked(book, account, order_id, order)
        if letters is not None:
            arrival.letters.extend(letters)
            book.put_order(account.member, order_id, order)


def _bring_back(arrival: Arrival, order_id: str) -> None:
    """Give back what paid for an order that was returned, if only now both are known."""
    book, account = arrival.book, arrival.account
    order = book.order(account.member, order_id)
    if order is not None and (order.returned or order.refunded_minor):
        arrival.tell()
        give_back(book, account, order_id, order, arrival.cause)


_KINDS: Final[dict[str, Callable[[Arrival, bytes, bytes], None]]] = {
    **REMEMBERED,
    "q": _pending,
    "l": _lot,
    "H": _hold,
    "h": _held_lot,
    "P": _payment,
    "O": _order,
    "B": _business_key,
    "p": _parked,
}
