"""What each role may do on the brokers: Kafka access lists, generated from the list of topics.

The names of resources, patterns and operations are spelt as in a `KafkaUser` of Strimzi.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, Literal

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from pointstream.contracts.topics import TopicSpec, topic_specs
from pointstream.engine.access import Access

__all__ = ["Acl", "AclsError", "Role", "acls_of", "apply_acls", "kafka_acls_commands", "replays_id"]

Resource = Literal["topic", "group", "transactionalId", "cluster"]
Pattern = Literal["literal", "prefix"]

# The codes of Kafka's protocol.
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactionalId": 5}
_PATTERNS = {"literal": 3, "prefix": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3
_CLUSTER = "kafka-cluster"

#: Written by those who run the programme, not by the systems around it.
_OPERATORS_INPUTS = ("rules", "detectors", "catalogue")
#: Whole inputs, suspicions, and what nobody got: not for every reader of the outputs.
_NOT_DOWNSTREAM = ("dead-letters", "fraud-flags", "shadow-diffs")
#: What an operator writes of the programme's own: which dead letters were sent again.
_OPERATORS_OWN = "internal.replays"
_REVIEWERS_OUTPUTS = ("fraud-flags", "balance-changes", "crm-sync", "command-results")


class Role(StrEnum):
    """Who does what with the topics; a user may have several."""

    WORKER = "worker"
    """Takes the inputs, keeps the state, writes the outputs."""
    UPSTREAM = "upstream"
    """Publishes events and commands; reads nothing."""
    DOWNSTREAM = "downstream"
    """Reads what the programme publishes for the systems that live on it."""
    REVIEWER = "reviewer"
    """Looks into suspicions and decides them by commands."""
    OPERATOR = "operator"
    """Creates topics, publishes rules and the catalogue, reads everything, may give any input."""
    MAINTAINER = "maintainer"
    """Puts a state back, or elsewhere, while no worker runs: writes whatever workers write."""


class AclsError(Exception):
    """The brokers refuse an access list; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Acl:
    """What is allowed on one resource, from every host."""

    resource: Resource
    name: str
    operations: tuple[str, ...]
    pattern: Pattern = "literal"

    def as_json(self) -> dict[str, Any]:
        """As an entry of `spec.authorization.acls` of a Strimzi `KafkaUser`."""
        resource: dict[str, str] = {"type": self.resource}
        if self.resource != "cluster":
            resource |= {"name": self.name, "patternType": self.pattern}
        return {"resource": resource, "operations": list(self.operations), "host": "*"}


def acls_of(
    role: Role,
    *,
    prefix: str,
    app_id: str,
    group: str | None = None,
    only: Collection[str] = (),
) -> list[Acl]:
    """What a role must be allowed, and no more.

    Args:
        role: whose.
        prefix: what the topics' names start with.
        app_id: the consumer group of the workers.
        group: what the names of the groups of a reader of outputs start with; None for a reader
            that has none.
        only: suffixes of the topics that an upstream or downstream user is confined to; none for
            all of the role.

    Raises:
        ValueError: `only` names a topic that the role has nothing to do with.
    """
    specs = topic_specs(prefix)
    topics = [Acl("topic", spec.name, operations) for spec, operations in _topics(role, specs)]
    if only:
        names = {prefix + suffix for suffix in only}
        if unknown := names - {acl.name for acl in topics}:
            raise ValueError(
                f"the role {role} has nothing to do with {', '.join(sorted(unknown))}; "
                f"it has {', '.join(acl.name.removeprefix(prefix) for acl in topics)}"
            )
        topics = [acl for acl in topics if acl.name in names]
    return [*topics, *_others(role, prefix, app_id, group)]


