"""States of released formats, as they were written then, and what is in them.

`golden/state-1` is a backup of a job in memory in the middle of its life: three partitions, a
transfer and a question for a budget under way, nearly every kind of key. A change of the code must
read it. Only a new format adds a directory; none is ever written again (`write_golden` did).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger import state as keys
from pointstream.ledger.codec import READS, decode_account
from pointstream.operations.moving.archive import Archive
from pointstream.operations.moving.verify import verify

from .conftest import NewDriver
from .moving_support import CLERK, a_life, a_programme, archive_of, live, put_back, quiet

GOLDEN = Path(__file__).with_name("golden")
#: No key of these kinds is in it.
NOT_IN_IT = {"1": "a resync under way, which ends by itself within minutes"}
_SEED = 11


def balances(driver: EngineTestDriver) -> Mapping[str, Any]:
    """By member: seq, and by wallet what is available, pending, held and owed."""
    found = {}
    for number in range(driver.partitions):
        for key, value in driver.state(number).items():
            if keys.is_account_key(key):
                account = decode_account(key, value)
                wallets = {
                    name: [t.available, t.pending, t.held, t.debt]
                    for name, t in sorted(account.wallets.items())
                }
                found[account.member_id] = [account.seq, wallets]
    return found


def write_golden(driver: EngineTestDriver, directory: Path) -> None:
    """Let a job live until something of every kind is there, and keep it."""
    life = a_life(_SEED, events=500)
    middle = len(life) * 2 // 3
    live(driver, life[:middle])
    now_ms = driver.broker.now_ms
    members = sorted(balances(driver))

    def give(topic: str, kind: str, number: int, **fields: Any) -> None:
        body = {
            "event_id": f"{kind}-{number}",
            "type": kind,
            "member_id": members[number],
            "occurred_at": rfc3339(now_ms),
            **(CLERK if topic == "commands" else {}),
            **fields,
        }
        driver.send(f"points.{topic}", members[number].encode(), orjson.dumps(body))

    for number in range(len(members)):
        give("commands", "points.hold", number, hold_id=f"g{number}", points=1)
        give("commands", "points.adjust", number, points=5_000)
    quiet(driver)
    for number in range(len(members)):
        order = {"order_id": f"g{number}", "currency": "CNY", "paid_minor": 20_000}
        give("orders", "order.paid", number, **order)
        other = members[number - 1]
        give("commands", "points.transfer", number, to_member_id=other, points=1)
    # The first partition has asked and sent; the others, and the answers, are still to come.
    driver.crash_at(Boundary.STORED)
    driver.run()
    kinds = {key[:1] for number in range(3) for key in driver.state(number)}
    archive_of(driver, directory)
    (directory / "expected.json").write_bytes(
        orjson.dumps(
            {
                "balances": balances(driver),
                "kinds": sorted(kind.decode() for kind in kinds),
                "now_ms": driver.broker.now_ms,
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
        )
    )


@pytest.mark.parametrize("version", sorted(READS))
def test_a_state_of_every_format_that_is_read_is_kept(
    new_driver: NewDriver, tmp_path: Path, version: int
) -> None:
    """Same balances and numbers as when it was written; it lives on, and its books stay right."""
    archive = Archive.open(GOLDEN / f"state-{version}")
    expected = orjson.loads((GOLDEN / f"state-{version}" / "expected.json").read_bytes())
    found = verify(archive)
    assert found.holds, found.breaches
    assert found.waiting > 0
    driver = new_driver(partitions=archive.manifest.partitions, other=a_programme())
    driver.broker.now_ms = expected["now_ms"]
    put_back(archive, driver)
    for number, store in enumerate(driver._stores):
        assert not store.data, number
    driver.run(batches=0)
    assert balances(driver) == expected["balances"]

    quiet(driver)
    # What else happens is not what was recorded then: rules may say other things by now.
    live(driver, [h for h in a_life(_SEED + 1, events=60) if h[0] > expected["now_ms"]])
    driver.tick(expected["now_ms"] + 60 * 86_400_000)
    quiet(driver)
    end = verify(archive_of(driver, tmp_path / "end"))
    assert end.holds, end.breaches


def test_the_newest_golden_state_has_all_kinds_of_keys() -> None:
    """A kind that is not in it could change its form without a word."""
    expected = orjson.loads((GOLDEN / f"state-{max(READS)}" / "expected.json").read_bytes())
    told = set(re.findall(r"^    (\w) +\w", keys.__doc__ or "", flags=re.MULTILINE))
    assert told - set(expected["kinds"]) == set(NOT_IN_IT)
