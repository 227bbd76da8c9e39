"""A worker's pages: who may read them, and when the worker says that it is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pointstream.agents.app import CannotStart, build_app, run_worker
from pointstream.engine.app import StreamApp
from pointstream.engine.log import Change
from pointstream.engine.store import MemoryStore
from pointstream.engine.task import PartitionTask, Phase
from pointstream.operations.settings import Settings

from .observed import ObservedJob
from .test_metrics import busy
from .test_processor import order

TOKEN = "correct-horse-battery-staple"
BEHIND_TOKEN = ("/status", "/metrics", "/accounts/m1")

Ask = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def job() -> Iterator[ObservedJob]:
    """Two partitions of the job that have done something."""
    made = busy(ObservedJob())
    made.driver.send("points.orders", b"m1", order())
    made.driver.run()
    yield made
    made.driver.close()


def pages_of(job: ObservedJob, tmp_path: Path, **settings: Any) -> StreamApp:
    """A worker's app whose engine has the job's tasks, and no broker."""
    app = build_app(Settings(data_dir=tmp_path, partitions=2, **settings), metrics=job.metrics)
    app.engine.tasks = job.tasks
    app.engine.assigned = True
    job.metrics.engine = app.engine
    app.engine.ends = job.ends  # type: ignore[method-assign]
    return app


def visit(app: StreamApp, talk: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve the pages as a worker does, and let `talk` ask for them."""

    async def run() -> None:
        web: Any = app.web
        app.finalize()
        web.init_server()
        async with TestClient(TestServer(web.web_app)) as client:

            async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
                async with client.request(method, path, headers=headers) as answer:
                    return answer.status, await answer.text()

            await talk(ask)

    asyncio.run(run())


def test_pages_that_show_something_want_the_token(job, tmp_path) -> None:
    """Without it, with another, or in another scheme: 401, and nothing is said."""
    app = pages_of(job, tmp_path, web_token=TOKEN)

    async def talk(ask: Ask) -> None:
        for path in BEHIND_TOKEN:
            for sent in (
                "",
                f"Bearer {TOKEN}x",
                f"Basic {TOKEN}",
                "Bearer",
                f"Bearer {TOKEN[:-1]}",
            ):
                status, said = await ask(path, Authorization=sent)
                assert status == 401
                assert "partition" not in said
            status, _ = await ask(path, Authorization=f"Bearer {TOKEN}")
            assert status == 200
        _, text = await ask("/metrics", Authorization=f"Bearer {TOKEN}")
        assert "pointstream_web_refused_total 15.0" in text

    visit(app, talk)


def test_probes_and_the_empty_page_want_no_token(job, tmp_path) -> None:
    """Who probes a process has no secrets, and learns none."""
    app = pages_of(job, tmp_path, web_token=TOKEN)

    async def talk(ask: Ask) -> None:
        assert (await ask("/healthz"))[0] == 200
        assert (await ask("/readyz"))[0] == 200
        status, page = await ask("/")
        assert status == 200
        assert "points.orders" not in page

    visit(app, talk)


def test_the_token_can_lie_in_a_file(job, tmp_path) -> None:
    """As secrets are mounted; the line's end does not count."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    app = pages_of(job, tmp_path, web_token_file=tmp_path / "token")

    async def talk(ask: Ask) -> None:
        assert (await ask("/status"))[0] == 401
        assert (await ask("/status", Authorization=f"Bearer {TOKEN}"))[0] == 200

    visit(app, talk)


@pytest.mark.parametrize("path", ["/table/", "/table/accounts/", "/router/", "/graph", "/stats"])
def test_pages_of_the_framework_are_closed(job, tmp_path, path) -> None:
    """Faust's own pages give out tables whole."""

    async def talk(ask: Ask) -> None:
        assert (await ask(path))[0] == 404

    visit(pages_of(job, tmp_path), talk)


def test_nothing_can_be_changed(job, tmp_path) -> None:
    """The pages are read only."""

    async def talk(ask: Ask) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in ("/status", "/accounts/m1"):
                assert (await ask(path, method))[0] == 405

    visit(pages_of(job, tmp_path), talk)


