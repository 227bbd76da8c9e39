"""The golden samples: records of every type that must be understood for ever."""

import json
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = Path(__file__).parents[2] / "schemas"


def samples(direction: str) -> list[tuple[str, dict[str, Any]]]:
    """All samples of `inputs` or `outputs`, each with the name of its record."""
    return [
        (path.name.removesuffix(".jsonl"), json.loads(line))
        for path in sorted((GOLDEN / direction).glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def sample(name: str, number: int = 0) -> dict[str, Any]:
    """One input sample; number 0 has little more than the required fields."""
    return [value for sample_name, value in samples("inputs") if sample_name == name][number]


def key_of(value: dict[str, Any]) -> bytes:
    """The key that a record with this body has."""
    field = {
        "ruleset.published": "ruleset_id",
        "detectors.published": "detector_set_id",
        "item.published": "item_id",
    }.get(value["type"], "member_id")
    return value[field].encode()


@cache
def schema(path: str) -> dict[str, Any]:
    """One generated schema; not to be changed."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{path}.schema.json").read_text())
    return loaded
