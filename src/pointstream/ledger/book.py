"""The book: the state of one partition, and the few ways in which points move in it.

Every movement of points goes through here and ends in `emit`, so that a wallet's totals, its lots
and its ledger entries cannot drift apart. The handlers above decide what moves and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.vocabulary import MovementType
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.fraud.sighting import Detected
from pointstream.fraud.tables import DetectorBook, DetectorVersion, detector_versions
from pointstream.fraud.watch import Watch
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_account,
    decode_order,
    encode_account,
    encode_order,
    remembered_until_ms,
)
from pointstream.ledger.decision import Answer, Effects, Entry, SetAside
from pointstream.ledger.errors import BooksDisagree, ConservationBreach, StateCorrupt
from pointstream.ledger.memory import Memory
from pointstream.ledger.messages import Message
from pointstream.ledger.notes import Note
from pointstream.ledger.outstanding import Outstanding
from pointstream.ledger.records import Account, Lot, Order, Totals
from pointstream.ledger.reminders import rearm
from pointstream.ledger.schedule import Schedule
from pointstream.ledger.scored import Trace
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import (
    NEVER,
    SLIDING_FROM,
    KeyValues,
    account_key,
    erased_key,
    order_key,
    rule_set_key,
)
from pointstream.ledger.windows import Windows
from pointstream.rules.compile import CompiledProgramme, compile_rule_set
from pointstream.rules.index import RuleTable
from pointstream.rules.model import CompiledRuleSet, Reward
from pointstream.rules.shadows import Shadows

__all__ = ["LOTS_PER_ENTRY", "MAX_POINTS", "Book", "CameToNothing", "lot_change"]

MAX_POINTS: Final = (1 << 53) - 1
"""The most points a wallet can ever have earned: every JSON reader holds it exactly."""

LOTS_PER_ENTRY: Final = 1_000
"""An entry that would name more lots is split, so that it fits into a record."""

_TEXTS_KEPT: Final = 4_096

LotChange = dict[str, Any]


def lot_change(lot_id: str, delta: int, expires_ms: int, book: Book) -> LotChange:
    """Return what an entry says about one lot."""
    if expires_ms >= SLIDING_FROM:
        change: LotChange = {"lot_id": lot_id, "delta": delta}
        if expires_ms != NEVER:
            book.sliding.append((change, expires_ms))
        return change
    return {"lot_id": lot_id, "delta": delta, "expires_at": book.text(expires_ms)}


class CameToNothing(NamedTuple):
    """A command that was counted while it waited, and was refused or came back."""

    account: Account
    type: str
    command_id: str
    occurred_ms: int | None
    """Of the command; None where only a later moment is known."""
    points: int
    """What it named; 0 where that is not known."""


class Book:
    """The state of one partition, decoded as far as this batch needs it."""

    def __init__(self, programme: CompiledProgramme, accounts_kept: int) -> None:
        self.programme: Final = programme
        self.state: KeyValues
        self.memory: Memory
        self.windows: Windows
        self.outstanding: Final = Outstanding()
        self.checks = 0
        """How many times the books of a wallet were checked."""
        self.now_ms = 0
        self.timers: Final = Schedule()
        self.entries: list[Entry] = []
        self.effects: Effects | None = None
        self.measured: list[tuple[Account, Cause]] = []
        """Accounts whose tiers must be looked at before the record is done, and why."""
        self.suspect: tuple[str, ...] = ()
        """Flags that the points of the event being handled come under."""
        self.came_back: list[Account] = []
        """Accounts with open flags whose lots got points back: the flags may be about those."""
        self.given: Final[dict[tuple[bytes, str], list[bytes]]] = {}
        """What was given since, by member and event: kept when the record is done."""
        self.detectors: Final = DetectorBook(
            detector_versions(programme.source),
            [DetectorVersion.of(each) for each in programme.detectors_instead],
        )
        """The detectors that this partition knows, and when each is in force."""
        self.watches: Final[dict[bytes, Watch]] = {}
        """What is remembered of members for the detectors."""
        self.notes: Final[list[Note]] = []
        """What owners of devices, networks and shops will be told at the end of the batch."""
        self.tallies: Final[dict[tuple[str, str, int], list[Any]]] = {}
        """What shops awarded in this batch, by owner, detector and bucket: see `tallies`."""
        self.step_up: Detected | None = None
        """Why the command being handled needs a second confirmation, if a detector says so."""
        self.undone: Final[list[CameToNothing]] = []
        """Commands that wait no more and took no effect: they count no more, see `uncounting`."""
        self.wait_until_ms = 0
        """Until when the points of the event being handled are pending: see `judging`."""
        self.sliding: Final[list[tuple[LotChange, int]]] = []
        """What the next entry says about lots whose expiry slides: when it is now is missing."""
        self._touched: list[tuple[Account, str, Totals]] = []
        self._accounts: dict[str, Account] = {}
        self._accounts_kept = accounts_kept
        self._changed: list[Account] = []
        self._shown_again: Final[dict[str, Account]] = {}
        self.partitions = 1
        """How many there are, with this one: who asks all of them waits for so many answers."""
        self._stored = 0
        """How many of the changed accounts are known to have a key in the state."""
        self._texts: dict[int, str] = {}
        self.rules: Final = programme.rule_book()
        """The rule sets that this partition knows, and since when and until when each holds."""
        self.shadows: Final = Shadows(self.rules)
        """The candidates that run in shadow beside them."""
        self.trace: Trace | None = None
        """Where it is told how events are scored, while somebody asks why."""
        self.set_aside: Final[list[SetAside]] = []
        """Rule sets of the state that are not used, until somebody has told of them."""
        self._rule_sets: dict[str, CompiledRuleSet] = {
            version.compiled.hash: version.compiled
            for version in (*programme.versions, *programme.instead)
        }
        self._rule_sets_stored: set[str] = set()

    @property
    def traced(self) -> bool:
        """Whether it is kept what each event gave, and where it was sent on: for reviews."""
        return self.detectors.any

    # --- accounts ---------------------------------------------------------------------------

    def account(self, member_id: str, member: bytes) -> Account:
        """Return a member's account; one that does not exist yet is empty."""
        account = self._accounts.get(member_id)
        if account is None:
            key = account_key(member)
            value = self.state.get(key)
            if value is not None:
                account = decode_account(key, value)
            else:
                account = Account(member_id, member)
                account.erased = self.state.get(erased_key(member)) is not None
            self._accounts[member_id] = account
        return account

    def peek(self, member: bytes, value: bytes) -> Account:
        """Return an account to be looked at, not changed; `value` is what is stored of it."""
        account = self._accounts.get(member.decode())
        return account if account is not None else decode_account(account_key(member), value)

    def write_new(self) -> None:
        """Write the accounts that have come to be in this batch: a scan must find them.

        Without it, whom it finds would depend on where batches end.
        """
        for account in self._changed[self._stored :]:
            key = account_key(account.member)
            if not account.erased and self.state.get(key) is None:
                self.state.put(key, encode_account(account))
        self._stored = len(self._changed)

    def change(self, account: Account, *, shown: bool = True) -> None:
        """Note that an account has changed, and whether its standing outside has."""
        if not account.changed:
            account.changed = True
            self._changed.append(account)
        if shown:
            account.shown = True
            account.updated_ms = self.now_ms

    def active(self, account: Account, at_ms: int) -> None:
        """Note that the member did something."""
        if at_ms > account.last_activity_ms:
            account.last_activity_ms = at_ms
            if self.programme.reminds:
                rearm(self, account)
        self.change(account)

    def totals(self, account: Account, wallet: str) -> Totals:
        """Return one wallet of an account, made when it is first needed."""
        totals = account.wallets.get(wallet)
        if totals is None:
            totals = account.wallets[wallet] = Totals()
        return totals

    def show_again(self, account: Account) -> None:
        """Have a standing sent at the end of the batch although nothing in it has changed."""
        self._shown_again[account.member_id] = account

    def accounts_shown(self) -> list[Account]:
        """Write what has changed; return the accounts whose standing is to be sent."""
        shown, again = self.write_accounts(), self._shown_again
        if again:
            for account in shown:
                again.pop(account.member_id, None)
            # One that was only looked at may have been decoded once more since, and changed.
            shown += [self._accounts.get(each, account) for each, account in again.items()]
            again.clear()
        return shown

    def write_accounts(self) -> list[Account]:
        """Write what has changed; return the accounts whose standing outside has."""
        shown: list[Account] = []
        put = self.state.put
        for account in self._changed:
            if account.erased:
                self.state.delete(account_key(account.member))
            else:
                put(account_key(account.member), encode_account(account))
            account.changed = False
            if account.shown:
                account.shown = False
                shown.append(account)
        self._changed.clear()
        self._stored = 0
        accounts = self._accounts
        if (surplus := len(accounts) - self._accounts_kept) > 0:
            # The longest known go first. None of them is changed now, so nothing is lost.
            for member_id in list(accounts)[:surplus]:
                del accounts[member_id]
        if (surplus := len(self.watches) - self._accounts_kept) > 0:
            for member in list(self.watches)[:surplus]:
                del self.watches[member]
        return shown

    # --- orders and rule sets ---------------------------------------------------------------

    def order(self, member: bytes, order_id: str) -> Order | None:
        """Return an order that is still remembered."""
        value = self.state.get(order_key(member, order_id))
        if value is None or remembered_until_ms(value) <= self.now_ms:
            return None
        return decode_order(value)

    def put_order(self, member: bytes, order_id: str, order: Order, *, new: bool = False) -> None:
        """Write an order; each use prolongs how long it is remembered."""
        # One dated ahead is remembered from its own date: when it is forgotten, its event must have
        # become too old to be taken again.
        since_ms = max(self.now_ms, order.earned_ms)
        order.until_ms = since_ms + self.programme.refund_window_ms
        self.state.put(order_key(member, order_id), encode_order(order))
        if new:
            self.memory.count()

    def rules_at(self, at_ms: int) -> RuleTable:
        """Return the rules in force at an instant, as this partition knows them now."""
        return self.rules.tables.at(at_ms)

    def know_rule_set(self, compiled: CompiledRuleSet) -> None:
        """Have a rule set at hand by its hash: events may be scored with it from now on."""
        self._rule_sets[compiled.hash] = compiled

    def forget_rule_set(self, hash_: str) -> None:
        """Have a rule set at hand no longer. What was kept for orders stays in the state."""
        if all(hash_ != version.compiled.hash for version in self.programme.instead):
            self._rule_sets.pop(hash_, None)

    def keep_rule_set(self, hash_: str) -> None:
        """Store a rule set that an order was scored with.

        A refund needs it when the programme has long moved on, and its file may be gone then.
        """
        if hash_ in self._rule_sets_stored:
            return
        key = rule_set_key(hash_)
        if self.state.get(key) is None:
            self.state.put(key, b"\x01" + self._rule_sets[hash_].source)
        self._rule_sets_stored.add(hash_)

    def known_rule_set(self, hash_: str) -> CompiledRuleSet | None:
        """Return a rule set as `rule_set` does, or None if it is not known any more."""
        if hash_ not in self._rule_sets and self.state.get(rule_set_key(hash_)) is None:
            return None
        return self.rule_set(hash_)

    def rule_set(self, hash_: str) -> CompiledRuleSet:
        """Return the rule set of an order's own time. Raises `StateCorrupt` if it is not kept."""
        rule_set = self._rule_sets.get(hash_)
        if rule_set is None:
            value = self.state.get(rule_set_key(hash_))
            if value is None:
                raise StateCorrupt(f"the rule set {hash_} of an order is not in the state")
            rule_set = compile_rule_set(RuleSet.model_validate_json(value[1:]))
            self._rule_sets[hash_] = rule_set
        return rule_set

    def keep_expired(self, member: bytes, order_id: str, lot: Lot) -> None:
        """Note with the order what expired in its lot: a refund must not claim it a second time.

        A lot of which a part was held can expire in parts: they add up.
        """
        order = self.order(member, order_id)
        if order is None:
            return
        for award in order.awards:
            if award.lot_id == lot.lot_id:
                award.expired += lot.points
                # What slid and was over before it became active has an end that is told now.
                award.expires_ms = lot.expires_ms
                self.state.put(order_key(member, order_id), encode_order(order))
                return

    # --- timers -----------------------------------------------------------------------------

    def ring(self, account: Account, due_ms: int) -> None:
        """Make sure that the account's timer rings at a time at the latest."""
        set_ms = account.timer_ms
        if due_ms >= SLIDING_FROM or 0 < set_ms <= due_ms:
            return
        what = b"a" + account.member
        if set_ms:
            self.timers.drop(set_ms, what)
        account.timer_ms = due_ms
        self.timers.put(due_ms, what)

    # --- what follows besides entries -------------------------------------------------------

    def more(self) -> Effects:
        """Return where the effects of this record are collected that are not entries."""
        if self.effects is None:
            self.effects = Effects()
        return self.effects

    def tell(self, type: str, to: str | None, body: dict[str, Any]) -> None:
        """Send a message to the owner of a key, or to the owner of every partition."""
        self.more().messages.append(Message(type, to, body))

    def answer(self, member: bytes, answer: Answer) -> None:
        """Give the one final answer to a command that was waiting, and remember it."""
        self.memory.keep_answer(member, answer["command_id"], dumps(answer))
        self.more().answers.append(answer)

    # --- entries ----------------------------------------------------------------------------

    def emit(
        self,
        account: Account,
        wallet: str,
        totals: Totals,
        kind: MovementType,
        amount: int,
        delta: int,
        cause: Cause,
        lots: Sequence[LotChange],
        *,
        reward: Reward | None = None,
        order_id: str | None = None,
        store_id: str | None = None,
        brand_id: str | None = None,
        channel: str | None = None,
        written_off: int = 0,
        reason: str | None = None,
        transfer_id: str | None = None,
        counterparty_id: str | None = None,
        item_id: str | None = None,
        quantity: int | None = None,
        due: int | None = None,
        campaign_id: str | None = None,
        flag_id: str | None = None,
    ) -> None:
        """Write the ledger entry of a movement that has just been made."""
        account.seq += 1
        if self.sliding:
            for change, expires_ms in self.sliding:
                end_ms = ends_ms(self.programme.calendar, account, totals, expires_ms)
                change["expires_at"] = self.text(end_ms)
            self.sliding.clear()
        entry: Entry = {
            "event_id": cause.entry_id(account.seq),
            "type": kind.value,
            "member_id": account.member_id,
            "wallet": wallet,
            "seq": account.seq,
            "occurred_at": self.text(cause.occurred_ms),
            "recorded_at": self.text(self.now_ms),
            "amount": amount,
            "delta": delta,
            "written_off": written_off,
            "available_after": totals.available,
            "pending_after": totals.pending,
            "held_after": totals.held,
            "debt_after": totals.debt,
            "lots": lots,
            "cause_event_id": cause.event_id,
            "cause_type": cause.type,
            "cause_topic": cause.topic,
            "cause_partition": cause.partition,
            "cause_offset": cause.offset,
            "order_id": order_id,
            "store_id": cause.store_id or store_id,
            "brand_id": cause.brand_id or brand_id,
            "channel": cause.channel or channel,
        }
        if reward is not None:
            entry["rule_id"] = reward.rule_id
            entry["rule_version"] = reward.rule_version
            entry["ruleset_hash"] = reward.ruleset_hash
        if cause.actor_id is not None:
            entry["actor_id"] = cause.actor_id
            if cause.confirmed_by is not None:
                entry["confirmed_by"] = cause.confirmed_by
        if reason is not None or cause.reason is not None:
            entry["reason"] = reason if reason is not None else cause.reason
        if transfer_id is not None:
            entry["transfer_id"] = transfer_id
        if counterparty_id is not None:
            entry["counterparty_id"] = counterparty_id
        if item_id is not None:
            entry["item_id"] = item_id
            entry["quantity"] = quantity
        if due is not None:
            entry["due"] = due
        if campaign_id is not None:
            entry["campaign_id"] = campaign_id
        if flag_id is not None:
            entry["flag_id"] = flag_id
        totals.told += delta
        self.entries.append(entry)
        self._touched.append((account, wallet, totals))
        self.change(account)

    def emit_split(
        self,
        account: Account,
        wallet: str,
        totals: Totals,
        kind: MovementType,
        moved: Sequence[tuple[int, int, LotChange | None]],
        cause: Cause,
        *,
        written_off: int = 0,
        **names: Any,
    ) -> None:
        """Write the entries of a movement of many lots; `moved` has amount, delta, change of each.

        Nearly always one entry. Where it is more, all show the balances after the whole movement,
        and the first alone shows what was written off.
        """
        for start in range(0, len(moved), LOTS_PER_ENTRY):
            part = moved[start : start + LOTS_PER_ENTRY]
            self.emit(
                account,
                wallet,
                totals,
                kind,
                sum(amount for amount, _, _ in part),
                sum(delta for _, delta, _ in part),
                cause,
                [change for _, _, change in part if change is not None],
                written_off=0 if start else written_off,
                **names,
            )

    def check(self) -> None:
        """Check the books of every wallet touched since the last check, and count them in."""
        self.checks += len(self._touched)
        take = self.outstanding.take
        for account, wallet, totals in self._touched:
            if not totals.balances():
                raise ConservationBreach(account.member_id, wallet, *totals.sides())
            available = totals.available
            if totals.in_lots != available or totals.told != available:
                raise BooksDisagree(
                    account.member_id, wallet, available, totals.in_lots, totals.told
                )
            take(wallet, totals)
        self._touched.clear()

    def text(self, at_ms: int) -> str:
        """Return a time as entries show it. A batch has few times of arrival and of expiry."""
        text = self._texts.get(at_ms)
        if text is None:
            if len(self._texts) >= _TEXTS_KEPT:
                self._texts.clear()
            text = self._texts[at_ms] = rfc3339(at_ms)
        return text
