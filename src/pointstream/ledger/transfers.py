"""Transfers between members: points leave one account, and arrive at another or come back.

The two accounts may be in different partitions, so a transfer is three steps, each in one
transaction, with a message to the next:

    sender     the points leave their lots; the state keeps a record of what is under way
    recipient  takes them in, or refuses them: `transfer.sent` is answered by `transfer.settled`
    sender     is done, or gets the points back; now the command is answered

A crash between two steps loses nothing: the message is committed together with the step before
it. Lots keep the times at which they were earned and expire, here and there; points that came back
are in the lots they were taken from.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import PointsTransfer
from pointstream.contracts.vocabulary import CommandOutcome, MovementType, Reason
from pointstream.ledger.aging import expire
from pointstream.ledger.answers import MAIN_WALLET, rejected
from pointstream.ledger.book import MAX_POINTS, Book, CameToNothing, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_transfer,
    encode_transfer,
    lot_rows,
    lots_of_rows,
)
from pointstream.ledger.decision import Answer, Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.lineage import note_received, note_refused, note_sent
from pointstream.ledger.messages import Message
from pointstream.ledger.moves import credit, overdue, take
from pointstream.ledger.records import Account, Lot, Transfer
from pointstream.ledger.sliding import pinned
from pointstream.ledger.state import transfer_key
from pointstream.ledger.transfer_terms import count_sent, fee_of, refused

__all__ = [
    "TRANSFER_FEE",
    "points_transferred",
    "transfer_sent",
    "transfer_settled",
]

TRANSFER_FEE: Final = "transfer_fee"
"""The reason of the entries that take a fee and give it back."""

_SENT: Final = "transfer.sent"
_SETTLED: Final = "transfer.settled"
_TYPE: Final = "points.transfer"


# --- the sender's first step --------------------------------------------------------------------


def points_transferred(
    book: Book, account: Account, event: PointsTransfer, cause: Cause
) -> Decision:
    """Let points leave for another member. The command is answered when they have arrived."""
    fee = fee_of(book.programme.transfers.fee, event.points)
    # A command may be dated a little ahead of partition time: what is gone by then is no balance.
    alive_ms = max(book.now_ms, cause.occurred_ms)
    reason = refused(book, account, event, fee, alive_ms)
    if reason is not None:
        return rejected(account, event, reason)

    wallet, points = MAIN_WALLET, event.points
    totals = account.wallets[wallet]
    transfer_id = cause.entry_id(account.seq + 1)
    lots = take(book, account, wallet, totals, points, alive_ms)
    totals.transferred_out += points
    book.active(account, cause.occurred_ms)
    book.emit_split(
        account,
        wallet,
        totals,
        MovementType.TRANSFERRED_OUT,
        [(lot.points, -lot.points, _change(book, lot, -lot.points)) for lot in lots],
        cause,
        transfer_id=transfer_id,
        counterparty_id=event.to_member_id,
    )
    fee_lots: list[Lot] = []
    if fee:
        fee_lots = take(book, account, wallet, totals, fee, alive_ms)
        totals.redeemed += fee
        book.emit_split(
            account,
            wallet,
            totals,
            MovementType.REDEEMED,
            [(lot.points, -lot.points, _change(book, lot, -lot.points)) for lot in fee_lots],
            cause,
            reason=TRANSFER_FEE,
            transfer_id=transfer_id,
            counterparty_id=event.to_member_id,
        )
    transfer = Transfer(
        event.to_member_id,
        event.event_id,
        cause.occurred_ms,
        cause.actor_id,
        cause.confirmed_by,
        cause.store_id,
        points,
        fee,
        lots,
        fee_lots,
    )
    book.state.put(transfer_key(account.member, transfer_id), encode_transfer(transfer))
    account.transfers += 1
    if book.traced:
        note_sent(book, account, transfer_id, event.to_member_id, lots)
    count_sent(book, account, cause.occurred_ms, points)
    book.tell(
        _SENT,
        event.to_member_id,
        {
            "transfer_id": transfer_id,
            "from": account.member_id,
            "command_id": event.event_id,
            "occurred_ms": cause.occurred_ms,
            "actor_id": cause.actor_id,
            "confirmed_by": cause.confirmed_by,
            "store_id": cause.store_id,
            "points": points,
            # The recipient's activity moves no end of the sender's: what slid does no more.
            "lots": lot_rows(pinned(book.programme.calendar, account, totals, lots)),
        },
    )
    return Decision(Outcome.TRANSFER_STARTED)


# --- the recipient's step -----------------------------------------------------------------------


def transfer_sent(book: Book, message: Message, source: Source) -> Decision:
    """Take in points that another member sent, or refuse them; tell the sender's side which."""
    body = message.body
    member_id = message.to
    if member_id is None:
        raise StateCorrupt("a transfer was sent to nobody")
    member = member_id.encode()
    account = book.account(member_id, member)
    points: int = body["points"]
    reason = _not_taken(book, account, points)
    transfer_id = body["transfer_id"]
    if reason is not None:
        book.tell(_SETTLED, body["from"], {"transfer_id": transfer_id, "reason": reason.value})
        return Decision(Outcome.TRANSFER_REFUSED)

    cause = Cause.message(
        member,
        body["command_id"],
        _TYPE,
        body["occurred_ms"],
        source,
        actor_id=body["actor_id"],
    )
    cause.confirmed_by = body["confirmed_by"]
    cause.store_id = body["store_id"]
    lots = lots_of_rows(MAIN_WALLET, body["lots"])
    name = cause.entry_id(account.seq + 1)
    for number, lot in enumerate(lots, start=1):
        lot.lot_id = name if len(lots) == 1 else f"{name}.{number}"
        # The order is the sender's: a return of it takes nothing back here.
        lot.order_id = None
    _bring(book, account, lots, MovementType.TRANSFERRED_IN, cause, None, transfer_id, body["from"])
    if book.traced:
        note_received(book, account, transfer_id, body["from"], name, len(lots))
    book.tell(_SETTLED, body["from"], {"transfer_id": transfer_id, "reason": None})
    return Decision(Outcome.TRANSFER_RECEIVED)


