"""Two members become one, and a member is forgotten: cases 32 and 33, with workers killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from rocksdict import AccessType, Options, Rdict

from pointstream.operations.placement import partition_of

from .conftest import Deploy
from .deployment import Deployment, owned_by

pytestmark = pytest.mark.broker

_PARTITIONS = 4
_EXPIRY = {"wallets": [{"id": "points", "expiry": {"days": 30}}]}


def _member_of(partition: int, name: str) -> str:
    """A member whose account is in a partition."""
    ids = (f"{name}-{n}" for n in range(1_000))
    return next(id_ for id_ in ids if partition_of(id_.encode(), _PARTITIONS) == partition)


@pytest.mark.case(32)
def test_workers_die_while_a_merge_is_under_way(deploy: Deploy) -> None:
    """The survivor's worker is gone when the old account asks, the old one's when it is welcome,
    both soon after: nothing is lost, nothing comes twice, and what came for the old id meanwhile
    follows."""
    club = deploy(_EXPIRY, workers=2, partitions=_PARTITIONS)
    near, far = club.workers
    old = _member_of(owned_by(near)[0], "old")
    new = _member_of(owned_by(far)[0], "new")
    for number in range(400):
        club.order(f"o{number}", 2, old)
    club.give("points.hold", old, hold_id="h1", points=50)
    club.order("n1", 5, new)
    club.settle()
    far.kill()
    command = club.give("account.merge", old, into_member_id=new)
    club.until(lambda: bool(club.records("internal.messages")), "the question")
    near.kill()
    far.start()
    club.until(
        lambda: any(
            b"merge.welcome" in (r.value or b"") for r in club.records("internal.messages")
        ),
        "the welcome",
    )
    # By now it may own the old account's partition too, and be any number of steps further.
    far.kill()

    club.refund("o7", "r7", 2, old)
    club.order("o8", 2, old)
    club.order("late", 3, old)
    club.start()
    club.settle()

    assert club.outcome(command) == "accepted"
    standings = club.standings()
    assert (standings[old]["status"], standings[old]["available"]) == ("merged", 0)
    assert (standings[new]["available"], standings[new]["held"]) == (800 - 50 - 2 + 3 + 5, 50)
    club.give("points.capture", old, hold_id="h1")
    club.settle()
    assert club.standings()[new]["held"] == 0
    proof = club.proof()
    assert proof.holds, proof.breaches
    assert proof.under_way == 0


@pytest.mark.case(33)
def test_an_erased_member_is_nowhere_but_in_the_ledger(deploy: Deploy) -> None:
    """Killed and restored without its disk in between: no compacted topic and no local state has
    the id, nor that of a member who was merged into it; a late event changes nothing."""
    club = deploy(_EXPIRY, workers=2, partitions=_PARTITIONS)
    gone, alter = _member_of(0, "gone"), _member_of(1, "alter")
    friend = _member_of(2, "friend")
    for member in (gone, alter, friend):
        for number in range(20):
            club.order(f"o{number}", 10, member)
        club.give("points.hold", member, hold_id="h1", points=30)
        club.refund("o99", "r99", 3, member)
        club.give("member.registered", member, segments=["vip"], birthday="02-29")
    club.give("referral.registered", friend, referee_id=gone)
    club.give("member.updated", friend, referrer_id=gone)
    club.settle()
    club.give("account.merge", alter, into_member_id=gone)
    club.settle()
    assert all(_traces(club, member) for member in (gone, alter))

    command = club.give("account.erase", gone)
    club.until(lambda: bool(club.answers(command)), "the answer")
    club.kill()
    club.start()
    for member in (gone, alter, friend):
        club.order("late", 10, member)
    again = club.give("account.erase", gone)
    club.settle()

    assert (club.outcome(command), club.outcome(again)) == ("accepted", "account_erased")
    # Of each: the refund that waited for its order, and the late order.
    assert sorted((code, body["member_id"]) for code, body in club.letters()) == [
        ("account_erased", alter),
        ("account_erased", alter),
        ("account_erased", gone),
        ("account_erased", gone),
    ]
    assert club.standings().keys() == club.standings("mall-sync").keys() == {friend}
    proof = club.proof()
    assert proof.holds, proof.breaches
    assert proof.totals["earned"] == 3 * 200 + 10
    assert proof.totals["cleared"] == 2 * 200
    owned = {worker: owned_by(worker) for worker in club.workers}
    club.kill()
    for member in (gone, alter):
        assert _traces(club, member) == []
        for worker, partitions in owned.items():
            for partition in partitions:
                path = worker.data_dir / f"partition-{partition:05d}"
                assert _traces_on_disk(path, member) == []


def _traces(club: Deployment, member: str) -> list[bytes]:
    """Where an id stands in the latest records of compacted topics."""
    id_ = member.encode()
    found: list[bytes] = []
    for suffix in ("internal.changelog", "crm-sync", "mall-sync"):
        latest = {(r.partition, r.key): r.value for r in club.records(suffix)}
        found += [
            key or b""
            for (_, key), value in latest.items()
            if value is not None and (id_ in (key or b"") or id_ in value)
        ]
    return found


def _traces_on_disk(path: Path, member: str) -> list[bytes]:
    """The keys of a partition's state on a disk that hold an id, or whose value does."""
    id_ = member.encode()
    store = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    pairs = list(store.items())
    store.close()
    assert pairs
    return [key for key, value in pairs if id_ in key or id_ in value]
