"""Workers that are killed and frozen at random lose nothing and double nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from .drive import FaultPlan, driving, ride
from .fleet import Fleet

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


def test_workers_killed_and_frozen_at_random_count_every_input_once(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Six kill -9 and two SIGSTOPs past the session timeout leave no gap, no double, no lag."""
    plan = FaultPlan(seed=20_261, kills=6, freezes=2)

    async def scenario(fleet: Fleet) -> None:
        async with driving(fleet, seed=plan.seed, events=24_000, members=600) as drive:
            await ride(drive, plan)

    with Fleet(3, tmp_path, bootstrap_servers, unique_name("chaos")) as fleet:
        asyncio.run(scenario(fleet))
