"""Flags, reviews, transfers, refunds and merges on their way at once, over partitions and crashes.

Nothing waits for anything: messages of one step meet those of the next. In the end every flag has
ended once, all books agree, and each point of an order was asked back once.
"""

from __future__ import annotations

from typing import Any

import orjson
from flags_support import new_ledger, suspicion, watched
from hypothesis import given, settings
from hypothesis import strategies as st
from test_flags_over_partitions import INPUTS, MESSAGES, NOW_MS, PARTITIONS, TICKS, balances

from pointstream.agents.processor import PointsProcessor
from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger.codec import decode_account
from pointstream.ledger.state import is_account_key
from pointstream.ledger.suspicion import Suspicion, flag_id_of

MEMBERS = [f"m{n}" for n in range(6)]
members = st.integers(0, len(MEMBERS) - 1)
points = st.integers(1, 80)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), members, members, points),
        st.tuples(st.just("send"), members, members, points),
        st.tuples(st.just("refund"), members, points),
        st.tuples(st.just("redeem"), members, points),
        st.tuples(st.just("merge"), members, members),
        st.tuples(st.just("suspect"), st.sets(members, min_size=1, max_size=4), st.booleans()),
        st.tuples(st.just("suspect"), st.sets(members, min_size=1, max_size=4), st.booleans()),
        st.tuples(st.just("decide"), st.integers(0, 4), st.booleans(), members),
        st.tuples(st.just("decide"), st.integers(0, 4), st.booleans(), members),
        st.tuples(st.just("run"), st.integers(1, 2)),
        st.tuples(st.just("crash"), st.sampled_from([*Boundary, *CommitFate]), st.integers(0, 4)),
    ),
    min_size=8,
    max_size=40,
)


class Club:
    """Members with an order of 100 each."""

    def __init__(self, batch_records: int, policy: str) -> None:
        self.suspicions: dict[str, Suspicion] = {}
        compiled = watched(refund_policy=policy)
        self.driver = EngineTestDriver(
            lambda partition: PointsProcessor(
                new_ledger(self.suspicions)(compiled), partitions=PARTITIONS
            ),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            batch_records=batch_records,
        )
        self.made = 0
        self.refunded = dict.fromkeys(MEMBERS, 0)
        self.flags: list[tuple[str, set[str]]] = []
        self.driver.tick(NOW_MS)
        for member in MEMBERS:
            self.give("orders", "order.paid", member, f"o-{member}", 100)
        self.to_the_end()

    def give(
        self, topic: str, kind: str, member: str, event_id: str, paid: int = 0, **fields: Any
    ) -> None:
        body = {
            "event_id": event_id,
            "type": kind,
            "member_id": member,
            "occurred_at": "2025-12-31T23:00:00Z",
            **fields,
        }
        if topic == "orders":
            body["order_id"] = f"o-{member}"
        if paid:
            body |= {"currency": "CNY", "paid_minor": paid * 100}
        if topic == "commands":
            body |= {"actor": {"id": "ann", "role": "head_office"}, "reason": "asked"}
        self.driver.send(f"points.{topic}", member.encode(), orjson.dumps(body))

    def command(self, kind: str, member: str, **fields: Any) -> None:
        self.made += 1
        self.give("commands", kind, member, f"c{self.made}", **fields)

    def to_the_end(self) -> None:
        sent = -1
        while True:
            through = self.driver.run()
            if through and sent == (sent := len(self.driver.outputs(MESSAGES))):
                return

    # --- steps ------------------------------------------------------------------------------

    def send(self, sender: int, to: int, sent: int) -> None:
        self.command("points.transfer", MEMBERS[sender], to_member_id=MEMBERS[to], points=sent)

    def redeem(self, member: int, spent: int) -> None:
        self.command("points.redeem", MEMBERS[member], points=spent)

    def merge(self, old: int, into: int) -> None:
        self.command("account.merge", MEMBERS[old], into_member_id=MEMBERS[into])

    def refund(self, number: int, back: int) -> None:
        member = MEMBERS[number]
        back = min(back, 100 - self.refunded[member])
        if back:
            self.refunded[member] += back
            self.made += 1
            fields = {"refund_id": f"r{self.made}", "refunded_minor": back * 100}
            self.give("orders", "order.refunded", member, f"r{self.made}", **fields)

    def suspect(self, numbers: set[int], block: bool) -> None:
        self.made += 1
        names = [MEMBERS[number] for number in sorted(numbers)]
        found = suspicion(
            detector=f"d{self.made}",
            action=FlagAction.BLOCK if block else FlagAction.HOLD,
            entity_kind=EntityKind.DEVICE,
            entity_id=f"d{self.made % 3}",
            events=tuple((name, f"o-{name}") for name in names),
            members=tuple(names),
        )
        self.suspicions[f"s{self.made}"] = found
        self.give("check-ins", "checkin.recorded", names[0], f"s{self.made}")
        self.flags.append((flag_id_of(found), set(names)))

    def decide(self, which: int, release: bool, member: int) -> None:
        if which < len(self.flags):
            flag_id, names = self.flags[which]
            named = sorted(names)[member % len(names)]
            how = "review.release" if release else "review.reject"
            self.command(how, named, flag_id=flag_id)

    def run(self, batches: int) -> None:
        self.driver.run(batches=batches)

    def crash(self, place: Boundary | CommitFate, after: int) -> None:
        self.driver.crash_at(place, after=after)

    # --- what came of it --------------------------------------------------------------------

    def ended(self) -> dict[str, list[str]]:
        """How each flag ended."""
        found: dict[str, list[str]] = {}
        for record in self.driver.outputs("points.fraud-flags"):
            flag = orjson.loads(record.value or b"")
            found.setdefault(flag["flag_id"], [])
            if flag["state"] != "raised":
                found[flag["flag_id"]].append(flag["state"])
        return found

    def state(self) -> dict[bytes, bytes]:
        return {
            key: value
            for partition in range(PARTITIONS)
            for key, value in self.driver.state(partition).items()
        }


