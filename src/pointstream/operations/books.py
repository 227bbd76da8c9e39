"""One partition's books, kept a second time: from the entries alone, then compared with the tables.

Pure: entries and state pairs go in, breaches come out. A breach is a sentence that names the
member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pointstream.ledger.codec import decode_account, decode_list, decode_sums
from pointstream.ledger.outstanding import PLACES, decode_outstanding
from pointstream.ledger.records import Account, ErasedSums, Totals
from pointstream.ledger.state import (
    ERASED_SUMS_KEY,
    OUTSTANDING_KEY,
    erased_key,
    is_account_key,
    is_erased_key,
)

__all__ = [
    "FLOWS",
    "Breach",
    "EntryBooks",
    "MemberBooks",
    "StateBooks",
    "against_outstanding",
    "compare",
]

#: Which of the table's flows an entry's `amount` adds to; an adjustment goes by its sign.
FLOWS: Mapping[str, str | None] = {
    "points.earned": "earned",
    "points.pending": "earned",
    "points.activated": None,
    "points.redeemed": "redeemed",
    "points.held": None,
    "points.captured": "redeemed",
    "points.voided": None,
    "points.expired": "expired",
    "points.reversed": "reversed",
    "points.restored": "restored",
    "points.transferred_out": "transferred_out",
    "points.transferred_in": "transferred_in",
    "points.cleared": "cleared",
    "points.merged_out": "transferred_out",
    "points.merged_in": "transferred_in",
}
_FLOW_NAMES = (
    *dict.fromkeys(name for name in FLOWS.values() if name),
    "adjusted_up",
    "adjusted_down",
)


_OF_MERGES = ("points.merged_out", "points.merged_in")

# The kinds of key under which lots stand, and where their points are then.
_PLACES: Mapping[bytes, str] = {b"l": "available", b"q": "pending", b"h": "held"}
_NO_LOTS: Mapping[str, int] = dict.fromkeys(_PLACES.values(), 0)


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that doesn't hold: which check, whose, and what was found."""

    check: str
    member_id: str
    words: str


@dataclass(slots=True)
class _WalletBooks:
    spendable: int = 0
    """The sum of all `delta`."""
    after: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Available, pending, held and debt, as the latest entry says."""
    flows: dict[str, int] = field(default_factory=dict)
    doubt: tuple[Any, Breach] | None = None
    """A breach unless the next entry is a part of the same movement, and what tells that."""


@dataclass(slots=True)
class MemberBooks:
    """What a member's entries add up to."""

    seq: int = 0
    wallets: dict[str, _WalletBooks] = field(default_factory=dict)


class EntryBooks:
    """Adds up the entries of one partition, and checks each against those before it."""

    def __init__(self) -> None:
        self.merges: list[Mapping[str, Any]] = []
        """The entries that moved points by a merge."""
        self.members: dict[str, MemberBooks] = {}
        self.breaches: list[Breach] = []
        self.entries = 0
        self.by_type: dict[str, int] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take the next entry of the partition, in its order there."""
        self.entries += 1
        member_id, kind = str(entry["member_id"]), str(entry["type"])
        self.by_type[kind] = self.by_type.get(kind, 0) + 1
        member = self.members.get(member_id)
        if member is None:
            member = self.members[member_id] = MemberBooks()
        seq = int(entry["seq"])
        if seq != member.seq + 1:
            what = "is there twice" if seq <= member.seq else "has a gap before it"
            self._breach("seq", member_id, f"seq {seq} {what}: the one before was {member.seq}")
        member.seq = max(seq, member.seq)
        wallet = member.wallets.get(entry["wallet"])
        if wallet is None:
            wallet = member.wallets[entry["wallet"]] = _WalletBooks()
        delta, amount = int(entry["delta"]), int(entry["amount"])
        wallet.spendable += delta
        flow = FLOWS.get(kind)
        if kind in _OF_MERGES:
            self.merges.append(entry)
        if kind == "points.adjusted":
            # By the lots or the balance: one that only pays a debt off has a delta of 0.
            flow = "adjusted_down" if delta < 0 else "adjusted_up"
        if flow is not None:
            wallet.flows[flow] = wallet.flows.get(flow, 0) + amount
        available = int(entry["available_after"])
        wallet.after = (
            available,
            int(entry["pending_after"]),
            int(entry["held_after"]),
            int(entry["debt_after"]),
        )
        # A movement of many lots has several entries, and each shows the balances after the last.
        part = (kind, entry.get("cause_event_id"), wallet.after)
        if wallet.doubt is not None and wallet.doubt[0] != part:
            self.breaches.append(wallet.doubt[1])
        wallet.doubt = None
        if available != wallet.spendable:
            words = (
                f"at seq {seq} the changes add up to {wallet.spendable} {entry['wallet']}, "
                f"the entry says {available}"
            )
            wallet.doubt = part, Breach("sums", member_id, words)
        if min(wallet.after) < 0:
            self._breach("conservation", member_id, f"at seq {seq} a place is below zero")

    def doubts(self) -> Iterable[Breach]:
        """Yield the breaches of members' last entries, once there are no more."""
        for member in self.members.values():
            for wallet in member.wallets.values():
                if wallet.doubt is not None:
                    yield wallet.doubt[1]

    def _breach(self, check: str, member_id: str, words: str) -> None:
        self.breaches.append(Breach(check, member_id, words))


