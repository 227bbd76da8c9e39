"""A recorded run of the job, and its replay: what every partition took, in the order it took it.

`python -m agents.recorded FILE BATCH` replays a recording in a process of its own and prints the
fingerprint of all that came out.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.wire import rfc3339
from pointstream.engine import Output, Record
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.engine.state import State
from pointstream.engine.store import MemoryStore
from pointstream.ledger import Ledger
from pointstream.operations.generate import StreamPlan, generate
from pointstream.operations.programme import load_programme
from pointstream.rules import CompiledProgramme, compile_programme

__all__ = ["DAY_MS", "NOW_MS", "Made", "inputs_of", "new_driver", "record", "replay", "stream"]

NOW_MS = 1_772_380_800_000
DAY_MS = 86_400_000
#: One standing per member and transaction: where a batch ends shows in how many there are.
COALESCED = ("points.crm-sync", "points.mall-sync")

Given = tuple[str, bytes, bytes]
"""Topic, key and value of an input."""


def _programme() -> CompiledProgramme:
    """The programme that comes along, with spans that end within the run."""
    programme = load_programme().model_dump()
    programme["wallets"][0]["activation"] = {"after": "P1D"}
    programme["wallets"][0]["expiry"] = {"days": 21, "end_of": "day"}
    programme["transfers"]["fee"] = {"points": 1}
    programme["park_window"] = "P2D"
    return compile_programme(type(load_programme()).model_validate(programme))


PROGRAMME = _programme()


def stream(events: int = 1_500, *, alone: bool = False, seed: int = 5) -> list[Given]:
    """Generated events, and among them commands of every kind; without those for which partitions
    tell each other something, if `alone`."""
    dice = random.Random(seed)
    plan = StreamPlan(
        events=events,
        members=60,
        seed=seed,
        start_ms=NOW_MS - 20 * DAY_MS,
        end_ms=NOW_MS,
        redelivered=0.03,
    )
    made: list[Given] = []
    if not alone:
        made += [_item(number) for number in range(4)]
    members: list[str] = []
    for number, event in enumerate(generate(plan)):
        if alone and b'"points.transfer"' in (event.value or b""):
            continue
        made.append((f"points.{event.topic}", event.key or b"", event.value or b""))
        if event.key:
            members.append(event.key.decode(errors="replace"))
        if number % 3 == 0 and members:
            made.append(_command(dice, number, members, alone))
    return made


def _item(number: int) -> Given:
    body = {
        "event_id": f"item-{number}",
        "type": "item.published",
        "item_id": f"cup-{number}",
        "occurred_at": rfc3339(NOW_MS),
        "price_points": 5,
        "stock": 7,
        "limit_per_member": 2,
    }
    return "points.catalogue", f"cup-{number}".encode(), orjson.dumps(body)


def _command(dice: random.Random, number: int, members: list[str], alone: bool) -> Given:
    member, other = dice.choice(members), dice.choice(members)
    hold = {"hold_id": f"h{number - number % 12}"}
    points = {"points": dice.randint(1, 200)}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("points.redeem", points),
        ("points.redeem", points | {"order_id": f"paid-{number}"}),
        ("points.hold", points | hold),
        ("points.capture", hold),
        ("points.void", hold),
        ("points.adjust", points),
        ("points.adjust", {"points": -dice.randint(1, 50)}),
        ("points.adjust", {"points": 200_000}),
        ("points.clear", {}),
        ("account.freeze", {}),
        ("account.unfreeze", {}),
        ("review.release", {"flag_id": f"c{number - 3}"}),
        ("review.reject", {"flag_id": f"c{number - 6}"}),
    ]
    if not alone:
        kinds += [
            *[("points.transfer", points | {"to_member_id": other})] * 4,
            *[("points.redeem", {"item_id": f"cup-{number % 5}", "quantity": 1})] * 3,
            ("account.merge", {"into_member_id": other}),
            ("account.erase", {}),
        ]
    kind, fields = dice.choice(kinds)
    body = {
        "event_id": f"c{number}",
        "type": kind,
        "member_id": member,
        "occurred_at": rfc3339(NOW_MS),
        "actor": {"id": f"clerk-{number % 2}", "role": "head_office"},
        "reason": "asked",
        **fields,
    }
    return "points.commands", member.encode(), orjson.dumps(body)


def new_driver(partitions: int, batch: int) -> EngineTestDriver:
    """The job on the engine's test driver."""
    return EngineTestDriver(
        lambda partition: PointsProcessor(Ledger(PROGRAMME), partitions=partitions),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=partitions,
        batch_records=batch,
    )


