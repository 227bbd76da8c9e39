"""Read-only pages of a worker. Faust's web server, bound to loopback unless configured."""

import os
from pathlib import Path
from typing import Any

from faust.web import Request, Response, View

from pointstream.engine.app import StreamApp
from pointstream.ledger import conservation, decode_account
from pointstream.ledger.state import account_key

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


def add_views(app: StreamApp, accounts: Any) -> None:
    """Add `/` (a page), `/status` (JSON) and `/accounts/{member_id}` (JSON).

    `accounts` is the table by which Faust routes a question about a member to the owner.
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

    @app.page("/accounts/{member_id}")
    class Account(View):
        """One account as last committed, from whichever worker owns it."""

        @app.table_route(table=accounts, match_info="member_id")
        async def get(self: View, request: Request, **kwargs: Any) -> Response:
            key = account_key(request.match_info["member_id"].encode())
            for task in app.engine.tasks.values():
                value = task.read(key)
                if value is not None:
                    account = decode_account(key, value)
                    return self.json(
                        {
                            "member_id": account.member_id,
                            "seq": account.seq,
                            "conservation": conservation(account),
                        }
                    )
            return self.error(404, "no such account")