@settings(max_examples=80, deadline=None)
@given(
    steps=steps,
    batch_records=st.sampled_from([1, 3, 1000]),
    policy=st.sampled_from(["within_balance", "debt"]),
)
def test_whatever_meets_whatever(steps: list[Any], batch_records: int, policy: str) -> None:
    """Each flag ends once for all of its members, each point is asked back once."""
    club = Club(batch_records, policy)
    for kind, *rest in steps:
        club.driver.broker.now_ms += 1
        getattr(club, kind)(*rest)
    club.to_the_end()
    # What was decided before it was raised, or not at all, is decided now.
    ended = club.ended()
    for flag_id, names in club.flags:
        assert len(ended[flag_id]) <= 1
        if not ended[flag_id]:
            club.command("review.reject", min(names), flag_id=flag_id)
    club.to_the_end()

    ended = club.ended()
    assert all(len(states) == 1 for states in ended.values())
    state = club.state()
    assert not [key for key in state if key[:1] in b"bfh"]
    balances(club.driver)
    accounts = [decode_account(key, value) for key, value in state.items() if is_account_key(key)]
    assert all(account.flags == 0 for account in accounts)
    rejected = {
        name for flag_id, names in club.flags if ended[flag_id] == ["confirmed"] for name in names
    }
    asked = sum(100 if name in rejected else club.refunded[name] for name in MEMBERS)
    wallets = [account.wallets["points"] for account in accounts]
    assert sum(wallet.reversed + wallet.written_off for wallet in wallets) == asked
    changes = [Target("points.balance-changes", partition) for partition in range(PARTITIONS)]
    ids = [
        orjson.loads(record.value or b"")["event_id"]
        for place in changes
        for record in club.driver.broker.records(place)
    ]
    assert len(ids) == len(set(ids))
    club.driver.close()
