"""Dead letters sent again: each once, whatever dies on the way.

A record and the mark that it was sent are one Kafka transaction, so neither is there without the
other. The marks are on a topic of their own (`internal.replays`), and are read by whoever replays
next, after its transactional id has fenced all who replayed before: what they had not committed
is gone then, and they cannot commit any more. So of two replays at one time the second goes on
and the first ends (`OvertakenError`), and no dead letter is sent by both.

A replay that is killed leaves a transaction open, behind which workers wait. It ends when the next
replay begins, or by itself after `TRANSACTION_TIMEOUT_MS` and the ten seconds that brokers let
pass between two looks. That is why transactions are small.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)

from pointstream.contracts.wire import dumps, loads, rfc3339
from pointstream.engine.access import Access, Reachable
from pointstream.operations.acls import replays_id
from pointstream.operations.deadletters import Address, Letter, headers_of_replay, input_of
from pointstream.operations.lifetime import AsyncLifetime
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader

__all__ = [
    "TRANSACTION_TIMEOUT_MS",
    "Marks",
    "OvertakenError",
    "Replayer",
    "Sent",
]

TRANSACTION_TIMEOUT_MS: Final = 10_000

_MARKS: Final = "internal.replays"
_IN_ONE_TRANSACTION: Final = 100
_FENCED: Final = (ProducerFenced, InvalidProducerEpoch)
_UNSENDABLE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class OvertakenError(Exception):
    """Another replay of the same programme has begun, and goes on in this one's place."""


class Marks:
    """Which dead letters were sent again."""

    def __init__(self) -> None:
        self._sent: dict[tuple[int, int], dict[str, Any]] = {}

    @classmethod
    async def read(cls, reader: CommittedReader, prefix: str) -> Marks:
        """Read all that are kept. Raises `NoTopicsError`."""
        marks, topic = cls(), prefix + _MARKS
        for partition in await reader.existing(topic):
            async for records in reader.read(topic, partition):
                for record in records:
                    marks.take(loads(record.value or b"{}"))
        return marks

    def take(self, mark: dict[str, Any]) -> None:
        """Count one in."""
        self._sent[mark["partition"], mark["offset"]] = mark

    def of(self, letter: Letter) -> str | None:
        """When a dead letter was sent again last, in RFC 3339; None if it was not."""
        _, partition, offset = letter.address
        mark = self._sent.get((partition, offset))
        # The source, too: the topic may have been made anew, and its offsets given again.
        if mark is None or mark["source"] != str(letter.source):
            return None
        return str(mark["sent_at"])

    def __len__(self) -> int:
        return len(self._sent)


def _mark(letter: Letter, to: Address, now_ms: int) -> dict[str, Any]:
    return {
        "partition": letter.address.partition,
        "offset": letter.address.offset,
        "source": str(letter.source),
        "code": letter.code,
        "attempt": letter.attempts + 1,
        "sent_at": rfc3339(now_ms),
        "topic": to.topic,
    }


@dataclass(slots=True)
class Sent:
    """What became of a replay."""

    sent: int = 0
    before: int = 0
    """Left out, for they were sent before."""
    unsendable: list[tuple[Letter, str]] = field(default_factory=list)
    """What the brokers do not take, and why; the first hundred."""
    not_taken: int = 0
    """How many these are."""

    def as_json(self) -> dict[str, Any]:
        """As a program gets it."""
        return {
            "sent": self.sent,
            "replayed_meanwhile": self.before,
            "not_taken": self.not_taken,
            "not_taken_letters": [
                {"dead_letter": str(letter.address), "reason": why}
                for letter, why in self.unsendable
            ],
        }


