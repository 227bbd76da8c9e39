"""How the things of the state become bytes.

The first byte of every value is the codec's version; the newest of them is the format of the state
(`engine/formats.py`). A release with another one reads those before it, value by value. What is
remembered for a while has the time until which it counts next, as eight bytes, so that the sweep
reads no further. The rest is JSON, as lists: the names of fields would be most of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.ranks import Rank, rank_row
from pointstream.ledger.records import (
    FLOWS,
    Account,
    Award,
    ErasedSums,
    Hold,
    HoldState,
    Line,
    Lot,
    Order,
    Payment,
    Run,
    Taken,
    Totals,
    Transfer,
)
from pointstream.ledger.state import time_bytes
from pointstream.rules.ladders import PLAIN

__all__ = [
    "READS",
    "VERSION",
    "conservation",
    "decode_account",
    "decode_hold",
    "decode_list",
    "decode_lot",
    "decode_order",
    "decode_payment",
    "decode_sums",
    "decode_transfer",
    "encode_account",
    "encode_hold",
    "encode_list",
    "encode_lot",
    "encode_order",
    "encode_payment",
    "encode_sums",
    "encode_transfer",
    "lot_rows",
    "lots_of_rows",
    "remembered",
    "remembered_body",
    "remembered_bytes",
    "remembered_until_ms",
    "split_lot_key",
    "split_pending_key",
]

VERSION: Final = 1
"""What is written."""

READS: Final = frozenset({1})
"""What is read: to write another version, read this one first, for a release."""

_VERSION_BYTE: Final = bytes([VERSION])
_UNTIL: Final = slice(1, 9)
_BODY: Final = 9


def _check_version(value: bytes) -> None:
    if value[0] not in READS:
        raise StateCorrupt(
            f"a stored value has codec version {value[0]}, this program reads {sorted(READS)}"
        )


def encode_list(values: list[Any]) -> bytes:
    """Return a value without a time limit."""
    return _VERSION_BYTE + dumps(values)


def decode_list(value: bytes, start: int = 1) -> list[Any]:
    """Return what a value holds from a byte on. Raises `StateCorrupt`."""
    _check_version(value)
    decoded = loads(value[start:])
    if type(decoded) is not list:
        raise StateCorrupt("a stored value is not a list")
    return decoded


def remembered(until_ms: int, body: bytes = b"") -> bytes:
    """Return a value that counts until a time."""
    return _VERSION_BYTE + time_bytes(until_ms) + body


def remembered_until_ms(value: bytes) -> int:
    """Return until when a remembered value counts; at that time it does no more."""
    return int.from_bytes(value[_UNTIL], "big")


def remembered_body(value: bytes) -> list[Any]:
    """Return what a remembered value says besides until when it counts. Raises `StateCorrupt`."""
    return decode_list(value, _BODY)


def remembered_bytes(value: bytes) -> bytes:
    """Return the same, not decoded. Raises `StateCorrupt`."""
    _check_version(value)
    return value[_BODY:]


def encode_account(account: Account) -> bytes:
    """Return an account's value; its key holds the member."""
    return _VERSION_BYTE + dumps(
        [
            account.seq,
            account.status,
            account.last_activity_ms,
            account.updated_ms,
            account.parked,
            account.timer_ms,
            account.segments,
            [[run.first_day, run.last_day] for run in account.runs],
            [
                [
                    wallet,
                    totals.available,
                    totals.pending,
                    totals.held,
                    totals.debt,
                    totals.earned,
                    totals.transferred_in,
                    totals.adjusted_up,
                    totals.restored,
                    totals.redeemed,
                    totals.expired,
                    totals.cleared,
                    totals.reversed,
                    totals.transferred_out,
                    totals.adjusted_down,
                    totals.written_off,
                    totals.horizon,
                    totals.beyond,
                    totals.slides,
                ]
                for wallet, totals in account.wallets.items()
            ],
            _rare(account),
        ]
    )


