"""The doctor on a broker with access lists."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pointstream.operations.acls import Role
from pointstream.operations.broker import SUPERUSER
from pointstream.operations.doctor import Finding, Level, examine

from .conftest import World

pytestmark = pytest.mark.broker


def look(world: World, user: str, directory: Path, role: Role, principal: str) -> list[Finding]:
    async def all_of() -> list[Finding]:
        settings = world.settings(user, data_dir=directory)
        return [finding async for finding in examine(settings, role, f"User:{principal}")]

    return asyncio.run(all_of())


def permissions(findings: list[Finding]) -> Finding:
    (finding,) = (finding for finding in findings if finding.check == "permissions")
    return finding


def test_an_operator_sees_who_may_do_what(world: World, tmp_path: Path) -> None:
    """A role is complete, or it is told what it lacks and how to get it."""
    well = look(world, Role.OPERATOR, tmp_path, Role.WORKER, Role.WORKER)
    lacks = permissions(look(world, Role.OPERATOR, tmp_path, Role.WORKER, Role.UPSTREAM))

    assert {f.check for f in well if f.level in (Level.PROBLEM, Level.UNKNOWN)} <= {"clocks"}
    assert permissions(well).level is Level.RIGHT
    assert lacks.level is Level.PROBLEM
    assert "Read on topic club.orders" in lacks.message
    assert lacks.remedy == "pointstream topics acls --role worker --principal User:upstream --apply"


def test_a_superuser_needs_no_lists(world: World, tmp_path: Path) -> None:
    """It reads the lists though none allows it to."""
    finding = permissions(look(world, SUPERUSER, tmp_path, Role.WORKER, SUPERUSER))

    assert (finding.level, "superuser" in finding.message) == (Level.RIGHT, True)


def test_what_may_not_be_looked_at_is_said(world: World, tmp_path: Path) -> None:
    """A worker's own user may not read the lists; that is no problem of the worker."""
    findings = look(world, Role.WORKER, tmp_path, Role.WORKER, Role.WORKER)

    assert permissions(findings).level is Level.UNKNOWN
    assert not [finding for finding in findings if finding.level is Level.PROBLEM]
