"""A job in memory as a backup in files, and the other way round; and a life with a bit of all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson

from pointstream.contracts.programme import Programme
from pointstream.contracts.topics import topic_of_type
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.operations.generate import StreamPlan, generate
from pointstream.operations.moving.archive import (
    Archive,
    Content,
    File,
    FileWriter,
    Frame,
    Manifest,
)
from pointstream.operations.moving.backup import CHANGELOG, KEPT_OUTPUTS
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

START_MS = 1_772_380_800_000
CLERK = {"actor": {"id": "clerk", "role": "head_office"}, "reason": "asked"}


def archive_of(driver: EngineTestDriver, directory: Path) -> Archive:
    """What `state backup` makes of a job that stands still."""
    directory.mkdir(parents=True)
    files: list[File] = []
    for number in range(driver.partitions):
        state = sorted(driver.state(number).items())
        files.append(_written(directory, Content.STATE, CHANGELOG, number, map(_pair, state)))
        for suffix in KEPT_OUTPUTS:
            records = driver.broker.records(Target(f"points.{suffix}", number))
            frames = (Frame(r.key, r.value, r.timestamp, tuple(r.headers)) for r in records)
            if records:
                files.append(_written(directory, Content.TAKEN, suffix, number, frames))
        for topic in driver._inputs:
            target = Target(topic, number)
            begin = driver.broker.group.get(target, 0)
            waiting = [r for r in driver.broker.records(target) if r.offset >= begin]
            if waiting and not topic.endswith("ticks"):
                frames = (Frame(r.key, r.value, r.timestamp, tuple(r.headers)) for r in waiting)
                suffix = topic.removeprefix("points.")
                files.append(_written(directory, Content.WAITING, suffix, number, frames))
    manifest = Manifest(
        created_at="2026-01-01T00:00:00+00:00",
        release="test",
        cluster_id="memory",
        app_id="test",
        topic_prefix="points.",
        partitions=driver.partitions,
        state_format=1,
        programme="",
        positions={},
        ends={},
        files=files,
    )
    archive = Archive(directory, manifest)
    archive.seal()
    return archive


def put_back(archive: Archive, driver: EngineTestDriver) -> None:
    """What `state restore` makes of a backup, into a driver in which nothing has happened."""
    for number in range(driver.partitions):
        for file in archive.manifest.files:
            if file.partition == number:
                for frame in archive.frames(file):
                    target = Target(_topic(file), number)
                    driver.broker.append(
                        target, frame.key, frame.value, frame.headers, frame.timestamp_ms
                    )


def _topic(file: File) -> str:
    return "changelog" if file.topic == CHANGELOG else f"points.{file.topic}"


def _pair(pair: tuple[bytes, bytes]) -> Frame:
    return Frame(*pair)


def _written(
    directory: Path, content: str, topic: str, number: int, frames: Iterator[Frame]
) -> File:
    writer = FileWriter(directory, content, topic, number)
    writer.add(frames)
    return writer.close()


Happening = tuple[int, str, bytes, bytes]
"""When, topic suffix, key, value."""


def a_life(seed: int, *, events: int, members: int = 40) -> list[Happening]:
    """Days of a chain of shops, fraud among them, and whatever commands do; in order of time."""
    plan = StreamPlan(
        events=events,
        members=members,
        seed=seed,
        start_ms=START_MS,
        end_ms=START_MS + 6 * 86_400_000,
        fraudsters=max(4, members // 4),
    )
    life = [(each.at_ms, each.topic, each.key, each.value) for each in generate(plan)]
    dice = Random(seed)
    names = sorted({key for _, topic, key, _ in life if topic == "orders"})
    for number, (at_ms, kind, fields) in enumerate(_commands(dice, names, events // 4)):
        member = fields.pop("member_id", dice.choice(names).decode())
        body = {
            "event_id": f"x{number}",
            "type": kind,
            "member_id": member,
            "occurred_at": _text(at_ms),
            **fields,
        }
        topic = topic_of_type(kind)
        if topic == "commands":
            body = {**CLERK, **body}
        life.append((at_ms, topic, member.encode(), orjson.dumps(body)))
    for at_ms in range(START_MS + 3_600_000, START_MS + 6 * 86_400_000, 28_800_000):
        life.append((at_ms, "review", dice.choice([b"release", b"reject"]), b""))
    life += [*_published(1), *_published(5)]
    for number, item in enumerate(("cup", "mug", "book")):
        body = {
            "event_id": f"item-{item}",
            "type": "item.published",
            "item_id": item,
            "occurred_at": _text(START_MS + number),
            "price_points": 1,
            "stock": 9,
            "limit_per_member": 3,
        }
        life.append((START_MS + number, "catalogue", item.encode(), orjson.dumps(body)))
    return sorted(life, key=lambda each: each[0])


def _published(day: int) -> Iterator[Happening]:
    """Rule sets, a candidate and detectors, while members live; every time the same ones."""
    spend = {"id": "more", "kind": "spend", "points": 1, "per_minor": 1_000}
    double = {"id": "day", "kind": "spend", "points": 2, "per_minor": 1_000}
    device = {"id": "two", "kind": "distinct", "entity": "device", "of": "member", "limit": 1}
    for number, (key, topic, name, content, shadow) in enumerate(
        [
            ("ruleset", "rules", "extra", [spend], None),
            ("ruleset", "rules", "shadow:extra", [double], True),
            ("detector_set", "detectors", "own", [{**device, "within": "P1D"}], None),
        ]
    ):
        at_ms = START_MS + day * 86_400_000 + number
        inner = {"id": "own" if key == "detector_set" else "extra", "version": 2}
        inner |= {"detectors" if key == "detector_set" else "rules": content}
        body = {
            "event_id": f"p{day}-{number}",
            "type": f"{topic}.published" if topic == "detectors" else "ruleset.published",
            "occurred_at": _text(at_ms),
            f"{key}_id": name,
            key: inner,
        }
        if shadow:
            body["shadow"] = True
        yield at_ms, topic, name.encode(), orjson.dumps(body)


def a_programme() -> CompiledProgramme:
    """The programme that comes along, with more that goes on within some days."""
    fields = load_programme().model_dump(mode="json")
    fields["ladders"][0] |= {"window": {"kind": "rolling", "days": 4}, "grace": "P1D"}
    fields["limits"]["head_office"]["adjust"] = 1_000
    fields["hold_time"] = "P2D"
    fields["rule_sets"][0]["rules"] += [
        {
            "id": "from-the-budget",
            "kind": "order_bonus",
            "points": 3,
            "min_minor": 100,
            "budget": fields["budgets"][0]["id"],
            "when": {"field": "spend_minor", "days": 3, "ge": 100},
        }
    ]
    fields["clear_outs"] = [
        {
            "id": "now",
            "at": _text(START_MS + 3 * 86_400_000),
            "wallet": "points",
            "condition": {"max_balance": 3},
            "remind_before": ["P1D"],
        }
    ]
    return compile_programme(Programme.model_validate(fields))


def _commands(
    dice: Random, names: list[bytes], count: int
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for number in range(count):
        at_ms = START_MS + dice.randrange(6 * 86_400_000)
        other = dice.choice(names).decode()
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("points.hold", {"hold_id": f"h{number}", "points": dice.randint(1, 40)}),
            ("points.hold", {"hold_id": f"h{number}", "points": 1, "expires_at": _text(at_ms)}),
            ("points.transfer", {"to_member_id": other, "points": dice.randint(1, 30)}),
            ("points.redeem", {"item_id": dice.choice(["cup", "mug", "book"]), "quantity": 1}),
            ("points.redeem", {"item_id": "cup", "quantity": 1}),
            ("points.redeem", {"points": 2, "order_id": f"paid-{number}"}),
            ("points.adjust", {"points": dice.choice([-20, 15, 90, 5_000])}),
            ("account.freeze", {}),
            ("account.unfreeze", {}),
            ("account.merge", {"into_member_id": other}),
            ("account.erase", {}),
            (
                "order.refunded",
                {
                    "order_id": f"never-{number}",
                    "refund_id": f"r{number}",
                    "refunded_minor": 100,
                },
            ),
        ]
        yield at_ms, *dice.choice(kinds)


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def quiet(driver: EngineTestDriver) -> None:
    """Let everything be taken, messages between partitions too."""
    while True:
        assert driver.run()
        if driver.lag() == 0:
            return


def live(driver: EngineTestDriver, life: list[Happening]) -> None:
    """Let things happen one after the other; time is the same in all partitions."""
    for at_ms, topic, key, value in life:
        driver.tick(max(driver.broker.now_ms, at_ms))
        if topic == "review":
            topic, key, value = _review(driver, at_ms, key.decode())
        if value:
            driver.send(f"points.{topic}", key, value)
        quiet(driver)


def _review(driver: EngineTestDriver, at_ms: int, verdict: str) -> tuple[str, bytes, bytes]:
    """A command about the first flag that is open."""
    latest: dict[str, dict[str, Any]] = {}
    for record in driver.outputs("points.fraud-flags"):
        flag = orjson.loads(record.value or b"")
        latest[flag["flag_id"]] = flag
    for flag_id, flag in sorted(latest.items()):
        if flag["state"] == "raised":
            member = min(flag["member_ids"])
            body = {
                **CLERK,
                "event_id": f"review-{at_ms}",
                "type": f"review.{verdict}",
                "member_id": member,
                "occurred_at": _text(at_ms),
                "flag_id": flag_id,
            }
            return "commands", member.encode(), orjson.dumps(body)
    return "commands", b"", b""


def entries_of(driver: EngineTestDriver) -> Mapping[str, list[dict[str, Any]]]:
    """By member the ledger entries, but for the place where their cause lies."""
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in driver.outputs("points.balance-changes"):
        entry = orjson.loads(record.value or b"")
        entry.pop("cause_partition", None)
        entry.pop("cause_offset", None)
        entries[entry["member_id"]].append(entry)
    return entries
