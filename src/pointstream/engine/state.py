"""The state as a processor sees it: the store, with the batch's own writes laid over it."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

__all__ = ["State", "StateReader"]


class StateReader(Protocol):
    """What the overlay needs from the store below it."""

    def get(self, key: bytes) -> bytes | None: ...
    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]: ...


class State:
    """An overlay. Nothing reaches the store before the transaction has committed."""

    __slots__ = ("_fresh", "_sorted", "_store", "_writes")

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self._writes: dict[bytes, bytes | None] = {}
        # Keys written, by their first byte, sorted lazily: of most kinds nobody ever scans what
        # this batch wrote.
        self._sorted: dict[bytes, list[bytes]] = {}
        self._fresh: defaultdict[bytes, list[bytes]] = defaultdict(list)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        writes = self._writes
        if key in writes:
            return writes[key]
        return self._store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key`."""
        if key not in self._writes:
            self._fresh[key[:1]].append(key)
        self._writes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key`; it need not exist."""
        if key not in self._writes:
            self._fresh[key[:1]].append(key)
        self._writes[key] = None

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with `start` <= key < `stop` in key order.

        The scan sees the batch's writes as they were when it began; writing while it runs is
        allowed and does not show in it.
        """
        written = self._written(start, stop)
        stored = self._store.scan(start, stop)
        if not written:
            yield from stored
            return
        overlay = [(key, self._writes[key]) for key in written]
        position = 0
        for key, value in stored:
            while position < len(overlay) and overlay[position][0] < key:
                new_key, new_value = overlay[position]
                position += 1
                if new_value is not None:
                    yield new_key, new_value
            if position < len(overlay) and overlay[position][0] == key:
                new_value = overlay[position][1]
                position += 1
                if new_value is not None:
                    yield key, new_value
            else:
                yield key, value
        for new_key, new_value in overlay[position:]:
            if new_value is not None:
                yield new_key, new_value

    @property
    def writes(self) -> dict[bytes, bytes | None]:
        """What the batch wrote, in the order of first writing; None is a removal."""
        return self._writes

    def _written(self, start: bytes, stop: bytes) -> list[bytes]:
        """Return the keys written from `start` to before `stop`, in order."""
        first, last = start[:1], stop[:1]
        kinds = [first]
        if first != last:
            kinds = sorted(each for each in {*self._sorted, *self._fresh} if first <= each <= last)
        written: list[bytes] = []
        for kind in kinds:
            keys = self._in_order(kind)
            written += keys[bisect_left(keys, start) : bisect_left(keys, stop)]
        return written

    def _in_order(self, kind: bytes) -> list[bytes]:
        keys = self._sorted.setdefault(kind, [])
        fresh = self._fresh.pop(kind, [])
        if len(fresh) * 64 < len(keys):
            for key in fresh:
                insort(keys, key)
        elif fresh:
            keys.extend(fresh)
            keys.sort()
        return keys