def _unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody asked for, but for that a producer is fenced.

    The client keeps that in places where it never asks again; we say it in a sentence.
    """
    if not isinstance(context.get("exception"), _FENCED):
        loop.default_exception_handler(context)


class Replayer(AsyncLifetime):
    """Sends dead letters again; use as an async context manager. Starting fences all others."""

    def __init__(self, cluster: Reachable, *, prefix: str, app_id: str) -> None:
        self._access = Access.to(cluster)
        self._prefix = prefix
        self._id = replays_id(app_id)
        self._producer: Any = None
        self._reader = CommittedReader(cluster)
        self._counts: dict[str, int] = {}
        self.marks = Marks()

    async def start(self) -> None:
        """Fence, then read what was sent before."""
        asyncio.get_running_loop().set_exception_handler(_unless_fenced)
        await self._reader.start()
        await self._fence()

    async def _fence(self) -> None:
        self._producer = self._access.producer(
            transactional_id=self._id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            # The limit on size is the broker's to enforce; the client must not refuse earlier.
            max_request_size=64 * 1024 * 1024,
        )
        await self._producer.start()
        # Only now: what others had under way is decided.
        self.marks = await Marks.read(self._reader, self._prefix)

    async def stop(self) -> None:
        """Close the connections."""
        try:
            await self._reader.stop()
        finally:
            if self._producer is not None:
                # One that was fenced may fail to stop; whoever fenced it has ended what it began.
                with contextlib.suppress(*_FENCED):
                    await self._producer.stop()

    async def replay(
        self,
        letters: AsyncIterator[Letter],
        *,
        rate: float,
        again: bool = False,
        on_sent: Callable[[int], None] = lambda done: None,
    ) -> Sent:
        """Send letters in the order given, at most `rate` a second; with `again` also those that
        were sent before.

        Each goes to its input's topic of this prefix, to the partition of its key. Raises
        `OvertakenError`, `NoTopicsError`, or the brokers' error; what was sent by then is marked as
        such.
        """
        done, most = Sent(), max(1, min(_IN_ONE_TRANSACTION, int(rate)))
        due_s, some = time.monotonic(), []
        async for letter in letters:
            if self.marks.of(letter) is not None and not again:
                done.before += 1
                continue
            some.append(letter)
            if len(some) == most:
                due_s = await self._paced(some, done, due_s, rate, again=again)
                on_sent(done.sent)
                some = []
        if some:
            await self._paced(some, done, due_s, rate, again=again)
        on_sent(done.sent)
        return done

    async def _paced(
        self, some: list[Letter], done: Sent, due_s: float, rate: float, *, again: bool
    ) -> float:
        """Send when it is time to; return when it is time for the next."""
        now_s = time.monotonic()
        if due_s > now_s:
            await asyncio.sleep(due_s - now_s)
        due_s = max(due_s, now_s) + len(some) / rate
        try:
            await self._send(some, done, again=again)
        except _FENCED as error:
            raise OvertakenError(
                f"another replay has begun and goes on; this one has sent {done.sent}"
            ) from error
        return due_s

    async def _send(self, some: Sequence[Letter], done: Sent, *, again: bool) -> None:
        """Send some in one transaction, marks and all; one by one if one of them is not taken."""
        now_ms = int(time.time() * 1000)
        producer = self._producer
        await producer.begin_transaction()
        marks: list[dict[str, Any]] = []
        waiting: list[Any] = []
        errors: list[BaseException] = []
        try:
            for letter in some:
                to = await self._place(letter)
                marks.append(_mark(letter, to, now_ms))
                waiting += await self._put(letter, to, marks[-1])
        except IllegalOperation as error:
            # An earlier one was refused meanwhile: its own result says why.
            errors.append(error)
        # All of them, before anything is raised: a result that nobody asks for is a warning.
        results = await asyncio.gather(*waiting, return_exceptions=True)
        errors = [*(each for each in results if isinstance(each, BaseException)), *errors]
        if fenced := [error for error in errors if isinstance(error, _FENCED)]:
            raise fenced[0]
        if large := [error for error in errors if isinstance(error, _UNSENDABLE)]:
            # The client cannot go on past a batch that was refused; a new one fences it.
            await producer.stop()
            await self._fence()
            if len(some) == 1:
                done.not_taken += 1
                if len(done.unsendable) < _IN_ONE_TRANSACTION:
                    done.unsendable.append((some[0], f"its topic does not take it: {large[0]!r}"))
                return
            for letter in some:
                if again or self.marks.of(letter) is None:
                    await self._send([letter], done, again=again)
                else:
                    done.before += 1
            return
        if errors:
            raise errors[0]
        await producer.commit_transaction()
        for mark in marks:
            self.marks.take(mark)
        done.sent += len(some)

    async def _put(self, letter: Letter, to: Address, mark: dict[str, Any]) -> list[Any]:
        """Hand a letter and its mark to the client; return their results to come."""
        record = await self._producer.send(
            to.topic,
            value=letter.value,
            key=letter.key,
            partition=to.partition,
            headers=list(headers_of_replay(letter)),
        )
        _, partition, offset = letter.address
        marked = await self._producer.send(
            self._prefix + _MARKS,
            value=dumps(mark),
            key=f"{partition}/{offset}".encode(),
            partition=partition,
        )
        return [record, marked]

    async def _place(self, letter: Letter) -> Address:
        """Where a letter goes: as publishers place it, or where it was if it has no key."""
        source = letter.source
        if source is None:
            raise ValueError(f"{letter.address} does not tell where it came from")
        suffix = input_of(source.topic, self._prefix)
        if suffix is None:
            raise ValueError(f"{letter.address} came from {source.topic}, which is no input")
        topic = self._prefix + suffix
        count = self._counts.get(topic)
        if count is None:
            count = self._counts[topic] = len(await self._reader.existing(topic))
        if letter.key is None:
            return Address(topic, source.partition % count, 0)
        return Address(topic, partition_of(letter.key, count), 0)
