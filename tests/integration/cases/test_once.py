"""Once for good, whatever happens to the workers: cases 1 and 3."""

from __future__ import annotations

import shutil

import pytest

from .conftest import Deploy

pytestmark = pytest.mark.broker


@pytest.mark.case(1)
@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_redelivery_after_a_kill_makes_no_second_entry(deploy: Deploy, disk: str) -> None:
    """The same event after kill -9, with the local state or restored from the changelog; and the
    same order under a new event id."""
    club = deploy()
    first = {"order_id": "o1", "paid": 100, "occurred_ms": 1_000 * (club.began_ms // 1_000)}
    club.order(event_id="e1", **first)
    club.settle()
    club.kill()
    if disk == "lost":
        for worker in club.workers:
            shutil.rmtree(worker.data_dir)
    club.order(event_id="e1", **first)
    club.start()
    club.order(event_id="e2", **first)
    club.order("o2", 5)
    club.settle()

    assert club.moves() == [("earned", 100, 100), ("earned", 5, 105)]
    assert not club.letters()


@pytest.mark.case(3)
def test_refund_before_its_order_waits_also_through_a_kill(deploy: Deploy) -> None:
    """The order comes: the net award. No order within the window: dead letter, and no points."""
    club = deploy({"park_window": "PT8S"})
    club.refund("o1", "r1", 30)
    club.refund("never", "r2", 30)
    club.settle()
    assert not club.entries()
    club.kill()
    # Before the start: the broker's time counts, however long a start takes.
    club.order("o1", 100)
    club.start()
    club.until(lambda: bool(club.letters()), "the end of the window")

    assert club.standings()["m1"]["available"] == 70
    assert all(entry["available_after"] >= 0 for entry in club.entries())
    assert [(code, body["refund_id"]) for code, body in club.letters()] == [
        ("refund_without_order", "r2")
    ]
