"""Looking back and ahead from the command line, at what real workers have written."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.contracts.wire import epoch_ms, rfc3339

from .conftest import Deploy
from .deployment import Deployment

DAY_MS = 86_400_000

pytestmark = pytest.mark.broker


def run(club: Deployment, *arguments: str) -> Result:
    """A command on the deployment's topics, with its programme."""
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": club.servers,
        "POINTSTREAM_TOPIC_PREFIX": club.prefix,
        "POINTSTREAM_PARTITIONS": str(club.partitions),
        "POINTSTREAM_PROGRAMME_FILE": str(club.directory / "programme.yaml"),
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, list(arguments), env=env)


def moment(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def told(club: Deployment, *arguments: str) -> Any:
    result = run(club, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_balance_of_a_moment_is_what_it_was_then(deploy: Deploy) -> None:
    """Before, between and after; by lots; of members that were merged and erased since."""
    club = deploy({"wallets": [{"id": "points", "expiry": {"days": 30}}]})
    club.order("o1", 100)
    club.order("o2", 7, member="m2")
    club.settle()
    club.give("points.hold", hold_id="h1", points=30)
    club.settle()
    club.give("points.redeem", points=50)
    club.settle()
    earned, held, spent = (moment(entry["recorded_at"]) for entry in club.entries("m1"))

    then = told(club, "balance", "m1", "--at", rfc3339(held))
    wallet = then["wallets"]["points"]
    assert (then["seq"], then["status_now"], then["merged"]) == (2, "active", False)
    assert (wallet["available"], wallet["held"], wallet["pending"]) == (70, 30, 0)
    (lot,) = wallet["lots"]
    assert (lot["points"], lot["pending"]) == (70, False)
    assert club.began_ms + 29 * DAY_MS < moment(lot["expires_at"]) < held + 31 * DAY_MS
    before = told(club, "balance", "m1", "--at", rfc3339(held - 1))["wallets"]["points"]
    assert (before["available"], before["held"]) == (100, 0)
    after = told(club, "balance", "m1", "--at", rfc3339(spent))["wallets"]["points"]
    assert (after["available"], after["held"]) == (20, 30)
    nothing = run(club, "balance", "m1", "--at", rfc3339(earned - 1))
    assert nothing.exit_code == 1
    assert "no ledger entry by" in nothing.output
    assert run(club, "balance", "m9", "--at", rfc3339(spent)).exit_code == 1

    club.give("account.merge", "m2", into_member_id="m1")
    club.settle()
    old = told(club, "balance", "m2", "--at", rfc3339(spent))
    assert (old["wallets"]["points"]["available"], old["status_now"]) == (7, "merged")
    text = run(club, "balance", "m2", "--at", "2099-01-01")
    assert "merged into another one by then" in text.output
    club.give("account.erase", "m1")
    club.settle()
    gone = told(club, "balance", "m1", "--at", rfc3339(spent))
    assert (gone["wallets"]["points"]["available"], gone["status_now"]) == (20, "erased")


def test_the_forecast_comes_true(deploy: Deploy) -> None:
    """What is said to activate does; reading writes nothing."""
    club = deploy({"wallets": [{"id": "points", "activation": {"after": "PT8S"}}]})
    club.order("o1", 100)
    club.order("o2", 30, member="m2")
    club.settle()
    written = len(club.records("internal.changelog"))

    seen = told(club, "forecast", "--months", "1", "--by", "day")

    assert seen["opening"] == seen["closing"] == {"points": 130}
    (day,) = seen["periods"]
    assert (day["amounts"], day["outstanding"]) == ({"points.activated": 130}, 130)
    assert (seen["accounts"], seen["messages_not_followed"]) == (2, 0)
    assert not any(e["type"] == "points.activated" for e in club.entries())
    assert written <= len(club.records("internal.changelog"))
    club.until(lambda: len(club.entries()) == 4, "activation")
    assert sum(e["amount"] for e in club.entries() if e["type"] == "points.activated") == 130
    text = run(club, "forecast")
    assert text.exit_code == 0
    assert "assumes no new events" in text.output


def test_a_second_actor_consents_through_real_workers(deploy: Deploy) -> None:
    """The worker is killed while the command waits; consented to, it takes effect once."""
    club = deploy({"limits": {"store": {"adjust": 100}}})
    till = {"id": "till-4", "role": "store", "store_id": "s1"}
    asked = club.give("points.adjust", points=150, actor=till, store_id="s1", reason="kettle")
    club.settle()
    (flag,) = club.bodies("fraud-flags")
    assert (flag["state"], club.answers(asked)) == ("raised", [])
    club.kill()
    own = club.give("review.release", flag_id=flag["flag_id"], actor=till, store_id="s1")
    consent = club.give("review.release", flag_id=flag["flag_id"])
    club.start()
    club.settle()

    assert club.outcome(own) == "not_permitted"
    assert (club.outcome(consent), club.outcome(asked)) == ("accepted", "accepted")
    (entry,) = club.entries()
    assert (entry["delta"], entry["actor_id"], entry["reason"]) == (150, "till-4", "kettle")
    assert entry["confirmed_by"] == "clerk"
    assert [each["state"] for each in club.bodies("fraud-flags")] == ["raised", "released"]
