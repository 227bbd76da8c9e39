"""The composition root: settings to a running worker."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import faust
import structlog
from aiokafka.errors import KafkaError

from pointstream.agents.processor import MEMBER_INPUTS, TICKS, PointsProcessor
from pointstream.agents.web import add_views
from pointstream.engine import Processor
from pointstream.engine.app import StreamApp, StreamSettings
from pointstream.engine.kafka import Cluster
from pointstream.engine.runtime import EngineConfig
from pointstream.engine.task import Guards, Limits, TaskObserver
from pointstream.engine.topics import TopicDifferencesError, TopicsError, ensure_topics
from pointstream.engine.transport import FetchedBatch
from pointstream.ledger import Ledger
from pointstream.operations.logs import configure_logs
from pointstream.operations.programme import load_programme
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.rules.compile import compile_programme

__all__ = ["build_app", "run_worker"]

logger = structlog.get_logger(__name__)

_EXIT_USAGE = 2
#: Decoded accounts that a worker keeps for members who come again soon.
_ACCOUNTS_KEPT = 12_000


class _Log(TaskObserver):
    """Says in the log what an operator wants to know of a task."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}

    def restoring(self, partition: int, done: int, remaining: int) -> None:
        now = time.monotonic()
        if remaining and now - self._told.get(partition, 0.0) > 2.0:
            self._told[partition] = now
            logger.info("restoring", partition=partition, done=done, remaining=remaining)

    def dropped(self, partition: int, records: int) -> None:
        logger.info("records below the position dropped", partition=partition, records=records)

    def discarded(self, partition: int, reason: str) -> None:
        logger.warning("local state discarded", partition=partition, reason=reason)


def build_app(
    settings: Settings,
    *,
    processor: Callable[[int], Processor] | None = None,
    guards: Guards | None = None,
) -> StreamApp:
    """The Faust app of a worker. `processor` replaces the job, for a bench."""
    prefix = settings.topic_prefix
    inputs = tuple(prefix + suffix for suffix in (*MEMBER_INPUTS, TICKS))
    cluster = Cluster(
        bootstrap_servers=settings.bootstrap_servers,
        app_id=settings.app_id,
        input_topics=inputs,
        changelog_topic=prefix + "internal.changelog",
        transaction_timeout_ms=settings.transaction_timeout_ms,
        on_waiting=lambda what, seconds: logger.warning(
            "waiting for the broker", what=what, seconds=round(seconds)
        ),
    )
    config = EngineConfig(
        cluster=cluster,
        data_dir=settings.data_dir,
        journal_topic=prefix + "internal.journal",
        tick_topic=prefix + TICKS,
        tick_interval_ms=settings.tick_interval_ms,
        limits=Limits(batch_records=settings.max_batch_records),
        guards=guards or Guards(),
    )
    app = StreamApp(
        config,
        processor or _processors(settings),
        StreamSettings(
            web_host=settings.web_host,
            web_port=settings.web_port,
            partitions=settings.partitions,
            replication_factor=settings.replication_factor,
            standby_replicas=settings.standby_replicas,
            session_timeout=settings.session_timeout_ms / 1000,
            heartbeat_interval=settings.heartbeat_interval_ms / 1000,
            max_poll_records=settings.max_batch_records,
        ),
        observer=_Log(),
    )
    accounts = app.Table(
        "accounts",
        partitions=settings.partitions,
        changelog_topic=app.topic(
            cluster.changelog_topic, partitions=settings.partitions, internal=True
        ),
        options={"prefix": b"a"},
    )
    for topic in inputs:
        _add_agent(app, topic, topic.removeprefix(prefix))
    add_views(app, accounts)
    return app


def _processors(settings: Settings) -> Callable[[int], Processor]:
    programme = compile_programme(load_programme(settings.programme_file))
    # A worker may come to own every partition: the bound is for all of them together.
    accounts_kept = max(64, _ACCOUNTS_KEPT // settings.partitions)
    return lambda partition: PointsProcessor(
        Ledger(programme, accounts_kept=accounts_kept),
        prefix=settings.topic_prefix,
        source=settings.app_id,
    )


def _add_agent(app: StreamApp, topic: str, name: str) -> None:
    async def deliver(stream: AsyncIterator[FetchedBatch]) -> None:
        await app.deliver(stream)

    # Faust tells agents apart by the name of their function.
    deliver.__name__ = deliver.__qualname__ = name.removeprefix("internal.").replace("-", "_")
    app.agent(app.feed(topic))(cast(Any, deliver))


async def _prepare(settings: Settings) -> None:
    """Wait for the broker as long as it takes, then create or check the topics."""
    while True:
        try:
            created = await ensure_topics(
                settings.bootstrap_servers,
                wanted_topics(settings),
                replication_factor=settings.replication_factor,
            )
        except TopicDifferencesError:
            raise
        except (KafkaError, TopicsError, OSError) as error:
            logger.warning(
                "waiting for the broker", servers=settings.bootstrap_servers, reason=str(error)
            )
            await asyncio.sleep(2.0)
        else:
            if created:
                logger.info("topics created", topics=created)
            return


def run_worker(settings: Settings, *, log_level: str = "INFO") -> int:
    """Run a worker until it is told to stop, and return its exit status.

    0 after a clean stop (SIGTERM, SIGINT), 2 when topics or settings do not fit. A fault ends the
    process at once with `engine.app.EXIT_FAULT`; a supervisor is expected to start it again.
    """
    configure_logs(level=log_level)
    # What is loaded by now stays; what a batch leaves behind has no cycles. Collecting at Python's
    # default pace takes a quarter of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        asyncio.run(_prepare(settings))
    except TopicDifferencesError as error:
        logger.error("topics are not as they must be", reason=str(error))
        return _EXIT_USAGE
    except KeyboardInterrupt:
        return 0
    app = build_app(settings)
    worker: Any = faust.Worker(
        app, override_logging=False, redirect_stdouts=False, quiet=True, loglevel=log_level
    )
    # Its escape codes have no business in a log.
    worker.spinner = None
    logger.info("worker starts", servers=settings.bootstrap_servers, app_id=settings.app_id)
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        logger.info("worker stopped")
    return 0
