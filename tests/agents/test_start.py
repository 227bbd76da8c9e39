"""A worker that cannot start says why and ends with 2; one that is told to stop ends with 0."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointstream.agents import app as worker_app
from pointstream.engine.app import EXIT_FAULT
from pointstream.operations.broker import LocalBroker
from pointstream.operations.broker.install import missing_for_kafka
from pointstream.operations.metrics import Metrics
from pointstream.operations.premises import claim_directory

# Nobody listens there: the port is reserved and needs privileges.
_NOBODY = "127.0.0.1:1"
#: Far less than it takes to give up on a broker, generous for a busy machine.
_PROMPTLY_SECONDS = 20.0

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker without a broker and leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("POINTSTREAM_")}
        environ = {
            **clean,
            "KAFKA_BOOTSTRAP_SERVERS": _NOBODY,
            "POINTSTREAM_DATA_DIR": str(tmp_path / "data"),
            "POINTSTREAM_WEB_PORT": "0",
        }
        command = [sys.executable, *python, "-m", "pointstream", "worker", *options]
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def refusal(process: subprocess.Popen[str]) -> list[str]:
    """What it said before it ended with 2, line by line."""
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert "waiting for the broker" not in said
    return said.splitlines()


def until_said(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended with {process.wait()} and never said {words!r}")


def stops(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal; it must end with 0, promptly. Returns what it still said."""
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert time.monotonic() - began < _PROMPTLY_SECONDS
    assert "Traceback" not in said
    return said


def test_a_programme_that_is_not_there_is_told_before_the_broker_is_asked(start: Start) -> None:
    """One line that names the file; no topic could have been created."""
    (line,) = refusal(start("--programme", "/nope.yaml"))

    assert line.startswith("/nope.yaml: cannot be read")


def test_each_mistake_in_a_programme_has_its_line(start: Start, tmp_path: Path) -> None:
    """All at once, by line of the file."""
    programme = tmp_path / "programme.yaml"
    programme.write_text("time_zone: Mars/Olympus\nnonsense: 1\n")

    lines = refusal(start("--programme", str(programme)))

    assert len(lines) >= 2
    assert all(line.startswith(f"{programme}:") for line in lines)


def test_a_directory_that_cannot_be_used_is_one_sentence(start: Start, tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "file").touch()

    (line,) = refusal(start("--data-dir", str(tmp_path / "file" / "data")))

    assert f"{tmp_path}/file/data can't be used" in line


def test_a_directory_of_another_worker_is_one_sentence(start: Start, tmp_path: Path) -> None:
    """Two workers would tear one state apart; the second never opens it."""
    with claim_directory(tmp_path / "data"):
        (line,) = refusal(start())

    assert f"{tmp_path}/data belongs to another worker" in line


def test_a_running_worker_holds_its_directory_until_it_is_gone(
    start: Start, tmp_path: Path
) -> None:
    """From before it asks the broker, and a kill -9 lets go of it."""
    first = start()
    until_said(first, "waiting for the broker")

    (line,) = refusal(start())
    first.kill()
    first.wait()

    assert "belongs to another worker" in line
    claim_directory(tmp_path / "data", wait_seconds=0).close()


def test_a_taken_web_port_is_one_sentence(start: Start) -> None:
    """It is named, with the way out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (line,) = refusal(start("--web-port", str(port)))

    assert f"the port {port} of 127.0.0.1 is taken" in line
    assert "--web-port" in line


def test_under_supervision_what_cannot_work_is_final(start: Start) -> None:
    """The supervisor hands the 2 on and starts nothing anew."""
    (line,) = refusal(start("--supervise", "--programme", "/nope.yaml"))

    assert line.startswith("/nope.yaml")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_program_loads_is_clean(start: Start, number: signal.Signals) -> None:
    """The handlers are there before the rest is imported."""
    process = start(python=("-X", "importtime"))
    until_said(process, " typer")

    said = stops(process, number)

    assert "faust.worker" not in said  # it was in the midst of it


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_waits_for_the_broker_is_clean(
    start: Start, number: signal.Signals
) -> None:
    """A word in the log, exit code 0, at once."""
    process = start()
    until_said(process, "waiting for the broker")

    assert "worker stopped" in stops(process, number)


@pytest.mark.parametrize("words", [" typer", "waiting for the broker"])
def test_a_stop_under_supervision_starts_nothing_anew(start: Start, words: str) -> None:
    """Neither while the worker loads nor while it waits."""
    process = start("--supervise", python=("-X", "importtime") if "typer" in words else ())
    until_said(process, words)

    assert "anew" not in stops(process, signal.SIGTERM)


#: A worker whose broker went silent just after the topics were found to be there.
_PAST_THE_TOPICS = """
import sys
from pathlib import Path
from pointstream.agents import app
from pointstream.operations.settings import Settings

