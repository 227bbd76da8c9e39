"""The proof on a real broker: it reads what is committed, and finds whatever is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from pointstream.contracts.wire import dumps
from pointstream.engine.topics import Topic, ensure_topics
from pointstream.ledger.codec import encode_account, encode_list
from pointstream.ledger.grants import GrantKind
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.state import account_key, grant_key, lot_key
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import NoTopicsError
from pointstream.operations.reconcile import Proof, reconcile

pytestmark = pytest.mark.broker

_PARTITIONS = 2
_MEMBERS = [f"M-{nth}" for nth in range(20)]
_POINTS = 100

_ENTRY: dict[str, Any] = {
    "wallet": "points",
    "type": "points.earned",
    "seq": 1,
    "available_after": _POINTS,
    "pending_after": 0,
    "held_after": 0,
    "debt_after": 0,
}

Written = tuple[str, bytes, bytes]


def _member(member_id: str, points: int = _POINTS) -> list[Written]:
    """All that a member who earned once leaves behind: suffix, key, value."""
    member = member_id.encode()
    sums = {"amount": points, "delta": points, "available_after": points}
    entry = {**_ENTRY, **sums, "member_id": member_id}
    standing = {"seq": 1, "available": points, "pending": 0, "held": 0, "debt": 0}
    account = Account(member_id, member, 1)
    account.wallets["points"] = Totals(available=points, earned=points)
    lot = lot_key(member, "points", 9, 1, "lot")
    return [
        ("balance-changes", member, dumps(entry)),
        ("crm-sync", member, dumps(standing)),
        ("mall-sync", member, dumps(standing)),
        ("internal.changelog", account_key(member), encode_account(account)),
        ("internal.changelog", lot, encode_list([points, None, None, None])),
    ]


async def _topics(servers: str, prefix: str) -> None:
    suffixes = ("balance-changes", "crm-sync", "mall-sync", "internal.changelog")
    await ensure_topics(servers, [Topic(prefix + suffix, _PARTITIONS) for suffix in suffixes])


async def _write(
    servers: str, prefix: str, member_id: str, written: Sequence[Written], *, commit: bool = True
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{prefix}writer")
    await producer.start()
    try:
        await producer.begin_transaction()
        for suffix, key, value in written:
            await producer.send_and_wait(
                prefix + suffix,
                value,
                key=key,
                partition=partition_of(member_id.encode(), _PARTITIONS),
            )
        if commit:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    finally:
        await producer.stop()


async def _prove(servers: str, prefix: str, *, without: str = "", aborted: bool = False) -> Proof:
    await _topics(servers, prefix)
    for member_id in _MEMBERS:
        written = _member(member_id)
        if member_id == _MEMBERS[3]:
            written = [each for each in written if each[0] != without]
        await _write(servers, prefix, member_id, written)
    if aborted:
        await _write(servers, prefix, "M-0", _member("M-0", 7), commit=False)
    return await reconcile(servers, prefix)


def test_right_books_are_proven(bootstrap_servers: str, topic_prefix: str) -> None:
    """Over all partitions, with totals and largest balances; aborted records don't count."""
    proof = asyncio.run(_prove(bootstrap_servers, topic_prefix, aborted=True))

    assert proof.holds
    assert (proof.members, proof.entries) == (len(_MEMBERS), len(_MEMBERS))
    assert proof.totals["available"] == proof.totals["earned"] == _POINTS * len(_MEMBERS)
    assert proof.by_type == {"points.earned": len(_MEMBERS)}
    assert len(proof.top) == 10


@pytest.mark.parametrize(
    ("without", "checks"),
    [
        ("balance-changes", {"seq", "sums"}),
        ("crm-sync", {"crm-sync"}),
        ("mall-sync", {"mall-sync"}),
        ("internal.changelog", {"sums", "crm-sync", "mall-sync"}),
    ],
)
def test_what_one_member_lacks_is_found(
    bootstrap_servers: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    without: str,
    checks: set[str],
) -> None:
    """One record missing on one topic, and the proof names the check and the member."""
    monkeypatch.setattr("pointstream.operations.reconcile._PAUSE_SECONDS", 0.0)

    proof = asyncio.run(_prove(bootstrap_servers, topic_prefix, without=without))

    assert not proof.holds
    assert set(proof.broken) == checks
    assert {breach.member_id for breach in proof.breaches} == {_MEMBERS[3]}


def test_a_piece_sold_that_nobody_gave_away_is_found(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of an item is in another partition than who paid for it."""
    monkeypatch.setattr("pointstream.operations.reconcile._PAUSE_SECONDS", 0.0)

    async def prove(given_away: int) -> Proof:
        granted = grant_key(GrantKind.STOCK, "mug"), encode_list([1, given_away])
        written = [("internal.changelog", *granted)]
        await _write(bootstrap_servers, topic_prefix, owner, written)
        return await reconcile(bootstrap_servers, topic_prefix)

    asyncio.run(_prove(bootstrap_servers, topic_prefix))
    buyer, owner = (_MEMBERS[_of_partition(number)] for number in range(_PARTITIONS))
    sold = {**_ENTRY, "member_id": buyer, "seq": 2, "type": "points.captured", "amount": 0}
    sold |= {"delta": 0, "item_id": "mug", "quantity": 1, "cause_event_id": "c1"}
    entry = ("balance-changes", buyer.encode(), dumps(sold))
    asyncio.run(_write(bootstrap_servers, topic_prefix, buyer, [entry]))

    assert asyncio.run(prove(0)).broken["stock"] == 1
    assert "stock" not in asyncio.run(prove(1)).broken


def _of_partition(partition: int) -> int:
    placed = [partition_of(member_id.encode(), _PARTITIONS) for member_id in _MEMBERS]
    return placed.index(partition)


def test_a_programme_that_never_ran_is_said(bootstrap_servers: str, topic_prefix: str) -> None:
    """Nothing to read is not the same as nothing wrong."""
    with pytest.raises(NoTopicsError, match="POINTSTREAM_TOPIC_PREFIX"):
        asyncio.run(reconcile(bootstrap_servers, topic_prefix))
