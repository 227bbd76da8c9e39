"""A seeded, believable stream of a chain of shops, of any size, in constant memory.

Theory of operation. The stream is a row of slots spread over the period as trade is spread over a
day. Each slot emits one event: a follow-up that has come due (a refund of an earlier order,
tomorrow's check-in of a streak, a referee's first order …), else something fresh. Follow-ups wait
in a heap of bounded size; when it is full, the story simply isn't continued. Nothing else is
remembered: a member is a number, and all that is fixed about one (device, address, home shop) is
computed from that number.

Same plan, same bytes: every choice comes from one `random.Random(seed)` and only from its
`random()`, whose sequence Python guarantees, and no clock is read. Ids of events and orders carry a
mark of the plan, so that streams of different plans never reuse each other's ids, while members are
shared by all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.operations.chain import (
    ACTIVITIES,
    CURRENCY,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PRODUCTS,
    SEGMENTS,
    SHOPS,
    Shop,
    day_quantile,
    local_midnight_ms,
    moment_of,
    trade_until,
)

__all__ = ["Generated", "StreamPlan", "generate", "member_name"]

# Stories waiting to be continued: the bound that keeps memory constant (a few MB).
_MAX_FOLLOW_UPS = 20_000
# A redelivery repeats one of this many latest events.
_REMEMBERED_FOR_REDELIVERY = 512

Event = dict[str, Any]


class Generated(NamedTuple):
    """One input as it is published: topic suffix such as `orders`, key and JSON value.

    `again` marks a redelivery: the very bytes of an earlier one.
    """

    topic: str
    key: bytes
    value: bytes
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What to generate: all that the bytes of the stream depend on.

    `events` and `members` are counts (members who join in the course of the stream), times are ms
    since the epoch, `redelivered` is the share of events (0 to below 1) that come a second time,
    unchanged. Raises `ValueError` with a sentence for a user when a value is out of range.
    """

    events: int
    members: int
    seed: int
    start_ms: int
    end_ms: int
    fraudsters: int = 3
    redelivered: float = 0.0

    def __post_init__(self) -> None:
        if self.events < 0:
            raise ValueError("the number of events can't be negative")
        if self.members < 1:
            raise ValueError("a chain of shops needs at least one member")
        if self.start_ms >= self.end_ms:
            raise ValueError("the start must lie before the end")
        if self.start_ms < DAY_MS:
            raise ValueError("the start must lie after 1970-01-02")
        if self.fraudsters < 0:
            raise ValueError("the number of fraudsters can't be negative")
        if not 0 <= self.redelivered < 1:
            raise ValueError("the share of redelivered events must be at least 0 and below 1")

    @property
    def mark(self) -> str:
        """Eight hex digits that differ between any two different plans."""
        text = repr((self.events, self.members, self.seed, self.start_ms, self.end_ms))
        text += repr((self.fraudsters, self.redelivered))
        return blake2b(text.encode(), digest_size=4).hexdigest()


def member_name(number: int) -> str:
    """The member id of the chain's nth member (from 0)."""
    return f"M-{number:06d}"


def generate(plan: StreamPlan) -> Iterator[Generated]:
    """Yield the plan's events in order of emission; nothing occurs at or after the plan's end."""
    return _Story(plan).tell()


class _Sale(NamedTuple):
    """What later chapters must know of an order."""

    order_id: str
    member: int
    shop: Shop
    channel: str
    paid_minor: int
    lines: list[tuple[str, int]]