def _topics(role: Role, specs: Sequence[TopicSpec]) -> Iterator[tuple[TopicSpec, tuple[str, ...]]]:
    """Which operations on which topics; who may read or write a topic may describe it."""
    for spec in specs:
        taken, given = spec.direction == "in", spec.direction == "out"
        operations: tuple[str, ...] = ()
        match role:
            case Role.WORKER:
                # Its start compares the settings of every topic with what they must be.
                own = ("Read",) if taken else ("Write",) if given else ("Read", "Write")
                operations = (*own, "DescribeConfigs")
            case Role.UPSTREAM if taken and spec.suffix not in _OPERATORS_INPUTS:
                operations = ("Write",)
            case Role.DOWNSTREAM if given and spec.suffix not in _NOT_DOWNSTREAM:
                operations = ("Read",)
            case Role.REVIEWER if spec.suffix in _REVIEWERS_OUTPUTS:
                operations = ("Read",)
            case Role.REVIEWER if spec.suffix == "commands":
                operations = ("Write",)
            case Role.OPERATOR:
                writes = taken or spec.suffix == _OPERATORS_OWN
                operations = ("Read", *(("Write",) if writes else ()), "Create", "DescribeConfigs")
            case Role.MAINTAINER:
                operations = ("Read", "Write", "Create", "DescribeConfigs")
        if operations:
            yield spec, operations


def _others(role: Role, prefix: str, app_id: str, group: str | None) -> Iterator[Acl]:
    """Groups, transactions and the cluster."""
    if role in (Role.WORKER, Role.MAINTAINER):
        yield Acl("group", app_id, ("Read",))
        # One transactional id for each partition.
        yield Acl("transactionalId", f"{app_id}-", ("Describe", "Write"), "prefix")
    elif role is Role.OPERATOR:
        yield Acl("group", app_id, ("Describe",))
        yield Acl("transactionalId", f"{app_id}-", ("Describe",), "prefix")
        # Dead letters are sent again in transactions of their own.
        yield Acl("transactionalId", replays_id(app_id), ("Describe", "Write"))
        yield Acl("cluster", _CLUSTER, ("Describe",))
    if group is not None and role in (Role.DOWNSTREAM, Role.REVIEWER, Role.OPERATOR):
        yield Acl("group", group, ("Read",), "prefix")


def replays_id(app_id: str) -> str:
    """The transactional id under which dead letters are sent again; no worker's begins with it."""
    return f"{app_id}.replays"


def kafka_acls_commands(
    acls: Iterable[Acl], principal: str, servers: str, command_config: str
) -> list[str]:
    """The same as commands of Kafka's own `kafka-acls`, as few as it takes."""
    options = {"topic": "--topic", "group": "--group", "transactionalId": "--transactional-id"}
    commands = []
    alike = sorted(acls, key=_kind)
    for (resource, pattern, operations), members in groupby(alike, key=_kind):
        words = ["kafka-acls", "--bootstrap-server", servers, "--command-config", command_config]
        words += ["--add", "--allow-principal", principal]
        for operation in operations:
            words += ["--operation", operation]
        if pattern == "prefix":
            words += ["--resource-pattern-type", "prefixed"]
        for acl in members:
            words += ["--cluster"] if resource == "cluster" else [options[resource], acl.name]
        commands.append(shlex.join(words))
    return commands


def _kind(acl: Acl) -> tuple[str, str, tuple[str, ...]]:
    return acl.resource, acl.pattern, acl.operations


async def apply_acls(access: Access, principal: str, acls: Iterable[Acl]) -> None:
    """Add the lists to those that the brokers have; one that is there already stays as it is.

    Raises `AclsError`.
    """
    client: Any = access.client()
    try:
        await client.bootstrap()
        for acl in acls:
            for operation in acl.operations:
                request = CreateAclsRequest(
                    _RESOURCES[acl.resource],
                    acl.name,
                    _PATTERNS[acl.pattern],
                    principal,
                    "*",
                    _OPERATIONS[operation],
                    _ALLOW,
                )
                answer = await client.send(client.get_random_node(), request)
                for code, message in answer.creation_responses:
                    if code:
                        reason = message or for_code(code).description
                        raise AclsError(f"{operation} on {acl.name}: {reason}")
    finally:
        await client.close()
