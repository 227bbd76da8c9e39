"""Detectors that need nothing but what is remembered of the member itself.

Each is asked about one event, with what was remembered before it, and says what it found. They
change nothing. Those that need to know what the event earned are asked when it was handled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from pointstream.contracts.detectors import (
    Detector,
    DistinctDetector,
    Entity,
    Measure,
    RefundLoopDetector,
    SpikeDetector,
    TravelDetector,
    VelocityDetector,
)
from pointstream.contracts.vocabulary import EntityKind
from pointstream.contracts.wire import rfc3339
from pointstream.fraud.baseline import threshold
from pointstream.fraud.geo import distance_km, most_km, too_fast
from pointstream.fraud.sighting import EVIDENCE_MAX, KIND_OF, Detected, Sighting
from pointstream.fraud.watch import (
    AFTER_MS,
    AT,
    BUCKET,
    DEVICE,
    EVENT_ID,
    KIND,
    MONEY,
    PERCENT,
    PLACE,
    POINTS,
    SUM,
    TOTAL,
    Row,
    Watch,
    time_of,
)
from pointstream.fraud.windows import busiest, busiest_run
from pointstream.fraud.words import amount, kinds, span

__all__ = [
    "COLUMN_OF",
    "DAY_MS",
    "Bucketed",
    "Counter",
    "Distinct",
    "Local",
    "RefundLoop",
    "Sliding",
    "Spike",
    "Travel",
    "local_of",
    "measured",
]

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
_MS: Final = timedelta(milliseconds=1)

COLUMN_OF: Final = {Measure.MONEY: MONEY, Measure.POINTS: POINTS}
"""Where a row has what is measured; each event is one of its kind."""


_MEASURED: Final[dict[Measure, Callable[[Sighting], int]]] = {
    Measure.EVENTS: lambda _: 1,
    Measure.POINTS: attrgetter("points"),
    Measure.MONEY: attrgetter("money_minor"),
}


def measured(measure: Measure) -> Callable[[Sighting], int]:
    """Return what tells how much of a measure an event is.

    Not to be asked for with every event: to name a member of an enumeration takes Python longer
    than all else of it.
    """
    return _MEASURED[measure]


class Counter(NamedTuple):
    """What is counted in buckets of time."""

    name: str
    """Of what is counted: detectors that count the same share it, also after a change of limit."""
    measure: Measure
    types: frozenset[str]
    bucket_ms: int
    keep: int
    """How many buckets."""


class Local(ABC):
    """A detector that looks at one member alone."""

    after: bool = False
    """Whether it must know what the event earned or gave back."""
    rows_ms: int = 0
    """For how long it needs events one by one."""
    counts: Counter | None = None

    def __init__(self, source: Detector, version: int, types: Sequence[str]) -> None:
        self.source: Final = source
        self.id: Final = source.id
        self.version: Final = version
        own = getattr(source, "entity", Entity.MEMBER)
        self.entity: Final = EntityKind.REFERRER if own is Entity.REFERRER else EntityKind.MEMBER
        self.types: Final = frozenset(types)
        self.named: Final = kinds(tuple(types))
        self.kinds: Final = frozenset(KIND_OF[name] for name in types)
        self._measured: Final = measured(getattr(source, "measure", Measure.EVENTS))
        """What it adds up of an event."""

    @abstractmethod
    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        """Return what is suspicious about an event; `watch` is what was remembered before it."""

    def found(
        self,
        observed: int,
        limit: int,
        window_s: int,
        events: Sequence[str],
        explanation: str,
    ) -> Detected:
        """Return what was found, with no more events than can be told."""
        return Detected(
            self.id,
            self.version,
            self.source.action,
            observed,
            limit,
            window_s,
            tuple(events[-EVIDENCE_MAX:]),
            explanation,
            self.entity,
        )


def _counter(measure: Measure, types: frozenset[str], bucket_ms: int, keep: int) -> Counter:
    names = ".".join(str(KIND_OF[name]) for name in sorted(types))
    name = f"{measure}:{names}:{bucket_ms // HOUR_MS}"
    return Counter(name, measure, types, bucket_ms, keep)


class Sliding(Local):
    """Velocity in a window of at most a day: every event counts to the millisecond."""

    def __init__(self, source: VelocityDetector, version: int) -> None:
        super().__init__(source, version, source.types)
        self._limit = source.limit
        self._measure = source.measure
        self._within_ms = self.rows_ms = source.within // _MS
        self.after = source.measure is Measure.POINTS
        self._column = COLUMN_OF.get(source.measure)

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        rows, column = watch.rows, self._column
        if column is None and len(rows) < self._limit:
            return None
        # Those before can be in no window with it.
        near = rows[bisect_right(rows, seen.at_ms - self._within_ms, key=time_of) :]
        there = len(near) if column is None else sum([row[column] for row in near])
        # Nearly always all that is there together is no more than the limit.
        if there + self._measured(seen) <= self._limit:
            return None
        mine = [row for row in near if row[KIND] in self.kinds]
        times = [row[AT] for row in mine]
        place = bisect_right(times, seen.at_ms)
        times.insert(place, seen.at_ms)
        values = None
        if column is not None:
            values = [row[column] for row in mine]
            values.insert(place, self._measured(seen))
        total, first, stop = busiest(times, values, seen.at_ms, self._within_ms)
        if total <= self._limit:
            return None
        ids = [row[EVENT_ID] for row in mine]
        ids.insert(place, seen.event_id)
        window_s = -(-self._within_ms // 1_000)
        return self.found(
            total,
            self._limit,
            window_s,
            ids[first:stop],
            f"member {seen.member_id} had {amount(self._measure, total)} of {self.named} within"
            f" {span(window_s)}, from {rfc3339(times[first])} to {rfc3339(times[stop - 1])};"
            f" {self._limit} is the limit: ask whether a person did that, then release or reject",
        )


class Bucketed(Local):
    """Velocity in a longer window, made of whole UTC days."""

    def __init__(self, source: VelocityDetector, version: int) -> None:
        super().__init__(source, version, source.types)
        self._limit = source.limit
        self._measure = source.measure
        self._days = -(-(source.within // _MS) // DAY_MS)
        self.after = source.measure is Measure.POINTS
        self.counts = _counter(source.measure, self.types, DAY_MS, 2 * self._days + 1)
        self._name = self.counts.name

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        value = self._measured(seen)
        known = watch.counts.get(self._name)
        if value + (known[TOTAL] if known is not None else 0) <= self._limit:
            return None
        sums = watch.counted(self._name)
        total = value + busiest_run(sums, seen.at_ms // DAY_MS, self._days)
        if total <= self._limit:
            return None
        ids = [row[EVENT_ID] for row in watch.rows if row[KIND] in self.kinds]
        return self.found(
            total,
            self._limit,
            self._days * DAY_MS // 1_000,
            [*ids, seen.event_id],
            f"member {seen.member_id} had {amount(self._measure, total)} of {self.named} within"
            f" {span(self._days * 86_400)}, the latest at {rfc3339(seen.at_ms)}; {self._limit} is"
            " the limit: look at what they were for, then release or reject",
        )


class Spike(Local):
    """More in an hour or day than the member's own history lets expect."""

    def __init__(self, source: SpikeDetector, version: int) -> None:
        super().__init__(source, version, source.types)
        self._source = source
        self._floor = source.floor
        self._bucket_ms = self.rows_ms = DAY_MS if source.bucket == "day" else HOUR_MS
        self.after = source.measure is Measure.POINTS
        self.counts = _counter(source.measure, self.types, self._bucket_ms, source.history + 2)
        self._name = self.counts.name

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        source = self._source
        bucket = seen.at_ms // self._bucket_ms
        value = self._measured(seen)
        known = watch.counts.get(self._name)
        if known is not None:
            if known[BUCKET] == bucket:
                value += known[SUM]
            elif known[BUCKET] > bucket:
                value += dict(watch.counted(self._name)).get(bucket, 0)
        if value <= self._floor:
            return None
        earlier = [each for number, each in watch.counted(self._name) if number < bucket and each]
        history = earlier[-source.history :]
        limit = threshold(
            history, factor=source.factor, floor=source.floor, min_history=source.min_history
        )
        if value <= limit:
            return None
        start_ms = bucket * self._bucket_ms
        ids = [
            row[EVENT_ID]
            for row in watch.rows
            if row[KIND] in self.kinds and start_ms <= row[AT] < start_ms + self._bucket_ms
        ]
        usual = (
            f"its {len(history)} {source.bucket}s before let expect no more than {limit}"
            if len(history) >= source.min_history
            else f"{limit} is the limit for a history of {len(history)} {source.bucket}s"
        )
        return self.found(
            value,
            limit,
            self._bucket_ms // 1_000,
            [*ids, seen.event_id],
            f"member {seen.member_id} had {amount(source.measure, value)} of {self.named} in the"
            f" {source.bucket} from {rfc3339(start_ms)}; {usual}: look at what they were for, then"
            " release or reject",
        )


