"""`python -m tests.bench.member`, or `make bench-member`: an event of a member with many orders.

A member with ORDERS=100000 orders, all of whose points are alive, beside one with ten: for each
kind of event what it reads, scans and writes, and how long it takes, on RocksDB. Ends with 1 when
the one with many reads or writes more.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.engine.state import State
from pointstream.engine.store import RocksMemory, RocksStore, Store
from pointstream.ledger import Decision, Ledger, Source
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

FEW = 10
DAY_MS = 86_400_000
START_MS = 1_772_380_800_000
SPREAD_MS = 300 * DAY_MS
#: The one with ten spends some 40 points in a round, of the 1,000 it has.
ROUNDS = 15
#: Balances and sums of more digits, and how often something was there before.
DIGITS_BYTES = 200


@dataclass
class Cost:
    """What one event took of the state."""

    read: int = 0
    scanned: int = 0
    written: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    seconds: float = 0.0

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.read, self.scanned, self.written


class CountedState:
    """A batch's state that counts what is asked of it."""

    def __init__(self, store: Store) -> None:
        self.state = State(store)
        self.cost = Cost()

    def get(self, key: bytes) -> bytes | None:
        value = self.state.get(key)
        self.cost.read += 1
        self.cost.read_bytes += len(value or b"")
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self.state.scan(start, stop):
            self.cost.scanned += 1
            self.cost.read_bytes += len(key) + len(value)
            yield key, value

    def put(self, key: bytes, value: bytes) -> None:
        self._wrote(key, value)
        self.state.put(key, value)

    def delete(self, key: bytes) -> None:
        self._wrote(key, b"")
        self.state.delete(key)

    def _wrote(self, key: bytes, value: bytes) -> None:
        self.cost.written += 1
        self.cost.written_bytes += len(key) + len(value)


def programme() -> CompiledProgramme:
    """The one that comes along, with lots that all expire at times of their own.

    Without detectors: what they remember of a member grows up to a bound of some kilobytes,
    whatever the number of orders.
    """
    source = load_programme()
    settings = source.model_dump()
    settings["wallets"][0]["expiry"] = {"days": 365}
    settings["fraud"] = None
    return compile_programme(type(source).model_validate(settings))


