"""Stock over all partitions and workers is sold once, whoever is killed meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from .conftest import Deploy
from .deployment import Deployment, at, by_member, now_ms

pytestmark = pytest.mark.broker

MEMBERS = 100
STOCK = 10
ROUNDS = 8


def publish(club: Deployment, event_id: str, **fields: object) -> None:
    item = {"item_id": "mug", "price_points": 10, "occurred_at": at(now_ms()), **fields}
    club.publish([{"event_id": event_id, "type": "item.published", **item}])


def redemptions(first: int, count: int) -> list[dict[str, object]]:
    return [
        {
            "event_id": f"c{number}",
            "type": "points.redeem",
            "member_id": f"m{number % MEMBERS}",
            "actor": by_member(f"m{number % MEMBERS}"),
            "occurred_at": at(now_ms()),
            "item_id": "mug",
        }
        for number in range(first, first + count)
    ]


@pytest.mark.timeout(240)
def test_stock_is_never_oversold_by_workers_that_are_killed(deploy: Deploy) -> None:
    """Two workers, kill -9 of one after the other while members of all partitions want ten pieces:
    ten get one, everybody is answered once, and nothing stays held."""
    club = deploy(workers=2, partitions=4)
    publish(club, "v1", stock=STOCK)
    for number in range(MEMBERS):
        club.order(f"o{number}", 100, f"m{number}")
    club.settle()

    dice = random.Random(5)
    each = 2 * MEMBERS // ROUNDS
    for round_ in range(ROUNDS):
        # Published again with the same stock: that is no new stock.
        publish(club, f"v{round_ + 2}", stock=STOCK)
        club.publish(redemptions(round_ * each, each))
        club.pass_by(now_ms() + dice.randrange(400))
        club.workers[round_ % 2].kill()
        club.start(wait=False)
    club.start()
    club.settle()

    answers = club.bodies("command-results")
    assert len(answers) == len({answer["command_id"] for answer in answers}) == 2 * MEMBERS
    ends = Counter(answer.get("reason", "accepted") for answer in answers)
    assert ends == {"accepted": STOCK, "out_of_stock": 2 * MEMBERS - STOCK}
    captured = [entry for entry in club.entries() if entry["type"] == "points.captured"]
    assert sum(entry["quantity"] for entry in captured) == STOCK
    standings = club.standings("mall-sync").values()
    assert all(standing["held"] == 0 for standing in standings)
    assert sum(s["available"] for s in standings) == MEMBERS * 100 - STOCK * 10
    assert not club.letters()
