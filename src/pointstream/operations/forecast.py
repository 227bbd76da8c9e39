"""What time alone will do: the ledger's own timers, run ahead on a copy of its state.

The state of each partition is read from its changelog into memory, and the production `Ledger` is
advanced on it to a day in the future. Its decisions are added up; nothing is written anywhere. No
new event is assumed: nobody earns, spends or returns anything meanwhile.

Memory is bounded by one partition. What remembers event ids is left out: no timer asks for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pointstream.contracts.wire import epoch_ms
from pointstream.engine import State
from pointstream.ledger import Decision, Ledger, decode_account, is_account_key
from pointstream.operations.reading import CommittedReader
from pointstream.rules.compile import CompiledProgramme

__all__ = ["By", "Forecast", "Period", "StateCopy", "forecast_of", "look_ahead"]

TIMERS_PER_STEP: Final = 10_000
_EVENT_IDS: Final = b"M"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXPIRED: Final = "points.expired"


class By(StrEnum):
    """How long a period of the forecast is, on the programme's calendar."""

    DAY = "day"
    MONTH = "month"


@dataclass(slots=True)
class Period:
    """One day or month of one wallet, in points."""

    name: str
    """`2026-04` or `2026-04-30`."""
    wallet: str
    amounts: Counter[str] = field(default_factory=Counter)
    """What moved, by type of entry: the sums of `amount`."""
    change: int = 0
    """By how much the points outstanding change."""
    outstanding: int = 0
    """Available + pending + held - debt, of all members, at its end."""


class Forecast:
    """What comes of all partitions that were looked ahead in."""

    def __init__(
        self, programme: CompiledProgramme, *, from_ms: int, until_ms: int, by: By = By.MONTH
    ) -> None:
        """From `from_ms` to the instant `until_ms`, in ms UTC. What was due before counts as due
        at `from_ms`: no worker has come to it yet."""
        self.programme: Final = programme
        self.from_ms: Final = from_ms
        self.until_ms: Final = until_ms
        self.by: Final = by
        self.accounts = 0
        """Without those that were merged into others."""
        self.opening: Counter[str] = Counter()
        """Points outstanding as the state is now, by wallet."""
        self.tier_changes: Counter[str] = Counter()
        """By direction."""
        self.reminders: Counter[str] = Counter()
        """By type."""
        self.not_followed = 0
        """Messages to other partitions that timers sent: what they would have done is not seen."""
        self._zone = programme.calendar.zone
        self._names: dict[str, str] = {}
        self._periods: dict[tuple[str, str], Period] = {}

    def add(self, entry: Mapping[str, Any], change: int) -> None:
        """Count an entry, and by how much it changed what its member has outstanding."""
        kind = str(entry["type"])
        name = self._period_of(str(entry["recorded_at"]), last=kind == _EXPIRED)
        if name is None:
            return
        period = self._period(name, str(entry["wallet"]))
        period.amounts[kind] += int(entry["amount"])
        period.change += change

    def periods(self) -> list[Period]:
        """The periods in which something moves, in order, with what is outstanding after each.

        Months are all there, also those without movement.
        """
        if self.by is By.MONTH:
            for name in self._months():
                for wallet in self.opening:
                    self._period(name, wallet)
        outstanding = Counter(self.opening)
        ordered = [self._periods[key] for key in sorted(self._periods)]
        for period in ordered:
            outstanding[period.wallet] += period.change
            period.outstanding = outstanding[period.wallet]
        return ordered

    def _period(self, name: str, wallet: str) -> Period:
        period = self._periods.get((name, wallet))
        if period is None:
            period = self._periods[name, wallet] = Period(name, wallet)
        return period

    def _period_of(self, recorded_at: str, *, last: bool) -> str | None:
        """Return the period of a moment; None for one after the end.

        Points live until just before they expire: of a midnight, the day before is their `last`.
        """
        key = recorded_at + "-" if last else recorded_at
        name = self._names.get(key)
        if name is None:
            at_ms = max(epoch_ms(datetime.fromisoformat(recorded_at)) - last, self.from_ms)
            name = self._name(at_ms) if at_ms < self.until_ms else ""
            self._names[key] = name
        return name or None

    def _name(self, at_ms: int) -> str:
        local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self._zone)
        return local.strftime("%Y-%m" if self.by is By.MONTH else "%Y-%m-%d")

    def _months(self) -> Iterator[str]:
        name, last = self._name(self.from_ms), self._name(self.until_ms - 1)
        while name <= last:
            yield name
            year, month = int(name[:-3]), int(name[-2:])
            name = f"{year + month // 12:04}-{month % 12 + 1:02}"


