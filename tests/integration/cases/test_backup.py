"""A cluster is lost; its state is put back from a backup, on a real broker."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.operations.moving import restore as restoring
from pointstream.operations.moving.archive import Archive, ArchiveError
from pointstream.operations.moving.backup import back_up
from pointstream.operations.moving.quiet import NotQuiet
from pointstream.operations.moving.restore import Inputs, NotEmpty, restore
from pointstream.operations.moving.verify import verify
from pointstream.operations.settings import Settings

from .conftest import Deploy
from .deployment import Deployment

pytestmark = pytest.mark.broker


def settings_of(club: Deployment, **changes: object) -> Settings:
    """What an operator's command is told."""
    return Settings(
        bootstrap_servers=club.servers,
        app_id=club.name,
        topic_prefix=club.prefix,
        partitions=club.partitions,
        session_timeout_ms=3_000,
        data_dir=club.directory / "none",
        programme_file=club.directory / "programme.yaml",
        **changes,
    )


async def _lose_everything(club: Deployment) -> None:
    names = [spec.name for spec in topic_specs(club.prefix)]
    admin = Access.to(club.servers).admin()
    await admin.start()
    try:
        await admin.delete_topics(names)
        # Gone from the brokers' lists some moments later.
        for _ in range(100):
            if not set(names) & set(await admin.list_topics()):
                break
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


def test_a_lost_cluster_is_restored_and_goes_on_where_it_was(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With inputs that no worker had taken, a restore that is interrupted, and local states of
    before left on the workers' disks: balances and sequences go on without a gap."""
    club = deploy(workers=1, partitions=2)
    settings, out = settings_of(club), tmp_path / "backup"
    for number in range(60):
        club.order(f"o{number}", 10 + number, f"m{number % 12}")
    club.give("points.transfer", "m1", to_member_id="m2", points=5)
    club.give("points.hold", "m3", hold_id="h1", points=7)
    club.settle()
    impatient = settings.model_copy(update={"session_timeout_ms": -5_000})
    with pytest.raises(NotQuiet, match="1 workers are in the group"):
        asyncio.run(back_up(impatient, tmp_path / "too-soon"))
    for worker in club.workers:
        worker.stop()
    before = club.standings()
    seqs = {entry["member_id"]: entry["seq"] for entry in club.entries()}
    # Nobody takes these before the cluster is lost; one of them is the same as before.
    club.order("late-1", 100, "m4")
    club.order("o5", 15, "m5", event_id="e6")

    archive = asyncio.run(back_up(settings, out))
    found = verify(Archive.open(out))
    assert (found.holds, found.members, found.waiting) == (True, 12, 2)
    assert found.available == sum(standing["available"] for standing in before.values())

    asyncio.run(_lose_everything(club))
    monkeypatch.setattr(restoring, "_CHUNK_RECORDS", 100)

    def die(done: int, of: int) -> None:
        if done > of // 2:
            raise InterruptedError

    with pytest.raises(ArchiveError, match="was not mirrored with its offsets"):
        asyncio.run(restore(settings, archive, inputs=Inputs.MIRRORED))
    with pytest.raises(InterruptedError):
        asyncio.run(restore(settings, archive, on_progress=die))
    worker = club.workers[0]
    worker.start()
    assert worker._process is not None
    assert worker._process.wait(30) == 2
    assert "Run `pointstream state restore` again" in worker.log_end()
    assert worker.faults() == ["StateBarred"]
    worker.log_file.unlink()
    asyncio.run(restore(settings, archive))
    asyncio.run(restore(settings, archive))
    assert club.standings() == before

    other = dataclasses.replace(archive.manifest, cluster_id="another")
    with pytest.raises(NotEmpty, match="not one of this backup"):
        asyncio.run(restore(settings, Archive(out, other)))

    club.start()
    club.order("new-1", 50, "m1")
    club.give("points.capture", "m3", hold_id="h1")
    club.settle()
    after = club.standings()
    assert after["m4"]["available"] == before["m4"]["available"] + 100
    assert after["m1"]["available"] == before["m1"]["available"] + 50
    assert (after["m3"]["held"], before["m3"]["held"]) == (0, 7)
    assert after["m5"]["available"] == before["m5"]["available"]
    assert [e["seq"] for e in club.entries("m1")] == [*range(1, seqs["m1"] + 2)]
