"""What is published in versions while the job runs: how its owner and all partitions take it.

Rule sets and detector sets are keyed by their ids, members by theirs. So one partition decides: the
owner of an id looks at a version as a whole, and accepts or refuses it. What is accepted it tells
every partition, its own too. What holds when is the same for both: `rulebook.py` says it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from pointstream.contracts.fitting import Misfit
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, epoch_ms, loads
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, SetAside, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.orders import dead
from pointstream.ledger.state import prefix_stop, rule_set_owner_key
from pointstream.rules.versions import VersionBook, Versioned

__all__ = ["Outcomes", "Published", "Unfit"]

_TOLD_MAX: Final = 3
_MESSAGE_CHARACTERS_MAX: Final = 500
_BOUNDS: Final = 0
"""Stands in the place of a version's number in the key of the bounds."""

_Span = tuple[int, int | None, int | None]
"""A version's number, from when and until when it holds."""


class Unfit(Exception):
    """A version cannot be used with this programme."""


class Outcomes(NamedTuple):
    """What becomes of records about one kind of content."""

    published: Outcome
    withdrawn: Outcome
    already_known: Outcome
    told: Outcome
    ended: Outcome
    set_aside: Outcome
    dropped: Outcome
    invalid: Outcome
    code: DeadLetterCode


