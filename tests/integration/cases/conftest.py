"""The fixture of the cases: a deployment of one's own on the broker that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .deployment import Deployment

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Deploy]:
    """Makes deployments with a programme each, started unless `start=False`; see `Deployment`."""
    made: list[Deployment] = []

    def new(
        programme: Mapping[str, Any] | None = None, *, start: bool = True, **how: Any
    ) -> Deployment:
        name = unique_name("case")
        made.append(Deployment(bootstrap_servers, name, tmp_path / name, programme or {}, **how))
        if start:
            made[-1].start()
        return made[-1]

    try:
        yield new
        for deployment in made:
            deployment.finish()
    finally:
        for deployment in made:
            deployment.close()
