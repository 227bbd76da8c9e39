"""Both sides have it or the sender has it back, also with kill -9 between the legs: case 24."""

from __future__ import annotations

import random
import time

import pytest

from pointstream.operations.placement import partition_of

from .conftest import Deploy
from .deployment import Deployment, by_member, owned_by

pytestmark = pytest.mark.broker

_PARTITIONS = 4
_EXPIRY = {"wallets": [{"id": "points", "expiry": {"days": 30}}]}


def _member_of(partition: int, nth: int = 0) -> str:
    """A member whose account is in a partition."""
    names = (f"m{n}" for n in range(1_000) if partition_of(b"m%d" % n, _PARTITIONS) == partition)
    return [next(names) for _ in range(nth + 1)][-1]


def _sent(club: Deployment, member: str) -> bool:
    return any(kind == "transferred_out" for kind, _, _ in club.moves(member))


@pytest.mark.case(24)
@pytest.mark.parametrize("recipient", ["open", "frozen"])
def test_workers_die_between_the_legs(deploy: Deploy, recipient: str) -> None:
    """The recipient's worker is killed before the points leave, the sender's right after: what is
    under way is nowhere but in the log, and arrives or comes back when somebody is there again."""
    club = deploy(_EXPIRY, workers=2, partitions=_PARTITIONS)
    near, far = club.workers
    sender, to = _member_of(owned_by(near)[0]), _member_of(owned_by(far)[0])
    club.order("o1", 100, sender)
    club.order("o2", 5, to)
    if recipient == "frozen":
        club.give("account.freeze", to)
    club.settle()
    far.kill()
    command = club.give(
        "points.transfer", sender, to_member_id=to, points=30, actor=by_member(sender)
    )
    club.until(lambda: _sent(club, sender), "the first leg")
    near.kill()

    assert [kind for kind, _, _ in club.moves(to)] == ["earned"]
    proof = club.proof()
    assert proof.holds, proof.breaches
    assert proof.under_way == 30
    assert not club.answers(command)

    club.start()
    club.settle()
    assert club.proof().under_way == 0
    out = club.entries(sender)[1]
    if recipient == "open":
        assert club.outcome(command) == "accepted"
        assert club.moves(sender) == [("earned", 100, 100), ("transferred_out", 30, 70)]
        assert club.moves(to) == [("earned", 5, 5), ("transferred_in", 30, 35)]
        # They live as long as they would have with the sender.
        (lot,) = club.entries(to)[1]["lots"]
        assert lot["expires_at"] == out["lots"][0]["expires_at"]
    else:
        assert club.outcome(command) == "recipient_frozen"
        assert club.moves(sender)[1:] == [("transferred_out", 30, 70), ("transferred_in", 30, 100)]
        assert club.moves(to) == [("earned", 5, 5)]
    assert len(club.answers(command)) == 1


@pytest.mark.case(24)
def test_many_transfers_while_workers_are_killed(deploy: Deploy) -> None:
    """Killed at whatever step they are: each is answered once, and no point is lost or made."""
    chance = random.Random(24)
    club = deploy(_EXPIRY, workers=2, partitions=_PARTITIONS)
    members = [_member_of(partition, nth) for partition in range(_PARTITIONS) for nth in range(3)]
    for member in members:
        club.order(f"o-{member}", 1_000, member)
    club.settle()
    given: dict[str, tuple[str, str, int]] = {}
    for burst in range(6):
        for _ in range(40):
            member, to = chance.sample([*members, "nobody"], 2)
            if member == "nobody":
                member, to = to, member
            points = chance.randint(1, 60)
            command = club.give("points.transfer", member, to_member_id=to, points=points)
            given[command] = (member, to, points)
        worker = club.workers[burst % 2]
        time.sleep(chance.random() * 0.2)
        worker.kill()
        club.start(wait=False)
    club.start()
    club.settle()

    balances = dict.fromkeys(members, 1_000)
    told: dict[str, list[str]] = {command: [] for command in given}
    for answer in club.bodies("command-results"):
        told[answer["command_id"]].append(answer["outcome"])
    assert all(len(outcomes) == 1 for outcomes in told.values())
    for command, (member, to, points) in given.items():
        if told[command] == ["accepted"]:
            balances[member] -= points
            balances[to] += points
    assert {m: club.standings()[m]["available"] for m in members} == balances
    proof = club.proof()
    assert (proof.under_way, proof.totals["available"]) == (0, 1_000 * len(members))
