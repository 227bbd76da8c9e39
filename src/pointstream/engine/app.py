"""A Faust app whose agents feed partition tasks.

It is an ordinary `faust.App`: agents, tables, web views, sensors and the worker are Faust's.
What is replaced is replaced at Faust's own extension points: the transport, the table
manager, the store, the schema. `engine/README.md` says why.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import faust
import structlog
from faust.types import ChannelT
from faust.types.core import OpenHeadersArg

from pointstream.engine.errors import EngineError, HandsOff, words_of
from pointstream.engine.observing import TaskObserver
from pointstream.engine.records import Processor
from pointstream.engine.runtime import Engine, EngineConfig
from pointstream.engine.tables import TableManager
from pointstream.engine.transport import FetchedBatch

__all__ = ["EXIT_FAULT", "EXIT_HANDS_OFF", "BatchSchema", "StreamApp", "StreamSettings"]

logger = structlog.get_logger(__name__)

#: Exit status of a worker that met a fault; a supervisor starts it anew.
EXIT_FAULT = 70
#: Exit status of a worker that must not take its partitions: no supervisor starts it anew.
EXIT_HANDS_OFF = 2
#: How long a clean stop may take.
_STOP_SECONDS = 10.0


class BatchSchema(faust.Schema[Any, Any]):
    """Hands a message on as it is: decoding is the processor's work, inside the transaction."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value

    def dumps_key(
        self, app: Any, key: Any, *, headers: OpenHeadersArg, **kwargs: Any
    ) -> tuple[Any, OpenHeadersArg]:
        # Faust asks this to find the owner of a key, for a table's web route.
        return key.encode() if isinstance(key, str) else key, headers


@dataclass(slots=True)
class StreamSettings:
    """The Faust settings that a deployment chooses; times in seconds."""

    web_host: str = "127.0.0.1"
    #: 0 for no web server.
    web_port: int = 6066
    #: Where other workers reach that web server; None for `web_host` and `web_port`.
    advertised_url: str | None = None
    partitions: int = 12
    replication_factor: int = 1
    standby_replicas: int = 0
    session_timeout: float = 15.0
    heartbeat_interval: float = 3.0
    rebalance_timeout: float = 60.0
    group_instance_id: str | None = None
    max_poll_records: int = 2000


class StreamApp(faust.App):
    """Faust with partition tasks."""

    engine: Engine

    def __init__(
        self,
        config: EngineConfig,
        processor: Callable[[int], Processor],
        settings: StreamSettings,
        *,
        observer: TaskObserver | None = None,
    ) -> None:
        cluster = config.cluster
        config.data_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(
            cluster.app_id,
            broker=[f"pointstream://{server}" for server in cluster.bootstrap_servers.split(",")],
            store="pointstream://",
            TableManager=TableManager,
            Schema=BatchSchema,
            topic_partitions=settings.partitions,
            topic_replication_factor=settings.replication_factor,
            # Topics are made and checked by `ensure_topics`, with their settings.
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=settings.standby_replicas,
            consumer_group_instance_id=settings.group_instance_id,
            broker_session_timeout=settings.session_timeout,
            broker_heartbeat_interval=settings.heartbeat_interval,
            broker_rebalance_timeout=settings.rebalance_timeout,
            broker_request_timeout=max(90.0, settings.session_timeout + 1),
            broker_max_poll_records=settings.max_poll_records,
            broker_max_poll_interval=600.0,
            # The client buffers as much per topic and partition, of which there are many.
            consumer_max_fetch_size=256 << 10,
            # Batches, not records: a queue never holds more than what a fetch brought.
            stream_buffer_maxsize=64,
            stream_recovery_delay=0.0,
            web_enabled=settings.web_port != 0,
            web_bind=settings.web_host,
            web_host=settings.web_host,
            web_port=settings.web_port or 6066,
            canonical_url=settings.advertised_url,
            datadir=str(config.data_dir),
            logging_config=None,
            loghandlers=[],
        )
        self.conf.transport = cast(Any, "pointstream://")
        self._observer = observer or TaskObserver()
        self.engine = Engine(config, processor, on_fault=self.fail, observer=observer)
        self.on_partitions_revoked.connect(cast(Any, self._give_up))

    async def _give_up(self, sender: Any, revoked: Any, **kwargs: Any) -> None:
        await self.engine.revoke()

    def feed(self, topic: str) -> ChannelT[FetchedBatch]:
        """Declare an input topic whose batches go to the partition tasks."""
        return self.topic(topic, schema=BatchSchema(), acks=False)

    async def deliver(self, stream: AsyncIterator[FetchedBatch]) -> None:
        """The body of every agent: hand each batch to the task of its partition."""
        offer = self.engine.offer
        async for batch in stream:
            offer(batch)

    async def on_start(self) -> None:
        await self.engine.start()

    async def on_stop(self) -> None:
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.engine.stop()
        except Exception as error:
            # An open transaction waits for a broker that is away. It need not be finished: what it
            # holds is taken again by whoever owns the partition next.
            logger.warning("stopped without a clean end", reason=words_of(error))
            _exit(0)
        await super().on_stop()

    def fail(self, error: BaseException) -> None:
        """End the process: past a fault inside a transaction there is nothing safe to do.

        A graceful stop would wait for clients that may be what is broken. What is committed
        is safe, and what is not will be taken again by the next owner.
        """
        with contextlib.suppress(Exception):
            # Whatever it does: the process must end.
            self._observer.failed(error)
        lasting = isinstance(error, HandsOff)
        logger.critical(
            "worker stops for good: it must not take its partitions"
            if lasting
            else "worker stops on a fault; its partitions go on elsewhere or after a restart",
            fault=type(error).__name__,
            reason=words_of(error),
            exc_info=error if not _is_known(error) else None,
        )
        _exit(EXIT_HANDS_OFF if isinstance(error, HandsOff) else EXIT_FAULT)

    async def crash(self, reason: BaseException) -> None:
        """Faust's own way out, of which it may not return; ours ends the process."""
        self.fail(reason)


def _exit(status: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_known(error: BaseException) -> bool:
    return isinstance(error, EngineError)