@dataclass
class Shop:
    """A partition with one member who has ordered often."""

    store: Store
    ledger: Ledger = field(default_factory=lambda: Ledger(programme()))
    now_ms: int = START_MS
    made: int = 0
    costs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))

    def fill(self, orders: int) -> None:
        """Orders of the member, spread over 300 days."""
        for first in range(0, orders, 1_000):
            state = State(self.store)
            self.ledger.open(state)
            for number in range(first, min(orders, first + 1_000)):
                self.now_ms = START_MS + number * SPREAD_MS // orders
                self._decide(self._order(f"old-{number}"))
            self.ledger.close()
            self.store.write(state.writes.items(), 0)
        self.now_ms = START_MS + SPREAD_MS

    def measure(self, what: str, body: dict[str, Any]) -> Decision:
        """Take one event in a batch of its own, and what it tells other members."""
        state = CountedState(self.store)
        began = time.perf_counter()
        self.ledger.open(state)
        # The sweep looks at two values for each new one, whoever's turn it is: no cost of this.
        self.ledger._memory.new = 0
        decision = self._decide(body)
        told = list(decision.effects.messages) if decision.effects else []
        while told:
            message = told.pop(0)
            source = Source("points.internal.messages", 0, self.made, self.now_ms, None, None)
            effects = self.ledger.receive(message, source).effects
            told += effects.messages if effects else []
        self.ledger.close()
        self.store.write(state.state.writes.items(), 0)
        state.cost.seconds = time.perf_counter() - began
        self.costs[what].append(state.cost)
        return decision

    def _decide(self, body: dict[str, Any]) -> Decision:
        self.made += 1
        topic = topic_of_type(body["type"])
        key, value = body["member_id"].encode(), dumps(body)
        decoded = decode(topic, key, value, ())
        assert isinstance(decoded, Decoded), decoded
        self.ledger.advance(self.now_ms)
        source = Source(topic, 0, self.made, self.now_ms, key, value)
        return self.ledger.decide(decoded.event, decoded.digest, source)

    def _body(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {
            "event_id": f"e{self.made}",
            "type": kind,
            "member_id": "m1",
            "occurred_at": rfc3339(self.now_ms),
            **fields,
        }

    def _order(self, order_id: str, member: str = "m1") -> dict[str, Any]:
        body = self._body("order.paid", order_id=order_id, currency="CNY", paid_minor=10_000)
        return body | {"member_id": member}

    def _command(self, kind: str, **fields: Any) -> dict[str, Any]:
        actor = {"id": "clerk", "role": "head_office"}
        return self._body(kind, actor=actor, reason="asked", **fields)

    def live(self, rounds: int) -> None:
        """Take events of every kind, round after round."""
        self.measure("order of another", self._order("first", "m2"))
        for turn in range(rounds):
            # None of them finds what the one before had read.
            self.ledger = Ledger(programme(), accounts_kept=0)
            order = self._order(f"new-{turn}")
            old = {"order_id": f"old-{turn % FEW}"}
            new = {"order_id": f"new-{turn}"}
            part = {"refund_id": f"r{turn}", "refunded_minor": 400}
            hold, other = {"hold_id": f"h{turn}"}, {"hold_id": f"g{turn}"}
            for what, body in (
                ("order", order),
                ("order again", order),
                ("refund", self._body("order.refunded", **new, **part)),
                ("refund of the oldest", self._body("order.refunded", **old, **part)),
                ("redeem", self._command("points.redeem", points=15)),
                ("redeem for an order", self._command("points.redeem", points=15, **new)),
                ("cancel", self._body("order.cancelled", **new)),
                ("hold", self._command("points.hold", points=4, **hold)),
                ("capture", self._command("points.capture", points=3, **hold)),
                ("hold", self._command("points.hold", points=4, **other)),
                ("void", self._command("points.void", **other)),
                ("transfer", self._command("points.transfer", points=5, to_member_id="m2")),
                ("adjust", self._command("points.adjust", points=50)),
                ("adjust down", self._command("points.adjust", points=-15)),
                ("check-in", self._body("checkin.recorded")),
                ("freeze", self._command("account.freeze")),
                ("order, frozen", self._order(f"frozen-{turn}")),
                ("unfreeze", self._command("account.unfreeze")),
            ):
                body["event_id"] = body["event_id"] if what == "order again" else f"e{self.made}"
                decision = self.measure(what, body)
                told = decision.result
                assert told is None or told["outcome"] == "accepted", (what, told)
                assert not decision.dead_letters, what


def lives(orders: int, store: Store, rounds: int = ROUNDS) -> dict[str, list[Cost]]:
    """What events of each kind cost a member with so many orders."""
    shop = Shop(store)
    shop.fill(orders)
    shop.live(rounds)
    return dict(shop.costs)


def dearer(few: dict[str, list[Cost]], many: dict[str, list[Cost]]) -> list[str]:
    """The kinds of events that take more of a state with many orders: sentences."""
    found = []
    for what, costs in few.items():
        for turn, (one, other) in enumerate(zip(costs, many[what], strict=True)):
            if one.counts != other.counts:
                found.append(
                    f"{what} {turn}: {other.counts} reads, scans, writes, not {one.counts}"
                )
            elif (
                abs(other.read_bytes - one.read_bytes) > DIGITS_BYTES
                or abs(other.written_bytes - one.written_bytes) > DIGITS_BYTES
            ):
                found.append(
                    f"{what} {turn}: {other.read_bytes} bytes read, {other.written_bytes} written,"
                    f" not {one.read_bytes} and {one.written_bytes}"
                )
    return found


def main() -> int:
    """Run both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    orders = parser.parse_args().orders
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as directory:
        few, many = (
            lives(number, RocksStore(Path(directory) / str(number), b"bench", RocksMemory()))
            for number in (FEW, orders)
        )
    table = Table("event", "reads", "scanned", "writes", f"µs, {FEW} orders", f"µs, {orders:,}")
    for what, costs in few.items():
        counts = [str(max(column)) for column in zip(*(c.counts for c in many[what]), strict=True)]
        times = [statistics.median(c.seconds for c in some) for some in (costs, many[what])]
        table.add_row(what, *counts, *(f"{seconds * 1e6:.0f}" for seconds in times))
    console.print(table)
    found = dearer(few, many)
    for sentence in found:
        console.print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
