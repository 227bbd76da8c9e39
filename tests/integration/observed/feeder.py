"""A trickle of orders for all members, for as long as the tests run."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import orjson

from pointstream.contracts.wire import rfc3339
from pointstream.operations.publish import OutgoingRecord, Publisher

__all__ = ["Feeder"]


class Feeder:
    """So many orders a second, from a thread of its own; use as a context manager."""

    def __init__(self, servers: str, prefix: str, *, per_second: int = 30) -> None:
        self._servers, self._topic = servers, f"{prefix}orders"
        self._pause = 1 / per_second
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._feed()))

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(20)

    async def _feed(self) -> None:
        async with Publisher(self._servers) as publisher:
            for number in itertools.count():
                if self._ended.is_set():
                    return
                member = f"fed-{number % 40}"
                body = {
                    "event_id": f"fed-{number}",
                    "type": "order.paid",
                    "member_id": member,
                    "occurred_at": rfc3339(int(time.time() * 1000)),
                    "order_id": f"fed-{number}",
                    "currency": "CNY",
                    "paid_minor": 1_000,
                }
                await publisher.put(
                    OutgoingRecord(self._topic, member.encode(), orjson.dumps(body))
                )
                await publisher.linger()
                await asyncio.sleep(self._pause)