class StateBooks:
    """The accounts and lots of one partition's state, as its changelog tells them."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.erased_keys: set[bytes] = set()
        self.erased = ErasedSums()
        self.outstanding: dict[str, tuple[int, ...]] | None = None
        """Points of all accounts by wallet and place, as the state has their sum; None for a state
        from before there was one."""
        self._lots: dict[bytes, tuple[str, str, str, int]] = {}

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the changelog; None removes the key."""
        if is_account_key(key):
            if value is None:
                self.accounts.pop(key[1:].decode(), None)
            else:
                account = decode_account(key, value)
                self.accounts[account.member_id] = account
        elif is_erased_key(key):
            self.erased_keys.add(key)
        elif key == ERASED_SUMS_KEY and value is not None:
            self.erased = decode_sums(value)
        elif key == OUTSTANDING_KEY:
            self.outstanding = decode_outstanding(value)
        elif key[:1] in _PLACES:
            if value is None:
                self._lots.pop(key, None)
            else:
                member, wallet, _ = key[1:].split(b"\0", 2)
                place = _PLACES[key[:1]]
                self._lots[key] = (member.decode(), wallet.decode(), place, decode_list(value)[0])

    def lot_sums(self) -> dict[tuple[str, str], dict[str, int]]:
        """Per member and wallet, the points in spendable, pending and held lots."""
        sums: dict[tuple[str, str], dict[str, int]] = {}
        for member_id, wallet, place, points in self._lots.values():
            places = sums.setdefault((member_id, wallet), dict(_NO_LOTS))
            places[place] += points
        return sums


def compare(
    entries: EntryBooks,
    state: StateBooks,
    standings: Mapping[str, Mapping[str, Any]],
    positions: Mapping[str, Mapping[str, Any]],
) -> list[Breach]:
    """Hold the tables of one partition against its entries, `crm-sync` and `mall-sync`."""
    breaches = [*entries.breaches, *entries.doubts()]
    lot_sums = state.lot_sums()
    erased: dict[str, Counter[str]] = {}
    for member_id in entries.members.keys() - state.accounts.keys():
        if erased_key(member_id.encode()) not in state.erased_keys:
            breaches.append(Breach("sums", member_id, "has entries, but no account in the table"))
            continue
        for wallet, summed in entries.members[member_id].wallets.items():
            erased.setdefault(wallet, Counter()).update(summed.flows)
            if any(summed.after):
                words = f"was erased with {wallet} {summed.after} left: available to debt"
                breaches.append(Breach("sums", member_id, words))
    breaches += _against_erased(state.erased, erased)
    breaches += against_outstanding(state)
    for member_id, account in state.accounts.items():
        books = entries.members.get(member_id) or MemberBooks()
        found = [
            *_against_entries(account, books),
            *_conserved(account),
            *_against_lots(account, lot_sums),
            *_against_standing("crm-sync", account, standings.get(member_id)),
            *_against_standing("mall-sync", account, positions.get(member_id)),
        ]
        breaches += [Breach(check, member_id, words) for check, words in found]
    for topic, latest in (("crm-sync", standings), ("mall-sync", positions)):
        for member_id in latest.keys() - state.accounts.keys():
            breaches.append(Breach(topic, member_id, f"is on {topic}, but has no account"))
    return breaches


