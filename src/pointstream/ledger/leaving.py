"""How everything that a member has leaves its partition: for a survivor, or for good.

It happens in one step. Between two steps an event could find half an account: an order that is
gone already would be awarded again.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any, Final

from pointstream.contracts.vocabulary import AccountStatus, MovementType, Reason
from pointstream.contracts.wire import loads
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, decode_order, split_lot_key, split_pending_key
from pointstream.ledger.consent import deny_all
from pointstream.ledger.errors import ConservationBreach, StateCorrupt
from pointstream.ledger.kinds import MemberKey, belongings, timer_of
from pointstream.ledger.ranks import rank_row
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.state import event_key, rule_set_key, watch_key
from pointstream.ledger.told import renamed
from pointstream.ledger.underway import decode_under_way

__all__ = ["DEBT", "KEYS_PER_MESSAGE", "MovedLot", "Stripped", "emit_lots", "leave", "strip"]

DEBT: Final = "debt"
"""The reason of entries that move a debt."""

_ONLY_BY_NAME: Final = ("account.merge", "account.erase")

KEYS_PER_MESSAGE: Final = 300
BYTES_PER_MESSAGE: Final = 512 * 1024
"""A member can have more than one record takes: whichever of the two is reached ends a message."""


@dataclass(frozen=True, slots=True)
class MovedLot:
    """Points of one lot that leave a member, or come to one."""

    lot_id: str
    expires_ms: int
    points: int
    delta: int
    """The change of what can be spent."""
    in_lot: int | None
    """The change of what is in the lot; None where there is no lot."""


@dataclass(slots=True)
class Stripped:
    """What a member had."""

    keys: list[MemberKey] = field(default_factory=list)
    lots: dict[str, list[MovedLot]] = field(default_factory=dict)
    """Per wallet."""


def strip(book: Book, account: Account, kept: Set[bytes] = frozenset()) -> Stripped:
    """Take all keys and timers of a member away, but for some keys and the account itself.

    The wallets are left without points; the caller accounts in the totals for what was there, and
    tells of it by `emit_lots`.
    """
    state, stripped = book.state, Stripped()
    book.memory.write_late(watch_key(account.member))
    found: dict[str, dict[bytes, int]] = {}
    for thing in belongings(state, account.member):
        if thing.key in kept:
            continue
        timer = timer_of(thing.kind, thing.key, thing.value)
        if timer is not None:
            book.timers.drop(*timer)
        if thing.kind in _PLACES:
            wallet, lot = _lot(thing)
            places = found.setdefault(wallet, dict.fromkeys(_PLACES, 0))
            places[thing.kind] += lot.points
            stripped.lots.setdefault(wallet, []).append(lot)
        state.delete(thing.key)
        stripped.keys.append(thing)
    book.watches.pop(account.member, None)
    if account.timer_ms:
        book.timers.drop(account.timer_ms, b"a" + account.member)
        account.timer_ms = 0
    for wallet, totals in account.wallets.items():
        _without_points(account, wallet, totals, found.get(wallet, {}))
    account.parked = account.birthday = account.orders = account.flags = 0
    account.welcomed = False
    account.segments = []
    account.runs = []
    account.tiers = {}
    account.reminded = {}
    return stripped


def leave(
    book: Book, account: Account, survivor: str, command: dict[str, Any], cause: Cause
) -> Iterator[dict[str, Any]]:
    """Move all that a member has to the survivor; yield what the messages about it say.

    Nothing is left but the sums of what came and went, and the name of the survivor.
    """
    deny_all(book, account, Reason.ACCOUNT_MERGED)
    renamed(book, account, survivor)
    runs, tiers = account.runs, account.tiers
    orders, welcomed = account.orders, account.welcomed
    slides = {
        wallet: [[expires_ms, from_ms] for expires_ms, points, from_ms in totals.slides if points]
        for wallet, totals in account.wallets.items()
        if totals.slides
    }
    debts = {wallet: totals.debt for wallet, totals in account.wallets.items() if totals.debt}
    # Merges and erasures are never passed on. They are answered here, and remembered here.
    kept = {
        key
        for key, answer in book.memory.answers(account.member)
        if loads(answer)["type"] in _ONLY_BY_NAME
    }
    kept.add(event_key(account.member, command["event_id"]))
    stripped = strip(book, account, kept)
    for wallet, totals in account.wallets.items():
        moved = stripped.lots.get(wallet)
        if moved:
            totals.transferred_out += sum(lot.points for lot in moved)
            kind = MovementType.MERGED_OUT
            emit_lots(book, account, wallet, totals, kind, moved, cause, counterparty_id=survivor)
        totals.slides = []
        if totals.debt:
            debt, totals.debt = totals.debt, 0
            # What is owed goes the other way: the survivor gives it.
            totals.transferred_in += debt
            book.emit(
                account,
                wallet,
                totals,
                MovementType.MERGED_IN,
                debt,
                0,
                cause,
                [],
                reason=DEBT,
                counterparty_id=survivor,
            )
    account.status = AccountStatus.MERGED.value
    account.merged_into = survivor
    book.change(account)
    rest = {
        "runs": [[run.first_day, run.last_day] for run in runs],
        "debts": debts,
        "orders": orders,
        "welcomed": welcomed,
        "tiers": {ladder: rank_row(rank) for ladder, rank in tiers.items()},
        "days": _days(stripped.keys),
    }
    head = {
        "from": account.member_id,
        "command": command,
        # What slides must not end before all of it has arrived.
        "last_activity_ms": account.last_activity_ms,
        "slides": slides,
    }
    *chunks, last = _chunks(_rows(book, stripped.keys))
    for chunk in chunks:
        yield {**head, "keys": chunk}
    yield {**head, "keys": last, "account": rest}


_PLACES: Final = {b"l": "available", b"q": "pending", b"h": "held"}


def emit_lots(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    kind: MovementType,
    moved: list[MovedLot],
    cause: Cause,
    **names: Any,
) -> None:
    """Write the entries about lots that have left a member, or come to one."""
    rows: list[tuple[int, int, LotChange | None]] = [
        (
            lot.points,
            lot.delta,
            None
            if lot.in_lot is None
            else lot_change(lot.lot_id, lot.in_lot, lot.expires_ms, book),
        )
        for lot in moved
    ]
    book.emit_split(account, wallet, totals, kind, rows, cause, **names)


def _lot(thing: MemberKey) -> tuple[str, MovedLot]:
    """Return the wallet of a lot's key, and what leaves with it."""
    points = int(decode_list(thing.value)[0])
    wallet, _, rest = thing.rest.partition(b"\0")
    if thing.kind == b"q":
        _, expires_ms, _, lot_id = split_pending_key(rest, 0)
    else:
        if thing.kind == b"h":
            rest = rest.partition(b"\0")[2]
        expires_ms, _, lot_id = split_lot_key(rest, 0)
    # What is held has left its lot already, and what is pending cannot be spent yet.
    delta = -points if thing.kind == b"l" else 0
    in_lot = 0 if thing.kind == b"h" else -points
    return wallet.decode(), MovedLot(lot_id, expires_ms, points, delta, in_lot)


