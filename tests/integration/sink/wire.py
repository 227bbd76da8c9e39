"""Records put on the output topics by hand, as a worker of any version would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from pointstream.engine.topics import ensure_topics
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

__all__ = ["Wire"]


class Wire:
    """The topics of a prefix, with two partitions."""

    def __init__(self, servers: str, prefix: str) -> None:
        self._servers = servers
        self._prefix = prefix
        settings = Settings(
            bootstrap_servers=servers, app_id=prefix, topic_prefix=prefix, partitions=2
        )
        asyncio.run(ensure_topics(servers, wanted_topics(settings)))

    def put(self, suffix: str, *bodies: Mapping[str, Any], commit: bool = True) -> None:
        """Put records in one transaction, which is committed or taken back."""
        values = [(body["member_id"], json.dumps(body).encode()) for body in bodies]
        headers = [[("ce_id", str(body.get("event_id", "")).encode())] for body in bodies]
        asyncio.run(self._put(suffix, values, headers, commit=commit))

    def put_raw(self, suffix: str, member_id: str, value: bytes | None) -> None:
        asyncio.run(self._put(suffix, [(member_id, value)], [[]], commit=True))

    async def _put(
        self,
        suffix: str,
        values: Sequence[tuple[str, bytes | None]],
        headers: Sequence[Sequence[tuple[str, bytes]]],
        *,
        commit: bool,
    ) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, transactional_id=f"{self._prefix}wire"
        )
        await producer.start()
        try:
            await producer.begin_transaction()
            for (member_id, value), about in zip(values, headers, strict=True):
                await producer.send_and_wait(
                    self._prefix + suffix, value, member_id.encode(), headers=list(about)
                )
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()