class _Content(Protocol):
    """A version as it is written."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def effective_from(self) -> datetime | None: ...
    @property
    def effective_to(self) -> datetime | None: ...


class _Compiled(Protocol):
    """A version made ready."""

    @property
    def hash(self) -> str: ...
    @property
    def source(self) -> bytes: ...


class _Version(Versioned, Protocol):
    """A version made ready, and when it holds."""

    @property
    def compiled(self) -> _Compiled: ...


S = TypeVar("S", bound=_Content)
C = TypeVar("C", bound=_Compiled)
V = TypeVar("V", bound=_Version)


@dataclass(slots=True)
class _Taken:
    """A version as its owner took it."""

    number: int
    hash: str
    event_id: str
    from_ms: int
    to_ms: int | None

    @property
    def span(self) -> _Span:
        return self.number, self.from_ms, self.to_ms


@dataclass(slots=True)
class _Known:
    """What the owner knows of an id."""

    newest: int
    """The highest number ever used; 0 for none."""
    ended: int
    """The highest number that is withdrawn; 0 for none."""
    taken: list[_Taken]
    """The versions that can still be asked for."""


class Published(ABC, Generic[S, C, V]):
    """One kind of content that is published in versions."""

    what: ClassVar[str]
    """Its name in sentences: `rule set`."""
    field: ClassVar[str]
    """Its name in messages between partitions: `ruleset`."""
    owned: ClassVar[str] = ""
    """What stands before an id in the key of what its owner knows."""
    kind: ClassVar[bytes]
    """The kind of key under which a partition keeps what it was told, and the timer's."""
    outcomes: ClassVar[Outcomes]

    # --- what differs from kind to kind ------------------------------------------------------

    @abstractmethod
    def parsed(self, text: bytes) -> S:
        """Return content as it was stored. Raises `ValidationError`."""

    @abstractmethod
    def misfits(self, book: Book, content: S) -> list[Misfit]:
        """Return what the content asks for and the programme does not have."""

    @abstractmethod
    def compile(self, content: S) -> C:
        """Make content ready. May raise anything for what cannot be used."""

    @abstractmethod
    def version(self, content: S, compiled: C, from_ms: int | None, to_ms: int | None) -> V:
        """Return a version that holds for a span."""

    @abstractmethod
    def versions(self, book: Book) -> VersionBook[V]:
        """Return the versions that this partition knows."""

    def put_in(self, book: Book, versions: Iterable[V]) -> None:
        """Let versions hold from now on."""
        self.versions(book).put(*versions)

    def dropped(self, book: Book, version: V) -> None:
        """Do what is to be done when no event can ask for a version any more."""

    # --- the owner ---------------------------------------------------------------------------

    @property
    def told_type(self) -> str:
        """The message by which the owner tells what it has accepted."""
        return f"{self.field}.told"

    @property
    def ended_type(self) -> str:
        """The message by which the owner tells what was withdrawn."""
        return f"{self.field}.ended"

    def take(
        self, book: Book, content: S, event_id: str, occurred_ms: int, source: Source
    ) -> Decision:
        """Accept a version, as its owner, and tell all partitions; or refuse it."""
        known = self._known(book, content.id)
        number = content.version
        base = {each.number: each for each in self.versions(book).base if each.id == content.id}
        newest = max(known.newest, *base, 0)
        try:
            compiled = self.compiled_fit(book, content)
            hashes = {each.number: each.hash for each in known.taken}
            if number in base:
                hashes.setdefault(number, base[number].compiled.hash)
            same = hashes.get(number) == compiled.hash
            redelivered = any(
                (each.number, each.event_id) == (number, event_id) for each in known.taken
            )
            if same and (redelivered or number > known.ended):
                return Decision(self.outcomes.already_known)
            if number <= known.ended:
                raise Unfit(
                    f"version: {number} was withdrawn; only a version above {newest} brings the"
                    f" {self.what} back"
                )
            if number <= newest:
                raise Unfit(
                    f"version: {number} is not above {newest}, the newest that is known; a number"
                    f" is used once, the next is {newest + 1}"
                )
            if any(each.event_id == event_id for each in known.taken):
                return dead(
                    Outcome.ID_REUSED_WITH_OTHER_CONTENT,
                    DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
                    f"the event_id was used before, for another version of the {self.what}",
                    source,
                )
            starts, ends = content.effective_from, content.effective_to
            from_ms = occurred_ms if starts is None else epoch_ms(starts)
            to_ms = None if ends is None else epoch_ms(ends)
            if to_ms is not None and to_ms <= from_ms:
                raise Unfit("effective_to: must be later than occurred_at, where it begins")
        except Unfit as unfit:
            return dead(self.outcomes.invalid, self.outcomes.code, str(unfit), source)
        known.taken = [
            each
            for each in known.taken
            if not _is_over(each.span, (other.span for other in known.taken), _floor_ms(book))
        ]
        known.taken.append(_Taken(number, compiled.hash, event_id, from_ms, to_ms))
        known.newest = number
        self._keep(book, content.id, known)
        told = {"from_ms": from_ms, "to_ms": to_ms, self.field: loads(compiled.source)}
        book.tell(self.told_type, None, told)
        return Decision(self.outcomes.published)

    def withdraw(self, book: Book, id_: str, source: Source) -> Decision:
        """End all versions of an id, as its owner, and tell all partitions.

        One that is not there, or was withdrawn before, stays so.
        """
        known = self._known(book, id_)
        base = self.versions(book).base
        newest = max([known.newest, *(each.number for each in base if each.id == id_)])
        if newest > known.ended:
            at_ms = source.timestamp_ms
            for each in known.taken:
                each.to_ms = _earlier(each.to_ms, at_ms)
            known.newest = known.ended = newest
            self._keep(book, id_, known)
            book.tell(self.ended_type, None, {"id": id_, "version": newest, "at_ms": at_ms})
        return Decision(self.outcomes.withdrawn)

    # --- every partition ---------------------------------------------------------------------

    def told(self, book: Book, message: Message, source: Source) -> Decision:
        """Put in a version that its owner has accepted."""
        body = message.body
        from_ms, to_ms, fields = body["from_ms"], body["to_ms"], body[self.field]
        id_, number = str(fields["id"]), int(fields["version"])
        book.state.put(self._key(id_, number), encode_list([from_ms, to_ms, fields]))
        self._look_again(book, id_, from_ms, to_ms)
        version = self.told_version(book, id_, number, from_ms, to_ms, fields)
        if version is None:
            return Decision(self.outcomes.set_aside)
        self.put_in(book, [version])
        return Decision(self.outcomes.told)

    def ended(self, book: Book, message: Message, source: Source) -> Decision:
        """Let the versions of an id end that were withdrawn."""
        body = message.body
        id_, ended, at_ms = str(body["id"]), int(body["version"]), int(body["at_ms"])
        versions = self.versions(book)
        bounds: list[tuple[int, int]] = []
        changed: list[V] = []
        there = {each.number: each for each in versions.published(id_)}
        prefix = self._prefix(id_)
        for key, value in book.state.scan(prefix, prefix_stop(prefix)):
            number = _number(key)
            if number == _BOUNDS:
                bounds = _bounds(value)
            elif number <= ended:
                from_ms, to_ms, fields = decode_list(value)
                book.state.put(key, encode_list([from_ms, _earlier(to_ms, at_ms), fields]))
                if number in there:
                    changed.append(there[number].until(at_ms))
        # Of bounds that no event can come before, one is as good as another.
        floor_ms = _floor_ms(book)
        bounds = [each for each in bounds if each[1] > floor_ms or at_ms > floor_ms]
        bounds.append((ended, at_ms))
        book.state.put(self._key(id_, _BOUNDS), encode_list([list(each) for each in bounds]))
        self._look_again(book, id_, at_ms)
        versions.put(*changed)
        versions.bound(id_, bounds)
        return Decision(self.outcomes.ended)

    def drop_old(self, book: Book, what: bytes) -> Decision | None:
        """Drop the versions that no event can ask for any more. The timer has rung."""
        id_ = what.decode()
        prefix = self._prefix(id_)
        spans: list[_Span] = []
        for key, value in book.state.scan(prefix, prefix_stop(prefix)):
            number = _number(key)
            if number != _BOUNDS:
                from_ms, to_ms, _ = decode_list(value)
                spans.append((number, from_ms, to_ms))
        old = [span[0] for span in spans if _is_over(span, spans, _floor_ms(book))]
        for number in old:
            book.state.delete(self._key(id_, number))
            dropped = self.versions(book).drop(id_, number)
            if dropped is not None:
                self.dropped(book, dropped)
        return Decision(self.outcomes.dropped) if old else None

    def load(self, book: Book) -> None:
        """Put in all that this partition was told before, as the state has it."""
        known = self.versions(book)
        base = {(each.id, each.number): each.compiled.hash for each in known.base}
        versions: list[V] = []
        stop = bytes([self.kind[0] + 1])
        for key, value in book.state.scan(self.kind, stop):
            id_, number = key[1:-5].decode(), _number(key)
            if number == _BOUNDS:
                known.bound(id_, _bounds(value))
                continue
            from_ms, to_ms, fields = decode_list(value)
            version = self.told_version(book, id_, number, from_ms, to_ms, fields)
            if version is None:
                continue
            versions.append(version)
            if base.get((id_, number), version.compiled.hash) != version.compiled.hash:
                reason = "the programme's own version has other content; the published one counts"
                book.set_aside.append(SetAside(id_, number, reason, self.what))
        if versions:
            self.put_in(book, versions)

    def told_version(
        self, book: Book, id_: str, number: int, from_ms: int, to_ms: int | None, fields: Any
    ) -> V | None:
        """Return a version as it was told; None if it does not fit this programme (any more)."""
        try:
            content = self.parsed(dumps(fields))
            return self.version(content, self.compiled_fit(book, content), from_ms, to_ms)
        except ValidationError as error:
            reason = f"{error.error_count()} parts of it are not understood"
        except Unfit as unfit:
            reason = str(unfit)
        book.set_aside.append(SetAside(id_, number, reason, self.what))
        return None

    def compiled_fit(self, book: Book, content: S) -> C:
        """Make content ready. Raises `Unfit` if the programme cannot be run with it."""
        found = self.misfits(book, content)
        if found:
            told = [
                f"{misfit.path}: {misfit.message}" if misfit.where else misfit.message
                for misfit in found[:_TOLD_MAX]
            ]
            if len(found) > _TOLD_MAX:
                told.append(f"and {len(found) - _TOLD_MAX} more")
            raise Unfit("; ".join(told)[:_MESSAGE_CHARACTERS_MAX])
        try:
            compiled = self.compile(content)
            # What cannot be read back in every place where it will be kept must not be accepted.
            again = loads(dumps([[[[loads(compiled.source)]]]]))[0][0][0][0]
            if self.parsed(dumps(again)) != content:
                raise Unfit("it is not the same when it is read back")
        except Unfit:
            raise
        except Exception as error:
            # Whatever it is: content that cannot be compiled must not stop a partition.
            raise Unfit(f"it cannot be compiled: {error}"[:_MESSAGE_CHARACTERS_MAX]) from error
        return compiled

    # --- keys --------------------------------------------------------------------------------

    def _prefix(self, id_: str) -> bytes:
        return b"%b%b\0" % (self.kind, id_.encode())

    def _key(self, id_: str, number: int) -> bytes:
        return self._prefix(id_) + number.to_bytes(4, "big")

    def _look_again(self, book: Book, id_: str, *moments_ms: int | None) -> None:
        """Ring when versions may be too old to be asked for."""
        for at_ms in moments_ms:
            if at_ms is not None:
                due_ms = max(0, at_ms + book.programme.refund_window_ms)
                book.timers.put(due_ms, self.kind + id_.encode())

    def _known(self, book: Book, id_: str) -> _Known:
        value = book.state.get(rule_set_owner_key(self.owned + id_))
        if value is None:
            return _Known(0, 0, [])
        newest, ended, taken = decode_list(value)
        return _Known(newest, ended, [_Taken(*row) for row in taken])

    def _keep(self, book: Book, id_: str, known: _Known) -> None:
        rows = [[e.number, e.hash, e.event_id, e.from_ms, e.to_ms] for e in known.taken]
        value = encode_list([known.newest, known.ended, rows])
        book.state.put(rule_set_owner_key(self.owned + id_), value)


def _is_over(span: _Span, spans: Iterable[_Span], floor_ms: int) -> bool:
    """Tell whether a version cannot be the one in force at `floor_ms` or later."""
    number, _, to_ms = span
    if to_ms is not None and to_ms <= floor_ms:
        return True
    return any(
        higher > number and until_ms is None and (since_ms is None or since_ms <= floor_ms)
        for higher, since_ms, until_ms in spans
    )


def _floor_ms(book: Book) -> int:
    """Return the time at and before which no event is taken any more."""
    return book.now_ms - book.programme.refund_window_ms


def _earlier(to_ms: int | None, at_ms: int) -> int:
    return at_ms if to_ms is None else min(to_ms, at_ms)


def _number(key: bytes) -> int:
    return int.from_bytes(key[-4:], "big")


def _bounds(value: bytes) -> list[tuple[int, int]]:
    return [(number, at_ms) for number, at_ms in decode_list(value)]