class StateCopy:
    """The state of one partition in memory, ordered by key."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] | None = None

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the changelog; None removes the key."""
        if key[:1] == _EVENT_IDS:
            return
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def apply(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Take what a step has written."""
        keys, values = self._ordered(), self._values
        new = [key for key, value in writes.items() if value is not None and key not in values]
        for key, value in writes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        # What was in order is in order still: sorting it with a few new ones is one pass.
        keys = [key for key in keys if key in values]
        keys += sorted(new)
        keys.sort()
        self._keys = keys

    def get(self, key: bytes) -> bytes | None:
        """See `ledger.KeyValues`."""
        return self._values.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See `ledger.KeyValues`."""
        keys = self._ordered()
        for index in range(bisect_left(keys, start), bisect_left(keys, stop)):
            yield keys[index], self._values[keys[index]]

    def _ordered(self) -> list[bytes]:
        if self._keys is None:
            self._keys = sorted(self._values)
        return self._keys


def look_ahead(
    state: StateCopy, into: Forecast, *, on_step: Callable[[float], None] = lambda share: None
) -> None:
    """Run the timers of one partition to the end of the forecast. `state` is used up by it.

    `on_step` is told which share of the time has been gone through, 0 to 1.
    """
    outstanding: dict[tuple[str, str], int] = {}
    for key, value in state.scan(b"a", b"b"):
        if is_account_key(key):
            account = decode_account(key, value)
            into.accounts += not account.closed
            for wallet, totals in account.wallets.items():
                had = totals.available + totals.pending + totals.held - totals.debt
                outstanding[account.member_id, wallet] = had
                into.opening[wallet] += had
    ledger = Ledger(into.programme)
    while True:
        step = State(state)
        ledger.open(step)
        decisions = ledger.advance(into.until_ms, TIMERS_PER_STEP)
        for decision in decisions:
            _count(decision, outstanding, into)
        ledger.close()
        state.apply(step.writes)
        if not ledger.behind:
            break
        on_step(max(0, ledger.now_ms - into.from_ms) / max(1, into.until_ms - into.from_ms))
    on_step(1.0)


def _count(decision: Decision, outstanding: dict[tuple[str, str], int], into: Forecast) -> None:
    for entry in decision.entries:
        whose = (entry["member_id"], entry["wallet"])
        has = (
            entry["available_after"]
            + entry["pending_after"]
            + entry["held_after"]
            - entry["debt_after"]
        )
        into.add(entry, has - outstanding.get(whose, 0))
        outstanding[whose] = has
    effects = decision.effects
    if effects is not None:
        into.tier_changes.update(change["direction"] for change in effects.tier_changes)
        into.reminders.update(reminder["type"] for reminder in effects.reminders)
        into.not_followed += len(effects.messages)


async def forecast_of(
    reader: CommittedReader,
    prefix: str,
    into: Forecast,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> None:
    """Read the state of every partition as it is committed now, and look ahead in it.

    `on_step` is told which share of the work is done, 0 to 1. Raises `NoTopicsError`.
    """
    topic = f"{prefix}internal.changelog"
    partitions = await reader.existing(topic)
    for done, partition in enumerate(partitions):

        def tell(share: float, done: int = done) -> None:
            on_step((done + share) / len(partitions))

        place = (topic, partition)
        begin, end = (await reader.beginnings([place]))[place], (await reader.ends([place]))[place]
        state = StateCopy()
        async for records in reader.read(topic, partition, end=end):
            for record in records:
                if record.key is not None:
                    state.take(record.key, record.value)
            tell(0.5 * (records[-1].offset - begin) / max(1, end - begin))
        look_ahead(state, into, on_step=_second_half(tell))


def _second_half(tell: Callable[[float], None]) -> Callable[[float], None]:
    return lambda share: tell(0.5 + share / 2)