def _against_erased(sums: ErasedSums, erased: Mapping[str, Counter[str]]) -> Iterable[Breach]:
    """Hold the one record of all erased accounts against their entries, which are still there."""
    for wallet in sums.wallets.keys() | erased.keys():
        totals = sums.wallets.get(wallet) or Totals()
        summed = erased.get(wallet) or Counter()
        for flow in _FLOW_NAMES:
            if getattr(totals, flow) != summed[flow]:
                words = f"{flow} {wallet} of erased members: {getattr(totals, flow)} in the table,"
                yield Breach("sums", "", f"{words} {summed[flow]} by the entries")


def against_outstanding(state: StateBooks) -> Iterable[Breach]:
    """Hold the sums that the liability is told from against the accounts."""
    if state.outstanding is None:
        return
    summed: dict[str, Counter[str]] = {}
    for account in state.accounts.values():
        for wallet, totals in account.wallets.items():
            sums = summed.setdefault(wallet, Counter())
            for place in PLACES:
                sums[place] += getattr(totals, place)
    for wallet in summed.keys() | state.outstanding.keys():
        sums = summed.get(wallet, Counter())
        added = tuple(sums[place] for place in PLACES)
        kept = state.outstanding.get(wallet, (0,) * len(PLACES))
        if added != kept:
            words = f"the accounts have {added} {wallet} ({', '.join(PLACES)}), the sum says {kept}"
            yield Breach("outstanding", "", words)


def _against_entries(account: Account, books: MemberBooks) -> Iterable[tuple[str, str]]:
    if account.seq != books.seq:
        yield "seq", f"the table is at seq {account.seq}, the entries end at {books.seq}"
    for wallet in account.wallets.keys() | books.wallets.keys():
        totals = account.wallets.get(wallet) or Totals()
        summed = books.wallets.get(wallet) or _WalletBooks()
        table = (totals.available, totals.pending, totals.held, totals.debt)
        if totals.available != summed.spendable:
            yield (
                "sums",
                f"the changes add up to {summed.spendable} {wallet}, "
                f"the table has {totals.available}",
            )
        if table != summed.after:
            yield (
                "sums",
                f"available, pending, held, debt of {wallet} are {table} in the table, "
                f"{summed.after} after the last entry",
            )
        for flow in _FLOW_NAMES:
            if getattr(totals, flow) != summed.flows.get(flow, 0):
                yield (
                    "sums",
                    f"{flow} {wallet}: {getattr(totals, flow)} in the table, "
                    f"{summed.flows.get(flow, 0)} by the entries",
                )


def _conserved(account: Account) -> Iterable[tuple[str, str]]:
    for wallet, totals in account.wallets.items():
        if not totals.balances():
            came_in, accounted_for = totals.sides()
            yield (
                "conservation",
                f"{came_in} {wallet} came in, {accounted_for} are accounted for "
                f"(available {totals.available}, pending {totals.pending}, held {totals.held}, "
                f"debt {totals.debt})",
            )


def _against_lots(
    account: Account, lot_sums: Mapping[tuple[str, str], Mapping[str, int]]
) -> Iterable[tuple[str, str]]:
    for wallet, totals in account.wallets.items():
        sums = lot_sums.get((account.member_id, wallet), _NO_LOTS)
        for place, points in sums.items():
            if points != getattr(totals, place):
                yield (
                    "lots",
                    f"the lots hold {points} {place} {wallet}, "
                    f"the account says {getattr(totals, place)}",
                )


def _against_standing(
    topic: str, account: Account, standing: Mapping[str, Any] | None
) -> Iterable[tuple[str, str]]:
    if standing is None:
        if account.seq:
            yield topic, f"has an account, but is not on {topic}"
        return
    totals = account.wallets.get("points") or Totals()
    expected = {"seq": account.seq, "available": totals.available, "held": totals.held}
    if topic == "crm-sync":
        expected |= {"pending": totals.pending, "debt": totals.debt}
    for name, value in expected.items():
        if standing.get(name) != value:
            yield topic, f"{topic} says {name} {standing.get(name)}, the table {value}"
