"""Giving lots that members have the expiry of their wallet's present policy.

A change of policy leaves lots as they were made; a migration is how a programme says otherwise. The
new end counts from when each lot was earned, and is never sooner than so many days after the
migration. No point moves, so there are no entries: standings and later entries tell the new end.

Whoever names a lot by its expiry must name it by the new one, or its points would not be found
again: the parts that holds keep, the award of its order, payments and transfers that may come back.
What was over by then stays over. What is on its way to another member keeps the end it had.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from pointstream.contracts.dated import ExpiryMigration
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.book import Book
from pointstream.ledger.codec import (
    decode_lot,
    decode_payment,
    decode_transfer,
    encode_lot,
    encode_order,
    encode_payment,
    encode_transfer,
    split_lot_key,
    split_pending_key,
)
from pointstream.ledger.moves import look_ahead
from pointstream.ledger.records import Account, Lot, Taken, Totals
from pointstream.ledger.sliding import ends_ms, slide_in, sliding_time
from pointstream.ledger.state import (
    NEVER,
    SLIDING_FROM,
    held_key,
    lot_key,
    lots_prefix,
    order_key,
    pending_key,
    pending_prefix,
    prefix_stop,
)
from pointstream.ledger.walks import Walk
from pointstream.rules.compile import CompiledWallet

__all__ = ["migration_walks"]

_DAY_MS: Final = 86_400_000


def migration_walks(migrations: tuple[ExpiryMigration, ...]) -> list[Walk]:
    """Return the walks that carry out a programme's expiry migrations."""
    return [_walk(migration, epoch_ms(migration.at)) for migration in migrations]


def _walk(migration: ExpiryMigration, at_ms: int) -> Walk:
    visit = partial(_visit, migration, at_ms)
    return Walk(f"expiry-migration {migration.id}", at_ms, {"migrate": at_ms}, visit)


def _visit(migration: ExpiryMigration, at_ms: int, book: Book, account: Account, step: str) -> bool:
    wallet = book.programme.wallets[migration.wallet]
    if wallet.id not in account.wallets:
        return False
    account = book.account(account.member_id, account.member)
    floor_ms = at_ms + migration.at_least_days * _DAY_MS
    _Migration(book, account, wallet, at_ms, floor_ms).run()
    return True


