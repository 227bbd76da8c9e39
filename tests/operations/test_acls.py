"""Access lists by role, from the list of topics: as little as serves, in Kafka's own words."""

from __future__ import annotations

import shlex

import pytest

from pointstream.contracts.topics import topic_specs
from pointstream.operations.acls import Acl, Role, acls_of, kafka_acls_commands, replays_id

PREFIX = "club."
DIRECTION = {spec.name: spec.direction for spec in topic_specs(PREFIX)}


def lists(role: Role, **how: object) -> list[Acl]:
    return acls_of(role, prefix=PREFIX, app_id="club", **how)  # type: ignore[arg-type]


def open_to(role: Role, operation: str) -> set[str]:
    """The directions of the topics on which a role is allowed something."""
    return {
        DIRECTION[acl.name]
        for acl in lists(role)
        if acl.resource == "topic" and operation in acl.operations
    }


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        (Role.WORKER, {"in", "internal"}, {"out", "internal"}),
        (Role.UPSTREAM, set(), {"in"}),
        (Role.DOWNSTREAM, {"out"}, set()),
        (Role.REVIEWER, {"out"}, {"in"}),
        # Of the internal topics only which dead letters were sent again: see below.
        (Role.OPERATOR, {"in", "out", "internal"}, {"in", "internal"}),
        (Role.MAINTAINER, {"in", "out", "internal"}, {"in", "out", "internal"}),
    ],
)
def test_only_the_worker_and_who_restores_write_what_comes_out(
    role: Role, reads: set[str], writes: set[str]
) -> None:
    """An entry of the ledger by anybody else would be points made from nothing."""
    assert (open_to(role, "Read"), open_to(role, "Write")) == (reads, writes)


def test_an_operator_marks_what_it_sends_again() -> None:
    """In transactions of its own id, which is no worker's; nothing else of the programme's own."""
    written = {a.name for a in lists(Role.OPERATOR) if "Write" in a.operations}
    ids = [a for a in lists(Role.WORKER) if a.resource == "transactionalId"]

    assert {name for name in written if DIRECTION.get(name) != "in"} == {
        "club.internal.replays",
        replays_id("club"),
    }
    assert not replays_id("club").startswith(ids[0].name)


def test_every_topic_is_the_workers() -> None:
    """One that is added to the contract is in its lists at once."""
    assert {acl.name for acl in lists(Role.WORKER) if acl.resource == "topic"} == set(DIRECTION)


def test_only_operators_and_maintainers_create() -> None:
    """And only topics of the programme, never any topic of the cluster."""
    creators = {
        (role, acl.resource)
        for role in Role
        for acl in lists(role, group="g.")
        if {"Create", "Delete", "Alter", "All"} & set(acl.operations)
    }

    assert creators == {(Role.OPERATOR, "topic"), (Role.MAINTAINER, "topic")}


def test_a_user_can_be_confined_to_topics_of_the_role() -> None:
    """A till publishes orders; its password is worth nothing for commands."""
    assert [acl.name for acl in lists(Role.UPSTREAM, only=["orders"])] == ["club.orders"]
    with pytest.raises(ValueError, match="nothing to do with club"):
        lists(Role.UPSTREAM, only=["crm-sync"])


def test_the_entries_are_those_of_a_strimzi_user() -> None:
    """With the pattern of the name and every host."""
    told = [acl.as_json() for acl in lists(Role.DOWNSTREAM, group="crm.", only=["crm-sync"])]

    assert told == [
        {
            "resource": {"type": "topic", "name": "club.crm-sync", "patternType": "literal"},
            "operations": ["Read"],
            "host": "*",
        },
        {
            "resource": {"type": "group", "name": "crm.", "patternType": "prefix"},
            "operations": ["Read"],
            "host": "*",
        },
    ]


@pytest.mark.parametrize("role", Role)
def test_the_commands_say_the_same_as_the_lists(role: Role) -> None:
    """Every resource once, with its operations; nothing twice."""
    acls = lists(role, group="g.")
    options = {"--topic": "topic", "--group": "group", "--transactional-id": "transactionalId"}

    found = []
    for command in kafka_acls_commands(acls, "User:x", "b:9092", "admin.properties"):
        words = shlex.split(command)
        assert words[words.index("--allow-principal") + 1] == "User:x"
        pairs = list(zip(words, [*words[1:], ""], strict=True))
        operations = tuple(value for option, value in pairs if option == "--operation")
        pattern = "prefix" if "--resource-pattern-type" in words else "literal"
        found += [
            Acl(options[option], value, operations, pattern)  # type: ignore[arg-type]
            for option, value in pairs
            if option in options
        ]
        if "--cluster" in words:
            found.append(Acl("cluster", "kafka-cluster", operations))

    assert sorted(found, key=repr) == sorted(acls, key=repr)
