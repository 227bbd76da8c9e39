"""The composition root: settings to a running worker."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, cast

import faust
import structlog
from aiokafka.errors import KafkaError

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.agents.telling import WorkerLog
from pointstream.agents.web import add_views
from pointstream.engine import Processor
from pointstream.engine.app import EXIT_FAULT, StreamApp, StreamSettings
from pointstream.engine.errors import EngineError, words_of
from pointstream.engine.formats import Formats
from pointstream.engine.kafka import Cluster
from pointstream.engine.observing import Observers, TaskObserver
from pointstream.engine.runtime import EngineConfig
from pointstream.engine.task import Guards, Limits
from pointstream.engine.topics import (
    TopicDifferencesError,
    TopicsError,
    TopicsForbiddenError,
    ensure_topics,
)
from pointstream.engine.transport import FetchedBatch
from pointstream.ledger import Ledger
from pointstream.ledger.codec import READS
from pointstream.operations.access import LACKS_RIGHTS, AccessError, access_of, refusal_of
from pointstream.operations.build import program_version
from pointstream.operations.garbage import collect_seldom
from pointstream.operations.logs import configure_logs
from pointstream.operations.metrics import Counts, Metrics
from pointstream.operations.premises import PremisesError, claim_directory, require_free_port
from pointstream.operations.processes import exit_when_asked
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.settings import Settings
from pointstream.operations.spans import Spans, spans_wanted
from pointstream.operations.topics import wanted_topics
from pointstream.operations.websettings import WebTokenError
from pointstream.rules.compile import compile_programme

__all__ = ["CannotStart", "build_app", "run_worker"]

logger = structlog.get_logger(__name__)

#: So long may a stop take of a worker that owns nothing, as while it starts, ...
_IDLE_STOP_SECONDS = 3.0
#: ... and of one that owns partitions; the engine gives its tasks 10 s of these.
_STOP_SECONDS = 15.0
#: Decoded accounts that a worker keeps for members who come again soon.
_ACCOUNTS_KEPT = 12_000


class CannotStart(Exception):
    """What this worker was told cannot work, now or after a restart; `problems` are sentences."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def build_app(
    settings: Settings,
    *,
    processor: Callable[[int], Processor] | None = None,
    metrics: Metrics | None = None,
    guards: Guards | None = None,
) -> StreamApp:
    """The Faust app of a worker. `processor` replaces the job, for a bench.

    One that counts does so for `metrics`; both come from the caller then.
    """
    prefix, access = settings.topic_prefix, access_of(settings)
    metrics = metrics or metrics_of(settings)
    inputs = tuple(prefix + suffix for suffix in (*INPUTS, TICKS))
    cluster = Cluster(
        bootstrap_servers=access.bootstrap_servers,
        security=access.security,
        app_id=settings.app_id,
        input_topics=inputs,
        changelog_topic=prefix + "internal.changelog",
        transaction_timeout_ms=settings.transaction_timeout_ms,
        on_waiting=lambda what, seconds: _tell_waiting(metrics, what, seconds),
    )
    config = EngineConfig(
        cluster=cluster,
        data_dir=settings.data_dir,
        journal_topic=prefix + "internal.journal",
        tick_topic=prefix + TICKS,
        tick_interval_ms=settings.tick_interval_ms,
        limits=Limits(batch_records=settings.max_batch_records),
        guards=guards or Guards(),
        formats=Formats(READS, settings.state_format, program_version()),
    )
    app = StreamApp(
        config,
        processor or _processors(settings, metrics),
        StreamSettings(
            web_host=settings.web_host,
            web_port=settings.web_port,
            advertised_url=settings.web_url,
            partitions=settings.partitions,
            replication_factor=settings.replication_factor,
            standby_replicas=settings.standby_replicas,
            session_timeout=settings.session_timeout_ms / 1000,
            group_instance_id=settings.group_instance_id,
            heartbeat_interval=settings.heartbeat_interval_ms / 1000,
            max_poll_records=settings.max_batch_records,
        ),
        observer=_observers(settings, metrics),
    )
    metrics.engine = app.engine
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
    add_views(app, accounts, settings.partitions, metrics, settings.read_web_token())
    return app


def metrics_of(settings: Settings) -> Metrics:
    """Return the metrics of a worker with these settings."""
    return Metrics(
        prefix=settings.topic_prefix,
        tick_topic=settings.topic_prefix + TICKS,
        tick_interval_ms=settings.tick_interval_ms,
        data_dir=settings.data_dir,
    )


def _observers(settings: Settings, metrics: Metrics) -> TaskObserver:
    observers: list[TaskObserver] = [metrics, WorkerLog(metrics.counts_of)]
    if spans_wanted():
        observers.append(Spans(settings.app_id))
    return Observers(*observers)


def _tell_waiting(metrics: Metrics, what: str, seconds: float) -> None:
    metrics.waited_for_broker()
    logger.warning("waiting for the broker", what=what, seconds=round(seconds))


