"""Versions of what is published, as one partition knows them: they come and go while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, replace
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

__all__ = ["VersionBook", "Versioned", "without"]


class Versioned(Protocol):
    """A version, and when it holds: from, inclusive, to, exclusive; None: open."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def from_ms(self) -> int | None: ...
    @property
    def to_ms(self) -> int | None: ...
    @property
    def id(self) -> str: ...
    @property
    def number(self) -> int: ...
    def until(self, at_ms: int) -> Self: ...


V = TypeVar("V", bound=Versioned)


class VersionBook(ABC, Generic[V]):
    """The versions of a programme itself, and those that were published beside them."""

    def __init__(self, base: Sequence[V], instead: Sequence[V] = ()) -> None:
        """`base` is what the programme itself says.

        Each of `instead` holds for its span in the place of all other versions of its id, also of
        those that come later and have a higher number. Simulations try candidates so.
        """
        self.base: Final = tuple(base)
        self._instead: Final = {version.id: version for version in instead}
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
        """Return all versions, those of the programme no longer than their bounds, then those that
        were published, by id and number.

        In which order they came is known no more when a partition has moved, and what comes first
        decides: which rule a shared cap cuts, which flag is raised first.
        """
        published = sorted(self._published.values(), key=lambda each: (each.id, each.number))
        real = (*(self._bounded(version) for version in self.base), *published)
        return _in_place(self._instead, real)

    @abstractmethod
    def _renew(self) -> None:
        """Make what is asked out of the versions; what was handed out stays as it was."""

    def _bounded(self, version: V) -> V:
        for number, at_ms in self._bounds.get(version.id, ()):
            if version.number <= number:
                return version.until(at_ms)
        return version


def _in_place(instead: Mapping[str, V], versions: tuple[V, ...]) -> tuple[V, ...]:
    """Return the versions with others in the place of those of their ids.

    The place in the order stays, too: of rules with one priority, the order decides.
    """
    if not instead:
        return versions
    waiting = dict(instead)
    placed: list[V] = []
    for version in versions:
        other = instead.get(version.id)
        if other is None:
            placed.append(version)
            continue
        if version.id in waiting:
            placed.append(waiting.pop(version.id))
        placed += without(version, other.from_ms, other.to_ms)
    return (*placed, *waiting.values())


def without(version: V, from_ms: int | None, to_ms: int | None) -> list[V]:
    """Return what is left of a version when it does not hold from one moment to another."""
    left = []
    if from_ms is not None and (version.from_ms is None or version.from_ms < from_ms):
        left.append(version.until(from_ms))
    if to_ms is not None and (version.to_ms is None or to_ms < version.to_ms):
        later = version.from_ms is not None and to_ms <= version.from_ms
        left.append(version if later else replace(version, from_ms=to_ms))
    return left
