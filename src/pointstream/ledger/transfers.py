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

from typing import Any, Final

from pointstream.contracts.inputs import PointsTransfer
from pointstream.contracts.programme import TransferFee
from pointstream.contracts.vocabulary import CommandOutcome, MovementType, Reason
from pointstream.contracts.wire import dumps
from pointstream.ledger.aging import expire
from pointstream.ledger.answers import MAIN_WALLET, rejected
from pointstream.ledger.book import MAX_POINTS, Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_list,
    decode_transfer,
    encode_transfer,
    lot_rows,
    lots_of_rows,
    remembered,
    remembered_until_ms,
)
from pointstream.ledger.decision import Answer, Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.moves import credit, overdue, spendable, take
from pointstream.ledger.records import Account, Lot, Transfer
from pointstream.ledger.sliding import pinned
from pointstream.ledger.state import (
    lots_prefix,
    prefix_stop,
    sent_key,
    transfer_key,
)

__all__ = [
    "LOTS_PER_TRANSFER",
    "TRANSFER_FEE",
    "fee_of",
    "points_transferred",
    "transfer_sent",
    "transfer_settled",
]

LOTS_PER_TRANSFER: Final = 500
"""The most lots that one transfer takes, its fee included: the message that names them, and the
record of what is under way, must fit into a record of a topic."""

TRANSFER_FEE: Final = "transfer_fee"
"""The reason of the entries that take a fee and give it back."""

_SENT: Final = "transfer.sent"
_SETTLED: Final = "transfer.settled"
_TYPE: Final = "points.transfer"


def fee_of(fee: TransferFee, points: int) -> int:
    """Return what sending so many points costs, in points."""
    due = max(fee.min, fee.points + points * fee.permille // 1_000)
    return due if fee.max is None else min(fee.max, due)


# --- the sender's first step --------------------------------------------------------------------


def points_transferred(
    book: Book, account: Account, event: PointsTransfer, cause: Cause
) -> Decision:
    """Let points leave for another member. The command is answered when they have arrived."""
    fee = fee_of(book.programme.transfers.fee, event.points)
    # A command may be dated a little ahead of partition time: what is gone by then is no balance.
    alive_ms = max(book.now_ms, cause.occurred_ms)
    reason = _refused(book, account, event, fee, alive_ms)
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
    _count_sent(book, account, cause.occurred_ms, points)
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


def _refused(
    book: Book, account: Account, event: PointsTransfer, fee: int, alive_ms: int
) -> Reason | None:
    """Return why points may not leave, or None. Nothing is changed."""
    terms = book.programme.transfers
    points = event.points
    if not terms.enabled:
        return Reason.NOT_SUPPORTED
    if not book.programme.wallets[MAIN_WALLET].spendable:
        return Reason.WALLET_NOT_SPENDABLE
    if account.frozen:
        return Reason.ACCOUNT_FROZEN
    if account.merging_into is not None:
        # What is under way could come back to an account that has moved.
        return Reason.ACCOUNT_MERGING
    if event.to_member_id == account.member_id:
        return Reason.TRANSFER_TO_SELF
    if spendable(book, account, MAIN_WALLET, alive_ms) < points + fee:
        return Reason.INSUFFICIENT_POINTS
    if points < terms.min_points or (terms.max_points is not None and points > terms.max_points):
        return Reason.LIMIT_REACHED
    if terms.daily_points is not None:
        day = book.programme.calendar.local_day(event.occurred_at_ms)
        if _sent(book, account, day) + points > terms.daily_points:
            return Reason.LIMIT_REACHED
    # On the way back they count as having come in once more.
    if account.wallets[MAIN_WALLET].granted + points > MAX_POINTS:
        return Reason.LIMIT_REACHED
    if _lots_needed(book, account, points + fee, alive_ms) > LOTS_PER_TRANSFER:
        return Reason.LIMIT_REACHED
    return None


def _lots_needed(book: Book, account: Account, points: int, alive_ms: int) -> int:
    """Return from how many lots so many points would be taken: one more than may be is enough."""
    prefix = lots_prefix(account.member, MAIN_WALLET)
    lots, left = 0, points
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        if left <= 0 or lots > LOTS_PER_TRANSFER:
            break
        if int.from_bytes(key[len(prefix) : len(prefix) + 8], "big") > alive_ms:
            lots += 1
            left -= decode_list(value)[0]
    return lots


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
        _count_sent(book, account, transfer.occurred_ms, -transfer.points)
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


def _sent(book: Book, account: Account, day: int) -> int:
    """Return the points that a member has sent on a local day."""
    value = book.state.get(sent_key(account.member, day))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return 0
    points: int = decode_list(value, 9)[0]
    return points


def _count_sent(book: Book, account: Account, occurred_ms: int, points: int) -> None:
    """Note points sent or, below zero, come back, where a day has a limit."""
    if book.programme.transfers.daily_points is None:
        return
    day = book.programme.calendar.local_day(occurred_ms)
    key = sent_key(account.member, day)
    value = book.state.get(key)
    until_ms = (
        # By then every command of that day is too old to be taken.
        book.programme.calendar.start_of_day_ms(day + 1) + book.programme.dedup_window_ms
    )
    if value is None and points < 0:
        return  # forgotten, or sent when no day had a limit
    body: list[Any] = [max(0, _sent(book, account, day) + points)]
    stored = remembered(until_ms, dumps(body))
    if value is None:
        book.memory.put(key, stored)
    else:
        book.state.put(key, stored)


def _change(book: Book, lot: Lot, delta: int) -> LotChange:
    return lot_change(lot.lot_id, delta, lot.expires_ms, book)
