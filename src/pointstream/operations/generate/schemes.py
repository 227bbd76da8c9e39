"""The kinds of fraud, one by one. Each lays out an episode, whose events follow as they are due.

How subtle it is goes from 0 (shows at once) over 1 (just above what detectors allow by default) to
2 (below that on purpose). Who only has something done to them, as with a takeover, lives an honest
life before; only what the thief does carries the label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pointstream.operations.chain import HOUR_MS, MINUTE_MS, SHOPS, Shop
from pointstream.operations.generate.events import Event
from pointstream.operations.generate.facts import address_of, device_of, home_of
from pointstream.operations.generate.members import Members, Sale
from pointstream.operations.generate.plan import Label, member_name

__all__ = ["Schemes"]

_SHANGHAI, _BEIJING = SHOPS[0], SHOPS[12]


class Schemes(Members):
    """Tells how each kind of fraud goes."""

    _label: Label
    _round: list[tuple[str, str]]

    # --- tools --------------------------------------------------------------------------------

    def _caught(self, at_ms: int, build: Callable[..., Event], *details: Any) -> None:
        """Let an event of the episode follow, with its label."""
        self._later(at_ms, self._labelled, self._label, build, *details, kept=True)

    def _labelled(self, label: Label, build: Callable[..., Event], *details: Any) -> Event:
        return {**build(*details), "label": label}

    def _innocent(self, at_ms: int, build: Callable[..., Event], *details: Any) -> None:
        """Let something honest follow that the episode needs to be there."""
        self._later(at_ms, build, *details, kept=True)

    def _one(self) -> int:
        """Pick somebody who has joined and has part in no other episode."""
        for _ in range(100):
            member = self._below(self._joined)
            if member not in self._fraudsters:
                break
        self._fraudsters.add(member)
        return member

    def _newcomer(self, at_ms: int, **envelope: Any) -> int:
        """Let a new account be made as a part of the episode, and return its number."""
        member = self._joined
        self._fraudsters.add(member)
        # Its number is taken at once: others join before its event is due.
        event = self._join(at_ms, **{"source": "mall", **envelope})
        self._later(at_ms, self._labelled, self._label, dict, event, kept=True)
        return member

    def _act(self, member: int, at_ms: int, activity: str, **envelope: Any) -> Event:
        event = self._event("activity.recorded", member, at_ms, source="mall", **envelope)
        event["activity"] = activity
        event["reference"] = f"A-{event['event_id']}"
        return event

    def _check_in_at(self, member: int, at_ms: int, shop: Shop, device_id: str) -> Event:
        return self._event(
            "checkin.recorded",
            member,
            at_ms,
            store_id=shop.store_id,
            brand_id=shop.brand_id,
            channel="app",
            device_id=device_id,
            source="miniapp",
        )

    def _buy(
        self, member: int, at_ms: int, minor: int, channel: str, shop: Shop, **more: Any
    ) -> Event:
        event, _ = self._bought(member, at_ms, minor, channel, shop, **more)
        return event

    def _bought(
        self, member: int, at_ms: int, minor: int, channel: str, shop: Shop, **more: Any
    ) -> tuple[Event, Sale]:
        line: Event = {"line_id": "1", "sku": "KITCHEN-04", "category": "kitchen", "quantity": 1}
        lines: list[Event] = [{**line, "paid_minor": minor}]
        return self._sell(at_ms, member, shop, channel, lines, **more)

    # --- kinds --------------------------------------------------------------------------------

    def _velocity(self, now_ms: int, subtle: int) -> None:
        """A script: check-ins within a minute; reviews within an hour; reviews round the clock."""
        member = self._one()
        device_id = device_of(member, now_ms)
        if subtle == 0:
            shop = home_of(member)
            at_ms = now_ms
            for _ in range(self._between(13, 20)):
                self._caught(at_ms, self._check_in_at, member, at_ms, shop, device_id)
                at_ms += self._between(1_000, 3_500)
            return
        count, gap_ms = (self._between(24, 40), 90_000) if subtle == 1 else (16, 80 * MINUTE_MS)
        at_ms = now_ms
        for _ in range(count):
            self._caught(at_ms, self._act, member, at_ms, "review.posted")
            at_ms += gap_ms * self._between(6, 14) // 10

    def _travel(self, now_ms: int, subtle: int) -> None:
        """One card at two counters, a thousand kilometres and too short a time apart."""
        member = self._one()
        least, most = ((12, 30), (60, 90), (150, 200))[subtle]
        there_ms = now_ms + self._between(least, most) * MINUTE_MS
        for at_ms, shop in ((now_ms, _SHANGHAI), (there_ms, _BEIJING)):
            # The till knows where it stands, whatever day it is in the member's own life.
            minor = 100 * self._between(200, 900)
            self._caught(at_ms, self._buy_at, member, at_ms, minor, shop)

    def _buy_at(self, member: int, at_ms: int, minor: int, shop: Shop) -> Event:
        return {**self._buy(member, at_ms, minor, "pos", shop), "geo": shop.geo}

    def _self_referral(self, now_ms: int, subtle: int) -> None:
        """A second account of the same person, referred by the first one."""
        referrer = self._one()
        device_id = device_of(referrer, now_ms)
        address = address_of(referrer, now_ms)
        own = {"device_id": device_id, "ip": address}
        shown: Event = (
            own if subtle == 0 else {"ip": address} if subtle == 2 else {"channel": "web"}
        )
        referee = self._newcomer(now_ms, **shown)
        referral_ms = now_ms + self._between(20, 300) * 1_000
        self._caught(
            referral_ms,
            self._refer,
            referral_ms,
            referrer,
            referee,
            device_id if subtle < 2 else None,
        )
        order_ms = now_ms + (HOUR_MS if subtle == 0 else self._between(6, 30) * HOUR_MS)
        more: Event = own if subtle < 2 else {"device_id": f"D-new-{referee}", "ip": address}
        shop = home_of(referrer)
        event = self._buy(referee, order_ms, 100 * self._between(20, 60), "app", shop, **more)
        self._caught(order_ms, dict, event)
        self._caught(
            order_ms + MINUTE_MS,
            self._told_of_first_order,
            order_ms + MINUTE_MS,
            referrer,
            referee,
            event,
        )

    def _refer(self, at_ms: int, referrer: int, referee: int, device_id: str | None) -> Event:
        envelope = {"channel": "app", "source": "mall"}
        if device_id is not None:
            envelope["device_id"] = device_id
        return self._referral(at_ms, referrer, referee, **envelope)

    def _ring(self, now_ms: int, subtle: int) -> None:
        """Accounts that refer each other in a circle, each on a telephone of its own."""
        size = (3, self._between(4, 5), self._between(7, 8))[subtle]
        gap_ms = (15 * MINUTE_MS, 14 * HOUR_MS, 30 * HOUR_MS)[subtle]
        members: list[int] = [self._one()]
        for nth in range(1, size):
            joined_ms = now_ms + nth * gap_ms // 4
            device_id = f"D-{self._label.episode:05d}-{nth}"
            members.append(self._newcomer(joined_ms, device_id=device_id))
        for nth, referrer in enumerate(members):
            referee = members[(nth + 1) % size]
            at_ms = now_ms + size * gap_ms // 4 + nth * gap_ms * self._between(5, 10) // 10
            device = None if nth == 0 else f"D-{self._label.episode:05d}-{nth}"
            self._caught(at_ms, self._refer, at_ms, referrer, referee, device)

    def _farm(self, now_ms: int, subtle: int) -> None:
        """Many accounts of one person: on one telephone; then each on its own, behind one line."""
        size = (self._between(8, 12), self._between(6, 7), self._between(6, 9))[subtle]
        gap_ms = (5 * MINUTE_MS, 3 * HOUR_MS, 5 * HOUR_MS)[subtle]
        at_ms = now_ms
        for nth in range(size):
            device_id = f"D-{self._label.episode:05d}"
            if subtle == 2:
                device_id += f"-{nth}"
            address = f"172.16.{self._label.episode % 256}.{nth + 1}"
            member = self._newcomer(at_ms, device_id=device_id, ip=address)
            shop = home_of(member)
            soon_ms = at_ms + self._between(1, 4) * MINUTE_MS
            self._caught(soon_ms, self._check_in_at, member, soon_ms, shop, device_id)
            at_ms += gap_ms * self._between(8, 11) // 10

    def _refund_loop(self, now_ms: int, subtle: int) -> None:
        """Dear things bought and brought back, again and again."""
        member = self._one()
        shop = home_of(member)
        loops, least, most = (
            (self._between(6, 10), 3, 12),
            (self._between(5, 6), 4 * 60, 10 * 60),
            (3, 4 * 24 * 60, 5 * 24 * 60),
        )[subtle]
        at_ms = now_ms
        for _ in range(loops):
            event, sale = self._bought(member, at_ms, 89_900, "miniapp", shop)
            self._caught(at_ms, dict, event)
            back_ms = at_ms + self._between(least, most) * MINUTE_MS
            back_minor = sale.paid_minor if subtle == 0 else sale.paid_minor * 95 // 100
            self._caught(back_ms, self._refund, back_ms, sale, back_minor, 1)
            at_ms = back_ms + self._between(least, most) * MINUTE_MS

    def _takeover(self, now_ms: int, subtle: int) -> None:
        """Somebody else signs in as a member with a good balance, and spends it."""
        member = self._one()
        shop = home_of(member)
        at_ms = now_ms
        for _ in range(3):
            at_ms += self._between(5, 20) * HOUR_MS
            minor = 100 * self._between(1_500, 2_500)
            self._innocent(at_ms, self._buy, member, at_ms, minor, "miniapp", shop)
        at_ms += self._between(10, 40) * HOUR_MS
        device_id, address = f"D-{self._label.episode:05d}-t", f"203.0.113.{self._below(250)}"
        self._caught(at_ms, self._check_in_at, member, at_ms, shop, device_id)
        wait_ms = (8 * MINUTE_MS, self._between(8, 18) * HOUR_MS, 60 * HOUR_MS)[subtle]
        for part in ((4_200,), (2_400, 1_700), (900, 800, 700))[subtle]:
            at_ms += wait_ms
            wait_ms = self._between(5, 30) * MINUTE_MS
            self._caught(at_ms, self._spend, member, at_ms, part, device_id, address)

    def _spend(self, member: int, at_ms: int, points: int, device_id: str, address: str) -> Event:
        return self._event(
            "points.redeem",
            member,
            at_ms,
            channel="app",
            source="mall",
            device_id=device_id,
            ip=address,
            points=points,
            actor={"id": member_name(member), "role": "member"},
        )

    def _staff(self, now_ms: int, subtle: int) -> None:
        """A clerk of a shop who gives points to friends."""
        shop, clerk = SHOPS[self._below(len(SHOPS))], self._below(3)
        friends = [self._one() for _ in range((5, 4, 2)[subtle])]
        count, gap_ms = ((60, 4 * MINUTE_MS), (40, 25 * MINUTE_MS), (10, 10 * HOUR_MS))[subtle]
        at_ms = now_ms
        for nth in range(count):
            friend = friends[nth % len(friends)]
            points = 500 if subtle == 0 else 200
            self._caught(at_ms, self._adjust_at, friend, at_ms, points, shop, clerk)
            at_ms += gap_ms * self._between(5, 15) // 10

    def _spike(self, now_ms: int, subtle: int) -> None:
        """A quiet account that earns on one day what it used to earn in a month."""
        member = self._one()
        count, gap_ms = ((30, 20 * MINUTE_MS), (14, 40 * MINUTE_MS), (6, 2 * HOUR_MS))[subtle]
        at_ms = now_ms
        for _ in range(count):
            activity = ("groupbuy.joined", "lottery.won")[self._below(2)]
            self._caught(at_ms, self._act, member, at_ms, activity)
            at_ms += gap_ms * self._between(6, 14) // 10
