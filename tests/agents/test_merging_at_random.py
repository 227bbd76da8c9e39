"""Merges at any moment, in any order, with crashes: a person ends with what one account would have.

Each person has several ids. Orders and refunds come under any of them, some twice, and merges in
between. In the end all ids are one account, and it has what the same orders and refunds are worth.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary

from .test_merging import (
    MEMBERS,
    Input,
    answers,
    balance,
    club,
    command,
    merge,
    order,
    points_of_members,
    publish,
    refund,
    run_to_the_end,
    traces,
    watched,
)

#: Two persons, each with an id in every partition.
PERSONS = [[MEMBERS[partition][nth] for partition in range(3)] for nth in range(2)]

ids = st.integers(0, 2)
persons = st.integers(0, 1)
orders = st.integers(0, 5)
points = st.integers(1, 50)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("order"), persons, ids, orders),
        st.tuples(st.just("refund"), persons, ids, orders),
        st.tuples(st.just("merge"), persons, ids, ids, st.integers(0, 6)),
        st.tuples(st.just("again"), st.integers(0, 30)),
        st.tuples(st.just("run"), st.integers(1, 3)),
        st.tuples(st.just("crash"), st.sampled_from([*Boundary, *CommitFate]), st.integers(0, 5)),
    ),
    min_size=15,
    max_size=60,
)


@pytest.mark.case(32)
@settings(max_examples=60, deadline=None)
@given(
    steps=steps,
    amounts=st.lists(st.tuples(points, points), min_size=12, max_size=12),
    batch_records=st.sampled_from([1, 7, 1000]),
)
def test_merges_at_random(
    new_driver: Any, steps: list[Any], amounts: list[tuple[int, int]], batch_records: int
) -> None:
    """Whatever meets whatever: nothing is lost, nothing counts twice, and an erasure is one."""
    founding = [order(id_, f"f-{id_}", 1) for person in PERSONS for id_ in person]
    driver: EngineTestDriver = club(new_driver, founding, batch_records)
    watched(driver).points = None
    given_: list[Input] = []
    worth = [len(person) for person in PERSONS]
    ordered: dict[tuple[int, int], int] = {}
    refunded: dict[tuple[int, int], int] = {}
    for number, step in enumerate(steps):
        # In the order of the broker's time: else a partition takes its orders first.
        driver.broker.now_ms += 1
        sent: Input | None = None
        if step[0] in ("order", "refund"):
            kind, person, id_, which = step
            paid, back = amounts[person * 6 + which]
            name, once = f"{person}-{which}", ordered if kind == "order" else refunded
            if (person, which) not in once:
                once[person, which] = paid if kind == "order" else min(paid, back)
                make = order if kind == "order" else refund
                sent = make(PERSONS[person][id_], name, once[person, which])
        elif step[0] == "merge":
            sent = merge(f"c{number}", PERSONS[step[1]][step[2]], PERSONS[step[1]][step[3]])
            publish(driver, [sent])
            driver.run(batches=step[4])
            sent = None
        elif step[0] == "again" and given_:
            publish(driver, [given_[step[1] % len(given_)]])
        elif step[0] == "run":
            driver.run(batches=step[1])
        elif step[0] == "crash":
            driver.crash_at(step[1], after=step[2])
        if sent is not None:
            given_.append(sent)
            publish(driver, [sent])
    run_to_the_end(driver)
    points_of_members(driver.broker)

    survivors = [become_one(driver, number) for number in range(2)]

    for (person, which), amount in ordered.items():
        worth[person] += amount - refunded.get((person, which), 0)
    for person, survivor in enumerate(survivors):
        assert balance(driver, survivor)["available"] == worth[person]
    publish(driver, given_)
    run_to_the_end(driver)
    assert [balance(driver, survivor)["available"] for survivor in survivors] == worth
    points_of_members(driver.broker)

    publish(driver, [command("account.erase", "x", survivors[0])])
    run_to_the_end(driver)
    publish(driver, given_)
    run_to_the_end(driver)
    assert all(traces(driver, id_) == [] for id_ in PERSONS[0])
    assert balance(driver, survivors[1])["available"] == worth[1]
    points_of_members(driver.broker)


def become_one(driver: EngineTestDriver, person: int) -> str:
    """Merge all ids of a person that are accounts still; return the one that is left."""
    left = [id_ for id_ in PERSONS[person] if balance(driver, id_)["status"] == "active"]
    for old in left[1:]:
        name = f"last-{old}"
        publish(driver, [merge(name, old, left[0])])
        run_to_the_end(driver)
        assert answers(driver)[name] == ["accepted"]
    return left[0]
