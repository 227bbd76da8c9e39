"""Boundaries that nobody was up for: case 20."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.contracts.wire import rfc3339

from .conftest import Deploy
from .deployment import CLERK, Deployment, by_member, now_ms

pytestmark = pytest.mark.broker

SPANS_MS = (7_000, 20_000, 60_000)
"""How long the workers have to be done before the first boundary. On a slow machine the shorter
ones say nothing."""


def seen(club: Deployment) -> list[dict[str, Any]]:
    """The entries without the names of the topics, and without when the broker took the input:
    two deployments have two of each. What timers made has no input, and must be equal in full."""
    entries = club.entries("m1")
    for entry in entries:
        if entry.get("cause_topic") is not None:
            entry["cause_topic"] = entry["cause_topic"].removeprefix(club.prefix)
            del entry["recorded_at"]
    return entries


@pytest.mark.case(20)
def test_worker_that_was_down_over_three_boundaries_replays_each_in_order(deploy: Deploy) -> None:
    """Activations, expiries and the end of a hold while it was down: the entries of one that was
    up, timers' bytes included, and the same balance for what comes next."""
    assert any(replayed(deploy, span_ms) for span_ms in SPANS_MS), "the machine was too slow"


def replayed(deploy: Deploy, span_ms: int) -> bool:
    """Let one of two workers sleep over the boundaries and compare; False if it was up for one."""
    programme = {"wallets": [{"id": "points", "activation": {"after": f"PT{span_ms // 1_000}S"}}]}
    up, down = deploy(programme, start=False), deploy(programme, start=False)
    up.start(wait=False)
    down.start()
    up.start()
    begin = now_ms()
    first, second, third = (begin + span_ms + 1_000 * n for n in range(3))

    def command(event_id: str, kind: str, **fields: Any) -> dict[str, Any]:
        return {
            "event_id": event_id,
            "type": kind,
            "member_id": "m1",
            "occurred_at": rfc3339(begin),
            "actor": CLERK,
            "reason": "asked",
            **fields,
        }

    def adjust(name: str, points: int, expires_ms: int) -> dict[str, Any]:
        return command(name, "points.adjust", points=points, expires_at=rfc3339(expires_ms))

    order = {
        "event_id": "o1",
        "type": "order.paid",
        "member_id": "m1",
        "occurred_at": rfc3339(begin),
        "order_id": "o1",
        "currency": "CNY",
        "paid_minor": 8_000,
    }
    commands = [
        adjust("a1", 10, first),
        adjust("a2", 20, second),
        adjust("a3", 40, third),
        # Takes all of the first lot and half of the second; ends when the second one does.
        command("h1", "points.hold", hold_id="h", points=20, expires_at=rfc3339(second)),
    ]
    # One topic after the other: which of two is read first is each deployment's own order.
    for bodies in ([order], commands):
        for club in (up, down):
            club.publish(bodies)
        for club in (up, down):
            club.settle()
    down.kill()
    if now_ms() >= first:
        return False
    down.pass_by(third + 500)
    down.start()
    after = [command("r1", "points.redeem", points=75, actor=by_member("m1"))]
    for club in (up, down):
        club.publish(after)
        club.settle()

    assert seen(down) == seen(up)
    assert up.moves()[-1] == ("redeemed", 75, 5)
    timers = [e["occurred_at"] for e in up.entries("m1") if e.get("cause_topic") is None]
    assert timers == sorted(timers)
    assert set(timers) == {rfc3339(moment) for moment in (first, second, third)}
    return True
