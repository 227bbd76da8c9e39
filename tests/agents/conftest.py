"""The whole job in memory: the processor on the engine's test driver."""

from collections.abc import Callable, Iterator

import pytest

from pointstream.agents.processor import MEMBER_INPUTS, TICKS, PointsProcessor
from pointstream.engine.driver import EngineTestDriver
from pointstream.ledger import Ledger
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme

NewDriver = Callable[..., EngineTestDriver]


@pytest.fixture(scope="session")
def new_driver() -> Iterator[NewDriver]:
    """Makes a driver of the job with the programme that comes along."""
    programme = compile_programme(load_programme())
    made: list[EngineTestDriver] = []

    def new(*, dedupe: bool = True, **settings: object) -> EngineTestDriver:
        driver = EngineTestDriver(
            lambda partition: PointsProcessor(Ledger(programme, dedupe=dedupe)),
            inputs=[f"points.{suffix}" for suffix in MEMBER_INPUTS],
            ticks=f"points.{TICKS}",
            **settings,
        )
        made.append(driver)
        return driver

    yield new
    for driver in made:
        driver.close()
