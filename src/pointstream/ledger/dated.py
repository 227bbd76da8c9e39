"""All that a programme does to all its members at a date, as walks."""

from __future__ import annotations

from typing import Final

from pointstream.ledger.book import Book
from pointstream.ledger.clear_outs import clear_out_walks
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.migrations import migration_walks
from pointstream.ledger.records import Account
from pointstream.ledger.reminders import remind
from pointstream.ledger.state import walk_key
from pointstream.ledger.walks import Walk, begin, schedule
from pointstream.rules.compile import CompiledProgramme

__all__ = ["schedule_all", "walks_of"]

_REMINDERS: Final = "reminders"


def walks_of(programme: CompiledProgramme) -> dict[str, Walk]:
    """Return the walks of a programme by their names."""
    walks = {walk.name: walk for walk in _dated(programme)}
    walks[_REMINDERS] = Walk(_REMINDERS, 0, {"arm": 0}, _arm)
    return walks


def schedule_all(book: Book) -> None:
    """Set the timers of what the programme asks for and this partition does not know yet."""
    programme = book.programme
    schedule(book, _dated(programme))
    # New lead times hold for the points that members have already: every account's timer must ring
    # for them.
    leads = [[wallet.id, list(wallet.leads_ms)] for wallet in programme.wallets.values()]
    key = walk_key(_REMINDERS)
    value = book.state.get(key)
    if value is None and not programme.reminds:
        return
    if value is None or decode_list(value) != leads:
        book.state.put(key, encode_list(leads))
        if programme.reminds:
            begin(book, _REMINDERS, "arm", book.now_ms)


def _dated(programme: CompiledProgramme) -> list[Walk]:
    source = programme.source
    return [*clear_out_walks(source.clear_outs), *migration_walks(source.expiry_migrations)]


def _arm(book: Book, account: Account, step: str) -> bool:
    if not any(totals.available for totals in account.wallets.values()):
        return False
    account = book.account(account.member_id, account.member)
    for wallet, totals in account.wallets.items():
        book.ring(account, remind(book, account, wallet, totals, book.now_ms))
    book.change(account, shown=False)
    return True
