"""Dead letters that are sent again: each once, and each point once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from pointstream.cli.app import app
from pointstream.operations.deadletters import (
    ATTEMPTS,
    REPLAYED_FROM,
    Address,
    Letter,
    Wanted,
    read_letters,
)
from pointstream.operations.lettersums import chosen_letters, select
from pointstream.operations.programme import load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.replays import OvertakenError, Replayer
from pointstream.operations.verdicts import Judge

from .conftest import Deploy
from .deployment import Deployment, at, now_ms

pytestmark = pytest.mark.broker

#: Sends a record in the transaction of a replay, and does not commit it.
_DIES = """
import asyncio, sys
from aiokafka import AIOKafkaProducer
from pointstream.operations.acls import replays_id

async def send(servers, app_id, topic):
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=replays_id(app_id))
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"never", b"m1", 0)
    print("sent", flush=True)
    await asyncio.sleep(60)

asyncio.run(send(*sys.argv[1:]))
"""
_MEMBERS = [f"m{number}" for number in range(10)]


def told(club: Deployment) -> dict[str, str]:
    """The settings of an operator of the deployment."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": club.servers,
        "POINTSTREAM_TOPIC_PREFIX": club.prefix,
        "POINTSTREAM_APP_ID": club.name,
        "POINTSTREAM_PROGRAMME_FILE": str(club.directory / "programme.yaml"),
    }


