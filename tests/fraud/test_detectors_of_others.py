"""What detectors of devices, networks and shops may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pointstream.contracts.detectors import Detector

DETECTOR: TypeAdapter[Any] = TypeAdapter(Detector)


def velocity(entity: str, limit: int, within: str) -> Any:
    body = {
        "kind": "velocity",
        "id": "v",
        "entity": entity,
        "types": ["order.paid"],
        "limit": limit,
        "within": within,
    }
    return DETECTOR.validate_python(body)


@pytest.mark.parametrize("entity", ["device", "ip", "ip24", "ip64"])
@pytest.mark.parametrize("within", ["PT1H", "P7D"])
def test_events_of_places_are_counted_up_to_what_is_kept(entity: str, within: str) -> None:
    """A limit that could never be seen to be exceeded is refused."""
    assert velocity(entity, 200, within).limit == 200
    with pytest.raises(ValidationError, match=f"events of a {entity} are counted one by one"):
        velocity(entity, 201, within)


@pytest.mark.parametrize("entity", ["store", "staff"])
def test_sums_of_shops_have_no_such_limit(entity: str) -> None:
    """They are added up in buckets."""
    assert velocity(entity, 1_000_000, "PT1H").limit == 1_000_000
