"""Read-only pages of a worker. Faust's web server, bound to loopback unless configured."""

import os
from pathlib import Path
from typing import Any

from aiohttp import ClientError
from faust.exceptions import SameNode
from faust.web import Request, Response, View
from faust.web.exceptions import ServiceUnavailable
from prometheus_client import CONTENT_TYPE_LATEST

from pointstream.engine.app import StreamApp
from pointstream.engine.task import PartitionTask, Phase
from pointstream.ledger import conservation, decode_account
from pointstream.ledger.state import account_key
from pointstream.operations.metrics import Metrics
from pointstream.operations.placement import partition_of

__all__ = ["add_views"]


def status(app: StreamApp) -> dict[str, Any]:
    """What a worker owns and how far it is; counts are records of this process."""
    engine = app.engine
    return {
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
            }
            for number, task in sorted(engine.tasks.items())
        ],
    }


def _resident_bytes() -> int | None:
    """Memory of this process, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


_PAGE = """<!doctype html><meta charset="utf-8"><title>pointstream</title>
<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:56rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:right;padding:.2rem .6rem;
border-bottom:1px solid #ddd}td:nth-child(2),th:nth-child(2){text-align:left}</style>
<h1>pointstream</h1><p id="head">&hellip;</p><table><thead><tr><th>partition<th>phase<th>processed
<th>waiting<th>to restore</thead><tbody id="rows"></tbody></table>
<p><a href="/status">/status</a> (JSON) &middot; /accounts/MEMBER (JSON)</p>
<script>
async function show(){
  const s=await (await fetch('/status')).json(), rows=document.getElementById('rows');
  document.getElementById('head').textContent=
    s.app_id+(s.ready?' is ready':' is restoring')+', assignment '+s.assignment;
  rows.replaceChildren(...s.partitions.map(p=>{const r=document.createElement('tr');
    r.append(...[p.partition,p.phase,p.processed,p.waiting,p.restore_remaining].map(v=>{
      const c=document.createElement('td');c.textContent=v;return c;}));return r;}));
}
show();setInterval(show,1000);
</script>"""


def add_views(app: StreamApp, accounts: Any, partitions: int, metrics: Metrics) -> None:
    """Add `/` (a page), `/status` and `/accounts/{member_id}` (JSON), `/metrics` (Prometheus).

    `accounts` is the table by which Faust routes a question about a member to the owner,
    `partitions` is how many it has. A question that cannot be answered just now, because partitions
    move or the owner is out of reach, is answered 503: 404 says that there is no such account.
    """

    @app.page("/")
    class Home(View):
        """The partitions of this worker, refreshed every second."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            return self.html(_PAGE)

    @app.page("/status")
    class Status(View):
        """The same as JSON."""

        async def get(self, request: Request, **kwargs: Any) -> Response:
            return self.json(status(app))

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
