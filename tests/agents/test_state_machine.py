"""Every command and event, in any order, with duplicates, delays, crashes, moves and jumps of time.

Hypothesis draws what happens; after every step the books are held against a plain model of the
ledger (`plain/`) and against what must always be true. 200 runs belong to the normal tests;
`make prove` makes many more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from pointstream.agents.processor import TICKS
from pointstream.contracts.programme import Programme
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.ledger.codec import decode_list
from pointstream.operations.books import StateBooks
from pointstream.operations.placement import partition_of
from pointstream.rules import CompiledProgramme, compile_programme

from .happenings import (
    EXAMPLES,
    MEMBERS,
    PARTITIONS,
    POLICIES,
    STEPS,
    Happenings,
)
from .plain import HOUR_MS, Club, Member, Rules


def _programme(policy: str, pending: str) -> CompiledProgramme:
    rules = [
        {"id": "spend", "kind": "spend", "points": 1, "per_minor": 100},
        {"id": "growth", "kind": "spend", "points": 1, "per_minor": 1_000, "wallet": "growth"},
        {"id": "day", "kind": "check_in", "points": 2},
        {"id": "friend", "kind": "referral", "when": "registered", "points": 20},
        {
            "id": "first",
            "kind": "referral",
            "when": "first_order",
            "points": 30,
            "min_minor": 5_000,
        },
        {"id": "lottery", "kind": "activity", "activity": "lottery.won", "points": 1},
    ]
    return compile_programme(
        Programme.model_validate(
            {
                "id": "machine",
                "refund_policy": policy,
                "wallets": [
                    {"id": "points", "activation": {"after": pending}, "expiry": {"days": 3}},
                    {"id": "growth", "spendable": False},
                ],
                "park_window": "P2D",
                "hold_time": "PT30H",
                "dedup_window": "P400D",
                "transfers": {"fee": {"points": 1}},
                "rule_sets": [{"id": "all", "version": 1, "rules": rules}],
            }
        )
    )


PROGRAMMES = {
    (policy, days): _programme(policy, f"P{days}D") for policy in POLICIES for days in (0, 1)
}


class Ledgers(Happenings):
    """The job, and the model beside it."""

    @initialize(
        policy=st.sampled_from(POLICIES),
        pending=st.sampled_from([0, 0, 1]),
        batch=st.integers(1, 4),
        stale=st.sampled_from([0, 2]),
    )
    def begin(self, policy: str, pending: int, batch: int, stale: int) -> None:
        self.set_up(PROGRAMMES[policy, pending], batch, stale)
        self.answers: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
        self.letters: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.followed = 0
        self.taken: Counter[Target] = Counter()
        self.model = Club(
            Rules(policy, pending * 24 * HOUR_MS), place_of, lambda m, seq: self.name(m, seq)
        )
        for member in MEMBERS[:-1]:
            self.order(member, "o0", 10_000, 0)

    def name(self, member: str, seq: int) -> str:
        """How the ledger called an entry; one that it never made has a name of its own."""
        entries = self.entries[member]
        return str(entries[seq - 1]["event_id"]) if seq <= len(entries) else f"missing {seq}"

    # --- what must be true ------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        """Everything that was committed is what the model says, and always adds up."""
        self.follow()
        for member_id, member in self.model.members.items():
            told = [
                (
                    entry["type"].removeprefix("points."),
                    entry["wallet"],
                    entry["amount"],
                    entry["delta"],
                    entry["written_off"],
                )
                for entry in self.entries[member_id]
            ]
            assert told == member.entries
            assert self.answers[member_id] == member.answers
            after = {entry["wallet"]: entry for entry in self.entries[member_id]}
            for wallet, entry in after.items():
                assert places(member, wallet) == (
                    entry["available_after"],
                    entry["pending_after"],
                    entry["held_after"],
                    entry["debt_after"],
                )
        assert self.letters == self.model.letters
        out = sum(m.flows["points", "transferred_out"] for m in self.model.members.values())
        back = sum(m.flows["points", "transferred_in"] for m in self.model.members.values())
        assert out - back == self.model.under_way()

    def follow(self) -> None:
        """Read what came out, then let the model take what was taken, in the same order."""
        for entry in self.new("balance-changes"):
            entries = self.entries[entry["member_id"]]
            entries.append(entry)
            assert entry["seq"] == len(entries)
        for answer in self.new("command-results"):
            told = answer.get("reason") or answer["outcome"]
            self.answers[answer["member_id"]].append(
                (answer["command_id"], told, answer["available_after"])
            )
        for partition in range(PARTITIONS):
            for letter in self.unread(Target("points.dead-letters", partition)):
                code = dict(letter.headers)["points.error.code"].decode()
                event_id = orjson.loads(letter.value or b"")["event_id"]
                self.letters[partition].append((code, event_id))
        for partition, journal in self.broker.committed[self.followed :]:
            self.replay(partition, journal)
        self.followed = len(self.broker.committed)

    def replay(self, partition: int, journal: Mapping[str, Any]) -> None:
        """Let the model take what a transaction took. Nothing is left out or taken twice."""
        seen: set[str] = set()
        for topic, count in journal["order"]:
            place = Target(topic, partition)
            log = self.broker.topics[place]
            for _ in range(count):
                while (record := log[self.taken[place]]) is None:
                    self.taken[place] += 1
                if topic not in seen:
                    seen.add(topic)
                    assert journal["taken"][topic][0] == self.taken[place]
                self.taken[place] += 1
                self.model.advance(partition, record.timestamp)
                if topic == "points.internal.messages":
                    self.model.receive(partition)
                elif topic != f"points.{TICKS}":
                    self.model.take(partition, orjson.loads(record.value or b""))

    def quiet(self) -> None:
        """Nothing is under way. The tables, lot by lot; what CRM and mall were told last."""
        self.follow()
        assert not any(self.model.messages.values())
        latest = {
            suffix: {r.key.decode(): r.value for r in self.driver.outputs(suffix)}
            for suffix in ("points.crm-sync", "points.mall-sync")
        }
        for partition in range(PARTITIONS):
            state = self.driver.state(partition)
            books = StateBooks()
            for key, value in state.items():
                books.put(key, value)
            for member_id, account in books.accounts.items():
                member = self.model.members[member_id]
                assert account.frozen == member.frozen
                assert account.parked == len(member.parked)
                for wallet, totals in account.wallets.items():
                    assert places(member, wallet) == (
                        totals.available,
                        totals.pending,
                        totals.held,
                        totals.debt,
                    )
                    assert totals.written_off == member.written_off[wallet]
                    for flow in FLOWS:
                        assert getattr(totals, flow) == member.flows[wallet, flow], flow
                if not member.known:
                    continue
                totals = account.wallets.get("points")
                for told in (orjson.loads(latest[suffix][member_id]) for suffix in latest):
                    assert told["seq"] == len(member.entries)
                    assert told["available"] == member.at("available")
                    assert told["held"] == member.held()
                crm = orjson.loads(latest["points.crm-sync"][member_id])
                assert crm["segments"] == member.segments[1]
        for member in self.model.members.values():
            if member.erased is not None:
                mine = self.driver.state(place_of(member.member_id))
                assert not [key for key in mine if member.member_id.encode() in key]
                for told in latest.values():
                    assert told.get(member.member_id) is None
        lots: Counter[Any] = Counter()
        for member in self.model.members.values():
            for lot in member.lots:
                lots[member.member_id, lot.wallet, lot.place, lot.rank] += lot.points
        assert lots_of(self.driver) == lots


FLOWS = (
    "earned",
    "transferred_in",
    "adjusted_up",
    "restored",
    "redeemed",
    "expired",
    "cleared",
    "reversed",
    "transferred_out",
    "adjusted_down",
)


def place_of(member_id: str) -> int:
    """The partition of a member."""
    return partition_of(member_id.encode(), PARTITIONS)


def places(member: Member, wallet: str) -> tuple[int, int, int, int]:
    """Where a member's points are: available, pending, held, debt."""
    held = member.held() if wallet == "points" else 0
    return member.at("available", wallet), member.at("pending", wallet), held, member.debt[wallet]


def lots_of(driver: EngineTestDriver) -> Counter[tuple[str, str, str, tuple[int, int, str]]]:
    """The points of all lots in the state, by member, wallet, place and (expiry, age, name)."""
    found: Counter[tuple[str, str, str, tuple[int, int, str]]] = Counter()
    kinds = {b"l": "available", b"q": "pending", b"h": "hold"}
    for partition in range(PARTITIONS):
        for key, value in driver.state(partition).items():
            if (kind := key[:1]) not in kinds:
                continue
            member, wallet, rest = key[1:].split(b"\0", 2)
            where = kinds[kind]
            if kind == b"q":
                rest = rest[8:]
            if kind == b"h":
                hold_id, rest = rest.split(b"\0", 1)
                where = f"hold {hold_id.decode()}"
            expires_ms, earned_ms = (int.from_bytes(rest[at : at + 8], "big") for at in (0, 8))
            rank = (expires_ms, earned_ms, rest[16:].decode())
            place = (member.decode(), wallet.decode(), where, rank)
            found[place] += decode_list(value)[0]
    return found


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
