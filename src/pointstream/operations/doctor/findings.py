"""What the doctor says: one finding per thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Level", "problem", "right", "unknown", "worth_a_look"]


class Level(StrEnum):
    """How bad it is."""

    RIGHT = "right"
    UNKNOWN = "unknown"
    """Could not be looked at, by the rights or the means that there are."""
    LOOK = "look"
    """Does no harm yet, or perhaps none."""
    PROBLEM = "problem"
    """Stops work, or may lose or delay points."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing."""

    check: str
    level: Level
    message: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


def right(check: str, message: str) -> Finding:
    """As it must be."""
    return Finding(check, Level.RIGHT, message)


def unknown(check: str, message: str, remedy: str) -> Finding:
    """Could not be looked at."""
    return Finding(check, Level.UNKNOWN, message, remedy)


def worth_a_look(check: str, message: str, remedy: str) -> Finding:
    """Not wrong by itself."""
    return Finding(check, Level.LOOK, message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Wrong."""
    return Finding(check, Level.PROBLEM, message, remedy)