def _rare(account: Account) -> dict[str, Any]:
    """Return what most accounts do not have."""
    rare: dict[str, Any] = {}
    if account.reminded:
        rare["reminded"] = account.reminded
    if account.merged_into is not None:
        rare["merged_into"] = account.merged_into
    if account.merging_into is not None:
        rare["merging_into"] = account.merging_into
    if account.arriving:
        rare["arriving"] = account.arriving
    if account.transfers:
        rare["transfers"] = account.transfers
    if account.flags:
        rare["flags"] = account.flags
    if account.orders:
        rare["orders"] = account.orders
    if account.welcomed:
        rare["welcomed"] = True
    if account.birthday:
        rare["birthday"] = account.birthday
    if account.tiers:
        rare["tiers"] = {ladder: rank_row(rank) for ladder, rank in account.tiers.items()}
    return rare


def decode_account(key: bytes, value: bytes) -> Account:
    """Return the account of a key for which `is_account_key` holds. Raises `StateCorrupt`."""
    (seq, status, last_activity_ms, updated_ms, parked, timer_ms, segments, runs, wallets, rare) = (
        decode_list(value)
    )
    if "tiers" in rare:
        rare["tiers"] = {ladder: Rank(*row) for ladder, row in rare["tiers"].items()}
    return Account(
        key[1:].decode(),
        key[1:],
        seq,
        status,
        last_activity_ms,
        updated_ms,
        parked,
        timer_ms,
        segments,
        [Run(*run) for run in runs],
        {wallet: Totals(*totals) for wallet, *totals in wallets},
        **rare,
    )


def conservation(account: Account) -> list[tuple[str, int, int]]:
    """Return, per wallet, its name, the points that came in, and those accounted for.

    The two are equal as long as the books are right.
    """
    return [(wallet, *totals.sides()) for wallet, totals in account.wallets.items()]


def encode_lot(lot: Lot) -> bytes:
    """Return a lot's value; its key holds the wallet, the times and the id."""
    if lot.review is not None:
        row = [lot.points, lot.order_id, lot.rule_id, lot.store_id, lot.awaits, lot.review]
        return _VERSION_BYTE + dumps(row)
    if lot.awaits is not None:
        row = [lot.points, lot.order_id, lot.rule_id, lot.store_id, lot.awaits]
        return _VERSION_BYTE + dumps(row)
    return _VERSION_BYTE + dumps([lot.points, lot.order_id, lot.rule_id, lot.store_id])


def decode_lot(
    wallet: str, activates_ms: int, expires_ms: int, earned_ms: int, lot_id: str, value: bytes
) -> Lot:
    """Return the lot of a key that was split before."""
    return Lot(wallet, lot_id, activates_ms, expires_ms, earned_ms, *decode_list(value))


def split_lot_key(key: bytes, prefix_length: int) -> tuple[int, int, str]:
    """Return expiry, earning time and id from the key of a spendable lot."""
    rest = key[prefix_length:]
    return _time(rest, 0), _time(rest, 8), rest[16:].decode()


def split_pending_key(key: bytes, prefix_length: int) -> tuple[int, int, int, str]:
    """Return activation, expiry, earning time and id from the key of a pending lot."""
    rest = key[prefix_length:]
    return _time(rest, 0), _time(rest, 8), _time(rest, 16), rest[24:].decode()


def encode_order(order: Order) -> bytes:
    """Return an order's value; its key holds member and order id."""
    return remembered(
        order.until_ms,
        dumps(
            [
                order.paid_minor,
                order.earned_ms,
                order.store_id,
                order.brand_id,
                order.channel,
                [
                    [
                        award.ruleset_hash,
                        award.rule_id,
                        award.wallet,
                        award.lot_id,
                        award.activates_ms,
                        award.expires_ms,
                        award.points,
                        award.settled,
                        award.expired,
                        *_by_tier(award),
                    ]
                    for award in order.awards
                ],
                [
                    [line.line_id, line.paid_minor, line.earns, line.refunded_minor]
                    for line in order.lines
                ],
                order.refunded_minor,
                order.returned,
                order.cancelled,
                order.taken_ms,
                order.refunds,
            ]
        ),
    )


def _by_tier(award: Award) -> tuple[Any, ...]:
    """Return what an award has only where there are tiers, or rules that ask for more than money;
    values without it stay readable."""
    if award.kept is not None:
        return award.multiplier, award.uncounted, award.kept
    if award.multiplier == PLAIN and not award.uncounted:
        return ()
    return award.multiplier, award.uncounted


