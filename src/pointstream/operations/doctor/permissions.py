"""Access lists: whether a user may do what its role does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiokafka.errors import ClusterAuthorizationFailedError, SecurityDisabled, for_code
from aiokafka.protocol.admin import DescribeAclsRequest

from pointstream.engine.access import Access
from pointstream.operations.acls import Acl, Role, acls_of
from pointstream.operations.doctor.findings import Finding, problem, right, unknown
from pointstream.operations.settings import Settings

__all__ = ["look_at_permissions"]

_CHECK = "permissions"
_ANY = 1
_ALLOW = 3
_RESOURCES = {2: "topic", 3: "group", 4: "cluster", 5: "transactionalId"}
_OPERATIONS = {2: "All", 3: "Read", 4: "Write", 5: "Create", 8: "Describe", 10: "DescribeConfigs"}
_PREFIXED = 4
#: Who may do one of these may describe, too.
_IMPLY_DESCRIBE = {"Read", "Write", "Delete", "Alter"}


class _Entry(NamedTuple):
    resource: str
    name: str
    prefixed: bool
    principal: str
    operation: str
    allow: bool


async def look_at_permissions(
    access: Access, settings: Settings, principal: str, role: Role
) -> AsyncIterator[Finding]:
    """What a user lacks of its role, and what is forbidden it. Superusers have no lists."""
    entries = await _entries(access)
    if isinstance(entries, str):
        if entries == SecurityDisabled.__name__:
            yield right(_CHECK, "the brokers keep no access lists")
        else:
            yield unknown(
                _CHECK,
                f"the lists may not be read ({entries})",
                "ask as a user with Describe on the cluster, such as one of the role operator",
            )
        return
    reading = Acl("cluster", "kafka-cluster", ("Describe",))
    asker = f"User:{settings.kafka_username}"
    if principal == asker and not _allowed(entries, asker, reading, "Describe"):
        # It has just read the lists, which none of them allows it.
        yield right(_CHECK, f"{principal} is a superuser: no list is asked for it")
        return
    lacking = [
        f"{operation} on {acl.resource} {acl.name}"
        for acl in acls_of(role, prefix=settings.topic_prefix, app_id=settings.app_id)
        for operation in acl.operations
        if not _allowed(entries, principal, acl, operation)
    ]
    if not lacking:
        yield right(_CHECK, f"{principal} may do all that a {role} does")
        return
    few = ", ".join(lacking[:4]) + (f" and {len(lacking) - 4} more" if len(lacking) > 4 else "")
    yield problem(
        _CHECK,
        f"{principal} may not do what a {role} does, unless it is a superuser: {few}",
        f"pointstream topics acls --role {role} --principal {principal} --apply",
    )


def _allowed(entries: list[_Entry], principal: str, acl: Acl, operation: str) -> bool:
    """Whether any list allows it and none forbids it, by Kafka's rules."""
    verdicts = {
        entry.allow
        for entry in entries
        if entry.principal in (principal, "User:*")
        and _is_about(entry, acl)
        and _covers(entry, operation)
    }
    return verdicts == {True}


def _is_about(entry: _Entry, acl: Acl) -> bool:
    if entry.resource != acl.resource:
        return False
    if entry.prefixed:
        return acl.name.startswith(entry.name)
    return entry.name == "*" or (entry.name == acl.name and acl.pattern == "literal")


def _covers(entry: _Entry, operation: str) -> bool:
    implied = entry.allow and operation == "Describe" and entry.operation in _IMPLY_DESCRIBE
    return implied or entry.operation in ("All", operation)


async def _entries(access: Access) -> list[_Entry] | str:
    """Every list of the cluster, or the name of the error that keeps them from being read."""
    client: Any = access.client()
    try:
        await client.bootstrap()
        request = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)
        answer = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    if answer.error_code:
        error = for_code(answer.error_code)
        if error not in (ClusterAuthorizationFailedError, SecurityDisabled):
            raise error(answer.error_message)
        return str(error.__name__)
    return [
        _Entry(
            _RESOURCES.get(kind, ""),
            name,
            pattern == _PREFIXED,
            principal,
            _OPERATIONS.get(operation, ""),
            permission == _ALLOW,
        )
        for kind, name, pattern, lists in answer.resources
        for principal, _, operation, permission in lists
    ]
