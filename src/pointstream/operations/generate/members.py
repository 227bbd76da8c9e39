"""Honest members: they join, order, return things, check in, refer each other, redeem points and
send some to each other."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pointstream.contracts.wire import rfc3339
from pointstream.operations.chain import (
    ACTIVITIES,
    CURRENCY,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PRODUCTS,
    SEGMENTS,
    Shop,
    day_quantile,
    local_midnight_ms,
)
from pointstream.operations.generate.events import Event, Events
from pointstream.operations.generate.facts import (
    address_of,
    at_night,
    device_of,
    home_of,
    shops_near,
)
from pointstream.operations.generate.plan import member_name

__all__ = ["Members", "Sale"]

_AT_THE_DOOR: Final = 100
"""So many members join before anything else happens."""


class Sale(NamedTuple):
    """What later chapters must know of an order."""

    order_id: str
    member: int
    shop: Shop
    channel: str
    paid_minor: int
    lines: list[tuple[str, int]]


class Members(Events):
    """Tells of one thing that a member does."""

    def _something_new(self, slot: int, now_ms: int) -> Event:
        # Joining is fastest at the beginning. A shop that opens has a crowd at the door: no few
        # members could do all that happens there.
        progress = (slot + 1) / self._plan.events
        wanted = self._plan.members * progress * (2 - progress)
        crowd = min(_AT_THE_DOOR, self._plan.members)
        if self._joined < crowd or (self._joined < wanted and self._random() < 0.7):
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
        if chance < 0.968:
            return self._redeem(now_ms, member)
        if chance < 0.975:
            return self._send(now_ms, member)
        if chance < 0.99:
            return self._profile(now_ms, member)
        return self._goodwill(now_ms, member)

    def _join(self, now_ms: int, **envelope: Any) -> Event:
        member = self._joined
        self._joined += 1
        home = home_of(member)
        fields: Event = {
            "joined_at": rfc3339(now_ms),
            "birthday": f"{self._between(1, 12):02d}-{self._between(1, 28):02d}",
            "home_store_id": home.store_id,
            "segments": [SEGMENTS[self._below(len(SEGMENTS))]],
            "source": "crm",
        }
        if not envelope and self._random() < 0.7:
            # The others filled in a form at the counter.
            fields["device_id"] = device_of(member, now_ms)
        if not envelope and member and self._random() < 0.15:
            referrer = self._below(member)
            fields["referrer_id"] = member_name(referrer)
            soon_ms = now_ms + self._between(1, 60) * 1000
            self._later(soon_ms, self._referral, soon_ms, referrer, member)
            first_ms = now_ms + self._between(30 * MINUTE_MS, 5 * DAY_MS)
            self._later(first_ms, self._first_order, first_ms, referrer, member)
        return self._event("member.registered", member, now_ms, **{**fields, **envelope})

    def _referral(self, at_ms: int, referrer: int, referee: int, **envelope: Any) -> Event:
        return self._event(
            "referral.registered",
            referrer,
            at_ms,
            **(
                envelope
                or {"channel": "app", "source": "mall", "device_id": device_of(referrer, at_ms)}
            ),
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
        shop, channel = self._visit(member, now_ms)
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
    ) -> tuple[Event, Sale]:
        self._orders += 1
        order_id = extra.pop("order_id", None) or f"O-{self._mark}-{self._orders}"
        paid_minor = sum(line["paid_minor"] for line in lines)
        event = self._event(
            "order.paid",
            member,
            at_ms,
            **{**self._through(member, shop, channel, at_ms), **extra},
            order_id=order_id,
            currency=CURRENCY,
            paid_minor=paid_minor,
            lines=lines,
        )
        parts = [(line["line_id"], line["paid_minor"]) for line in lines]
        return event, Sale(order_id, member, shop, channel, paid_minor, parts)

    def _come_back(self, now_ms: int, sale: Sale) -> None:
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
        self, at_ms: int, sale: Sale, refunded_minor: int, nth: int, line_id: str | None = None
    ) -> Event:
        event = self._event(
            "order.refunded",
            sale.member,
            at_ms,
            **self._through(sale.member, sale.shop, sale.channel, at_ms),
            order_id=sale.order_id,
            refund_id=f"R{sale.order_id[1:]}-{nth}",
            refunded_minor=refunded_minor,
        )
        if line_id is not None:
            event["lines"] = [{"line_id": line_id, "refunded_minor": refunded_minor}]
        return event

    def _cancel(self, at_ms: int, sale: Sale) -> Event:
        return self._event(
            "order.cancelled",
            sale.member,
            at_ms,
            **self._through(sale.member, sale.shop, sale.channel, at_ms),
            order_id=sale.order_id,
        )

    def _check_in(self, at_ms: int, member: int) -> Event:
        if self._random() < 0.82:
            # Tomorrow again: a time within the next local day, so that no day is missed or doubled.
            tomorrow_ms = local_midnight_ms(at_ms) + DAY_MS + day_quantile(self._random())
            # A telephone without a network hands it in a day late: the streak mends.
            late_ms = DAY_MS if self._random() < 0.02 else 0
            self._later(tomorrow_ms + late_ms, self._check_in, tomorrow_ms, member)
        near, home = shops_near(member, at_ms), home_of(member)
        shop = home if home in near else near[0]
        event = self._event(
            "checkin.recorded",
            member,
            at_ms,
            store_id=shop.store_id,
            brand_id=shop.brand_id,
            channel="miniapp",
            device_id=device_of(member, at_ms),
            source="miniapp",
        )
        # From bed, it names no place.
        return event if at_night(at_ms) else {**event, "geo": shop.geo, "place": shop.city}

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
        fields.update(self._by_app(member, now_ms))
        return self._event("points.redeem", member, now_ms, **fields)

    def _by_app(self, member: int, at_ms: int) -> Event:
        """The envelope fields of what a member does in the mall's app, wherever that is."""
        return {
            "channel": "miniapp",
            "source": "mall",
            "device_id": device_of(member, at_ms),
            "ip": address_of(member, at_ms),
        }

    def _send(self, now_ms: int, member: int) -> Event:
        """Give points to another member; now and then the id is mistyped, and they come back."""
        to_member_id = member_name(self._someone())
        if self._random() < 0.05:
            to_member_id = f"{to_member_id}0"
        return self._event(
            "points.transfer",
            member,
            now_ms,
            **self._by_app(member, now_ms),
            to_member_id=to_member_id,
            points=(10, 20, 50, 50, 100)[self._below(5)],
            actor={"id": member_name(member), "role": "member"},
        )

    def _order_with_points(self, at_ms: int, member: int, order_id: str, points: int) -> Event:
        shop = home_of(member)
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
        points = (20, 50, 100)[self._below(3)]
        if self._random() < 0.3:
            actor = {"id": f"clerk-{self._below(12)}", "role": "head_office"}
            return self._adjust(member, now_ms, points, actor=actor)
        shop = home_of(member)
        return self._adjust_at(member, now_ms, points, shop, self._below(3))

    def _adjust_at(self, member: int, at_ms: int, points: int, shop: Shop, clerk: int) -> Event:
        """Points given by one of the clerks of a shop."""
        actor = {
            "id": f"clerk-{shop.store_id}-{clerk}",
            "role": "store",
            "store_id": shop.store_id,
        }
        there = {"store_id": shop.store_id, "brand_id": shop.brand_id}
        return self._adjust(member, at_ms, points, actor=actor, **there)

    def _adjust(self, member: int, at_ms: int, points: int, **fields: Any) -> Event:
        return self._event(
            "points.adjust",
            member,
            at_ms,
            source="service-desk",
            points=points,
            reason="goodwill after a complaint",
            **fields,
        )