class _Migration:
    """The migration of one wallet of one account."""

    def __init__(
        self, book: Book, account: Account, wallet: CompiledWallet, at_ms: int, floor_ms: int
    ) -> None:
        self.book = book
        self.account = account
        self.wallet = wallet
        self.at_ms = at_ms
        self.floor_ms = floor_ms
        self.totals: Totals = account.wallets[wallet.id]
        self.orders: dict[str, dict[str, tuple[int, int]]] = {}
        """By order and lot: expiry and, of what is pending, activation, as they are now."""

    def run(self) -> None:
        # All go by one rule, `_moved`: what comes back later finds its lot where that has gone.
        book, account, totals = self.book, self.account, self.totals
        self._held()
        self._taken()
        self._pending()
        self._spendable()
        self._awards()
        totals.horizon, totals.beyond = [], True
        look_ahead(book, account, self.wallet.id, totals)
        book.change(account)
        # It sees to everything that is due at the new times.
        book.ring(account, self.at_ms)

    def _moved(self, lot: Lot | Taken) -> int:
        """Return the new expiry of a lot; its own if it is over by now."""
        own_ms = lot.expires_ms
        calendar = self.book.programme.calendar
        if ends_ms(calendar, self.account, self.totals, own_ms) <= self.at_ms:
            return own_ms
        if self.wallet.sliding is not None:
            return sliding_time(self.wallet.sliding)
        expires_ms = self.wallet.expires_at_ms(lot.earned_ms)
        return NEVER if expires_ms is None else max(expires_ms, self.floor_ms)

    def _spendable(self) -> None:
        prefix = lots_prefix(self.account.member, self.wallet.id)
        lots = self._lots(prefix, lambda rest: (0, *split_lot_key(rest, 0)))
        placed = self._placed(lots, self._lot_key)
        for bucket in self.totals.slides:
            bucket[1] = 0
        if self.wallet.sliding is not None:
            # The whole span from here on, for what is held too: nobody has acted to keep them.
            slide_in(self.totals, sliding_time(self.wallet.sliding), 0, self.at_ms)
        for lot in placed:
            if SLIDING_FROM <= lot.expires_ms < NEVER:
                slide_in(self.totals, lot.expires_ms, lot.points, lot.earned_ms)

    def _pending(self) -> None:
        prefix = pending_prefix(self.account.member, self.wallet.id)
        lots = self._lots(prefix, lambda rest: split_pending_key(rest, 0))
        for lot in lots:
            if lot.awaits is not None and lot.review is None:
                lot.activates_ms = self._waits_until_ms(lot)
        self._placed(lots, self._pending_key)

    def _waits_until_ms(self, lot: Lot) -> int:
        """Return when a lot that waits for an activity stops waiting: at its end at the latest."""
        latest_ms, expires_ms = lot.activates_ms, self._moved(lot)
        if expires_ms == lot.expires_ms:
            return latest_ms
        if latest_ms >= lot.expires_ms:
            # Its own end was the limit, which says nothing of another one.
            at_latest_ms = self.wallet.at_latest_ms
            latest_ms = NEVER if at_latest_ms is None else lot.earned_ms + at_latest_ms
        return min(latest_ms, expires_ms if expires_ms < SLIDING_FROM else NEVER)

    def _held(self) -> None:
        prefix = b"h%b\0%b\0" % (self.account.member, self.wallet.id.encode())
        holds: dict[bytes, None] = {}
        for key, _ in self.book.state.scan(prefix, prefix_stop(prefix)):
            holds[key[len(prefix) :].partition(b"\0")[0]] = None
        for hold in holds:
            lots = self._lots(prefix + hold + b"\0", lambda rest: (0, *split_lot_key(rest, 0)))
            self._placed(lots, partial(self._held_key, hold.decode()))

    def _taken(self) -> None:
        """Move what payments and transfers under way may give back."""
        state, member = self.book.state, self.account.member
        prefix = b"P%b\0" % member
        for key, value in state.scan(prefix, prefix_stop(prefix)):
            payment = decode_payment(value)
            if payment.wallet == self.wallet.id:
                for row in payment.taken:
                    self._note(row)
                state.put(key, encode_payment(payment))
        prefix = b"w%b\0" % member
        for key, value in state.scan(prefix, prefix_stop(prefix)):
            if self.wallet.id == "points":
                transfer = decode_transfer(self.wallet.id, value)
                for lot in (*transfer.lots, *transfer.fee_lots):
                    self._note(lot)
                state.put(key, encode_transfer(transfer))

    def _awards(self) -> None:
        """Let the orders' awards name their lots by the new times."""
        member = self.account.member
        for order_id, lots in self.orders.items():
            order = self.book.order(member, order_id)
            for award in order.awards if order is not None else ():
                if award.wallet == self.wallet.id and award.lot_id in lots:
                    award.expires_ms, activates_ms = lots[award.lot_id]
                    award.activates_ms = activates_ms or award.activates_ms
            if order is not None:
                self.book.state.put(order_key(member, order_id), encode_order(order))

    def _lots(
        self, prefix: bytes, times: Callable[[bytes], tuple[int, int, int, str]]
    ) -> list[Lot]:
        """Take the lots under a prefix away; return them as they were."""
        lots: list[Lot] = []
        for key, value in self.book.state.scan(prefix, prefix_stop(prefix)):
            lots.append(decode_lot(self.wallet.id, *times(key[len(prefix) :]), value))
            self.book.state.delete(key)
        return lots

    def _placed(self, lots: list[Lot], key_of: Callable[[Lot], bytes]) -> list[Lot]:
        """Put lots where they belong now, and return them; parts of one lot become one again."""
        placed: dict[bytes, Lot] = {}
        for lot in lots:
            self._note(lot)
            there = placed.setdefault(key_of(lot), lot)
            if there is not lot:
                there.points += lot.points
        for key, lot in placed.items():
            self.book.state.put(key, encode_lot(lot))
        return list(placed.values())

    def _note(self, lot: Lot | Taken) -> None:
        """Give a lot its new expiry, and note for its order where it is found now."""
        lot.expires_ms = self._moved(lot)
        if lot.order_id is not None:
            activates_ms = lot.activates_ms if isinstance(lot, Lot) else 0
            self.orders.setdefault(lot.order_id, {})[lot.lot_id] = (lot.expires_ms, activates_ms)

    def _lot_key(self, lot: Lot) -> bytes:
        member, wallet = self.account.member, self.wallet.id
        return lot_key(member, wallet, lot.expires_ms, lot.earned_ms, lot.lot_id)

    def _pending_key(self, lot: Lot) -> bytes:
        member, wallet = self.account.member, self.wallet.id
        times = lot.activates_ms, lot.expires_ms, lot.earned_ms
        return pending_key(member, wallet, *times, lot.lot_id)

    def _held_key(self, hold_id: str, lot: Lot) -> bytes:
        member, wallet = self.account.member, self.wallet.id
        return held_key(member, wallet, hold_id, lot.expires_ms, lot.earned_ms, lot.lot_id)
