"""What every story is told with: chance, members, shops, envelopes, and what comes later."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from random import Random
from typing import Any

from pointstream.contracts.wire import rfc3339
from pointstream.operations.chain import Shop
from pointstream.operations.generate.facts import (
    address_of,
    at_night,
    device_of,
    guest_address,
    home_of,
    shops_near,
)
from pointstream.operations.generate.plan import StreamPlan, member_name

__all__ = ["Event", "Events"]

# Stories waiting to be continued: the bound that keeps memory constant (a few MB).
_MAX_FOLLOW_UPS = 20_000

Event = dict[str, Any]


class Events:
    """The plan's dice and counters, and the small tools of those who tell with them."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._random = Random(plan.seed).random
        self._mark = plan.mark
        self._joined = 0
        self._numbered = 0
        self._orders = 0
        self._follow_ups: list[tuple[int, int, Callable[..., Event], tuple[Any, ...]]] = []
        self._waiting = 0
        self._fraudsters: set[int] = set()
        self._episodes = 0

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _between(self, least: int, most: int) -> int:
        return least + int(self._random() * (most - least + 1))

    def _someone(self) -> int:
        """A member who has joined; the longer ago, the more often in the shops."""
        chance = self._random()
        return int(self._joined * chance * (0.35 + 0.65 * chance))

    def _later(
        self, due_ms: int, build: Callable[..., Event], *details: Any, kept: bool = False
    ) -> None:
        """Let something follow when it is due; `kept` even where too much is waiting already."""
        if (kept or len(self._follow_ups) < _MAX_FOLLOW_UPS) and due_ms < self._plan.end_ms:
            self._waiting += 1
            heappush(self._follow_ups, (due_ms, self._waiting, build, details))

    def _event(self, kind: str, member: int, at_ms: int, **fields: Any) -> Event:
        self._numbered += 1
        return {
            "event_id": f"{self._mark}-{self._numbered}",
            "type": kind,
            "member_id": member_name(member),
            "occurred_at": rfc3339(at_ms),
            **fields,
        }

    def _visit(self, member: int, at_ms: int) -> tuple[Shop, str]:
        """Where a member shops today, mostly the home shop, and through which channel."""
        chance = self._random()
        near = shops_near(member, at_ms)
        home = home_of(member)
        shop = home if chance < 0.8 and home in near else near[self._below(len(near))]
        channel = ("pos", "pos", "pos", "miniapp", "app", "web")[self._below(6)]
        if channel == "pos" and at_night(at_ms):
            channel = "miniapp"
        return shop, channel

    def _through(self, member: int, shop: Shop, channel: str, at_ms: int) -> Event:
        """The envelope fields that a channel knows about a visit."""
        fields: Event = {
            "store_id": shop.store_id,
            "brand_id": shop.brand_id,
            "channel": channel,
            "source": "till" if channel == "pos" else "mall",
        }
        if channel != "pos":
            fields["device_id"] = device_of(member, at_ms)
            guest = channel == "miniapp" and self._random() < 0.2
            fields["ip"] = guest_address(shop) if guest else address_of(member, at_ms)
        elif shop in shops_near(member, at_ms):
            fields["geo"] = shop.geo
        # Else somebody returns it by parcel: nobody stands at the counter.
        return fields
