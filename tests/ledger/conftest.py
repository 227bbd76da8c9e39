"""Tests of numbered cases run twice: on the bare ledger, and through the whole job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from driver_bench import DriverBench
from ledger_support import Bench


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("case"):
        bare = metafunc.definition.get_closest_marker("bare_ledger")
        ways = ["ledger"] if bare else ["ledger", "driver"]
        metafunc.parametrize("through", ways, indirect=True)


@pytest.fixture(autouse=True)
def through(request: pytest.FixtureRequest) -> Iterator[str]:
    """What a test's `Bench` drives: the `ledger`, or the job on the engine's test `driver`."""
    way = getattr(request, "param", "ledger")
    Bench.stand_in = DriverBench if way == "driver" else None
    yield way
    Bench.stand_in = None
