"""The whole ledger at once: merges, the catalogue, consent, tiers, caps and budgets as well.

The plain model of `test_state_machine.py` does not know these. Here is held what must be true
whatever happens, after every step and from the outside: entries without gap or double, balances
that follow from them, points that are never made on the way from one member to another, limits that
nobody gets past; and when all is quiet, books that agree with the tables in every way there is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import rfc3339
from pointstream.engine.records import Target
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges
from pointstream.operations.stock import PartitionStock, Stock
from pointstream.operations.transit import PartitionTransfers, Transit
from pointstream.rules import compile_programme

from .happenings import (
    CLERK,
    EXAMPLES,
    MEMBERS,
    PARTITIONS,
    POLICIES,
    STEPS,
    Happenings,
    members,
    picks,
    points,
)

BUDGET = 150
#: By one member on one day, of the lottery.
CAP = 90
STOCK = {"cup": 3, "mug": 2}
ITEMS = st.sampled_from(["cup", "mug", "book", "nothing"])
#: Whose own limit covers what a clerk may not do alone.
BOSS = {"actor": {"id": "boss", "role": "system"}, "reason": "seen"}


def _programme(policy: str) -> Any:
    rules = [
        {"id": "spend", "kind": "spend", "points": 1, "per_minor": 100},
        {"id": "growth", "kind": "spend", "points": 1, "per_minor": 1_000, "wallet": "growth"},
        {"id": "basket", "kind": "order_bonus", "points": 40, "min_minor": 5_000, "budget": "b"},
        {"id": "day", "kind": "check_in", "points": 2, "streak": {"days": 2, "points": 5}},
        {
            "id": "lottery",
            "kind": "activity",
            "activity": "lottery.won",
            "points": 1,
            "cap": {"day": CAP},
        },
    ]
    tiers = [
        {"id": "member", "threshold": 0},
        {"id": "gold", "threshold": 15_000, "bonus": {"points": 7}, "benefits": {"multiplier": 2}},
    ]
    return compile_programme(
        Programme.model_validate(
            {
                "id": "everything",
                "refund_policy": policy,
                "wallets": [
                    {"id": "points", "activation": {"after": "PT12H"}, "expiry": {"days": 3}},
                    {"id": "growth", "spendable": False},
                ],
                "park_window": "P2D",
                "hold_time": "PT30H",
                "consent_window": "P2D",
                "dedup_window": "P400D",
                "transfers": {"fee": {"points": 1}},
                "limits": {"head_office": {"adjust": 40}},
                "budgets": [{"id": "b", "points": BUDGET}],
                "ladders": [
                    {
                        "id": "status",
                        "qualified_by": "money",
                        "window": {"kind": "rolling", "days": 4},
                        "grace": "P1D",
                        "tiers": tiers,
                    }
                ],
                "rule_sets": [{"id": "all", "version": 1, "rules": rules}],
            }
        )
    )


PROGRAMMES = {policy: _programme(policy) for policy in POLICIES}


class Everything(Happenings):
    """The same job with all that it can do; no model beside it."""

    @initialize(
        policy=st.sampled_from(POLICIES),
        batch=st.integers(1, 4),
        stale=st.sampled_from([0, 2]),
    )
    def begin(self, policy: str, batch: int, stale: int) -> None:
        self.set_up(PROGRAMMES[policy], batch, stale)
        self.all: list[dict[str, Any]] = []
        self.told: dict[str, set[bytes]] = defaultdict(set)
        for item in ("cup", "mug", "book"):
            stock = {"stock": STOCK[item]} if item in STOCK else {}
            self.publish_item(item, price_points=9, limit_per_member=3, **stock)
        for member in MEMBERS[:-1]:
            self.order(member, "o0", 10_000, 0)

    def publish_item(self, item: str, **fields: Any) -> None:
        self.broker.now_ms += 1
        body = {
            "event_id": f"item-{item}-{self.broker.now_ms}",
            "type": "item.published",
            "item_id": item,
            "occurred_at": rfc3339(self.broker.now_ms),
            **fields,
        }
        self.driver.send("points.catalogue", item.encode(), orjson.dumps(body))

    # --- what only happens here ---------------------------------------------------------------

    @rule(member=members, into=members)
    def merge(self, member: str, into: str) -> None:
        self.give("account.merge", member, into_member_id=into, **CLERK)

    @rule(member=members, into=members, points=st.integers(1, 30))
    def merge_under_fire(self, member: str, into: str, points: int) -> None:
        """What comes while an account is on its way: to the old one, to the new one, from both."""
        self.order(member, f"o{len(self.given)}", 5_050, 0)
        self.hold(member, "h1", points, None, 0)
        self.merge(member, into)
        self.driver.run(batches=1)
        self.order(member, f"o{len(self.given)}", 5_050, 0)
        self.transfer(into, member, points, 0)
        self.driver.run(batches=1)
        self.capture(99, member, "h1", None)
        self.redeem(99, member, points, "o0", 0)

    @rule(member=members, into=members)
    def merge_in_debt(self, member: str, into: str) -> None:
        """Where refunds make debts: bought, spent, returned, and merged."""
        order = f"o{len(self.given)}"
        self.order(member, order, 10_000, 0)
        self.wait(23)
        self.clear(member)
        self.cancel(0, member, order)
        self.merge(member, into)

    @rule(member=members, item=ITEMS, quantity=st.integers(1, 2), order=st.booleans())
    def redeem_item(self, member: str, item: str, quantity: int, order: bool) -> None:
        paid_for = {"order_id": "o1"} if order else {}
        actor = {"actor": {"id": member, "role": "member"}}
        what = {"item_id": item, "quantity": quantity}
        self.give("points.redeem", member, **what, **paid_for, **actor)

    @rule(item=ITEMS, price=st.integers(3, 20))
    def reprice(self, item: str, price: int) -> None:
        stock = {"stock": STOCK[item]} if item in STOCK else {}
        self.publish_item(item, price_points=price, limit_per_member=3, **stock)

    @rule(pick=picks, verb=st.sampled_from(["release", "reject"]))
    def consent(self, pick: int, verb: str) -> None:
        """A second actor on what was flagged, whether it still waits for one or not."""
        flags = [orjson.loads(r.value or b"") for r in self.driver.outputs("points.fraud-flags")]
        if pick < len(flags):
            flag = flags[-1 - pick]
            self.give(f"review.{verb}", flag["entity_id"], flag_id=flag["flag_id"], **BOSS)

    @rule(member=members, points=points)
    def adjust_much(self, member: str, points: int) -> None:
        """Above what one actor may do alone."""
        self.give("points.adjust", member, points=40 + points, **CLERK)
        self.driver.run()
        self.consent(0, "release")

    # --- what must be true ------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        """What was committed adds up, at every moment."""
        for entry in self.new("balance-changes"):
            self.all.append(entry)
            entries = self.entries[entry["member_id"]]
            entries.append(entry)
            assert entry["seq"] == len(entries)
            mine = [e for e in entries if e["wallet"] == entry["wallet"]]
            assert sum(e["delta"] for e in mine) == entry["available_after"]
            places = ("available_after", "pending_after", "held_after", "debt_after")
            assert all(entry[place] >= 0 for place in places)
        assert len({entry["event_id"] for entry in self.all}) == len(self.all)
        self.nothing_made_under_way()
        self.limits_hold()
        for partition in range(PARTITIONS):
            for record in self.unread(Target("points.command-results", partition)):
                answer = orjson.loads(record.value or b"")
                self.told[answer["command_id"]].add(record.value or b"")

    def nothing_made_under_way(self) -> None:
        """What arrives has left before, of every transfer and of every merge; so does a debt."""
        ways: Counter[tuple[Any, ...]] = Counter()
        for entry in self.all:
            verb = entry["type"].removeprefix("points.")
            if not verb.startswith(("transferred", "merged")):
                continue
            out = verb.endswith("out")
            if verb.startswith("transferred"):
                ways["transfer", entry["transfer_id"]] += (
                    entry["amount"] if out else -entry["amount"]
                )
            else:
                debt = entry.get("reason") == "debt"
                # A debt goes the other way: the old account gets it, the survivor gives it.
                ways["merge", entry["cause_event_id"], entry["wallet"], debt] += (
                    entry["amount"] if out != debt else -entry["amount"]
                )
        assert all(points >= 0 for points in ways.values())
        self.under_way = sum(ways.values())

    def limits_hold(self) -> None:
        """Of a stock, a budget and a cap nobody gets more than there is."""
        pieces: Counter[str] = Counter()
        days: Counter[Any] = Counter()
        for entry in self.all:
            if entry["type"] in ("points.redeemed", "points.captured") and entry.get("item_id"):
                pieces[entry["item_id"]] += entry["quantity"]
            if entry["type"] in ("points.earned", "points.pending"):
                if entry.get("rule_id") == "lottery":
                    at = datetime.fromisoformat(entry["occurred_at"]) + timedelta(hours=8)
                    days[entry["member_id"], at.date()] += entry["amount"]
                if entry.get("rule_id") == "basket":
                    days["budget"] += entry["amount"]
        assert all(pieces[item] <= stock for item, stock in STOCK.items())
        assert days.pop("budget", 0) <= BUDGET
        assert all(amount <= CAP for amount in days.values())

    def quiet(self) -> None:
        """Nothing is under way, and the tables say what the entries, the CRM and the mall say."""
        self.books_agree()
        assert self.under_way == 0
        transit, merges, stocks = Transit(), Merges(), Stock()
        for partition in range(PARTITIONS):
            entries, state = EntryBooks(), StateBooks()
            transfers, stock = PartitionTransfers(), PartitionStock()
            for entry in self.of("balance-changes", partition):
                for books in (entries, transfers, stock):
                    books.add(entry)
            for key, value in self.driver.state(partition).items():
                for tables in (state, transfers, stock):
                    tables.put(key, value)
            told = [self.latest(suffix, partition) for suffix in ("crm-sync", "mall-sync")]
            assert compare(entries, state, *told) == []
            assert transfers.breaches(state.accounts) == []
            transit.add(transfers)
            merges.add(entries.merges, state.accounts)
            stocks.add(stock)
            for account in state.accounts.values():
                assert not account.transfers
                assert not account.arriving
        assert [*transit.breaches(), *merges.breaches(), *stocks.breaches()] == []
        waiting = {
            body["event_id"]
            for body in self.given
            if "actor" in body and body["event_id"] not in self.told
        }
        assert all(self.may_wait(command_id) for command_id in waiting)

    def may_wait(self, command_id: str) -> bool:
        """Whether a command may have no answer yet: one for consent, or one dated too far ahead."""
        body = next(body for body in self.given if body["event_id"] == command_id)
        refused = {
            orjson.loads(letter.value or b"")["event_id"]
            for letter in self.driver.outputs("points.dead-letters")
        }
        return command_id in refused or (
            body["type"] == "points.adjust" and abs(body["points"]) > 40
        )

    def of(self, suffix: str, partition: int) -> list[dict[str, Any]]:
        place = Target(f"points.{suffix}", partition)
        return [orjson.loads(r.value) for r in self.broker.records(place) if r.value is not None]

    def latest(self, suffix: str, partition: int) -> dict[str, dict[str, Any]]:
        records = self.broker.records(Target(f"points.{suffix}", partition))
        last = {(r.key or b"").decode(): r.value for r in records}
        return {member: orjson.loads(value) for member, value in last.items() if value}


TestEverything = Everything.TestCase
TestEverything.settings = settings(
    max_examples=EXAMPLES // 2,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
