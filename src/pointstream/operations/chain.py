"""The chain of shops that generated streams come from: its cities, shops, products and hours.

Plain data and the few functions that read it. Prices are minor units of CNY; opening hours are
local time of the chain (UTC+08:00, no summer time).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

__all__ = [
    "ACTIVITIES",
    "CURRENCY",
    "DAY_MS",
    "HOUR_MS",
    "LOCAL_OFFSET_MS",
    "MINUTE_MS",
    "PRODUCTS",
    "SEGMENTS",
    "SHOPS",
    "Product",
    "Shop",
    "day_quantile",
    "local_midnight_ms",
    "moment_of",
    "trade_until",
]

CURRENCY = "CNY"
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LOCAL_OFFSET_MS = 8 * HOUR_MS


class Shop(NamedTuple):
    """One shop of the chain; `geo` is latitude and longitude in degrees."""

    store_id: str
    brand_id: str
    city: str
    geo: dict[str, float]


class Product(NamedTuple):
    """One article; `earns` is false for what no programme rewards, such as gift cards."""

    sku: str
    category: str
    price_minor: int
    earns: bool


_CITIES = (
    ("shanghai", 31.2304, 121.4737, 9),
    ("beijing", 39.9042, 116.4074, 7),
    ("guangzhou", 23.1291, 113.2644, 6),
    ("shenzhen", 22.5431, 114.0579, 6),
    ("chengdu", 30.5728, 104.0668, 5),
    ("hangzhou", 30.2741, 120.1551, 4),
    ("xian", 34.3416, 108.9398, 3),
)
_BRANDS = ("leaf", "hearth")


def _open_shops() -> tuple[Shop, ...]:
    shops: list[Shop] = []
    for city, lat, lon, count in _CITIES:
        for nth in range(count):
            number = len(shops) + 1
            # Shops of one city lie a kilometre or so apart, on a small grid around its centre.
            geo = {
                "lat": round(lat + 0.012 * (nth % 3), 4),
                "lon": round(lon + 0.012 * (nth // 3), 4),
            }
            shops.append(Shop(f"S-{number}", _BRANDS[number % len(_BRANDS)], city, geo))
    return tuple(shops)


SHOPS = _open_shops()

_SHELVES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("coffee", (1800, 2200, 2600, 3200)),
    ("tea", (1600, 1900, 2400, 6800)),
    ("bakery", (800, 1200, 1500, 2800, 16800)),
    ("lunch", (2900, 3600, 4200, 5800)),
    ("home", (4900, 8900, 12900, 29900)),
    ("kitchen", (6900, 15900, 45900, 89900)),
    ("care", (3900, 5900, 11900)),
)

PRODUCTS: tuple[Product, ...] = (
    *(
        Product(f"{category.upper()}-{nth:02d}", category, price, True)
        for category, prices in _SHELVES
        for nth, price in enumerate(prices, start=1)
    ),
    Product("GIFTCARD-01", "gift-card", 20000, False),
    Product("BAG-01", "bag", 50, False),
)

ACTIVITIES = (
    "review.posted",
    "lottery.won",
    "groupbuy.joined",
    "profile.completed",
    "sale.closed",
)
SEGMENTS = ("student", "family", "office", "newcomer", "vip-lounge", "night-owl")

# How much of a day's trade falls into each local hour: the night belongs to the web shop, noon and
# the early evening to the counters.
_HOURLY = (3, 2, 1, 1, 1, 2, 8, 25, 45, 50, 55, 75, 95, 80, 60, 55, 60, 80, 100, 95, 75, 50, 25, 10)
_CUMULATED = (0, *accumulate(_HOURLY))
_TOTAL = _CUMULATED[-1]


def local_midnight_ms(moment_ms: int) -> int:
    """The latest local midnight at or before the moment, both in ms since the epoch."""
    return moment_ms - (moment_ms + LOCAL_OFFSET_MS) % DAY_MS


def trade_until(moment_ms: int) -> float:
    """Days' worth of trade between the epoch and the moment: whole local days plus a part."""
    days, within_ms = divmod(moment_ms + LOCAL_OFFSET_MS, DAY_MS)
    hour, rest_ms = divmod(within_ms, HOUR_MS)
    return days + (_CUMULATED[hour] + _HOURLY[hour] * rest_ms / HOUR_MS) / _TOTAL


def moment_of(trade: float) -> int:
    """The moment, in ms since the epoch, until which so much trade was done: of `trade_until`."""
    days = int(trade)
    return days * DAY_MS - LOCAL_OFFSET_MS + day_quantile(trade - days)


def day_quantile(share: float) -> int:
    """Milliseconds after local midnight by which this share (0 to 1) of a day's trade is done."""
    wanted = share * _TOTAL
    hour = min(bisect_right(_CUMULATED, wanted) - 1, 23)
    return hour * HOUR_MS + int((wanted - _CUMULATED[hour]) / _HOURLY[hour] * HOUR_MS)
