"""The whole job in memory: the processor on the engine's test driver."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.engine.driver import EngineTestDriver
from pointstream.ledger import Ledger
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

NewDriver = Callable[..., EngineTestDriver]


@pytest.fixture(scope="session")
def new_driver() -> Iterator[NewDriver]:
    """Makes a driver of the job with the programme that comes along."""
    programme = compile_programme(load_programme())
    made: list[EngineTestDriver] = []

    def new(
        *,
        dedupe: bool = True,
        partitions: int = 1,
        other: CompiledProgramme | None = None,
        **settings: Any,
    ) -> EngineTestDriver:
        driver = EngineTestDriver(
            lambda partition: PointsProcessor(
                Ledger(other or programme, dedupe=dedupe), partitions=partitions
            ),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=partitions,
            **settings,
        )
        made.append(driver)
        return driver

    yield new
    for driver in made:
        driver.close()
