"""Versions of what is published, as one partition knows them: they come and go while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic, Protocol, Self, TypeVar

__all__ = ["VersionBook"]


class _Version(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def number(self) -> int: ...
    def until(self, at_ms: int) -> Self: ...


V = TypeVar("V", bound=_Version)


class VersionBook(ABC, Generic[V]):
    """The versions of a programme itself, and those that were published beside them."""

    def __init__(self, base: Sequence[V]) -> None:
        """`base` is what the programme itself says."""
        self.base: Final = tuple(base)
        self._bounds: dict[str, list[tuple[int, int]]] = {}
        self._published: dict[tuple[str, int], V] = {}

    def put(self, *versions: V) -> None:
        """Take in versions; one with the id and number of another takes its place."""
        for version in versions:
            self._published[version.id, version.number] = version
        self._renew()

    def published(self, id: str) -> list[V]:
        """Return the versions of one id that were put in."""
        return [version for version in self._published.values() if version.id == id]

    def drop(self, id: str, number: int) -> V | None:
        """Take out a version that was put in, and return it; None if it is not there."""
        dropped = self._published.pop((id, number), None)
        if dropped is not None:
            self._renew()
        return dropped

    def bound(self, id: str, bounds: Sequence[tuple[int, int]]) -> None:
        """Let versions of the programme itself end: (number, at_ms) ends those up to a number.

        The numbers are in rising order.
        """
        self._bounds[id] = list(bounds)
        self._renew()

    def _all(self) -> tuple[V, ...]:
        """Return all versions, those of the programme no longer than their bounds."""
        return (*(self._bounded(version) for version in self.base), *self._published.values())

    @abstractmethod
    def _renew(self) -> None:
        """Make what is asked out of the versions; what was handed out stays as it was."""

    def _bounded(self, version: V) -> V:
        for number, at_ms in self._bounds.get(version.id, ()):
            if version.number <= number:
                return version.until(at_ms)
        return version
