"""What every story is told with: chance, members, shops, envelopes, and what comes later."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from pointstream.contracts.wire import rfc3339
from pointstream.operations.chain import SHOPS, Shop
from pointstream.operations.generate.plan import StreamPlan, member_name

__all__ = ["Event", "Events"]

# Stories waiting to be continued: the bound that keeps memory constant (a few MB).
_MAX_FOLLOW_UPS = 20_000

Event = dict[str, Any]


class Events:
    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._random = Random(plan.seed).random
        self._mark = plan.mark
        self._joined = 0
        self._numbered = 0
        self._orders = 0
        self._follow_ups: list[tuple[int, int, Callable[..., Event], tuple[Any, ...]]] = []
        self._waiting = 0
        self._topics: dict[str, str] = {}

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _between(self, least: int, most: int) -> int:
        return least + int(self._random() * (most - least + 1))

    def _someone(self) -> int:
        """A member who has joined; the longer ago, the more often in the shops."""
        chance = self._random()
        return int(self._joined * chance * (0.35 + 0.65 * chance))

    def _later(self, due_ms: int, build: Callable[..., Event], *details: Any) -> None:
        if len(self._follow_ups) < _MAX_FOLLOW_UPS and due_ms < self._plan.end_ms:
            self._waiting += 1
            heappush(self._follow_ups, (due_ms, self._waiting, build, details))

    def _finish(self, event: Event) -> Generated:
        kind = event["type"]
        topic = self._topics.get(kind)
        if topic is None:
            topic = self._topics[kind] = topic_of_type(kind)
        return Generated(topic, event["member_id"].encode(), dumps(event))

    def _event(self, kind: str, member: int, at_ms: int, **fields: Any) -> Event:
        self._numbered += 1
        return {
            "event_id": f"{self._mark}-{self._numbered}",
            "type": kind,
            "member_id": member_name(member),
            "occurred_at": rfc3339(at_ms),
            **fields,
        }

    def _home_of(self, member: int) -> Shop:
        return SHOPS[member * 7919 % len(SHOPS)]

    def _visit(self, member: int) -> tuple[Shop, str]:
        """Where a member shops today: mostly the home shop, else any; and through which channel."""
        chance = self._random()
        home = self._home_of(member)
        shop = home if chance < 0.8 else SHOPS[self._below(len(SHOPS))]
        channel = ("pos", "pos", "pos", "miniapp", "app", "web")[self._below(6)]
        return shop, channel

    def _through(self, member: int, shop: Shop, channel: str) -> Event:
        """The envelope fields that a channel knows about a visit."""
        fields: Event = {
            "store_id": shop.store_id,
            "brand_id": shop.brand_id,
            "channel": channel,
            "source": "till" if channel == "pos" else "mall",
        }
        if channel == "pos":
            fields["geo"] = shop.geo
        else:
            fields["device_id"] = f"D-{member:06d}"
            fields["ip"] = f"10.{member >> 16 & 255}.{member >> 8 & 255}.{member & 255}"
        return fields
