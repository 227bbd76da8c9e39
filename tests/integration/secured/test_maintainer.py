"""Who may back a state up, and who may put one back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pointstream.engine.topics import TopicsForbiddenError
from pointstream.operations.acls import Role, acls_of, apply_acls
from pointstream.operations.moving.backup import back_up
from pointstream.operations.moving.restore import restore
from pointstream.operations.publish import OutgoingRecord, Publisher

from .conftest import APP_ID, PREFIX, World

pytestmark = pytest.mark.broker

_THERE = "there."


def test_an_operator_backs_up_and_a_maintainer_restores(world: World, tmp_path: Path) -> None:
    """With the rights of their roles alone, also to make topics; an operator cannot restore."""
    acls = acls_of(Role.MAINTAINER, prefix=_THERE, app_id=APP_ID)
    asyncio.run(apply_acls(world.broker.access, f"User:{Role.MAINTAINER}", acls))
    own = {"data_dir": tmp_path / "data", "session_timeout_ms": 3_000}

    async def publish() -> None:
        async with Publisher(world.access(Role.UPSTREAM)) as publisher:
            await publisher.put(OutgoingRecord(f"{PREFIX}orders", b"m1", b"{}"))
            await publisher.flush()

    asyncio.run(publish())
    archive = asyncio.run(back_up(world.settings(Role.OPERATOR, **own), tmp_path / "backup"))
    assert sum(file.records for file in archive.manifest.files if file.topic == "orders") >= 1
    for role in (Role.OPERATOR, Role.WORKER):
        with pytest.raises(TopicsForbiddenError):
            asyncio.run(restore(world.settings(role, topic_prefix=_THERE, **own), archive))
    asyncio.run(restore(world.settings(Role.MAINTAINER, topic_prefix=_THERE, **own), archive))
