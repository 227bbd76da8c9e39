"""Read-only pages of a worker, on Faust's web server; `guarding` says who may read them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientError
from faust.exceptions import SameNode
from faust.web import Request, Response, View
from faust.web.exceptions import ServiceUnavailable
from prometheus_client import CONTENT_TYPE_LATEST

from pointstream.agents.guarding import guard
from pointstream.agents.page import PAGE
from pointstream.engine.app import StreamApp
from pointstream.engine.task import PartitionTask, Phase
from pointstream.ledger import conservation, decode_account
from pointstream.ledger.state import account_key
from pointstream.operations.metrics import Metrics
from pointstream.operations.placement import partition_of

__all__ = ["add_views"]


def status(app: StreamApp, metrics: Metrics) -> dict[str, Any]:
    """What a worker owns and how far it is; counts are records of this process.

    No member is named: it may be shown to whoever helps to find a fault.
    """
    engine = app.engine
    lags = {number: metrics.lag(task) for number, task in engine.tasks.items()}
    return {
        "version": metrics.version,
        "app_id": engine.config.cluster.app_id,
        "pid": os.getpid(),
        "resident_bytes": _resident_bytes(),
        "ready": engine.ready,
        "assignment": engine.epoch,
        "partitions": [
            {
                "partition": number,
                "phase": task.phase,
                "processed": task.processed,
                "waiting": task.waiting,
                "restore_remaining": task.restore_remaining,
                "positions": task.positions,
                "lag_records": sum(records for records, _ in lags[number].values()),
                "lag_seconds": _longest(lags[number].values()),
            }
            for number, task in sorted(engine.tasks.items())
        ],
        "topics": [
            {
                "topic": topic,
                "lag_records": sum(lag[topic][0] for lag in lags.values() if topic in lag),
                "lag_seconds": _longest(lag[topic] for lag in lags.values() if topic in lag),
            }
            for topic in engine.config.cluster.input_topics
        ],
        "liability": [
            {"wallet": wallet, "points": points} for wallet, points in metrics.liability().items()
        ],
        "rule_sets": [
            {"rule_set": rule_set, "version": version, "hash": content}
            for rule_set, version, content in metrics.rules_in_force()
        ],
        "flags": metrics.news.flags(),
        "dead_letters": metrics.news.dead_letters(),
        "faults": [
            {"fault": fault, "times": times} for fault, times in sorted(metrics.faults().items())
        ],
    }


def _longest(lags: Iterable[tuple[int, float]]) -> float:
    return round(max((seconds for _, seconds in lags), default=0.0), 3)


def _resident_bytes() -> int | None:
    """Memory of this process, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def readiness(app: StreamApp) -> tuple[bool, dict[str, Any]]:
    """Whether the worker is ready, and what it waits for; nothing that is worth a token."""
    engine = app.engine
    tasks = engine.tasks.values()
    return engine.ready, {
        "ready": engine.ready,
        "assigned": engine.assigned,
        "partitions": len(tasks),
        "running": sum(task.phase is Phase.RUNNING for task in tasks),
        "restore_remaining": sum(task.restore_remaining for task in tasks),
    }


def add_views(
    app: StreamApp, accounts: Any, partitions: int, metrics: Metrics, token: str | None = None
) -> None:
    """Add `/` (a page), `/status` and `/accounts/{member_id}` (JSON), `/metrics` (Prometheus),
    `/healthz` and `/readyz` (200 or 503), with a `token` for whoever knows it alone.

    `accounts` is the table by which Faust routes a question about a member to the owner,
    `partitions` is how many it has. A question that cannot be answered just now, because partitions
    move or the owner is out of reach, is answered 503: 404 says that there is no such account.
    """

    guard(cast(Any, app.web).web_app, token, refused=metrics.web_refused)

    @app.page("/")
    class Home(View):
        """What `/status` says, refreshed every second."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            return self.html(PAGE)

    @app.page("/status")
    class Status(View):
        """The same as JSON."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            await metrics.look()
            return self.json(status(app, metrics))

    @app.page("/healthz")
    class Health(View):
        """Whether the process is alive: this answer comes from the loop that does the work."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            return self.json({"alive": True})

    @app.page("/readyz")
    class Readiness(View):
        """Whether every partition that it owns is restored and runs."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            ready, said = readiness(app)
            return self.json(said, status=200 if ready else 503)

    @app.page("/metrics")
    class Exposition(View):
        """For Prometheus."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            headers = {"Content-Type": CONTENT_TYPE_LATEST}
            return self.bytes(await metrics.exposition(), headers=headers)

    @app.page("/accounts/{member_id}")
    class Account(View):
        """One account as last committed, from whichever worker owns it."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            member_id = request.match_info["member_id"]
            partition = partition_of(member_id.encode(), partitions)
            task = app.engine.tasks.get(partition)
            if task is not None:
                return self._own(task, member_id)
            try:
                return await app.router.route_req(accounts.name, member_id, self.web, request)
            except SameNode:
                # So another worker said that it is reached here.
                return self._not_now(
                    f"this worker does not own partition {partition} of this member, and the "
                    "address of the one that does leads here"
                )
            except ServiceUnavailable:
                return self._not_now("no worker owns the partition of this member just now")
            except (ClientError, TimeoutError, OSError) as error:
                return self._not_now(f"the worker that owns this member does not answer: {error}")

        def _own(self, task: PartitionTask, member_id: str) -> Response:
            if task.phase is not Phase.RUNNING:
                return self._not_now(f"partition {task.partition} of this member is {task.phase}")
            key = account_key(member_id.encode())
            value = task.read(key)
            if value is None:
                return self.error(404, "no such account")
            account = decode_account(key, value)
            return self.json(
                {
                    "member_id": account.member_id,
                    "seq": account.seq,
                    "conservation": conservation(account),
                }
            )

        def _not_now(self, reason: str) -> Response:
            return self.error(503, reason, headers={"Retry-After": "1"})
