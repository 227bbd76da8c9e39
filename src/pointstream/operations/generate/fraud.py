"""Members who are up to something: four kinds of episodes that a fraud check should notice."""

from __future__ import annotations

from pointstream.operations.chain import MINUTE_MS, SHOPS
from pointstream.operations.generate.events import Event
from pointstream.operations.generate.members import Members

__all__ = ["Fraudsters"]


class Fraudsters(Members):
    """Members, some of whom are none of the honest ones."""

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