def _without_points(account: Account, wallet: str, totals: Totals, found: dict[bytes, int]) -> None:
    for kind, place in _PLACES.items():
        points = found.get(kind, 0)
        if points != getattr(totals, place):
            raise ConservationBreach(account.member_id, wallet, getattr(totals, place), points)
        setattr(totals, place, 0)
    totals.in_lots -= found.get(b"l", 0)
    totals.horizon = []
    totals.beyond = False


def _days(keys: list[MemberKey]) -> list[tuple[str, int, int]]:
    """Return ladder, local day and amount of what a rolling window keeps by days."""
    days: list[tuple[str, int, int]] = []
    for thing in keys:
        if thing.kind == b"d":
            ladder, _, day = thing.rest.partition(b"\0")
            amount = int(decode_list(thing.value)[0])
            days.append((ladder.decode(), int.from_bytes(day, "big"), amount))
    return days


def _rows(book: Book, keys: list[MemberKey]) -> Iterator[list[str]]:
    """Yield keys as messages hold them; what an order was scored with before it, each once."""
    told: set[str] = set()
    for thing in keys:
        if thing.kind == b"d":
            continue
        needed: list[str] = []
        if thing.kind == b"O":
            awards = decode_order(thing.value).awards
            needed = [hash_ for award in awards for hash_ in award.rule_sets()]
        elif thing.kind == b"u":
            needed = [decode_under_way(thing.value).ruleset_hash]
        for hash_ in needed:
            if hash_ not in told:
                told.add(hash_)
                value = book.state.get(rule_set_key(hash_))
                if value is None:
                    raise StateCorrupt(f"the rule set {hash_} of an order is not in the state")
                yield _row(b"r", hash_.encode(), value)
        yield _row(thing.kind, thing.rest, thing.value)


def _row(kind: bytes, rest: bytes, value: bytes) -> list[str]:
    return [kind.decode(), b64encode(rest).decode(), b64encode(value).decode()]


def _chunks(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Yield rows in bounded chunks, the last of which may be empty."""
    chunk: list[list[str]] = []
    size = 0
    for row in rows:
        if len(chunk) == KEYS_PER_MESSAGE or (chunk and size >= BYTES_PER_MESSAGE):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += sum(map(len, row))
    yield chunk
