"""A simple model of one member's points: a list of lots, and time that is walked through.

It is as plain as it can be made: every question is answered by going over all lots.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

__all__ = ["Hold", "Lot", "Model"]


@dataclass
class Lot:
    """Points in one place: `pending`, `available`, or the id of a hold."""

    expires_ms: int
    earned_ms: int
    activates_ms: int
    points: int
    place: str

    @property
    def rank(self) -> tuple[int, int]:
        return self.expires_ms, self.earned_ms


@dataclass
class Hold:
    points: int
    due_ms: int
    state: str = "open"


@dataclass
class Model:
    """What a member has; every command returns the reason why not, or None."""

    pending_ms: int
    life_ms: int
    hold_ms: int
    now_ms: int
    lots: list[Lot] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    frozen: bool = False
    earned: int = 0
    adjusted_up: int = 0
    gone: dict[str, int] = field(default_factory=dict)

    # --- questions ----------------------------------------------------------------------------

    def sum(self, place: str) -> int:
        return sum(lot.points for lot in self.lots if lot.place == place)

    @property
    def held(self) -> int:
        return sum(self.sum(f"hold {hold_id}") for hold_id in self.holds)

    def by_life(self) -> dict[tuple[int, int], int]:
        """Spendable points by expiry and age; equal lots are not told apart."""
        sums: dict[tuple[int, int], int] = {}
        for lot in sorted(self.lots, key=lambda lot: lot.rank):
            if lot.place == "available" and lot.points:
                sums[lot.rank] = sums.get(lot.rank, 0) + lot.points
        return sums

    # --- time ---------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        """Walk through every moment at which something is due."""
        until_ms = self.now_ms + ms
        moments = {
            moment
            for lot in self.lots
            for moment in (lot.activates_ms, lot.expires_ms)
            if self.now_ms < moment <= until_ms
        }
        moments |= {hold.due_ms for hold in self.holds.values() if hold.due_ms <= until_ms}
        for moment in sorted(moments):
            self.now_ms = max(self.now_ms, moment)
            self._age()
            for hold_id, hold in self.holds.items():
                if hold.state == "open" and hold.due_ms <= self.now_ms:
                    self._end(hold_id, "expired")
        self.now_ms = until_ms

    def _age(self) -> None:
        for lot in self.lots:
            if lot.place == "pending" and lot.activates_ms <= self.now_ms and not self.frozen:
                lot.place = "available"
        for lot in self.lots:
            if lot.place == "available" and lot.expires_ms <= self.now_ms:
                self._spend(lot, "expired")

    def _spend(self, lot: Lot, how: str) -> None:
        self.gone[how] = self.gone.get(how, 0) + lot.points
        lot.points = 0

    def _take(self, place: str, points: int, to: str | None, how: str = "") -> None:
        """Move so many points from a place, first what expires first; to None: they are gone."""
        for lot in sorted(self.lots, key=lambda lot: lot.rank):
            if lot.place == place and points:
                part = min(points, lot.points)
                points -= part
                lot.points -= part
                moved = replace(lot, points=part, place=to or "")
                if to is None:
                    self._spend(moved, how)
                else:
                    self.lots.append(moved)
        assert not points

    def _end(self, hold_id: str, state: str, captured: int = 0) -> None:
        place = f"hold {hold_id}"
        self._take(place, captured, None, "redeemed")
        self._take(place, self.sum(place), "available")
        self.holds[hold_id].state = state
        self._age()

    # --- what happens -------------------------------------------------------------------------

    def earn(self, points: int) -> None:
        activates_ms = self.now_ms + self.pending_ms
        place = "pending" if self.frozen or self.pending_ms else "available"
        self.earned += points
        self.lots.append(Lot(self.now_ms + self.life_ms, self.now_ms, activates_ms, points, place))

    def redeem(self, points: int) -> str | None:
        if self.frozen:
            return "account_frozen"
        if self.sum("available") < points:
            return "insufficient_points"
        self._take("available", points, None, "redeemed")
        return None

    def hold(self, hold_id: str, points: int, lasts_ms: int | None) -> str | None:
        if self.frozen:
            return "account_frozen"
        if hold_id in self.holds:
            return "hold_exists"
        if lasts_ms is not None and lasts_ms <= 0:
            return "expiry_in_the_past"
        if self.sum("available") < points:
            return "insufficient_points"
        due_ms = self.now_ms + (self.hold_ms if lasts_ms is None else lasts_ms)
        self.holds[hold_id] = Hold(points, due_ms)
        self._take("available", points, f"hold {hold_id}")
        return None

    def _closed(self, hold_id: str) -> str | None:
        if hold_id not in self.holds:
            return "hold_unknown"
        return {
            "open": None,
            "captured": "hold_already_captured",
            "voided": "hold_already_voided",
            "expired": "hold_expired",
        }[self.holds[hold_id].state]

    def capture(self, hold_id: str, points: int | None) -> str | None:
        if self.frozen:
            return "account_frozen"
        if (reason := self._closed(hold_id)) is not None:
            return reason
        held = self.holds[hold_id].points
        if points is not None and points > held:
            return "capture_exceeds_hold"
        self._end(hold_id, "captured", held if points is None else points)
        return None

    def void(self, hold_id: str) -> str | None:
        if (reason := self._closed(hold_id)) is None:
            self._end(hold_id, "voided")
        return reason

    def adjust(self, points: int, lives_ms: int | None) -> str | None:
        if points < 0:
            if self.sum("available") < -points:
                return "insufficient_points"
            self._take("available", -points, None, "adjusted_down")
            return None
        lives_ms = self.life_ms if lives_ms is None else lives_ms
        if lives_ms <= 0:
            return "expiry_in_the_past"
        self.adjusted_up += points
        self.lots.append(Lot(self.now_ms + lives_ms, self.now_ms, 0, points, "available"))
        return None

    def clear(self) -> str | None:
        self._take("available", self.sum("available"), None, "cleared")
        return None

    def freeze(self) -> str | None:
        if self.frozen:
            return "account_frozen"
        self.frozen = True
        return None

    def unfreeze(self) -> str | None:
        if not self.frozen:
            return "account_not_frozen"
        self.frozen = False
        self._age()
        return None