def _not_taken(book: Book, account: Account, points: int) -> Reason | None:
    """Return why a member cannot be given points by another, or None."""
    if account.erased:
        return Reason.RECIPIENT_ERASED
    if not account.updated_ms:
        # Nothing was ever told about this member: most likely the id was mistyped.
        return Reason.RECIPIENT_UNKNOWN
    if account.frozen:
        return Reason.RECIPIENT_FROZEN
    totals = account.wallets.get(MAIN_WALLET)
    if totals is not None and totals.granted + points > MAX_POINTS:
        return Reason.LIMIT_REACHED
    return None


# --- the sender's last step ---------------------------------------------------------------------


def transfer_settled(book: Book, message: Message, source: Source) -> Decision:
    """End a transfer: answer the command, and give back what the recipient's side refused."""
    body = message.body
    member_id, transfer_id = message.to, body["transfer_id"]
    if member_id is None:
        raise StateCorrupt(f"transfer {transfer_id!r} was settled for nobody")
    member = member_id.encode()
    account = book.account(member_id, member)
    key = transfer_key(member, transfer_id)
    value = book.state.get(key)
    if value is None:
        raise StateCorrupt(f"transfer {transfer_id!r} was settled, but is not under way")
    transfer = decode_transfer(MAIN_WALLET, value)
    book.state.delete(key)
    account.transfers -= 1
    book.change(account)
    reason: str | None = body["reason"]
    if reason is not None:
        cause = Cause.message(
            member,
            transfer.command_id,
            _TYPE,
            transfer.occurred_ms,
            source,
            actor_id=transfer.actor_id,
        )
        cause.confirmed_by = transfer.confirmed_by
        cause.store_id = transfer.store_id
        _come_back(book, account, transfer, cause, reason, transfer_id)
        note_refused(book, account, transfer_id, cause)
        count_sent(book, account, transfer.occurred_ms, -transfer.points)
        # One that waited for a second actor is dated when that one consented.
        asked_ms = None if transfer.confirmed_by else transfer.occurred_ms
        undone = CameToNothing(account, _TYPE, transfer.command_id, asked_ms, transfer.points)
        book.undone.append(undone)
    book.answer(member, _answer(account, transfer, reason))
    return Decision(Outcome.TRANSFER_COMPLETED if reason is None else Outcome.TRANSFER_RETURNED)


def _come_back(
    book: Book, account: Account, transfer: Transfer, cause: Cause, reason: str, transfer_id: str
) -> None:
    """Put the points and the fee back into their own lots."""
    kind, to = MovementType.TRANSFERRED_IN, transfer.to_member_id
    _bring(book, account, transfer.lots, kind, cause, reason, transfer_id, to)
    if transfer.fee:
        kind = MovementType.RESTORED
        _bring(book, account, transfer.fee_lots, kind, cause, TRANSFER_FEE, transfer_id, to)


def _answer(account: Account, transfer: Transfer, reason: str | None) -> Answer:
    outcome = CommandOutcome.ACCEPTED if reason is None else CommandOutcome.REJECTED
    answer: Answer = {
        "command_id": transfer.command_id,
        "type": _TYPE,
        "member_id": account.member_id,
        "outcome": outcome.value,
        "seq": account.seq,
        "available_after": account.wallets[MAIN_WALLET].available,
    }
    if reason is not None:
        answer["reason"] = reason
    return answer


# --- both sides ---------------------------------------------------------------------------------


def _bring(
    book: Book,
    account: Account,
    lots: list[Lot],
    kind: MovementType,
    cause: Cause,
    reason: str | None,
    transfer_id: str,
    counterparty_id: str,
) -> None:
    """Put points into lots, debt is paid first; what expired on the way expires now.

    Without a reason the lots are new ones; with one, the points go back to where they were.
    """
    wallet = MAIN_WALLET
    totals = book.totals(account, wallet)
    moved: list[tuple[int, int, LotChange | None]] = []
    for lot in lots:
        points = lot.points
        if kind is MovementType.RESTORED:
            totals.restored += points
        else:
            totals.transferred_in += points
        delta = credit(book, account, totals, lot, again=reason is not None)
        moved.append((points, delta, _change(book, lot, delta) if delta else None))
    book.emit_split(
        account,
        wallet,
        totals,
        kind,
        moved,
        cause,
        reason=reason,
        transfer_id=transfer_id,
        counterparty_id=counterparty_id,
    )
    if overdue(book, account, totals):
        expire(book, account, wallet, totals, book.now_ms, cause)


def _change(book: Book, lot: Lot, delta: int) -> LotChange:
    return lot_change(lot.lot_id, delta, lot.expires_ms, book)
