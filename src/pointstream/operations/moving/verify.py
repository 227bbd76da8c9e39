"""Looks at the books in a backup's files, the way `reconcile` does on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pointstream.contracts.wire import loads
from pointstream.operations.books import Breach, EntryBooks, StateBooks, compare
from pointstream.operations.moving.archive import Archive, Content
from pointstream.operations.moving.backup import CHANGELOG

__all__ = ["Findings", "verify"]

_KEPT: Final = 1_000


@dataclass(slots=True)
class Findings:
    """What is in a backup, and what is wrong with it. Points are those of the `points` wallet."""

    members: int = 0
    entries: int = 0
    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    waiting: int = 0
    """Records that no worker had taken."""
    breaches: list[Breach] = field(default_factory=list)
    """The first thousand."""

    @property
    def holds(self) -> bool:
        """Whether the books are right."""
        return not self.breaches


def verify(
    archive: Archive, *, on_progress: Callable[[int, int], None] = lambda done, of: None
) -> Findings:
    """Read a whole backup: checksums, then each partition's books against its ledger.

    `on_progress` is told how many of how many partitions are done. Raises `ArchiveError` for a file
    that is not what was written.
    """
    found, manifest = Findings(), archive.manifest
    for file in manifest.files:
        archive.check(file)
        if file.content == Content.WAITING:
            found.waiting += file.records
    for number in range(manifest.partitions):
        _look(archive, number, found)
        on_progress(number + 1, manifest.partitions)
    return found


def _look(archive: Archive, number: int, found: Findings) -> None:
    state, entries = StateBooks(), EntryBooks()
    for frame in archive.read(Content.STATE, CHANGELOG, number):
        state.put(frame.key or b"", frame.value)
    for frame in archive.read(Content.TAKEN, "balance-changes", number):
        if frame.value is not None:
            entries.add(loads(frame.value))
    latest = [_latest(archive, topic, number) for topic in ("crm-sync", "mall-sync")]
    found.breaches += compare(entries, state, latest[0], latest[1])[: _KEPT - len(found.breaches)]
    found.members += len(state.accounts)
    found.entries += entries.entries
    for account in state.accounts.values():
        totals = account.wallets.get("points")
        if totals is not None:
            found.available += totals.available
            found.pending += totals.pending
            found.held += totals.held
            found.debt += totals.debt


def _latest(archive: Archive, topic: str, number: int) -> dict[str, dict[str, Any]]:
    latest: dict[str, bytes] = {}
    for frame in archive.read(Content.TAKEN, topic, number):
        member_id = (frame.key or b"").decode()
        if frame.value is None:
            latest.pop(member_id, None)
        else:
            latest[member_id] = frame.value
    return {member_id: loads(value) for member_id, value in latest.items()}
