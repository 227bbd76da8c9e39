"""A ledger over a dictionary, and short ways to say what happens to it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.outputs import (
    BalanceChange,
    CommandResult,
    CrmSync,
    FraudFlag,
    MallSync,
    Reminder,
    ShadowDiff,
    TierChange,
)
from pointstream.contracts.programme import Programme
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, epoch_ms, rfc3339
from pointstream.ledger import (
    Account,
    Decision,
    Ledger,
    Outcome,
    Source,
    Standing,
    decode_account,
)
from pointstream.ledger.book import Book
from pointstream.ledger.closed import forwarded_source
from pointstream.ledger.codec import decode_list, split_lot_key
from pointstream.ledger.decision import Effects
from pointstream.ledger.messages import FORWARDED, Message, decode_message, encode_message
from pointstream.ledger.notes import packed
from pointstream.ledger.state import (
    OUTSTANDING_KEY,
    account_key,
    is_account_key,
    lots_prefix,
    prefix_stop,
)
from pointstream.operations.books import StateBooks, against_outstanding
from pointstream.rules import CompiledProgramme, compile_programme

DAY_MS = 86_400_000
MESSAGES = "points.internal.messages"
START_MS = epoch_ms(datetime.fromisoformat("2026-03-02T00:00:00+08:00"))


class DictState:
    """A key/value state in memory, ordered by key."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            insort(self._keys, key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        return iter([(key, self.values[key]) for key in keys])


def rule(kind: str, **fields: Any) -> dict[str, Any]:
    """A rule as it stands in a programme; its id is its kind unless said."""
    return {"kind": kind, "id": kind, **fields}


SPEND = rule("spend", points=1, per_minor=100)


def programme(*rules: dict[str, Any], **settings: Any) -> CompiledProgramme:
    """A programme with one rule set; one point per 1.00 unless rules are given."""
    settings.setdefault(
        "rule_sets", [{"id": "head-office", "version": 1, "rules": list(rules or (SPEND,))}]
    )
    return compile_programme(Programme.model_validate({"id": "test", **settings}))


