"""A job of a test's own on the session's broker: workers, what they are given, what they say."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from chaos.fleet import Fleet, WorkerProcess
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import rfc3339
from pointstream.engine.topics import ensure_topics
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.programme import load_programme
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.reconcile import Proof, reconcile
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

__all__ = ["CLERK", "Deployment", "at", "by_member", "now_ms"]

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05
#: What a worker may end with that was cut off from its partitions.
_HONEST_FAULTS = {"Fenced"}

CLERK: Mapping[str, str] = {"id": "clerk", "role": "head_office"}


def by_member(member_id: str) -> dict[str, str]:
    """The member as the actor of a command."""
    return {"id": member_id, "role": "member"}


def now_ms() -> int:
    """The time of this machine, which is the broker's too; ms since the epoch."""
    return int(time.time() * 1000)


class Deployment:
    """Topics, a programme and workers; the fixture `deploy` makes it and ends it."""

    def __init__(
        self,
        servers: str,
        name: str,
        directory: Path,
        programme: Mapping[str, Any],
        *,
        workers: int = 1,
        partitions: int = 2,
        **settings: object,
    ) -> None:
        """`programme` is what a programme's file says; without `id` and `rule_sets` it gives one
        point per 1.00. Workers are not started."""
        self.servers = servers
        self.directory = directory
        directory.mkdir(parents=True)
        file = directory / "programme.yaml"
        file.write_text(json.dumps({"id": "case", "rule_sets": [ONE_PER_UNIT], **programme}))
        load_programme(file)
        self._fleet = Fleet(
            workers,
            directory,
            servers,
            name,
            partitions=partitions,
            programme_file=file,
            **{"tick_interval_ms": 100, **settings},
        )
        self.name = self._fleet.app_id
        self.prefix = self._fleet.prefix
        self.partitions = partitions
        #: To be killed and started by the test.
        self.workers: Sequence[WorkerProcess] = self._fleet.workers
        self.began_ms = now_ms()
        self._made = 0
        self._runner = asyncio.Runner()
        self._runner.run(self._connect())

    # -- workers -----------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start all workers that do not run, and wait until they share the partitions."""
        for worker in self.workers:
            if not worker.running:
                worker.start()
        if not wait:
            return
        self.until(self._shared, "a share of the partitions for each worker")

    def kill(self) -> None:
        """kill -9 of every worker."""
        for worker in self.workers:
            worker.kill()

    def _shared(self) -> bool:
        owned = [owned_by(worker) for worker in self.workers if worker.running]
        every = sorted(partition for own in owned for partition in own)
        return every == [*range(self.partitions)] and all(owned)

    def move_to(self, prefix: str, partitions: int) -> None:
        """Go on with topics that are elsewhere, as workers do from their next life on."""
        self.prefix, self.partitions = prefix, partitions
        for worker in self.workers:
            worker.environ |= {
                "POINTSTREAM_TOPIC_PREFIX": prefix,
                "POINTSTREAM_PARTITIONS": str(partitions),
            }
        self._runner.run(self._disconnect())
        self._runner.run(self._connect())

    # -- what happens ------------------------------------------------------------------------

    def give(self, type_: str, member: str = "m1", **fields: Any) -> str:
        """Publish one event, dated now unless `occurred_ms` says otherwise; returns its id.

        A command's actor is head office, and its reason `asked`, unless it says otherwise.
        """
        self._made += 1
        body = {
            "event_id": fields.pop("event_id", f"e{self._made}"),
            "type": type_,
            "member_id": member,
            "occurred_at": rfc3339(fields.pop("occurred_ms", now_ms())),
            **fields,
        }
        if topic_of_type(type_) == "commands":
            body.setdefault("actor", CLERK)
            body.setdefault("reason", "asked")
        self.publish([body])
        return str(body["event_id"])

    def order(self, order_id: str, paid: int, member: str = "m1", **fields: Any) -> str:
        """An order of so many whole CNY."""
        fields.setdefault("currency", "CNY")
        return self.give("order.paid", member, order_id=order_id, paid_minor=paid * 100, **fields)

    def refund(
        self, order_id: str, refund_id: str, refunded: int, member: str = "m1", **fields: Any
    ) -> str:
        """A refund of so many whole CNY."""
        minor = refunded * 100
        fields.update(order_id=order_id, refund_id=refund_id, refunded_minor=minor)
        return self.give("order.refunded", member, **fields)

    def publish(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Publish events as they stand on the wire; returns when the broker has them all."""
        self._runner.run(self._publish(list(bodies)))

    def tombstone(self, suffix: str, key: str) -> None:
        """Publish a record without a value, such as the withdrawal of a rule set."""
        record = OutgoingRecord(self.prefix + suffix, key.encode(), None)
        self._runner.run(self._put([record]))

    def put(self, records: Iterable[tuple[str, bytes, bytes, Sequence[tuple[str, bytes]]]]) -> None:
        """Publish records as they are: topic without prefix, key, value and headers of each."""
        made = [OutgoingRecord(self.prefix + topic, *record) for topic, *record in records]
        self._runner.run(self._put(made))

    def settle(self) -> None:
        """Wait until every event is taken, every message between owners too, and all of it is
        committed and can be read."""
        self.until(lambda: self._runner.run(self._settled()), "the end of the input")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; fail when it does not come about, or when a worker has ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            for worker in self.workers:
                assert worker.exit_code in (None, -9), f"a worker ended:\n{worker.log_end()}"
            assert time.monotonic() < deadline, (
                f"{what} did not come about:\n{self._fleet.log_ends()}"
            )
            time.sleep(_LOOK_SECONDS)

    def pass_by(self, at_ms: int) -> None:
        """Sleep until a time of the real clock is over, for those that have no worker to ask."""
        while (left_ms := at_ms - now_ms()) >= 0:
            time.sleep(left_ms / 1000 + 0.001)

    # -- what came out -----------------------------------------------------------------------

    def records(self, suffix: str) -> list[Record]:
        """All committed records of a topic, partition by partition."""
        return self._runner.run(self._read(self.prefix + suffix))

    def bodies(self, suffix: str, member: str | None = None) -> list[dict[str, Any]]:
        """The values of a topic, of one member or of all; tombstones are left out."""
        found = [orjson.loads(r.value) for r in self.records(suffix) if r.value is not None]
        return [body for body in found if member in (None, body.get("member_id"))]

    def entries(self, member: str | None = None) -> list[dict[str, Any]]:
        """The ledger entries."""
        return self.bodies("balance-changes", member)

    def moves(self, member: str = "m1") -> list[tuple[str, int, int]]:
        """A member's entries in short: type without `points.`, amount, available after."""
        return [
            (entry["type"].removeprefix("points."), entry["amount"], entry["available_after"])
            for entry in self.entries(member)
        ]

    def answers(self, command_id: str) -> list[dict[str, Any]]:
        """Every answer to one command: one for each time that it was given."""
        return [a for a in self.bodies("command-results") if a["command_id"] == command_id]

    def outcome(self, command_id: str) -> str:
        """What a command was answered, always the same: `accepted`, or the reason why not."""
        told = {answer.get("reason") or answer["outcome"] for answer in self.answers(command_id)}
        assert len(told) == 1, f"{command_id} was answered {told or 'not at all'}"
        return str(told.pop())

    def letters(self) -> list[tuple[str, dict[str, Any]]]:
        """The dead letters: code and body."""
        return [
            (dict(r.headers)["points.error.code"].decode(), orjson.loads(r.value or b"null"))
            for r in self.records("dead-letters")
        ]

    def standings(self, suffix: str = "crm-sync") -> dict[str, dict[str, Any]]:
        """The latest standing of each member, as the CRM (or `mall-sync`) has it."""
        latest = {(r.key or b"").decode(): r.value for r in self.records(suffix)}
        return {member: orjson.loads(value) for member, value in latest.items() if value}

    def proof(self) -> Proof:
        """What `reconcile` finds now."""
        return self._runner.run(reconcile(self.servers, self.prefix))

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Look at what every case must leave behind."""
        faults = set(self._fleet.faults()) - _HONEST_FAULTS
        assert not faults, f"workers ended on {faults}:\n{self._fleet.log_ends()}"
        if self.records("balance-changes"):
            proof = self.proof()
            assert proof.holds, proof.breaches

    def close(self) -> None:
        """Kill the workers, close the connections."""
        with self._fleet:
            pass
        self._runner.run(self._disconnect())
        self._runner.close()

    # -- on the loop -------------------------------------------------------------------------

    async def _connect(self) -> None:
        settings = Settings(
            bootstrap_servers=self.servers,
            app_id=self.name,
            topic_prefix=self.prefix,
            partitions=self.partitions,
            data_dir=self.directory,
        )
        await ensure_topics(self.servers, wanted_topics(settings))
        self._publisher = Publisher(self.servers)
        self._reader = CommittedReader(self.servers)
        self._progress = GroupProgress(self.servers, self.name, input_topics(self.prefix))
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        self._uncommitted = AIOKafkaConsumer(bootstrap_servers=self.servers)
        for client in (
            self._publisher,
            self._reader,
            self._progress,
            self._admin,
            self._uncommitted,
        ):
            await client.start()

    async def _disconnect(self) -> None:
        for client in (self._publisher, self._reader, self._progress, self._uncommitted):
            await client.stop()
        await self._admin.close()

    async def _publish(self, bodies: list[Mapping[str, Any]]) -> None:
        await self._put(
            OutgoingRecord(
                self.prefix + topic_of_type(body["type"]),
                str(body.get("member_id") or body.get("item_id") or body["ruleset_id"]).encode(),
                orjson.dumps(body),
            )
            for body in bodies
        )

    async def _put(self, records: Iterable[OutgoingRecord]) -> None:
        for record in records:
            await self._publisher.put(record)
        await self._publisher.flush()

    async def _read(self, topic: str) -> list[Record]:
        return [
            record
            for partition in await self._reader.partitions(topic)
            async for records in self._reader.read(topic, partition)
            for record in records
        ]

    async def _settled(self) -> bool:
        """Every input taken; then no message that waits, and none that came while we looked."""
        if (await self._progress.look()).lag:
            return False
        before = await self._ends()
        if before is None or await self._messages_wait():
            return False
        return await self._ends() == before

    async def _ends(self) -> dict[TopicPartition, int] | None:
        """The end of each topic but the ticks'; None while a transaction is open."""
        topics = [self.prefix + suffix for suffix in _WRITTEN]
        places = [TopicPartition(t, p) for t in topics for p in range(self.partitions)]
        committed = await self._reader.ends((place.topic, place.partition) for place in places)
        ends = await self._uncommitted.end_offsets(places)
        same = all(committed[place.topic, place.partition] == end for place, end in ends.items())
        return ends if same else None

    async def _messages_wait(self) -> bool:
        topic = self.prefix + "internal.messages"
        positions = await self._admin.list_consumer_group_offsets(self.name)
        for partition in range(self.partitions):
            position = positions.get(TopicPartition(topic, partition))
            start = max(position.offset, 0) if position is not None else 0
            # By records: a position stands before the marker of the transaction that came last.
            async for _ in self._reader.read(topic, partition, start=start):
                return True
        return False


ONE_PER_UNIT: Mapping[str, Any] = {
    "id": "head-office",
    "version": 1,
    "rules": [{"id": "spend", "kind": "spend", "points": 1, "per_minor": 100}],
}

#: What workers write besides changelog and journal, which idle ticks write too.
_WRITTEN = (
    "balance-changes",
    "crm-sync",
    "mall-sync",
    "command-results",
    "dead-letters",
    "tier-changes",
    "reminders",
    "fraud-flags",
    "shadow-diffs",
    "internal.messages",
)


def owned_by(worker: WorkerProcess) -> list[int]:
    """The partitions that a worker says it processes."""
    try:
        with urllib.request.urlopen(f"{worker.web_address}/status", timeout=2) as answer:
            said = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return []
    return [p["partition"] for p in said.get("partitions", ()) if p.get("phase") == "running"]


def at(ms: int) -> str:
    """A time as it stands on the wire."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
