"""Whoever is not let in learns why, at once: nothing hangs, nothing is tried for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner

from pointstream.cli.app import app
from pointstream.operations.acls import Role

from .conftest import World

pytestmark = pytest.mark.broker

#: Generous for a busy machine; a client by itself would try for 40 s, a worker for ever.
_PROMPTLY_SECONDS = 20.0
WRONG = "certainly-wrong"


def pointstream(world: World, user: str, *arguments: str, **other: Any) -> tuple[int, str]:
    """Exit code and what it said, together."""
    environ = {**world.environ(user, **other), "COLUMNS": "500", "TERM": "dumb"}
    began = time.monotonic()
    if arguments[0] == "worker":
        # It handles signals, for which it needs a process of its own.
        done = subprocess.run(
            [sys.executable, "-m", "pointstream", *arguments],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        code, said = done.returncode, done.stdout + done.stderr
    else:
        result = CliRunner().invoke(app, list(arguments), env=environ)
        code, said = result.exit_code, result.output
    assert time.monotonic() - began < _PROMPTLY_SECONDS
    assert "Traceback" not in said
    assert not any(secret in said for secret in (*world.passwords.values(), WRONG))
    return code, said


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def unknown_ca(tmp_path: Path) -> Path:
    file = tmp_path / "unknown.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return file


@pytest.mark.parametrize("command", [("topics", "check"), ("worker", "--web-port", "0")])
def test_a_wrong_password_is_told_at_once(
    world: World, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Which user, which setting; a worker ends with 2, for a new start would not help."""
    code, said = pointstream(
        world,
        Role.WORKER,
        *command,
        kafka_password=WRONG,
        data_dir=tmp_path,
    )

    assert "does not let the user worker in with this password (SCRAM-SHA-512)" in said
    assert "kafka_password" in said
    assert code == (2 if command[0] == "worker" else 1)


def test_a_broker_that_cannot_be_trusted_is_told_at_once(world: World, unknown_ca: Path) -> None:
    """Before anything is said to it; the password above all."""
    code, said = pointstream(world, Role.WORKER, "topics", "check", kafka_ca_file=unknown_ca)

    assert "its certificate cannot be trusted" in said
    assert "POINTSTREAM_KAFKA_CA_FILE" in said
    assert code == 1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {
                "kafka_security_protocol": None,
                "kafka_ca_file": None,
                "kafka_sasl_mechanism": None,
                "kafka_username": None,
                "kafka_password": None,
            },
            "does its listener fit kafka_security_protocol PLAINTEXT?",
        ),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca_file": None},
            "does its listener fit kafka_security_protocol SASL_PLAINTEXT?",
        ),
    ],
)
def test_a_client_that_speaks_in_the_clear_is_told_so(
    world: World, other: dict[str, Any], words: str
) -> None:
    """The broker only closes the connection; the setting is named."""
    code, said = pointstream(world, Role.OPERATOR, "topics", "check", **other)

    assert words in said
    assert code == 1


def test_the_demo_tells_why_it_is_not_let_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to the broker that is named, as whoever the settings say."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", world.broker.bootstrap_servers)

    code, said = pointstream(world, Role.OPERATOR, "demo", kafka_password=WRONG)

    assert "does not let the user operator in" in said
    assert code == 1


def test_a_token_that_is_refused_is_told(world: World, tmp_path: Path) -> None:
    """The client library by itself would take the refusal for a welcome."""
    (tmp_path / "token").write_text("no.token.")

    code, said = pointstream(
        world,
        Role.OPERATOR,
        "topics",
        "check",
        kafka_sasl_mechanism="OAUTHBEARER",
        kafka_username=None,
        kafka_password=None,
        kafka_oauth_token_file=tmp_path / "token",
    )

    assert "does not take this client's token" in said
    assert code == 1


def test_a_client_without_its_certificate_is_told(world: World) -> None:
    """Where the broker asks for one."""
    code, said = pointstream(
        world,
        Role.OPERATOR,
        "topics",
        "check",
        bootstrap_servers=world.broker.tls_servers,
        kafka_security_protocol="SSL",
        kafka_sasl_mechanism=None,
        kafka_username=None,
        kafka_password=None,
    )

    assert "kafka_client_cert_file" in said
    assert code == 1


@pytest.mark.parametrize("command", [("topics", "check"), ("worker", "--web-port", "0")])
def test_whoever_lacks_a_right_is_told_where_they_are_listed(
    world: World, command: tuple[str, ...], tmp_path: Path
) -> None:
    """`topics acls` prints them; a worker ends with 2."""
    code, said = pointstream(world, "nobody", *command, data_dir=tmp_path)

    assert "TopicAuthorizationFailedError" in said
    assert "`pointstream topics acls` prints what each role must be allowed" in said
    assert code == (2 if command[0] == "worker" else 1)
