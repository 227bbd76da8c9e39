"""Windows by event time: sliding ones, exact to the millisecond, and ones made of whole buckets.

A window of the length W is half-open, [s, s + W): two events exactly W apart are in no window
together. An event at t is in all windows with t - W < s <= t, so whatever arrives late is counted
where it belongs: among the events between t - W and t + W, both exclusive.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Busiest", "busiest", "busiest_run"]


class Busiest(NamedTuple):
    """The fullest window that contains a moment."""

    total: int
    first: int
    """The place of its first value."""
    stop: int
    """The place after its last value."""


def busiest(
    times_ms: Sequence[int], values: Sequence[int] | None, at_ms: int, within_ms: int
) -> Busiest:
    """Return the window with the largest sum among those of a length that contain `at_ms`.

    `times_ms` is sorted and has `at_ms` in it; `values` are at least 0, in the same order, or None
    for one each. Of windows with equal sums the earliest is returned. It looks at each value
    between `at_ms - within_ms` and `at_ms + within_ms` twice.
    """
    first = bisect_left(times_ms, at_ms - within_ms + 1)
    stop = first
    total = 0
    best = Busiest(-1, first, first)
    end = len(times_ms)
    # With values of at least 0, no window is fuller than the one that begins at its first value.
    while first < end and times_ms[first] <= at_ms:
        until_ms = times_ms[first] + within_ms
        while stop < end and times_ms[stop] < until_ms:
            total += 1 if values is None else values[stop]
            stop += 1
        if total > best.total:
            best = Busiest(total, first, stop)
        total -= 1 if values is None else values[first]
        first += 1
    return best


def busiest_run(sums: Sequence[Sequence[int]], bucket: int, length: int) -> int:
    """Return the largest sum over `length` buckets in a row of which `bucket` is one.

    `sums` has pairs of a bucket's number and its sum, at least 0, in rising order.
    """
    near = [(number, value) for number, value in sums if abs(number - bucket) < length]
    best = 0
    for start, _ in (*near, (bucket, 0)):
        if start <= bucket:
            inside = (value for number, value in near if start <= number < start + length)
            best = max(best, sum(inside))
    return best
