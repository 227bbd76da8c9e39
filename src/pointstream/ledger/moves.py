"""How points get into lots and out of them again.

A wallet's totals, its lots and its horizon always move together, and only here. The caller writes
the ledger entry, for it knows why.
"""

from __future__ import annotations

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, decode_lot, encode_lot, split_lot_key
from pointstream.ledger.errors import ConservationBreach
from pointstream.ledger.records import HORIZON, Account, Lot, Totals
from pointstream.ledger.state import NEVER, lot_key, lots_prefix, pending_key, prefix_stop
from pointstream.rules.compile import CompiledWallet
from pointstream.rules.model import Reward

__all__ = [
    "credit",
    "expiring",
    "give",
    "look_ahead",
    "new_lot",
    "put_back",
    "put_lot",
    "reduce",
    "spendable",
    "spendable_lots",
    "take",
]


def give(
    book: Book,
    account: Account,
    reward: Reward,
    points: int,
    cause: Cause,
    earned_ms: int,
    order_id: str | None = None,
    reason: str | None = None,
) -> Lot:
    """Give points by a rule: into a new lot, pending or spendable."""
    wallet = book.programme.wallets[reward.wallet]
    totals = book.totals(account, wallet.id)
    lot = new_lot(book, wallet, cause, points, earned_ms, order_id, reward.rule_id)
    totals.earned += points
    if lot.activates_ms > book.now_ms or account.frozen:
        totals.pending += points
        book.state.put(
            pending_key(
                account.member,
                lot.wallet,
                lot.activates_ms,
                lot.expires_ms,
                earned_ms,
                lot.lot_id,
            ),
            encode_lot(lot),
        )
        if lot.activates_ms > book.now_ms:
            book.ring(account, lot.activates_ms)
        lots = [lot_change(lot.lot_id, points, lot.expires_ms, book)]
        kind, delta = MovementType.PENDING, 0
    else:
        delta = credit(book, account, totals, lot)
        lots = [lot_change(lot.lot_id, delta, lot.expires_ms, book)] if delta else []
        kind = MovementType.EARNED
    book.emit(
        account,
        lot.wallet,
        totals,
        kind,
        points,
        delta,
        cause,
        lots,
        reward=reward,
        order_id=order_id,
        reason=reason,
    )
    lot.points = points
    return lot


def new_lot(
    book: Book,
    wallet: CompiledWallet,
    cause: Cause,
    points: int,
    earned_ms: int,
    order_id: str | None,
    rule_id: str | None,
) -> Lot:
    """Return a lot with the life that the wallet's policies give it; it is nowhere yet."""
    expires_ms = wallet.expires_at_ms(earned_ms)
    return Lot(
        wallet.id,
        cause.next_id(),
        wallet.activates_at_ms(earned_ms),
        NEVER if expires_ms is None else expires_ms,
        earned_ms,
        points,
        order_id,
        rule_id,
        cause.store_id,
    )


def credit(book: Book, account: Account, totals: Totals, lot: Lot) -> int:
    """Make a lot's points available; debt is paid first. Return what became available."""
    points = lot.points
    if totals.debt:
        paid = min(totals.debt, points)
        totals.debt -= paid
        points -= paid
        if not points:
            return 0
        lot.points = points
    totals.available += points
    totals.expects(lot.expires_ms, points)
    put_lot(book, account, lot)
    book.ring(account, lot.expires_ms)
    return points


def put_back(book: Book, account: Account, totals: Totals, lot: Lot) -> int:
    """Put points back into the lot they were taken from; return how many became available."""
    value = book.state.get(
        lot_key(account.member, lot.wallet, lot.expires_ms, lot.earned_ms, lot.lot_id)
    )
    before = 0 if value is None else decode_list(value)[0]
    delta = credit(book, account, totals, lot)
    if delta and before:
        # The credit wrote the lot as if it had been empty.
        lot.points = before + delta
        put_lot(book, account, lot)
    return delta


def spendable_lots(book: Book, account: Account, wallet: str) -> list[tuple[bytes, Lot]]:
    """Return all spendable lots of a wallet, in the order of spending."""
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    found = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        found.append((key, decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)))
    return found


def take(
    book: Book, account: Account, wallet: str, totals: Totals, points: int, alive_ms: int
) -> list[Lot]:
    """Take available points in the order of spending, from lots alive after `alive_ms`.

    Returns the lots, each with the points taken from it. The caller has made sure that there
    are enough; if the lots then do not have them, the books are wrong.
    """
    taken: list[Lot] = []
    left = points
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        if not left:
            break
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms <= alive_ms:
            continue
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        part = min(lot.points, left)
        reduce(book, totals, key, lot, part)
        left -= part
        lot.points = part
        taken.append(lot)
    if left:
        raise ConservationBreach(account.member_id, wallet, points, points - left)
    look_ahead(book, account, wallet, totals)
    return taken


def reduce(book: Book, totals: Totals, key: bytes, lot: Lot, points: int) -> None:
    """Take points out of one spendable lot; an empty lot is gone."""
    if points == lot.points:
        book.state.delete(key)
    else:
        rest = lot.points
        lot.points = rest - points
        book.state.put(key, encode_lot(lot))
        lot.points = rest
    totals.available -= points
    totals.expects_less(lot.expires_ms, points)


def expiring(book: Book, account: Account, wallet: str, totals: Totals, alive_ms: int) -> int:
    """Return how many available points belong to lots that are not alive after a time."""
    if not totals.horizon or totals.horizon[0][0] > alive_ms:
        return 0
    return sum(
        lot.points for _, lot in spendable_lots(book, account, wallet) if lot.expires_ms <= alive_ms
    )


def spendable(book: Book, account: Account, wallet: str, alive_ms: int) -> int:
    """Return how many available points of a wallet are alive after a time."""
    totals = account.wallets.get(wallet)
    if totals is None:
        return 0
    return totals.available - expiring(book, account, wallet, totals, alive_ms)


def look_ahead(book: Book, account: Account, wallet: str, totals: Totals) -> None:
    """Sum the next expiry times anew where the known ones are used up.

    Must follow every debit at once: done later, what is stored would depend on where a batch
    ends.
    """
    if totals.horizon or not totals.beyond:
        return
    totals.beyond = False
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    horizon = totals.horizon
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms == NEVER:
            break
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        if horizon and horizon[-1][0] == expires_ms:
            horizon[-1][1] += lot.points
        elif len(horizon) == HORIZON:
            totals.beyond = True
            break
        else:
            horizon.append([expires_ms, lot.points])


def put_lot(book: Book, account: Account, lot: Lot) -> None:
    """Write a spendable lot."""
    book.state.put(
        lot_key(account.member, lot.wallet, lot.expires_ms, lot.earned_ms, lot.lot_id),
        encode_lot(lot),
    )