class _Story:
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

    def tell(self) -> Iterator[Generated]:
        plan, chance, follow_ups = self._plan, self._random, self._follow_ups
        trade = trade_until(plan.start_ms)
        step = (trade_until(plan.end_ms) - trade) / max(plan.events, 1)
        episodes_per_slot = 3 * plan.fraudsters / max(plan.events, 1)
        latest: list[Generated] = []
        for slot in range(plan.events):
            # The end itself belongs to the next period, and rounding must not reach it.
            now_ms = min(moment_of(trade + step * (slot + chance())), plan.end_ms - 1)
            now_ms = max(now_ms, plan.start_ms)
            if latest and chance() < plan.redelivered:
                yield latest[self._below(len(latest))]._replace(again=True)
                continue
            if chance() < episodes_per_slot and self._joined:
                self._begin_fraud(now_ms)
            if follow_ups and follow_ups[0][0] <= now_ms:
                _, _, build, details = heappop(follow_ups)
                event = build(*details)
            else:
                event = self._something_new(slot, now_ms)
            generated = self._finish(event)
            if plan.redelivered:
                if len(latest) < _REMEMBERED_FOR_REDELIVERY:
                    latest.append(generated)
                else:
                    latest[slot % _REMEMBERED_FOR_REDELIVERY] = generated
            yield generated

    # -- small tools -----------------------------------------------------------------------------

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

    # -- honest members --------------------------------------------------------------------------

    def _something_new(self, slot: int, now_ms: int) -> Event:
        # Joining is fastest at the beginning, and nobody can do anything before somebody joined.
        progress = (slot + 1) / self._plan.events
        wanted = self._plan.members * progress * (2 - progress)
        if self._joined == 0 or (self._joined < wanted and self._random() < 0.7):
            return self._join(now_ms)
        chance = self._random()
        member = self._someone()
        if chance < 0.005:
            # A till that was offline hands its order in late, perhaps after the order's refund.
            rung_up_ms = now_ms - self._between(10 * MINUTE_MS, 30 * HOUR_MS)
            return self._order(max(rung_up_ms, self._plan.start_ms), member)
        if chance < 0.76:
            return self._order(now_ms, member)
        if chance < 0.86:
            return self._check_in(now_ms, member)
        if chance < 0.94:
            return self._activity(now_ms, member)
        if chance < 0.975:
            return self._redeem(now_ms, member)
        if chance < 0.99:
            return self._profile(now_ms, member)
        return self._goodwill(now_ms, member)

    def _join(self, now_ms: int, **envelope: Any) -> Event:
        member = self._joined
        self._joined += 1
        home = self._home_of(member)
        fields: Event = {
            "joined_at": rfc3339(now_ms),
            "birthday": f"{self._between(1, 12):02d}-{self._between(1, 28):02d}",
            "home_store_id": home.store_id,
            "segments": [SEGMENTS[self._below(len(SEGMENTS))]],
            "source": "crm",
        }
        if not envelope and member and self._random() < 0.15:
            referrer = self._below(member)
            fields["referrer_id"] = member_name(referrer)
            soon_ms = now_ms + self._between(1, 60) * 1000
            self._later(soon_ms, self._referral, soon_ms, referrer, member)
            first_ms = now_ms + self._between(30 * MINUTE_MS, 5 * DAY_MS)
            self._later(first_ms, self._first_order, first_ms, referrer, member)
        return self._event("member.registered", member, now_ms, **envelope, **fields)

    def _referral(self, at_ms: int, referrer: int, referee: int, **envelope: Any) -> Event:
        return self._event(
            "referral.registered",
            referrer,
            at_ms,
            **(envelope or {"channel": "app", "source": "mall"}),
            referee_id=member_name(referee),
        )

    def _first_order(self, at_ms: int, referrer: int, referee: int) -> Event:
        order = self._order(at_ms, referee)
        told_ms = at_ms + self._between(1, 30) * 1000
        self._later(told_ms, self._told_of_first_order, told_ms, referrer, referee, order)
        return order

    def _told_of_first_order(self, at_ms: int, referrer: int, referee: int, order: Event) -> Event:
        return self._event(
            "referral.first_order",
            referrer,
            at_ms,
            source="mall",
            referee_id=member_name(referee),
            order_id=order["order_id"],
            paid_minor=order["paid_minor"],
            currency=CURRENCY,
        )

    def _order(self, now_ms: int, member: int) -> Event:
        shop, channel = self._visit(member)
        lines = self._basket()
        event, sale = self._sell(now_ms, member, shop, channel, lines)
        self._come_back(now_ms, sale)
        return event

    def _basket(self) -> list[Event]:
        lines: list[Event] = []
        # One to six lines, mostly one or two.
        chance = self._random()
        for nth in range(1 + int(6 * chance * chance * chance)):
            product = PRODUCTS[self._below(len(PRODUCTS))]
            quantity = 1 if self._random() < 0.8 else self._between(2, 4)
            paid_minor = product.price_minor * quantity
            if self._random() < 0.15:
                paid_minor = paid_minor * 85 // 100
            line: Event = {
                "line_id": str(nth + 1),
                "sku": product.sku,
                "category": product.category,
                "quantity": quantity,
                "paid_minor": paid_minor,
            }
            if not product.earns:
                line["earns"] = False
            lines.append(line)
        return lines

    def _sell(
        self, at_ms: int, member: int, shop: Shop, channel: str, lines: list[Event], **extra: Any
    ) -> tuple[Event, _Sale]:
        self._orders += 1
        order_id = extra.pop("order_id", None) or f"O-{self._mark}-{self._orders}"
        paid_minor = sum(line["paid_minor"] for line in lines)
        event = self._event(
            "order.paid",
            member,
            at_ms,
            **{**self._through(member, shop, channel), **extra},
            order_id=order_id,
            currency=CURRENCY,
            paid_minor=paid_minor,
            lines=lines,
        )
        parts = [(line["line_id"], line["paid_minor"]) for line in lines]
        return event, _Sale(order_id, member, shop, channel, paid_minor, parts)

    def _come_back(self, now_ms: int, sale: _Sale) -> None:
        """Decide what becomes of an order: kept, returned (all, in part, twice) or cancelled."""
        chance = self._random()
        if chance > 0.085:
            return
        due_ms = now_ms + self._between(20 * MINUTE_MS, 6 * DAY_MS)
        if chance < 0.015:
            due_ms = now_ms + self._between(MINUTE_MS, 3 * HOUR_MS)
            self._later(due_ms, self._cancel, due_ms, sale)
        elif chance < 0.04:
            self._later(due_ms, self._refund, due_ms, sale, sale.paid_minor, 1)
        elif chance < 0.06 and len(sale.lines) > 1:
            line_id, part_minor = sale.lines[self._below(len(sale.lines))]
            self._later(due_ms, self._refund, due_ms, sale, part_minor, 1, line_id)
        else:
            part_minor = max(1, sale.paid_minor * self._between(1, 6) // 10)
            self._later(due_ms, self._refund, due_ms, sale, part_minor, 1)
            rest_minor = sale.paid_minor - part_minor
            if chance > 0.075 and rest_minor > 0:
                again_ms = due_ms + self._between(HOUR_MS, 3 * DAY_MS)
                self._later(again_ms, self._refund, again_ms, sale, rest_minor, 2)

    def _refund(
        self, at_ms: int, sale: _Sale, refunded_minor: int, nth: int, line_id: str | None = None
    ) -> Event:
        event = self._event(
            "order.refunded",
            sale.member,
            at_ms,
            **self._through(sale.member, sale.shop, sale.channel),
            order_id=sale.order_id,
            refund_id=f"R{sale.order_id[1:]}-{nth}",
            refunded_minor=refunded_minor,
        )
        if line_id is not None:
            event["lines"] = [{"line_id": line_id, "refunded_minor": refunded_minor}]
        return event

    def _cancel(self, at_ms: int, sale: _Sale) -> Event:
        return self._event(
            "order.cancelled",
            sale.member,
            at_ms,
            **self._through(sale.member, sale.shop, sale.channel),
            order_id=sale.order_id,
        )

    def _check_in(self, at_ms: int, member: int) -> Event:
        if self._random() < 0.82:
            # Tomorrow again: a time within the next local day, so that no day is missed or doubled.
            tomorrow_ms = local_midnight_ms(at_ms) + DAY_MS + day_quantile(self._random())
            # A telephone without a network hands it in a day late: the streak mends.
            late_ms = DAY_MS if self._random() < 0.02 else 0
            self._later(tomorrow_ms + late_ms, self._check_in, tomorrow_ms, member)
        shop = self._home_of(member)
        return self._event(
            "checkin.recorded",
            member,
            at_ms,
            store_id=shop.store_id,
            brand_id=shop.brand_id,
            channel="miniapp",
            device_id=f"D-{member:06d}",
            geo=shop.geo,
            source="miniapp",
            place=shop.city,
        )

    def _activity(self, now_ms: int, member: int) -> Event:
        activity = ACTIVITIES[self._below(len(ACTIVITIES))]
        fields: Event = {"channel": "app", "source": "mall", "activity": activity}
        if activity == "profile.completed":
            fields["reference"] = "profile"  # once in a life, however often the button is pressed
        else:
            fields["reference"] = f"A-{self._mark}-{self._numbered + 1}"
        if activity == "sale.closed":
            fields["value_minor"] = self._between(5_000, 300_000)
            fields["currency"] = CURRENCY
        return self._event("activity.recorded", member, now_ms, **fields)

    def _redeem(self, now_ms: int, member: int) -> Event:
        points = (50, 100, 100, 200, 500)[self._below(5)]
        fields: Event = {"points": points, "actor": {"id": member_name(member), "role": "member"}}
        if self._random() < 0.4:
            # Points as part of the payment: the order follows within a minute and says so.
            self._orders += 1
            order_id = f"O-{self._mark}-{self._orders}"
            fields["order_id"] = order_id
            paid_ms = now_ms + self._between(1, 60) * 1000
            self._later(paid_ms, self._order_with_points, paid_ms, member, order_id, points)
        return self._event(
            "points.redeem", member, now_ms, channel="miniapp", source="mall", **fields
        )

    def _order_with_points(self, at_ms: int, member: int, order_id: str, points: int) -> Event:
        shop = self._home_of(member)
        event, sale = self._sell(
            at_ms, member, shop, "miniapp", self._basket(), order_id=order_id, points_paid=points
        )
        self._come_back(at_ms, sale)
        return event

    def _profile(self, now_ms: int, member: int) -> Event:
        segments = [SEGMENTS[self._below(len(SEGMENTS))], SEGMENTS[member % len(SEGMENTS)]]
        return self._event(
            "member.updated", member, now_ms, source="crm", segments=sorted(set(segments))
        )

    def _goodwill(self, now_ms: int, member: int) -> Event:
        return self._event(
            "points.adjust",
            member,
            now_ms,
            source="service-desk",
            points=(20, 50, 100)[self._below(3)],
            reason="goodwill after a complaint",
            actor={"id": f"clerk-{self._below(12)}", "role": "head_office"},
        )

    # -- the others ------------------------------------------------------------------------------

    def _begin_fraud(self, now_ms: int) -> None:
        """Lay out one episode of one fraudster; its events follow as follow-ups."""
        # Fraudsters are members like any other: a few fixed numbers, spread over those who joined.
        nth = self._below(max(self._plan.fraudsters, 1))
        member = (nth * 613 + 5) % self._joined
        episode = (self._buy_and_return, self._hammer, self._ring, self._travel)[self._below(4)]
        episode(now_ms, member)

    def _buy_and_return(self, now_ms: int, member: int) -> None:
        """Dear things bought and brought back within minutes, again and again."""
        at_ms = now_ms
        for _ in range(self._between(6, 12)):
            line = {"line_id": "1", "sku": "KITCHEN-04", "category": "kitchen", "quantity": 2}
            lines: list[Event] = [{**line, "paid_minor": 2 * 89_900}]
            shop = self._home_of(member)
            event, sale = self._sell(at_ms, member, shop, "miniapp", lines)
            self._later(at_ms, dict, event)
            back_ms = at_ms + self._between(2, 9) * MINUTE_MS
            self._later(back_ms, self._refund, back_ms, sale, sale.paid_minor, 1)
            at_ms += self._between(3, 12) * MINUTE_MS

    def _hammer(self, now_ms: int, member: int) -> None:
        """A script that checks in many times a minute, at shops all over the country."""
        for nth in range(self._between(11, 20)):
            at_ms = now_ms + nth * self._between(1500, 4000)
            shop = SHOPS[self._below(len(SHOPS))]
            event = self._event(
                "checkin.recorded",
                member,
                at_ms,
                store_id=shop.store_id,
                brand_id=shop.brand_id,
                channel="app",
                device_id=f"D-{member:06d}",
                ip="203.0.113.7",
                source="miniapp",
            )
            self._later(at_ms, dict, event)

    def _ring(self, now_ms: int, member: int) -> None:
        """New accounts on one telephone, each of them referring the next."""
        device = {"channel": "app", "source": "mall", "device_id": f"D-ring-{member}"}
        referrer, at_ms = member, now_ms
        for _ in range(self._between(6, 8)):
            if self._joined >= self._plan.members:
                return
            at_ms += self._between(1, 4) * MINUTE_MS
            referee = self._joined
            event = self._join(at_ms, device_id=device["device_id"], channel="app")
            self._later(at_ms, dict, event)
            referral_ms = at_ms + 20_000
            referral = self._referral(referral_ms, referrer, referee, **device)
            self._later(referral_ms, dict, referral)
            referrer = referee

    def _travel(self, now_ms: int, member: int) -> None:
        """One card at two counters that are a flight apart, within half an hour."""
        for nth, shop in enumerate((SHOPS[0], SHOPS[12])):
            at_ms = now_ms + nth * self._between(12, 28) * MINUTE_MS
            event, _ = self._sell(at_ms, member, shop, "pos", self._basket())
            self._later(at_ms, dict, event)
