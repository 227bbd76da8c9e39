"""Fixtures that more than one part of the suite needs: the broker, started once a session."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from pointstream.operations.broker import Broker, broker_for_run

# Tables are as wide as the terminal was when the command line was imported. Whoever does that
# first, it is one width for all tests.
os.environ["COLUMNS"] = "200"

_COUNTER = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the broker, wherever it forgot to say so.

    `make test` runs all others in several processes: each would start a Kafka of its own.
    """
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker("broker")


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A running single-node Kafka, shared by the session; use names of your own on it."""
    with broker_for_run(say=lambda text: print(text, file=sys.stderr)) as running:
        yield running


@pytest.fixture
def bootstrap_servers(broker: Broker) -> str:
    """``host:port`` of the session's broker."""
    return broker.bootstrap_servers


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Names that no other test of this or another run on the same broker has."""

    def name(stem: str) -> str:
        return f"{stem}-{os.getpid()}-{next(_COUNTER)}"

    return name


@pytest.fixture
def topic_prefix(unique_name: Callable[[str], str]) -> str:
    """A topic prefix of the test's own, so that tests share a broker but no record."""
    return unique_name("test") + "."