def decode_order(value: bytes) -> Order:
    """Return an order. Raises `StateCorrupt`."""
    (paid_minor, earned_ms, store_id, brand_id, channel, awards, lines, *refunds) = decode_list(
        value, _BODY
    )
    return Order(
        remembered_until_ms(value),
        paid_minor,
        earned_ms,
        store_id,
        brand_id,
        channel,
        [Award(*award) for award in awards],
        [Line(*line) for line in lines],
        *refunds,
    )


def encode_hold(hold: Hold) -> bytes:
    """Return a hold's value; its key holds member and hold id."""
    return remembered(
        hold.until_ms,
        dumps([hold.state.value, hold.wallet, hold.points, hold.due_ms, hold.store_id]),
    )


def decode_hold(value: bytes) -> Hold:
    """Return a hold. Raises `StateCorrupt`."""
    state, wallet, points, due_ms, store_id = decode_list(value, _BODY)
    return Hold(remembered_until_ms(value), HoldState(state), wallet, points, due_ms, store_id)


def encode_payment(payment: Payment) -> bytes:
    """Return the value of points that paid for an order."""
    return remembered(
        payment.until_ms,
        dumps([payment.wallet, payment.points, list(_rows(payment.taken))]),
    )


def decode_payment(value: bytes) -> Payment:
    """Return points that paid for an order. Raises `StateCorrupt`."""
    wallet, points, rows = decode_list(value, _BODY)
    return Payment(remembered_until_ms(value), wallet, points, [Taken(*row) for row in rows])


def encode_transfer(transfer: Transfer) -> bytes:
    """Return the value of a transfer under way; its key holds the member and its id."""
    return encode_list(
        [
            transfer.to_member_id,
            transfer.command_id,
            transfer.occurred_ms,
            transfer.actor_id,
            transfer.confirmed_by,
            transfer.store_id,
            transfer.points,
            transfer.fee,
            lot_rows(transfer.lots),
            lot_rows(transfer.fee_lots),
        ]
    )


def decode_transfer(wallet: str, value: bytes) -> Transfer:
    """Return a transfer under way, with lots of a wallet. Raises `StateCorrupt`."""
    fields = decode_list(value)
    fields[8:] = (lots_of_rows(wallet, rows) for rows in fields[8:])
    return Transfer(*fields)


def lot_rows(lots: list[Lot]) -> list[list[Any]]:
    """Return lots that were available as plain lists, which `lots_of_rows` reads."""
    return [
        [
            lot.lot_id,
            lot.expires_ms,
            lot.earned_ms,
            lot.points,
            lot.order_id,
            lot.rule_id,
            lot.store_id,
        ]
        for lot in lots
    ]


def lots_of_rows(wallet: str, rows: list[list[Any]]) -> list[Lot]:
    """Return the lots of a wallet that `lot_rows` made lists of."""
    return [
        Lot(wallet, lot_id, earned_ms, expires_ms, earned_ms, *rest)
        for lot_id, expires_ms, earned_ms, *rest in rows
    ]


def encode_sums(sums: ErasedSums) -> bytes:
    """Return the value of what is known of erased accounts."""
    wallets = [
        [wallet, *(getattr(totals, name) for name in FLOWS)]
        for wallet, totals in sums.wallets.items()
    ]
    return encode_list([sums.accounts, wallets])


def decode_sums(value: bytes) -> ErasedSums:
    """Return what is known of erased accounts. Raises `StateCorrupt`."""
    accounts, wallets = decode_list(value)
    return ErasedSums(
        accounts,
        {wallet: Totals(**dict(zip(FLOWS, flows, strict=True))) for wallet, *flows in wallets},
    )


def _rows(taken: list[Taken]) -> Iterator[list[Any]]:
    for row in taken:
        yield [
            row.lot_id,
            row.expires_ms,
            row.earned_ms,
            row.points,
            row.order_id,
            row.rule_id,
            row.store_id,
            row.restored,
        ]


def _time(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 8], "big")
