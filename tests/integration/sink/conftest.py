"""The fixtures of the sink's tests; `deploy` is that of the cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cases.conftest import deploy

from programs import postgresql_bin

from .connect import DEPLOY
from .postgres import Postgres

__all__ = ["database", "deploy"]


@pytest.fixture
def database() -> Iterator[Postgres]:
    """A PostgreSQL with the sink's tables and views."""
    with Postgres(postgresql_bin()) as running:
        running.run(DEPLOY / "tables.sql", DEPLOY / "views.sql")
        yield running