def test_the_status_tells_all_but_members(job, tmp_path) -> None:
    """Partitions, lag, rules, points owed, dead letters: enough to find a fault, and nobody."""

    async def talk(ask: Ask) -> None:
        _, text = await ask("/status")
        (_, account) = await ask("/accounts/m1")
        said = json.loads(text)
        assert [p["phase"] for p in said["partitions"]] == ["running", "running"]
        assert {"lag_records", "lag_seconds", "restore_remaining"} <= set(said["partitions"][0])
        assert said["topics"][0] == {"topic": "points.orders", "lag_records": 0, "lag_seconds": 0.0}
        assert said["rule_sets"][0]["version"] >= 1
        assert said["dead_letters"][0]["code"] == "not_json"
        assert said["liability"][0]["points"] > 0
        assert '"m1"' in account
        assert '"m1"' not in text

    visit(pages_of(job, tmp_path), talk)


class _Held:
    """A partition's log whose changelog stops half-way until it is let go on."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def changelog(
        self, position: int | None
    ) -> AsyncGenerator[tuple[list[Change], int, int], None]:
        async for chunk in self._log.changelog(position):
            yield chunk
            self.reached.set()
            await self.go_on.wait()


def test_a_worker_is_ready_only_when_all_its_partitions_are_restored(job, tmp_path) -> None:
    """Before the first assignment, between two and while one partition restores: 503; alive."""
    app = pages_of(job, tmp_path)
    made = job.driver._owners[1].task
    log = _Held(job.driver._owners[1].log)
    task = PartitionTask(
        1, log=log, open_store=MemoryStore, processor=lambda: made._make_processor()
    )

    async def talk(ask: Ask) -> None:
        app.engine.tasks = {}
        app.engine.assigned = False
        assert (await ask("/readyz"))[0] == 503
        assert (await ask("/healthz"))[0] == 200

        app.engine.tasks = {0: job.tasks[0], 1: task}
        app.engine.assigned = True
        assert (await ask("/readyz"))[0] == 503
        await task.acquire()
        restoring = asyncio.create_task(task.restore())
        await log.reached.wait()
        status, said = await ask("/readyz")
        assert status == 503
        assert '"running":1' in said.replace(" ", "")
        assert task.phase is Phase.RESTORING
        _, told = await ask("/metrics")
        assert "pointstream_ready 0.0" in told
        assert 'pointstream_partition_phase{partition="1",phase="restoring"} 1.0' in told
        left = task.restore_remaining
        assert left > 0
        assert f'pointstream_restore_remaining_records{{partition="1"}} {left:.1f}' in told
        assert 'pointstream_liability_points{partition="1"' not in told

        log.go_on.set()
        await restoring
        assert (await ask("/readyz"))[0] == 200
        assert 'pointstream_liability_points{partition="1"' in (await ask("/metrics"))[1]

    visit(app, talk)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], int]:
    """`run_worker` that leaves logs, signals and event loops of this process alone."""
    for name in ("configure_logs", "exit_when_asked", "_use_fast_loop"):
        monkeypatch.setattr(f"pointstream.agents.app.{name}", lambda *_, **__: None)
    return run_worker


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "worker-1.example"])
def test_a_worker_refuses_to_show_accounts_to_everybody(run_here, tmp_path, host) -> None:
    """Beyond loopback it wants a token, or to be told that it is meant; before any broker."""
    settings = Settings(data_dir=tmp_path, web_host=host, bootstrap_servers="nowhere.invalid:1")
    with pytest.raises(CannotStart, match=r"POINTSTREAM_WEB_TOKEN_FILE.*POINTSTREAM_WEB_OPEN"):
        run_here(settings)
    for allowed in ({"web_token": TOKEN}, {"web_open": True}, {"web_port": 0}):
        assert Settings(data_dir=tmp_path, web_host=host, **allowed).web_exposed() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_wants_no_token(tmp_path, host) -> None:
    """On one's own machine nothing has to be set."""
    assert Settings(data_dir=tmp_path, web_host=host).web_exposed() is None


@pytest.mark.parametrize("token", ["short", "has a space in it, and more", "ünïcödé-ünïcödé"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(run_here, tmp_path, token) -> None:
    """At the start, with what to do."""
    with pytest.raises(CannotStart, match="openssl rand"):
        run_here(Settings(data_dir=tmp_path, web_token=token, bootstrap_servers="nowhere:1"))


def test_a_token_file_that_is_not_there_is_refused(run_here, tmp_path) -> None:
    """Not taken for no token."""
    with pytest.raises(CannotStart, match="cannot be read"):
        run_here(Settings(data_dir=tmp_path, web_token_file=tmp_path / "none"))