def record(given: list[Given], partitions: int) -> EngineTestDriver:
    """Run a stream over several partitions, in which time passes and owners die."""
    driver = new_driver(partitions, 20)
    now_ms = NOW_MS
    driver.tick(now_ms)
    for number, (topic, key, value) in enumerate(given):
        driver.send(topic, key, value, timestamp_ms=now_ms)
        if number % 60 == 59:
            driver.run(batches=2)
        if number % 150 == 149:
            now_ms += DAY_MS
            driver.tick(now_ms)
        if number % 500 == 499:
            driver.crash()
    driver.tick(now_ms + 15 * DAY_MS)
    sent = -1
    while sent != (sent := len(driver.outputs("points.internal.messages"))):
        driver.run()
    return driver


def inputs_of(driver: EngineTestDriver, partition: int) -> list[Record]:
    """What a partition took, in the order that its journal tells."""
    taken: list[Record] = []
    logs: dict[str, Iterator[Record]] = {}
    for journal in driver.broker.records(Target("journal", partition)):
        for topic, count in orjson.loads(journal.value or b"")["order"]:
            if topic not in logs:
                logs[topic] = iter(driver.broker.records(Target(topic, partition)))
            taken += [next(logs[topic]) for _ in range(count)]
    return taken


@dataclass
class Made:
    """What one partition made of its inputs."""

    #: Everything sent but standings, by topic and partition, in order.
    sent: dict[Target, list[Any]]
    #: The latest standing of each member, by topic.
    standings: dict[str, dict[bytes | None, Any]]
    state: dict[bytes, bytes]
    #: Notes, which travel together, by topic and partition: see `apart`.
    notes: dict[Target, list[Any]] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """A hash over all of it."""
        digest = hashlib.sha256()
        for part in (
            sorted(self.sent.items()),
            sorted(self.notes.items()),
            sorted((topic, sorted(latest.items())) for topic, latest in self.standings.items()),
            sorted(self.state.items()),
        ):
            digest.update(repr(part).encode())
        return digest.hexdigest()


def apart(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return rows, which begin with key and value, without notes; and the notes, one by one.

    How many of them are one record is where a batch may show: each is taken for itself. Tallies
    are added up: what they are of is told once per batch.
    """
    rest: list[Any] = []
    notes: list[Any] = []
    tallies: dict[tuple[str, str, int], tuple[int, list[Any]]] = {}
    for row in rows:
        value = row[1] or b""
        if b'"type":"fraud.noted"' in value[:40]:
            for note in orjson.loads(value)["body"]["notes"]:
                if note[1] != "tally":
                    notes.append(note)
                    continue
                to, _, detector, bucket, total, _, evidence, _ = note
                known, events = tallies.get((to, detector, bucket), (0, []))
                tallies[to, detector, bucket] = (known + total, sorted(events + evidence))
        else:
            rest.append(row)
    return rest, [*notes, *sorted(tallies.items())]


def replay(
    records: list[Record],
    partition: int,
    partitions: int,
    batch: int,
    programme: CompiledProgramme = PROGRAMME,
) -> Made:
    """Take recorded inputs again, so many in a batch."""
    processor = PointsProcessor(Ledger(programme), partitions=partitions)
    store = MemoryStore()
    made = Made({}, {topic: {} for topic in COALESCED}, store.data)
    done = 0
    while done < len(records):
        state, output = State(store), Output(partition)
        processor.begin(state, output)
        done += processor.process(records[done : done + batch])
        processor.finish()
        store.write(state.writes.items(), 0)
        for target, some in output.records.items():
            rows = [(r.key, r.value, tuple(r.headers)) for r in some]
            if target.topic in COALESCED:
                made.standings[target.topic].update((row[0], row) for row in rows)
            else:
                made.sent.setdefault(target, []).extend(rows)
    for target, rows in made.sent.items():
        rows[:], made.notes[target] = apart(rows)
    return made


def main() -> None:
    """Replay a recording: a file of pickled (partition, partitions, records)."""
    recordings: list[tuple[int, int, list[Record]]] = pickle.loads(Path(sys.argv[1]).read_bytes())
    for partition, partitions, records in recordings:
        print(replay(records, partition, partitions, int(sys.argv[2])).fingerprint())


if __name__ == "__main__":
    main()
