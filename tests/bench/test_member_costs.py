"""A member with very many orders costs per event what one with ten costs."""

from __future__ import annotations

from pointstream.engine.store import MemoryStore

from .member import FEW, dearer, lives


def test_an_event_costs_the_same_however_many_orders_a_member_has() -> None:
    """As many reads, keys scanned and writes, and no more bytes but for digits, of any event."""
    few, many = (lives(orders, MemoryStore(), rounds=3) for orders in (FEW, 20_000))

    assert dearer(few, many) == []
