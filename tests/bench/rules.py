"""`make bench-rules`: what an event costs the ledger with 200 rules in force, beside one with ten.

The ten are a head office's. The 200 are these and what a chain of 40 shops adds in a season: rules
of single shops, brands, campaigns, goods, segments, tiers and days, about events of all kinds. Both
take the same events in one process, batch by batch in turn, on states of their own; the figure is
the processor time of a batch. Ends with 1 when the median of 200 is more than twice that of ten.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import dumps, loads
from pointstream.engine.state import State
from pointstream.engine.store import MemoryStore
from pointstream.ledger import Ledger, Source
from pointstream.operations.chain import ACTIVITIES, SEGMENTS, SHOPS
from pointstream.operations.generate import StreamPlan, generate
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme

FEW, MANY = 10, 200
LIMIT = 2.0
BATCH = 500
#: Orders of a campaign: every so many.
_CAMPAIGN_EVERY = 20
_NOW_MS = 1_780_000_000_000
_DAY_MS = 86_400_000

Rule = dict[str, Any]


def head_office() -> Iterator[Rule]:
    """Ten rules that hold everywhere."""
    yield {"kind": "spend", "per_minor": 100}
    yield {"kind": "order_bonus", "points": 50, "min_minor": 30_000}
    yield {"kind": "check_in", "points": 2, "streak": {"days": 7, "points": 30}}
    yield {"kind": "referral", "when": "registered", "points": 20}
    yield {"kind": "referral", "when": "first_order", "points": 100}
    for activity in ACTIVITIES:
        yield {"kind": "activity", "activity": activity, "points": 10}


def chain() -> Iterator[Rule]:
    """190 rules of shops, brands, campaigns, goods, segments, tiers and days."""
    weekend = {"field": "weekday", "in": ["sat", "sun"]}
    for shop in SHOPS:
        scope = {"stores": [shop.store_id]}
        yield {"kind": "order_bonus", "points": 5, "scope": scope, "when": weekend}
        tea_time = {"field": "hour", "between": [15, 16]}
        coffee = {"field": "category", "eq": "coffee"}
        yield {"kind": "quantity", "points": 1, "scope": scope, "when": tea_time, "lines": coffee}
    for shop in SHOPS[:30]:
        yield {"kind": "check_in", "points": 1, "scope": {"stores": [shop.store_id]}}
    for number in range(20):
        scope = {"campaign_codes": [f"spring-{number}"]}
        yield {"kind": "order_bonus", "points": 20, "min_minor": 5_000, "scope": scope}
    for brand, segment in product(("leaf", "hearth"), SEGMENTS):
        scope = {"brands": [brand], "segments": [segment]}
        big = {"field": "paid_minor", "ge": 20_000}
        yield {"kind": "multiplier", "factor": 1.5, "scope": scope, "when": big}
    for number in range(12):
        one_line = {"field": "sku", "eq": f"KITCHEN-{number:02d}"}
        yield {"kind": "order_bonus", "points": 10, "when": {"any_line": one_line}}
    for number in range(20):
        day = f"2026-05-{number + 8:02d}"
        only = {"effective_from": f"{day}T00:00:00+08:00", "effective_to": f"{day}T23:00:00+08:00"}
        yield {"kind": "order_bonus", "points": 2, "min_minor": 9_000, **only}
    for day in range(4):
        birthday = {"all": [{"field": "birthday", "eq": "day"}, {"field": "weekday", "eq": "mon"}]}
        tiers = {"tiers": ["gold", "platinum"][day % 2 :]}
        yield {"kind": "order_bonus", "points": 50 + day, "scope": tiers, "when": birthday}
    for activity, channel in product(ACTIVITIES, ("pos", "app")):
        scope = {"channels": [channel], "segments": ["newcomer"]}
        yield {"kind": "activity", "activity": activity, "points": 3, "scope": scope}
    for number in range(2):
        yield {"kind": "registered", "points": 5, "scope": {"stores": [SHOPS[number].store_id]}}


def programme(rules: list[Rule]) -> Programme:
    """The one that comes along, with other rules."""
    settings = load_programme().model_dump()
    named = [{"id": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    # What watching costs would be the same on both sides, and hide what rules do.
    settings["fraud"] = None
    settings["rule_sets"] = [{"id": "head-office", "version": 1, "rules": named}]
    return Programme.model_validate(settings)


def given(events: int) -> list[tuple[Decoded, Source]]:
    """A generated stream, decoded; some orders are of a campaign."""
    plan = StreamPlan(
        events=events,
        members=max(100, events // 20),
        seed=7,
        start_ms=_NOW_MS - 20 * _DAY_MS,
        end_ms=_NOW_MS,
    )
    found: list[tuple[Decoded, Source]] = []
    for number, each in enumerate(generate(plan)):
        value = each.value
        if number % _CAMPAIGN_EVERY == 0 and each.topic == "orders":
            code = f"spring-{number // _CAMPAIGN_EVERY % 30}"
            value = dumps(loads(value) | {"campaign_codes": [code]})
        decoded = decode(each.topic, each.key, value)
        if isinstance(decoded, Decoded):
            source = Source(f"points.{each.topic}", 0, number, _NOW_MS, each.key, value)
            found.append((decoded, source))
    return found


class Shop:
    """A ledger with so many rules."""

    def __init__(self, rules: list[Rule]) -> None:
        compiled = compile_programme(programme(rules))
        self.ledger = Ledger(compiled)
        self.store = MemoryStore()
        self.seconds: list[float] = []
        self.entries = 0

    def take(self, events: list[tuple[Decoded, Source]]) -> None:
        """Decide about a batch; what the store does is not counted."""
        state, ledger = State(self.store), self.ledger
        began = time.process_time()
        ledger.open(state)
        for decoded, source in events:
            ledger.advance(source.timestamp_ms)
            self.entries += len(ledger.decide(decoded.event, decoded.digest, source).entries)
        ledger.close()
        self.seconds.append((time.process_time() - began) / len(events))
        self.store.write(state.writes.items(), 0)


def run(events: int) -> dict[str, float]:
    """What an event costs with few rules and with many, in µs, and the entries that it makes."""
    office = list(head_office())
    all_rules = [*office, *chain()]
    assert (len(office), len(all_rules)) == (FEW, MANY)
    shops = {FEW: Shop(office), MANY: Shop(all_rules)}
    stream = given(events)
    gc.collect()
    gc.freeze()
    for first in range(0, len(stream), BATCH):
        for shop in shops.values():
            shop.take(stream[first : first + BATCH])
    # The first batches find no member and no table yet.
    results: dict[str, float] = {}
    for rules, shop in shops.items():
        results[f"us_{rules}"] = statistics.median(shop.seconds[2:]) * 1e6
        results[f"entries_{rules}"] = shop.entries / len(stream)
    results["ratio"] = results[f"us_{MANY}"] / results[f"us_{FEW}"]
    return results


def main() -> int:
    """Measure and print; 1 when many rules cost too much."""
    parser = argparse.ArgumentParser(prog="make bench-rules", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    results = run(chosen.events)
    if chosen.json:
        print(json.dumps(results))
    else:
        table = Table("rules in force", "µs an event", "entries an event", "ratio")
        for rules in (FEW, MANY):
            costs = f"{results[f'us_{rules}']:.1f}", f"{results[f'entries_{rules}']:.2f}"
            table.add_row(str(rules), *costs, f"{results['ratio']:.2f}" if rules == MANY else "")
        Console().print(table)
    return 0 if results["ratio"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