async def found(settings):
    pass

app._prepare = found
settings = Settings(bootstrap_servers=sys.argv[1], data_dir=Path(sys.argv[2]), web_port=0)
sys.exit(app.run_worker(settings))
"""


def test_a_stop_while_clients_connect_is_clean(tmp_path: Path) -> None:
    """They wait for a broker that takes connections and says nothing; the stop does not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", _PAST_THE_TOPICS, server, str(tmp_path / "data")],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until_said(process, "worker starts")
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                assert "worker stopped" in stops(process, signal.SIGTERM)
        finally:
            process.kill()
            process.communicate()


@pytest.mark.broker
def test_a_stop_while_the_broker_hangs_is_clean(tmp_path: Path) -> None:
    """At any moment of the start, on a broker that freezes: the stop does not wait for it."""
    if missing := missing_for_kafka():
        pytest.skip(" ".join(missing))
    with LocalBroker(data_dir=tmp_path / "kafka") as broker:
        for number, seconds in enumerate((0.15, 0.6, 1.5)):
            environ = {
                **os.environ,
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "POINTSTREAM_DATA_DIR": str(tmp_path / f"data-{number}"),
                "POINTSTREAM_WEB_PORT": "0",
            }
            command = [sys.executable, "-m", "pointstream", "worker"]
            process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
            try:
                until_said(process, "worker starts")
                time.sleep(seconds)
                broker.pause()
                time.sleep(0.2)
                assert "worker stopped" in stops(process, signal.SIGTERM)
            finally:
                process.kill()
                process.communicate()
                broker.resume()


def broken() -> None:
    try:
        raise ValueError("the web server broke")
    except ValueError:
        sys.exit(1)


def ends(how: Any) -> Callable[[], None]:
    def end() -> None:
        raise how

    return end


@pytest.mark.parametrize(
    ("execute", "told", "status", "fault"),
    [
        (ends(SystemExit()), False, 0, None),
        (ends(SystemExit(0)), False, 0, None),
        (broken, False, EXIT_FAULT, "ValueError"),
        (ends(SystemExit("words")), False, EXIT_FAULT, "one of its services ended"),
        (ends(asyncio.CancelledError("lost")), False, EXIT_FAULT, "CancelledError"),
        (ends(OSError("no such address")), False, EXIT_FAULT, "no such address"),
        (broken, True, 0, None),
    ],
)
def test_a_crash_of_a_faust_service_is_a_fault(
    execute: Callable[[], None],
    told: bool,
    status: int,
    fault: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whatever Faust makes of it: one line, the status that a supervisor starts anew on, and a
    count of it for the next process to tell."""
    said: list[tuple[str, dict[str, Any]]] = []
    log = SimpleNamespace(
        info=lambda event, **fields: said.append((event, fields)),
        critical=lambda event, **fields: said.append((event, fields)),
    )
    monkeypatch.setattr(worker_app, "logger", log)
    worker: Any = SimpleNamespace(
        execute_from_commandline=execute, crash_reason=None, told_to_stop=lambda: told
    )

    metrics = Metrics(data_dir=tmp_path)

    assert worker_app._execute(worker, metrics) == status

    assert sum(metrics.faults().values()) == (fault is not None and "services" not in fault)
    ((event, fields),) = said
    if fault is None:
        assert event == "worker stopped"
    else:
        assert event.startswith("worker stops on a fault")
        assert fields["reason"] == fault
