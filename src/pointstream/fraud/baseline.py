"""What is usual for an entity, from its own history, and robust against a few odd days.

The centre is the median, the spread the median absolute deviation (MAD), scaled so that for
normally distributed values it estimates the standard deviation: 1.4826 = 1 / 0.6745 (F. R. Hampel,
"The influence curve and its role in robust estimation", JASA 69, 1974; P. J. Rousseeuw and
C. Croux, "Alternatives to the median absolute deviation", JASA 88, 1993). Half of the history can
be wrong before either goes astray, so a thief's own days do not soon make theft usual.

Everything is in whole numbers: the same history gives the same threshold on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["median_and_mad", "threshold"]

_SCALE: Final = 14_826
_ONE: Final = 10_000


def median_and_mad(history: Sequence[int]) -> tuple[int, int]:
    """Return four times the median and the MAD of at least one value: whole numbers, and exact."""
    doubled = _median_doubled(history)
    return 2 * doubled, _median_doubled([abs(2 * value - doubled) for value in history])


def threshold(history: Sequence[int], *, factor: int, floor: int, min_history: int) -> int:
    """Return what a value must exceed to be a spike.

    That is the median plus `factor` scaled deviations, and never less than `floor`. Of a history
    of fewer than `min_history` values, or one without any spread, the floor alone decides, as long
    as it is above what is there always.
    """
    if len(history) < max(min_history, 1):
        return floor
    median, mad = median_and_mad(history)
    # Rounded down: the values are whole, so more than 10.5 and more than 10 are the same.
    return max(floor, (median * _ONE + factor * mad * _SCALE) // (4 * _ONE))


def _median_doubled(values: Sequence[int]) -> int:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return 2 * ordered[middle]
    return ordered[middle - 1] + ordered[middle]
