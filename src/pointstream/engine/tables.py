"""Faust's tables, declared but kept by the partition tasks.

The tables exist so that Faust's assignor places the changelog and its standbys, co-partitions
them with the input, and routes `/accounts/...` to the owner. Their content is the tasks':
nothing is sent, committed or recovered here.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from faust.stores.base import SerializedStore
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from faust.types import TP, EventT

if TYPE_CHECKING:
    from pointstream.engine.runtime import Engine

__all__ = ["Recovery", "TableManager", "TableStore"]


def _engine(app: Any) -> "Engine":
    return cast("Engine", app.engine)


class Recovery(FaustRecovery):
    """A recovery that has nothing to recover: tasks restore themselves when assigned."""

    def need_recovery(self) -> bool:
        return False

    async def _build_highwaters(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def _build_offsets(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def _seek_offsets(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        # A fence may take as long as the transaction coordinator is away. Faust's time-out would
        # end this service for good, and with it the worker's fetching.
        await super()._wait(coro)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        await super().on_recovery_completed(generation_id)
        # Not before: on the way there Faust has emptied the agents' queues.
        cast(Any, self.app.consumer).open()

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        await super().on_rebalance(*args, **kwargs)
        # Faust would fetch the changelog of a standby and wait for it; the engine does that.
        self.standby_tps.clear()


class TableManager(FaustTableManager):
    """Tells the engine what is assigned, in the order that makes positions right."""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(Recovery, self._recovery)

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        engine = _engine(self.app)
        inputs = engine.config.cluster.input_topics
        standbys = {tp.partition for tp in self.app.assignor.assigned_standbys()}
        # Before Faust's recovery starts: it ends with a seek, and the seek asks the tasks.
        await engine.assign({tp.partition for tp in assigned if tp.topic in inputs}, standbys)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)


class TableStore(SerializedStore[Any, Any]):
    """Reads a table from the tasks' committed state. Registered as `pointstream://`.

    A table's keys are the state's keys that begin with the table's option `prefix`.
    """

    def _prefix(self) -> bytes:
        return cast(bytes, (self.options or {}).get("prefix", b""))

    def _get(self, key: bytes) -> bytes | None:
        for task in _engine(self.app).tasks.values():
            value = task.read(self._prefix() + key)
            if value is not None:
                return value
        return None

    def _set(self, key: bytes, value: bytes | None) -> None:
        raise TypeError("this table is written by partition tasks only")

    def _del(self, key: bytes) -> None:
        raise TypeError("this table is written by partition tasks only")

    def _iterkeys(self) -> Iterator[bytes]:
        return (key for key, _ in self._iteritems())

    def _itervalues(self) -> Iterator[bytes]:
        return (value for _, value in self._iteritems())

    def _iteritems(self) -> Iterator[tuple[bytes, bytes]]:
        prefix = self._prefix()
        for task in _engine(self.app).tasks.values():
            for key, value in task.scan(prefix, prefix + b"\xff"):
                yield key[len(prefix) :], value

    def _size(self) -> int:
        return sum(1 for _ in self._iteritems())

    def _contains(self, key: bytes) -> bool:
        return self._get(key) is not None

    def _clear(self) -> None:
        raise TypeError("this table is written by partition tasks only")

    def reset_state(self) -> None:
        """Nothing is kept here."""

    def apply_changelog_batch(
        self,
        batch: Iterable[EventT[Any]],
        to_key: Callable[[Any], Any],
        to_value: Callable[[Any], Any],
    ) -> None:
        """The tasks restore themselves; no changelog event ever comes this way."""

    async def backup_partition(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("the changelog is the backup of a table")

    def restore_backup(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("a table is restored from its changelog")

    def persisted_offset(self, tp: TP) -> int | None:
        return None
