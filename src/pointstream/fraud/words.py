"""How spans and amounts are said in the sentence that a reviewer reads."""

from __future__ import annotations

from collections.abc import Sequence

from pointstream.contracts.detectors import Measure

__all__ = ["amount", "kinds", "span"]

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def span(seconds: int) -> str:
    """Return a span in its largest whole unit: 90 seconds, 2 hours."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
    return f"{seconds} seconds"


def amount(measure: Measure, value: int) -> str:
    """Return a number with what it counts."""
    if measure is Measure.EVENTS:
        return f"{value} event" if value == 1 else f"{value} events"
    if measure is Measure.POINTS:
        return f"{value} points"
    return f"{value // 100}.{value % 100:02d} in money"


def kinds(types: Sequence[str]) -> str:
    """Return event types as a list in a sentence."""
    return types[0] if len(types) == 1 else f"{', '.join(types[:-1])} or {types[-1]}"