def said(club: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What a command answers, and with which exit code."""
    result = CliRunner().invoke(app, ["dlq", *arguments, "--json"], env=told(club))
    assert result.stdout, result.output
    return result.exit_code, orjson.loads(result.stdout)


def sent_again(club: Deployment) -> Counter[bytes]:
    """How often each dead letter is on the inputs again."""
    return Counter(
        dict(record.headers)[REPLAYED_FROM]
        for record in club.records("orders")
        if REPLAYED_FROM in dict(record.headers)
    )


def test_a_flood_is_replayed_once_through_kills_of_replay_and_worker(deploy: Deploy) -> None:
    """Refunds without orders, orders dated ahead and rubbish; then the orders come, time passes."""
    club = deploy({"park_window": "PT1S", "future_tolerance": "PT1S"})
    ahead_ms = now_ms() + 5_000
    trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    refunds = [
        {
            "event_id": f"r{n}",
            "type": "order.refunded",
            "member_id": _MEMBERS[n % 10],
            "occurred_at": at(now_ms()),
            "order_id": f"o{n}",
            "refund_id": f"r{n}",
            "refunded_minor": 4_000,
        }
        for n in range(100)
    ]
    early = [
        {
            "event_id": f"e{n}",
            "type": "order.paid",
            "member_id": _MEMBERS[n % 10],
            "occurred_at": at(ahead_ms),
            "order_id": f"e{n}",
            "currency": "CNY",
            "paid_minor": 700,
        }
        for n in range(100)
    ]
    club.publish([*refunds, *early])
    club.put([("orders", b"m1", b"rubbish", [trace])])
    club.until(lambda: len(club.records("dead-letters")) == 201, "the dead letters")
    count = Counter(letter["code"] for letter in said(club, "list", "-n", "300")[1]["letters"])
    assert count == {"refund_without_order": 100, "too_far_in_future": 100, "not_json": 1}
    code, looked = said(club, "replay", "--all", "--dry-run")
    assert (code, looked["chosen"] + looked["left_out"], looked["sent"]) == (1, 201, 0)

    # Mended: the orders are there, and the clock that ran ahead is caught up with.
    for n in range(100):
        club.order(f"o{n}", 100, _MEMBERS[n % 10])
    club.settle()
    club.pass_by(ahead_ms)
    replay = subprocess.Popen(
        [sys.executable, *["-m", "pointstream", "dlq", "replay", "--all", "--yes", "--rate", "40"]],
        env={**os.environ, **told(club)},
    )
    club.until(lambda: sum(sent_again(club).values()) >= 40, "a part of the replay")
    replay.kill()
    replay.wait()
    club.kill()
    some = sum(sent_again(club).values())
    assert some < 200
    club.start()
    code, done = said(club, "replay", "--all", "--yes", "--rate", "10000")

    assert (code, done["sent"] + done["replayed_before"]) == (1, 200)
    assert done["replayed_before"] >= some
    assert done["left_out_letters"][0]["reason"].startswith("would still be refused: not_json")
    code, nothing = said(club, "replay", "--all", "--yes")
    assert (code, nothing["sent"], nothing["replayed_before"]) == (1, 0, 200)
    club.settle()
    assert set(sent_again(club).values()) == {1}
    assert len(sent_again(club)) == 200
    # A hundred orders of 100 points less 40 refunded each, and a hundred of seven.
    assert {m: s["available"] for m, s in club.standings().items()} == dict.fromkeys(_MEMBERS, 670)
    assert len(club.records("dead-letters")) == 201

    code, rubbish = said(club, "replay", "--code", "not_json", "--anyway", "--yes")
    assert (code, rubbish["sent"]) == (0, 1)
    club.until(lambda: len(club.records("dead-letters")) == 202, "a dead letter again")
    _, listed = said(club, "list", "--code", "not_json", "--open")
    assert [letter["attempts"] for letter in listed["letters"]] == [2]
    _, shown = said(club, "show", listed["letters"][0]["dead_letter"])
    assert shown["headers"] == [[trace[0], shown["headers"][0][1]]]
    arguments = ["dlq", "show", listed["letters"][0]["input"], "--raw"]
    assert CliRunner().invoke(app, arguments, env=told(club)).stdout_bytes == b"rubbish"


def test_a_replay_that_died_in_its_transaction_is_taken_over(deploy: Deploy) -> None:
    """What it had not committed was never sent; a replay that was only slow is told so."""
    club = deploy(start=False, partitions=1)
    why = [
        ("__streams.errors.exception", b"refund_without_order"),
        ("__streams.errors.message", b"none"),
        ("__streams.errors.topic", f"{club.prefix}orders".encode()),
        ("__streams.errors.partition", b"0"),
        ("__streams.errors.offset", b"7"),
        ("points.error.code", b"refund_without_order"),
    ]
    value = orjson.dumps(
        {
            "event_id": "r",
            "type": "order.refunded",
            "member_id": "m1",
            "occurred_at": at(now_ms()),
            "order_id": "o",
            "refund_id": "r",
            "refunded_minor": 1,
        }
    )
    club.put([("dead-letters", b"m1", value, why), ("dead-letters", b"m1", value, why)])
    club.put([("dead-letters", b"m1", b" " * (2 << 20), why)])

    died = subprocess.Popen(
        [sys.executable, "-c", _DIES, club.servers, club.name, f"{club.prefix}orders"],
        stdout=subprocess.PIPE,
    )
    assert died.stdout is not None
    assert died.stdout.readline() == b"sent\n"
    died.kill()
    died.communicate()

    async def scene() -> None:
        how = {"prefix": club.prefix, "app_id": club.name}
        async with CommittedReader(club.servers) as reader:
            first, second, large = [each async for each in read_letters(reader, club.prefix)]

            async def letters(*some: Letter) -> AsyncIterator[Letter]:
                for each in some:
                    yield each

            begun_s = time.monotonic()
            slow = Replayer(club.servers, **how)
            await slow.start()
            async with Replayer(club.servers, **how) as other:
                assert (await other.replay(letters(first, second), rate=1_000)).sent == 2
                assert (await other.replay(letters(first), rate=1_000)).before == 1
                # The topic has less room than the one of the dead letters: the rest goes on.
                done = await other.replay(letters(large, second), rate=1_000, again=True)
                assert (done.sent, done.not_taken) == (1, 1)
                assert done.unsendable[0][0].address == large.address
            assert time.monotonic() - begun_s < 5
            with pytest.raises(OvertakenError):
                await slow.replay(letters(first), rate=1_000, again=True)
            await slow.stop()
            judge = Judge(club.prefix, load_programme(), now_ms())
            wanted = Wanted(addresses=frozenset({Address(f"{club.prefix}orders", 0, 7)}))
            chosen = await select(club.servers, club.prefix, wanted, judge, again=True)
            found = [each async for each in chosen_letters(reader, club.prefix, chosen.chosen)]
            # The large one would be refused, so it is not among them.
            assert found == [first, second]

    asyncio.run(scene())
    there = club.records("orders")
    assert [dict(record.headers)[ATTEMPTS] for record in there] == [b"2", b"2", b"2"]
    assert json.loads(there[0].value or b"") == json.loads(value)

    def words(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["dlq", *arguments], env={**told(club), "COLUMNS": "250"})
        return " ".join(result.output.split())

    assert "The order must come; then replay the refund." in words("list", "--limit", "1")
    assert "The newest 1 of 3" in words("list", "--limit", "1")
    assert "No such dead letter." in words("list", "--code", "not_json")
    assert "may be taken" in words("show", "0/0")
    assert "would still be refused: too_large" in words("show", "0/2")
    assert "there is no dead letter of" in words("show", "0/99")
    dry = words("replay", "--dry-run")
    assert "To be sent again: 0." in dry
    assert "left out (--again sends them): 2" in dry
