"""How far apart two places are, and whether anybody gets from one to the other in time.

Distances are great circles on a sphere of the Earth's mean radius (haversine formula: R. W.
Sinnott, "Virtues of the Haversine", Sky and Telescope 68, 1984), within 0.6 % of those on the
ellipsoid. They are rounded to whole kilometres.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Final

__all__ = ["distance_km", "most_km", "too_fast"]

_EARTH_KM: Final = 6371.0088
_HOUR_MS: Final = 3_600_000
_DEGREE_KM: Final = 111.2
"""A degree of latitude, and the most that one of longitude is, a little more than `radians(1)` of
the Earth."""


def distance_km(lat: float, lon: float, other_lat: float, other_lon: float) -> int:
    """Return the distance of two places, given in degrees, in km, 0 to 20,015."""
    one, other = radians(lat), radians(other_lat)
    half = sin((other - one) / 2) ** 2
    half += cos(one) * cos(other) * sin(radians(other_lon - lon) / 2) ** 2
    return round(2 * _EARTH_KM * asin(sqrt(min(1.0, half))))


def most_km(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Return what `distance_km` is less than: the way along a meridian and then a parallel, and one
    for the rounding. It takes a tenth of the time."""
    return (abs(lat - other_lat) + abs(lon - other_lon)) * _DEGREE_KM + 1


def too_fast(km: int, apart_ms: int, max_kmh: int) -> bool:
    """Tell whether a distance in so much time takes more than a speed. No time is too little."""
    return km * _HOUR_MS > max_kmh * abs(apart_ms)