def _processors(settings: Settings, metrics: Metrics) -> Callable[[int], Processor]:
    programme = compile_programme(load_programme(settings.programme_file))
    # A worker may come to own every partition: the bound is for all of them together.
    accounts_kept = max(64, _ACCOUNTS_KEPT // settings.partitions)

    def make(partition: int) -> Processor:
        ledger, counts = Ledger(programme, accounts_kept=accounts_kept), Counts()
        metrics.follow(partition, counts, ledger)
        return PointsProcessor(
            ledger,
            partitions=settings.partitions,
            prefix=settings.topic_prefix,
            source=settings.app_id,
            counts=counts,
        )

    return make


def _add_agent(app: StreamApp, topic: str, name: str) -> None:
    async def deliver(stream: AsyncIterator[FetchedBatch]) -> None:
        await app.deliver(stream)

    # Faust tells agents apart by the name of their function.
    deliver.__name__ = deliver.__qualname__ = name.removeprefix("internal.").replace("-", "_")
    app.agent(app.feed(topic))(cast(Any, deliver))


async def _prepare(settings: Settings) -> None:
    """Wait for the broker as long as it takes, then create or check the topics.

    Raises:
        CannotStart: the broker is there and does not let this worker in.
    """
    access = access_of(settings)
    while True:
        try:
            created = await ensure_topics(
                access,
                wanted_topics(settings),
                replication_factor=settings.replication_factor,
            )
        except TopicDifferencesError:
            raise
        except TopicsForbiddenError as error:
            raise CannotStart(f"{error}; {LACKS_RIGHTS}") from error
        except (KafkaError, TopicsError, OSError) as error:
            refusal = await refusal_of(access)
            if refusal is not None and refusal.final:
                raise CannotStart(refusal.message) from error
            reason = str(refusal or error)
            logger.warning(
                "waiting for the broker", servers=settings.bootstrap_servers, reason=reason
            )
            await asyncio.sleep(2.0)
        else:
            if created:
                logger.info("topics created", topics=created)
            return


class _Worker(faust.Worker):
    """Faust's worker, which stops also when a client of it hangs."""

    app: StreamApp

    def told_to_stop(self) -> bool:
        return self._signal_stop_time is not None

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        super()._schedule_shutdown(signal)
        # A client that waits for a broker does not hear of the stop. What it leaves open, the next
        # owner ends.
        owns = bool(self.app.engine.tasks)
        self.loop.call_later(_STOP_SECONDS if owns else _IDLE_STOP_SECONDS, _end_at_once)


def _end_at_once() -> NoReturn:
    logger.info("worker stopped")
    logging.shutdown()
    os._exit(0)


def run_worker(settings: Settings) -> int:
    """Run a worker until it is told to stop, and return its exit status.

    0 after a clean stop (SIGTERM, SIGINT), which ends the process at once as long as nothing is
    owned. A fault ends the process with `engine.app.EXIT_FAULT`; a supervisor is expected to start
    it again. To be called in the main thread.

    Raises:
        CannotStart: programme, directory, port, topics or the way to the broker are not as they
            must be. Nothing has been created on the broker then.
    """
    configure_logs(level=settings.log_level, format=settings.log_format)
    _use_fast_loop()
    exit_when_asked(say=lambda: logger.info("worker stopped"))
    try:
        # All of it before the broker is touched.
        if (exposed := settings.web_exposed()) is not None:
            raise CannotStart(str(exposed))
        settings.read_web_token()
        metrics = metrics_of(settings)
        processors = _processors(settings, metrics)
        access_of(settings)
        lock = claim_directory(settings.data_dir)
        if settings.web_port:
            require_free_port(settings.web_host, settings.web_port)
    except ProgrammeInvalid as error:
        raise CannotStart(*error.problems) from error
    except (AccessError, PremisesError, WebTokenError) as error:
        raise CannotStart(str(error)) from error
    with lock:
        return _run(settings, processors, metrics)


def _use_fast_loop() -> None:
    """Run on uvloop where there is one: not on Windows."""
    try:
        import uvloop
    except ImportError:
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def _run(
    settings: Settings,
    processors: Callable[[int], Processor],
    metrics: Metrics,
) -> int:
    collect_seldom()
    try:
        asyncio.run(_prepare(settings))
    except TopicDifferencesError as error:
        raise CannotStart(*str(error).splitlines()) from error
    app = build_app(settings, processor=processors, metrics=metrics)
    worker = _Worker(
        app,
        override_logging=False,
        redirect_stdouts=False,
        quiet=True,
        loglevel=settings.log_level,
    )
    # Its escape codes have no business in a log.
    worker.spinner = None
    logger.info("worker starts", servers=settings.bootstrap_servers, app_id=settings.app_id)
    status = _execute(worker, metrics)
    # Its signal handlers went with its loop.
    exit_when_asked(status)
    return status


def _execute(worker: _Worker, metrics: Metrics) -> int:
    """Run it to its end: 0, or `EXIT_FAULT` when one of Faust's services crashed."""
    fault: BaseException | None
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        # Of a crash Faust says 1, or words; the exception is what it was dealing with then.
        fault = worker.crash_reason or end.__context__
        stopped = not end.code or (worker.told_to_stop() and worker.crash_reason is None)
    except BaseException as error:
        fault, stopped = error, False
    else:
        stopped = True
    if stopped:
        logger.info("worker stopped")
        return 0
    if fault is not None:
        with contextlib.suppress(OSError):
            metrics.failed(fault)
    logger.critical(
        "worker stops on a fault; its partitions go on elsewhere or after a restart",
        fault=type(fault).__name__ if fault is not None else "unknown",
        reason=words_of(fault) if fault is not None else "one of its services ended",
        exc_info=fault if fault is not None and not isinstance(fault, EngineError) else None,
    )
    return EXIT_FAULT
