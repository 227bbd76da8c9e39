"""Distances and speeds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.fraud.geo import distance_km, most_km, too_fast

PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((31.2304, 121.4737), (39.9042, 116.4074), 1067),
        ((51.4700, -0.4543), (40.6413, -73.7781), 5540),
        ((0.0, 0.0), (0.0, 180.0), 20015),
        ((90.0, 0.0), (-90.0, 77.0), 20015),
        ((0.0, 179.9), (0.0, -179.9), 22),
        ((12.5, 99.0), (12.5, 99.0), 0),
    ],
)
def test_distances_are_those_of_the_map(
    one: tuple[float, float], other: tuple[float, float], km: int
) -> None:
    """Also over the poles and the date line."""
    assert distance_km(*one, *other) == distance_km(*other, *one) == km


@given(PLACES, PLACES)
def test_no_distance_is_more_than_the_way_around_the_corner(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    """So what that tells to be near needs no more looking at."""
    assert distance_km(*one, *other) < most_km(*one, *other)


def test_a_speed_is_too_fast_above_the_limit() -> None:
    """At the limit it is not, and no time at all is too little for any distance."""
    assert not too_fast(900, 3_600_000, 900)
    assert too_fast(901, 3_600_000, 900)
    assert too_fast(1, 0, 900)
    assert not too_fast(0, 0, 900)
