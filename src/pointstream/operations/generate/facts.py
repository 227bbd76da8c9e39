"""What is fixed about members: where they are on a day, which telephones and addresses they use.

All of it is computed from a member's number, so that nothing has to be remembered. Honest people
are not simple: households share a tablet, telephones are replaced, a few are away on some days, and
a shop's guests share its address.
"""

from __future__ import annotations

from pointstream.operations.chain import (
    DAY_MS,
    HOUR_MS,
    LOCAL_OFFSET_MS,
    SHOPS,
    Shop,
    local_midnight_ms,
)

__all__ = ["address_of", "at_night", "device_of", "fixed", "guest_address", "home_of", "shops_near"]

_MASK = (1 << 64) - 1
_MONTH_DAYS = 28
_TELEPHONE_DAYS = 240
_SHOPS_OF: dict[str, tuple[Shop, ...]] = {
    city: tuple(shop for shop in SHOPS if shop.city == city) for city in {s.city for s in SHOPS}
}
_CITIES = tuple(sorted(_SHOPS_OF))


def fixed(number: int, salt: int) -> int:
    """Return 64 bits that are fixed for a number and look like chance.

    The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), over the number and the salt.
    """
    mixed = (number * 0x9E3779B97F4A7C15 + (salt + 1) * 0xD1342543DE82EF95) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def home_of(member: int) -> Shop:
    """Return the shop that a member mostly goes to."""
    return SHOPS[member * 7919 % len(SHOPS)]


def at_night(at_ms: int) -> bool:
    """Tell whether the counters are closed: between local midnight and six."""
    return at_ms - local_midnight_ms(at_ms) < 6 * HOUR_MS


def shops_near(member: int, at_ms: int) -> tuple[Shop, ...]:
    """Return the shops of the city that a member is in on a local day.

    One in five is away once in four weeks, for two to four days. Nobody travels but at night.
    """
    month, day = divmod((at_ms + LOCAL_OFFSET_MS) // DAY_MS, _MONTH_DAYS)
    chance = fixed(member, 1_000 + month)
    city = home_of(member).city
    if chance % 5 == 0:
        begins = (chance >> 8) % (_MONTH_DAYS - 5)
        if begins <= day < begins + 2 + (chance >> 16) % 3:
            city = _CITIES[(chance >> 24) % len(_CITIES)]
    return _SHOPS_OF[city]


def device_of(member: int, at_ms: int) -> str:
    """Return the telephone that a member uses, or the tablet of the household."""
    household = member // 3
    if fixed(household, 2) % 100 < 12:
        return f"D-H{household:06d}"
    # Everybody buys a new one now and then, each on another day.
    day = (at_ms + LOCAL_OFFSET_MS) // DAY_MS + fixed(member, 3) % _TELEPHONE_DAYS
    return f"D-{member:06d}-{day // _TELEPHONE_DAYS % 100}"


def address_of(member: int, at_ms: int) -> str:
    """Return the address of a member's home, which the provider changes every week."""
    week = (at_ms + LOCAL_OFFSET_MS) // (7 * DAY_MS)
    bits = fixed(member, 5_000 + week)
    return f"10.{bits & 255}.{bits >> 8 & 255}.{1 + (bits >> 16) % 254}"


def guest_address(shop: Shop) -> str:
    """Return the address that all guests of a shop's network share."""
    return f"198.51.100.{int(shop.store_id[2:])}"
