"""What a process reads from its environment."""

from __future__ import annotations

import os
import socket

import pytest
from pydantic import ValidationError

from pointstream.operations.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_") or name == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(name)


def test_the_environment_is_read_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """POINTSTREAM_ and the field's name in capitals."""
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "24")
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", "chain-7.")

    settings = Settings()

    assert (settings.partitions, settings.topic_prefix) == (24, "chain-7.")


def test_the_brokers_are_named_as_other_kafka_programs_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KAFKA_BOOTSTRAP_SERVERS carries no prefix of ours."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b:9093")

    assert Settings().bootstrap_servers == "a:9092,b:9093"


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line says is meant more than what the shell happens to hold."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:9092")
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "24")

    settings = Settings(bootstrap_servers="b:9092", partitions=6)

    assert (settings.bootstrap_servers, settings.partitions) == ("b:9092", 6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partitions", 0),
        ("bootstrap_servers", "localhost"),
        ("bootstrap_servers", "a:1, b:2"),
        ("app_id", "with space"),
        ("topic_prefix", "a/b"),
        ("web_port", 70_000),
        ("advertised_url", "worker-1.example"),
        ("advertised_url", "ftp://worker-1.example:6066"),
        ("advertised_url", "http://worker-1.example:6066/status"),
        ("max_batch_records", 0),
        ("group_instance_id", "worker 1"),
        ("unheard_of", 1),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(field: str, value: object) -> None:
    """The error names the setting, so that the operator finds the variable."""
    with pytest.raises(ValidationError) as refused:
        Settings(**{field: value})

    assert field.lower() in str(refused.value).lower()


def test_a_session_outlives_a_lost_heartbeat() -> None:
    """Whatever the session timeout, two heartbeats fit into it."""
    settings = Settings(session_timeout_ms=2_000)

    assert 0 < settings.heartbeat_interval_ms * 2 < settings.session_timeout_ms


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:6066"),
        ({"web_host": "10.1.2.3", "web_port": 7000}, "http://10.1.2.3:7000"),
        ({"web_host": "fd00::7"}, "http://[fd00::7]:6066"),
        ({"web_host": "0.0.0.0"}, f"http://{socket.gethostname()}:6066"),
        (
            {"web_host": "0.0.0.0", "advertised_url": "http://worker-1.example:80"},
            "http://worker-1.example:80",
        ),
    ],
)
def test_other_workers_are_told_an_address_that_leads_here(
    given: dict[str, object], url: str
) -> None:
    """What it is bound to, this machine's name when that is every address, or what is said."""
    assert Settings(**given).web_url == url
