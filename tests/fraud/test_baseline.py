"""What is usual, and what is a spike."""

from __future__ import annotations

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from pointstream.fraud.baseline import median_and_mad, threshold

HISTORY = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)


@given(HISTORY)
def test_median_and_mad_are_exact(history: list[int]) -> None:
    """Both come four times as large, so that halves of halves are whole numbers."""
    centre, spread = median_and_mad(history)
    assert centre == 4 * median(history)
    assert spread == 4 * median([abs(value - median(history)) for value in history])


@given(HISTORY, st.integers(1, 20), st.integers(0, 1_000), st.integers(2, 30))
def test_a_threshold_is_never_below_the_floor(
    history: list[int], factor: int, floor: int, min_history: int
) -> None:
    """With too short a history it is the floor."""
    limit = threshold(history, factor=factor, floor=floor, min_history=min_history)
    assert limit >= floor
    if len(history) < min_history:
        assert limit == floor


def test_without_spread_the_floor_decides() -> None:
    """Nothing is divided by it, and a day like every other is no spike."""
    assert threshold([10] * 9, factor=6, floor=50, min_history=5) == 50
    assert threshold([70] * 9, factor=6, floor=50, min_history=5) == 70


def test_a_few_odd_days_do_not_make_theft_usual() -> None:
    """Median and MAD bear almost half of the history being wrong."""
    honest = [90, 95, 100, 105, 110, 100, 100]
    assert threshold([*honest, 5_000, 5_000, 5_000], factor=6, floor=0, min_history=5) < 250
