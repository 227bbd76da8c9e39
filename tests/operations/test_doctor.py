"""What the doctor makes of what it sees, without a broker."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pointstream.operations.acls import Acl, Role, acls_of
from pointstream.operations.doctor import Level, examine, machine
from pointstream.operations.doctor.permissions import _allowed, _Entry
from pointstream.operations.doctor.transactions import _judge, _Open
from pointstream.operations.settings import Settings

USAGE = namedtuple("USAGE", "total used free")
PLACE = ("points.crm-sync", 1)


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_") or name == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(name)


def test_a_transaction_that_no_coordinator_knows_is_hanging() -> None:
    """Nobody will ever end it but an operator, with the command that is told."""
    finding = _judge(Settings(bootstrap_servers="b:1"), PLACE, 17, [])

    assert finding.level is Level.PROBLEM
    assert finding.remedy == (
        "kafka-transactions --bootstrap-server b:1 abort "
        "--topic points.crm-sync --partition 1 --start-offset 17"
    )


@pytest.mark.parametrize(
    ("age_ms", "level"), [(1_000, Level.LOOK), (60_000, Level.LOOK), (90_000, Level.PROBLEM)]
)
def test_a_transaction_beyond_its_time_is_a_problem(age_ms: int, level: Level) -> None:
    """Its coordinator aborts it at the end of its time; past that, something is wrong there."""
    known = _Open("pointstream-1", age_ms, 60_000, frozenset({PLACE}))

    assert _judge(Settings(), PLACE, 17, [known]).level is level


def entry(name: str, operation: str, *, prefixed: bool = False, allow: bool = True) -> _Entry:
    return _Entry("topic", name, prefixed, "User:x", operation, allow)


@pytest.mark.parametrize(
    ("entries", "operation", "allowed"),
    [
        ([], "Read", False),
        ([entry("points.orders", "Read")], "Read", True),
        ([entry("points.orders", "Read")], "Write", False),
        ([entry("points.orders", "Read")], "Describe", True),
        ([entry("points.orders", "All")], "Write", True),
        ([entry("points.", "Read", prefixed=True)], "Read", True),
        ([entry("points.", "Read")], "Read", False),
        ([entry("*", "Read")], "Read", True),
        ([entry("*", "Read"), entry("points.orders", "Read", allow=False)], "Read", False),
        ([entry("*", "Read")._replace(principal="User:*")], "Read", True),
        ([entry("*", "Read")._replace(principal="User:y")], "Read", False),
        ([entry("*", "Read")._replace(resource="group")], "Read", False),
    ],
)
def test_lists_are_read_as_kafka_reads_them(
    entries: list[_Entry], operation: str, allowed: bool
) -> None:
    """Literal, by prefix, for everybody; what is forbidden counts more than what is allowed."""
    acl = Acl("topic", "points.orders", (operation,))

    assert _allowed(entries, "User:x", acl, operation) is allowed


def test_what_a_role_is_given_is_all_that_it_needs() -> None:
    """The lists that are generated satisfy the look at them."""
    for role in Role:
        acls = acls_of(role, prefix="points.", app_id="club")
        given = [
            _Entry(acl.resource, acl.name, acl.pattern == "prefix", "User:x", operation, True)
            for acl in acls
            for operation in acl.operations
        ]
        assert all(_allowed(given, "User:x", acl, o) for acl in acls for o in acl.operations)


@pytest.mark.parametrize(
    ("free", "level"), [(500 << 20, Level.PROBLEM), (5 << 30, Level.LOOK), (50 << 30, Level.RIGHT)]
)
def test_a_disk_that_gets_full_is_told(
    free: int, level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker stops on a full one."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE(100 << 30, 0, free))

    findings = list(machine.look_at_directory(Settings(data_dir=tmp_path / "data")))

    assert next(finding.level for finding in findings if finding.check == "disk") is level


def test_a_library_of_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this version was made for is pinned; others were never run."""
    installed = machine.version
    monkeypatch.setattr(
        machine, "version", lambda name: "0.9.0" if name == "aiokafka" else installed(name)
    )

    (finding,) = machine.look_at_versions()

    assert finding.level is Level.PROBLEM
    assert finding.message.startswith("aiokafka is 0.9.0, made for ")


def test_nobody_there_ends_the_look_with_what_to_do(tmp_path: Path) -> None:
    """All that needs no broker is still told."""

    async def look() -> list[tuple[str, Level]]:
        settings = Settings(bootstrap_servers="127.0.0.1:1", data_dir=tmp_path)
        return [(finding.check, finding.level) async for finding in examine(settings)]

    found = asyncio.run(look())

    assert found[-1] == ("brokers", Level.PROBLEM)
    assert {"settings", "versions", "disk", "directory"} <= {check for check, _ in found}