class Bench:
    """One ledger, driven record by record, in batches of `batch` records.

    Everything that comes out is held against the models of the contract. Tests of numbered cases
    run a second time with the whole job in its place: see `driver_bench.py`.
    """

    stand_in: ClassVar[type[Bench] | None] = None
    """What to make instead while a test is run a second time."""

    def __new__(cls, *args: Any, **settings: Any) -> Bench:
        return super().__new__(cls.stand_in if cls is Bench and cls.stand_in else cls)

    def __init__(
        self,
        compiled: CompiledProgramme | None = None,
        *,
        state: DictState | None = None,
        batch: int = 1,
        dedupe: bool = True,
        now_ms: int = START_MS,
        new_ledger: Callable[..., Ledger] = Ledger,
    ) -> None:
        self.new_ledger = new_ledger
        self.programme = compiled or programme()
        self.state = state or DictState()
        self.batch = batch
        self.dedupe = dedupe
        self.now_ms = now_ms
        self.offset = 0
        self.headers: Any = ()
        self.entries: list[dict[str, Any]] = []
        self.decisions: list[Decision] = []
        self.standings: list[Standing] = []
        self.messages: list[Message] = []
        self.answers: list[dict[str, Any]] = []
        self.tier_changes: list[dict[str, Any]] = []
        self.reminders: list[dict[str, Any]] = []
        self.flags: list[dict[str, Any]] = []
        self.shadow_diffs: list[dict[str, Any]] = []
        self._made = 0
        self._open = 0
        self._ended = 0
        self.restart()

    def restart(self) -> None:
        """Go on with a new ledger over the same state, as after a crash or a move."""
        self.ledger = self.new_ledger(self.programme, dedupe=self.dedupe)

    @property
    def ledgers(self) -> list[Ledger]:
        """The ledger of each partition; here there is one."""
        return [self.ledger]

    def give(self, type_: str, member: str = "m1", **fields: Any) -> Decision:
        """Give one event, dated now unless `occurred_ms` says otherwise."""
        self._made += 1
        body = {
            "event_id": fields.pop("event_id", f"e{self._made}"),
            "type": type_,
            "member_id": member,
            "occurred_at": rfc3339(fields.pop("occurred_ms", self.now_ms)),
            **fields,
        }
        return self.give_body(body)

    def give_body(self, body: dict[str, Any]) -> Decision:
        """Give one event as it stands on the wire."""
        key = body.get("member_id") or body["ruleset_id"]
        return self.give_record(topic_of_type(body["type"]), key.encode(), dumps(body))

    def give_record(self, topic: str, key: bytes, value: bytes | None) -> Decision:
        """Give one record of an input topic."""
        decoded = decode(topic, key, value, ())
        assert isinstance(decoded, Decoded), decoded
        source = Source(topic, 0, self.offset, self.now_ms, key, value, self.headers)
        self.offset += 1
        self._begin()
        self._note(*self.ledger.advance(self.now_ms))
        decision = self.ledger.decide(decoded.event, decoded.digest, source)
        self._note(decision)
        self._end()
        self.deliver()
        return decision

    def deliver(self) -> None:
        """Give the ledger the messages that it sent: its one partition is everybody's."""
        while self.messages:
            self.arrive(self.messages.pop(0))

    def arrive(self, message: Message) -> None:
        """Give the ledger one message."""
        value = encode_message(message)
        message = decode_message(value)
        source = Source(MESSAGES, 0, self.offset, self.now_ms, None, value, ())
        self.offset += 1
        self._begin()
        self._note(*self.ledger.advance(self.now_ms))
        if message.type == FORWARDED:
            source = forwarded_source(message)
            suffix = source.topic.removeprefix("points.")
            decoded = decode(suffix, source.key, source.value, source.headers)
            assert isinstance(decoded, Decoded), decoded
            decision = self.ledger.decide(
                decoded.event, decoded.digest, source, as_member=message.to
            )
        else:
            decision = self.ledger.receive(message, source)
        self._note(decision)
        self._end()

    def open_for(self, act: Callable[[Book], object]) -> None:
        """Do something to the book as the handler of a record does."""
        self._begin()
        self._note(*self.ledger.advance(self.now_ms))
        act(self.ledger._book)
        self._note(self.ledger._finish(Decision(Outcome.NOTHING_EARNED)))
        self._end()
        self.deliver()

    def tick(self, now_ms: int) -> list[Decision]:
        """Let partition time go on."""
        self.now_ms = now_ms
        self._begin()
        decisions = self.ledger.advance(now_ms)
        self._note(*decisions)
        self._end()
        self.deliver()
        return decisions

    def later(self, days: float = 0, *, ms: int = 0) -> list[Decision]:
        """Let so much time go by."""
        return self.tick(self.now_ms + round(days * DAY_MS) + ms)

    def flush(self) -> None:
        """End the batch."""
        if self._open:
            self._open = 0
            standings = self.ledger.close()
            self._check_outstanding()
            for standing in standings:
                if standing.crm_sync is None:
                    assert standing.mall_sync is None
                    self.standings.append(standing)
                    continue
                CrmSync.model_validate(standing.crm_sync)
                MallSync.model_validate(standing.mall_sync)
                self.standings.append(standing)

    def _check_outstanding(self) -> None:
        """The sums of the partition are those of its accounts: after the batches 1, 2, 4, 8 … of
        every test."""
        self._ended += 1
        if self._ended & (self._ended - 1):
            return
        books = StateBooks()
        for key, value in self.state.values.items():
            if is_account_key(key) or key == OUTSTANDING_KEY:
                books.put(key, value)
        assert not list(against_outstanding(books))

    def _begin(self) -> None:
        if not self._open:
            self.ledger.open(self.state)
        self._open += 1

    def _end(self) -> None:
        if self._open >= self.batch:
            self.flush()

    def _note(self, *decisions: Decision) -> None:
        for decision in decisions:
            for entry in decision.entries:
                BalanceChange.model_validate(entry)
            if decision.result is not None:
                CommandResult.model_validate(decision.result)
            self.decisions.append(decision)
            self.entries.extend(decision.entries)
            if decision.result is not None:
                self.answers.append(decision.result)
            if decision.effects is not None:
                self._note_effects(decision.effects)
        # One by one: what is decided must not depend on how notes travel.
        for note in self.ledger.take_notes():
            self.messages.extend(message for _, message in packed([note], lambda _: 0))

    def _note_effects(self, effects: Effects) -> None:
        for answer in effects.answers:
            CommandResult.model_validate(answer)
        for change in effects.tier_changes:
            TierChange.model_validate(change)
        for reminder in effects.reminders:
            Reminder.model_validate(reminder)
        for flag in effects.flags:
            FraudFlag.model_validate(flag)
        for diff in effects.shadow_diffs:
            ShadowDiff.model_validate(diff)
        self.messages.extend(effects.messages)
        self.answers.extend(effects.answers)
        self.tier_changes.extend(effects.tier_changes)
        self.reminders.extend(effects.reminders)
        self.flags.extend(effects.flags)
        self.shadow_diffs.extend(effects.shadow_diffs)

    # --- what happens -----------------------------------------------------------------------

    def order(self, order_id: str, paid: int, member: str = "m1", **fields: Any) -> Decision:
        """An order of so many whole CNY."""
        fields.setdefault("currency", "CNY")
        return self.give("order.paid", member, order_id=order_id, paid_minor=paid * 100, **fields)

    def refund(
        self, order_id: str, refund_id: str, refunded: int, member: str = "m1", **fields: Any
    ) -> Decision:
        """A refund of so many whole CNY."""
        return self.give(
            "order.refunded",
            member,
            order_id=order_id,
            refund_id=refund_id,
            refunded_minor=refunded * 100,
            **fields,
        )

    def cancel(self, order_id: str, member: str = "m1", **fields: Any) -> Decision:
        return self.give("order.cancelled", member, order_id=order_id, **fields)

    def redeem(self, points: int, member: str = "m1", **fields: Any) -> Decision:
        fields.setdefault("actor", {"id": member, "role": "member"})
        return self.give("points.redeem", member, points=points, **fields)

    def command(self, type_: str, member: str = "m1", **fields: Any) -> Decision:
        """A command given by head office unless an actor is named."""
        fields.setdefault("actor", {"id": "clerk", "role": "head_office"})
        if type_ in ("points.adjust", "points.clear") or type_.startswith("account."):
            fields.setdefault("reason", "asked")
        return self.give(type_, member, **fields)

    def hold(self, hold_id: str, points: int, member: str = "m1", **fields: Any) -> Decision:
        return self.command("points.hold", member, hold_id=hold_id, points=points, **fields)

    def capture(self, hold_id: str, member: str = "m1", **fields: Any) -> Decision:
        return self.command("points.capture", member, hold_id=hold_id, **fields)

    def void(self, hold_id: str, member: str = "m1", **fields: Any) -> Decision:
        return self.command("points.void", member, hold_id=hold_id, **fields)

    def adjust(self, points: int, member: str = "m1", **fields: Any) -> Decision:
        return self.command("points.adjust", member, points=points, **fields)

    def clear(self, member: str = "m1", **fields: Any) -> Decision:
        return self.command("points.clear", member, **fields)

    def freeze(self, member: str = "m1", **fields: Any) -> Decision:
        return self.command("account.freeze", member, **fields)

    def unfreeze(self, member: str = "m1", **fields: Any) -> Decision:
        return self.command("account.unfreeze", member, **fields)

    def check_in(self, member: str = "m1", **fields: Any) -> Decision:
        return self.give("checkin.recorded", member, **fields)

    # --- what is there ----------------------------------------------------------------------

    def account(self, member: str = "m1") -> Account:
        """An account, read back from the state."""
        self.flush()
        key = account_key(member.encode())
        value = self.state.get(key)
        assert value is not None, f"there is no account of {member}"
        return decode_account(key, value)

    def wallet(self, member: str = "m1", wallet: str = "points") -> Any:
        """The totals of a wallet, read back from the state."""
        return self.account(member).wallets[wallet]

    def available(self, member: str = "m1") -> int:
        return int(self.wallet(member).available)

    def lots(self, member: str = "m1", wallet: str = "points") -> dict[str, int]:
        """Points per spendable lot, in the order of spending."""
        self.flush()
        prefix = lots_prefix(member.encode(), wallet)
        return {
            split_lot_key(key, len(prefix))[2]: decode_list(value)[0]
            for key, value in self.state.scan(prefix, prefix_stop(prefix))
        }

    def moved(self, kind: str) -> list[int]:
        """The amounts of all entries of one type, such as `reversed`."""
        return [e["amount"] for e in self.entries if e["type"] == f"points.{kind}"]

    def books(self) -> dict[bytes, bytes]:
        """The state without what is the partition's own, such as its clock."""
        self.flush()
        return {key: value for key, value in self.state.values.items() if key[:1] != b"z"}


def outcomes(*decisions: Decision) -> list[Outcome]:
    return [decision.outcome for decision in decisions]