class Distinct(Local):
    """More devices of one member within a window than a person uses."""

    def __init__(self, source: DistinctDetector, version: int) -> None:
        super().__init__(source, version, source.types or tuple(KIND_OF))
        self._limit = source.limit
        self._within_ms = source.within // _MS
        self.rows_ms = self._within_ms

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        if seen.device is None or len(watch.devices) < self._limit:
            return None
        near = [
            (row[AT], row[DEVICE], row[EVENT_ID])
            for row in watch.rows
            if row[DEVICE] is not None
            and row[KIND] in self.kinds
            and abs(row[AT] - seen.at_ms) < self._within_ms
        ]
        near.append((seen.at_ms, seen.device, seen.event_id))
        near.sort()
        best: list[tuple[int, str, str]] = []
        most = 0
        for first, (start_ms, _, _) in enumerate(near):
            if start_ms > seen.at_ms:
                break
            inside = [each for each in near[first:] if each[0] < start_ms + self._within_ms]
            number = len({device for _, device, _ in inside})
            if number > most:
                most, best = number, inside
        if most <= self._limit:
            return None
        window_s = -(-self._within_ms // 1_000)
        return self.found(
            most,
            self._limit,
            window_s,
            [event_id for _, _, event_id in best],
            f"member {seen.member_id} was seen with {most} devices within {span(window_s)}, until"
            f" {rfc3339(best[-1][0])}; {self._limit} is the limit: ask whether the account is"
            " shared or stolen, then release or reject",
        )


class Travel(Local):
    """Two places that nobody gets between in the time between."""

    def __init__(self, source: TravelDetector, version: int) -> None:
        super().__init__(source, version, tuple(KIND_OF))
        self.store_channels: Final = source.store_channels
        self._max_kmh = source.max_kmh
        self._min_km = source.min_km
        # Nothing is farther away than half around the Earth.
        self.places_ms = min(20_016 * HOUR_MS // source.max_kmh, DAY_MS)

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        if seen.place is None:
            return None
        before: Row | None = None
        after: Row | None = None
        for row in reversed(watch.rows):
            if row[PLACE] is not None:
                if row[AT] <= seen.at_ms:
                    before = row
                    break
                after = row
        for other in (before, after):
            if other is None or (*other[PLACE],) == seen.place:
                continue
            apart_ms = abs(seen.at_ms - other[AT])
            if apart_ms >= self.places_ms:
                continue
            lat, lon = other[PLACE]
            if most_km(lat, lon, *seen.place) < self._min_km:
                continue  # As nearly all are.
            km = distance_km(lat, lon, *seen.place)
            if km < self._min_km or not too_fast(km, apart_ms, self._max_kmh):
                continue
            kmh = km * HOUR_MS // max(apart_ms, 1)
            events = [other[EVENT_ID], seen.event_id]
            if other[AT] > seen.at_ms:
                events.reverse()
            window_s = -(-apart_ms // 1_000)
            return self.found(
                min(kmh, 10**9),
                self._max_kmh,
                window_s,
                events,
                f"member {seen.member_id} was at two places {km} km apart within {span(window_s)},"
                f" at {rfc3339(min(other[AT], seen.at_ms))} and"
                f" {rfc3339(max(other[AT], seen.at_ms))}; {self._max_kmh} km/h is the limit: ask"
                " who else uses the account, then release or reject",
            )
        return None


class RefundLoop(Local):
    """Orders that are bought to be given back."""

    after = True

    def __init__(self, source: RefundLoopDetector, version: int) -> None:
        types = ("order.refunded", "order.cancelled", "order.paid")
        super().__init__(source, version, types)
        self._source = source
        self._within_ms = self.returns_ms = source.within // _MS
        self._back_ms = None if source.back_within is None else source.back_within // _MS
        if source.share_percent:
            days = 2 * (-(-self._within_ms // DAY_MS) + 1)
            self.counts = _counter(Measure.EVENTS, frozenset(("order.paid",)), DAY_MS, days)

    def _fits(self, percent: int, after_ms: int) -> bool:
        """Tell whether an order counts that was given back so far, so long after it was paid."""
        return percent >= self._source.refunded_percent and (
            self._back_ms is None or after_ms <= self._back_ms
        )

    def look(self, seen: Sighting, watch: Watch) -> Detected | None:
        source = self._source
        if (
            seen.returned is None
            or len(watch.rest_as_is.returns) < source.limit
            or not self._fits(seen.refunded_percent, seen.at_ms - seen.paid_ms)
        ):
            return None
        rows = [
            row
            for row in watch.rest_as_is.returns
            if row[1] != seen.returned and self._fits(row[PERCENT], row[AFTER_MS])
        ]
        times = [row[0] for row in rows]
        place = bisect_right(times, seen.at_ms)
        times.insert(place, seen.at_ms)
        total, first, stop = busiest(times, None, seen.at_ms, self._within_ms)
        if total <= source.limit:
            return None
        if self.counts is not None:
            bought = self._within_ms if self._back_ms is None else self._back_ms
            since_ms, until_ms = times[first] - bought, times[stop - 1]
            orders = sum(
                value
                for day, value in watch.counted(self.counts.name)
                if since_ms // DAY_MS <= day <= until_ms // DAY_MS
            )
            if total * 100 < orders * source.share_percent:
                return None
        ids = [row[2] for row in rows]
        ids.insert(place, seen.event_id)
        window_s = -(-self._within_ms // 1_000)
        return self.found(
            total,
            source.limit,
            window_s,
            ids[first:stop],
            f"member {seen.member_id} gave {total} orders back within {span(window_s)}, the latest"
            f" at {rfc3339(times[stop - 1])}; {source.limit} is the limit: look at what the points"
            " were used for between buying and returning, then release or reject",
        )


_OWN: Final = (Entity.MEMBER, Entity.REFERRER)
"""Both are the member: who refers others is the one to whom the referral belongs."""


def local_of(source: Detector, version: int) -> Local | None:
    """Return a detector that looks at one member alone, made ready; None if it is none."""
    if isinstance(source, VelocityDetector) and source.entity in _OWN:
        whole_days = source.within > timedelta(days=1)
        return Bucketed(source, version) if whole_days else Sliding(source, version)
    if isinstance(source, SpikeDetector) and source.entity in _OWN:
        return Spike(source, version)
    if isinstance(source, DistinctDetector) and source.entity is Entity.MEMBER:
        return Distinct(source, version)
    if isinstance(source, TravelDetector):
        return Travel(source, version)
    if isinstance(source, RefundLoopDetector):
        return RefundLoop(source, version)
    return None
