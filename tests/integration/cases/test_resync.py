"""A downstream system that lost rows asks for them again."""

from __future__ import annotations

import orjson
import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

from .conftest import Deploy
from .deployment import Deployment

pytestmark = pytest.mark.broker


def asked(club: Deployment, *whose: str) -> Result:
    told = {
        "KAFKA_BOOTSTRAP_SERVERS": club.servers,
        "POINTSTREAM_TOPIC_PREFIX": club.prefix,
        "POINTSTREAM_APP_ID": club.name,
        "POINTSTREAM_ACTOR": "ann",
    }
    arguments = ["resync", *whose, "--reason", "rows were lost", "--json"]
    return CliRunner().invoke(app, arguments, env=told)


def test_standings_come_again_through_a_kill(deploy: Deploy) -> None:
    """The same bytes, under the same `seq`; the books have not moved."""
    club = deploy()
    members = [f"m{number}" for number in range(50)]
    for member in members:
        club.order(f"o-{member}", 100, member)
    club.give("account.erase", "m0")
    club.settle()
    before = {record.key: record.value for record in club.records("mall-sync")}
    sent, entries = len(club.records("mall-sync")), len(club.entries())

    all_of_them = asked(club, "--all", "--timeout", "0")
    assert all_of_them.exit_code == 0, all_of_them.output
    (command_id,) = orjson.loads(all_of_them.stdout)["commands"]
    club.kill()
    club.start()
    club.until(lambda: bool(club.answers(command_id)), "the answer")
    one = asked(club, "--member", "m0", "--member", "m1", "--member", "nobody")

    assert [answer["resent"] for answer in club.answers(command_id)] == [49]
    assert (one.exit_code, orjson.loads(one.stdout)["resent"]) == (0, 2)
    records = club.records("mall-sync")
    assert len(records) == sent + 49 + 2
    assert {record.key: record.value for record in records} == before
    assert before[b"m0"] is None
    assert len(club.entries()) == entries
