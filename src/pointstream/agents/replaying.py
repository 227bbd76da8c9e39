"""The production job for replays, in which two take every record one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from pointstream.agents.processor import PointsProcessor
from pointstream.contracts.decoding import DEFAULT_MAX_BYTES, Decoded, Refusal, decode
from pointstream.engine import Header
from pointstream.ledger import Ledger
from pointstream.operations.simulation import MakeJob
from pointstream.rules.compile import CompiledProgramme

__all__ = ["replaying_jobs"]

#: Decoded accounts kept over all partitions, by the real rules and with the candidate each.
_ACCOUNTS_KEPT = 12_000


def replaying_jobs(prefix: str, source: str) -> MakeJob:
    """What makes the jobs of a replay; see `PointsProcessor` for `prefix` and `source`."""
    once = _DecodedOnce()

    def make(programme: CompiledProgramme, partition: int, partitions: int) -> PointsProcessor:
        return PointsProcessor(
            Ledger(programme, accounts_kept=max(64, _ACCOUNTS_KEPT // partitions)),
            partitions=partitions,
            prefix=prefix,
            source=source,
            decoding=once,
        )

    return make


class _DecodedOnce:
    """`decode`, which remembers the latest record: the second job gets what the first one got."""

    def __init__(self) -> None:
        self._last: tuple[str, bytes | None, bytes | None, Sequence[Header]] | None = None
        self._decoded: Decoded | Refusal | None = None

    def __call__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> Decoded | Refusal:
        last = self._last
        if (
            self._decoded is None
            or last is None
            or value is None
            or last[2] is not value
            or last[1] is not key
            or last[3] is not headers
            or last[0] != topic
        ):
            self._decoded = decode(topic, key, value, headers, max_bytes=max_bytes)
            self._last = (topic, key, value, headers)
        return self._decoded
