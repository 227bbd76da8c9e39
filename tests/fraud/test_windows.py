"""Windows against a model that looks at everything."""

from __future__ import annotations

from bisect import insort

from hypothesis import example, given
from hypothesis import strategies as st

from pointstream.contracts.detectors import VelocityDetector
from pointstream.fraud.local import KIND_OF, Sliding
from pointstream.fraud.sighting import Sighting
from pointstream.fraud.watch import LATE_MS, ROWS_MAX, Watch
from pointstream.fraud.windows import busiest, busiest_run

TIMES = st.lists(st.integers(0, 60), min_size=1, max_size=40)


def brute(values: list[tuple[int, int]], at_ms: int, within_ms: int) -> int:
    """The largest sum over all windows of a length, at every millisecond, that contain a moment."""
    return max(
        sum(value for time, value in values if start <= time < start + within_ms)
        for start in range(at_ms - within_ms + 1, at_ms + 1)
    )


@given(TIMES, st.integers(1, 30), st.data())
def test_the_fullest_window_is_the_one_that_a_search_of_all_finds(
    times: list[int], within_ms: int, data: st.DataObject
) -> None:
    """Exact, whatever the times, with and without weights."""
    times.sort()
    at_ms = data.draw(st.sampled_from(times))
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(times), max_size=len(times)))
    found = busiest(times, weights, at_ms, within_ms)
    assert found.total == brute(list(zip(times, weights, strict=True)), at_ms, within_ms)
    assert sum(weights[found.first : found.stop]) == found.total
    inside = times[found.first : found.stop]
    assert not inside or inside[-1] - inside[0] < within_ms
    counted = busiest(times, None, at_ms, within_ms)
    assert counted.total == brute([(time, 1) for time in times], at_ms, within_ms)


@given(
    st.dictionaries(st.integers(0, 30), st.integers(0, 9)), st.integers(0, 30), st.integers(1, 8)
)
def test_the_fullest_run_of_buckets_is_the_one_that_a_search_of_all_finds(
    sums: dict[int, int], bucket: int, length: int
) -> None:
    """Buckets with nothing in them are buckets too."""
    expected = max(
        sum(value for number, value in sums.items() if start <= number < start + length)
        for start in range(bucket - length + 1, bucket + 1)
    )
    assert busiest_run(sorted(sums.items()), bucket, length) == expected


EVENTS = st.lists(
    st.tuples(st.integers(0, 3) | st.integers(0, 5_000), st.integers(0, 3) | st.integers(0, 3_000)),
    min_size=1,
    max_size=60,
)
"""How long after the one before an event came, and how late: also by single milliseconds."""


@given(EVENTS, st.integers(1, 6), st.integers(1, 6) | st.integers(1, 4_000))
@example([(0, 0), (2, 0)], 1, 3)
@example([(0, 0), (3, 0)], 1, 3)
def test_velocity_is_exact_for_late_and_unordered_events(
    events: list[tuple[int, int]], limit: int, within_ms: int
) -> None:
    """Each event trips exactly when some window that contains it holds more than the limit."""
    detector = Sliding(
        VelocityDetector.model_validate(
            {"kind": "velocity", "id": "v", "types": ["order.paid"], "limit": limit}
            | {"within": f"PT{within_ms / 1000:.3f}S"}
        ),
        1,
    )
    kind = KIND_OF["order.paid"]
    watch, there, now_ms = Watch(), [], 10 * LATE_MS
    for nth, (later_ms, late_ms) in enumerate(events):
        now_ms += later_ms
        at_ms = now_ms - late_ms
        seen = Sighting("order.paid", kind, f"e{nth}", "m1", at_ms, now_ms)
        insort(there, at_ms)
        expected = brute_count(there, at_ms, within_ms)
        found = detector.look(seen, watch)
        assert (found is not None) == (expected > limit)
        if found is not None:
            assert found.observed == expected == len(found.events)
        taken_ms = now_ms if late_ms else 0
        row = [at_ms, kind, 0, 0, f"e{nth}", None, taken_ms, None, None]
        watch.add_row(row, now_ms, within_ms)


def brute_count(times: list[int], at_ms: int, within_ms: int) -> int:
    """As `brute`, looking only where a window can begin to be fuller."""
    starts = [time for time in times if at_ms - within_ms < time <= at_ms]
    return max(
        sum(start <= time < start + within_ms for time in times) for start in [*starts, at_ms]
    )


def row(at_ms: int, taken_ms: int = 0) -> list[object]:
    return [at_ms, 0, 0, 0, f"{at_ms}-{taken_ms}", None, taken_ms, None, None]


def test_what_is_remembered_of_a_member_is_bounded() -> None:
    """A flood pushes out its own beginning, and costs no more than the bound."""
    watch = Watch()
    for nth in range(3 * ROWS_MAX):
        watch.add_row(row(nth), nth, LATE_MS)
    assert len(watch.rows) == ROWS_MAX
    assert watch.rows[0][0] == 2 * ROWS_MAX


def test_events_are_forgotten_when_no_later_one_can_be_held_against_them() -> None:
    """One that came late is kept from when it came: the burst that it belongs to may go on."""
    watch = Watch()
    now_ms = 30 * LATE_MS
    watch.add_row(row(now_ms - 5), now_ms, 1_000)
    watch.add_row(row(20 * LATE_MS, now_ms), now_ms, 1_000)
    later_ms = now_ms + LATE_MS + 1_000
    watch.add_row(row(later_ms), later_ms, 1_000)
    assert [kept[0] for kept in watch.rows] == [20 * LATE_MS, later_ms]
    watch.add_row(row(later_ms + 1), later_ms + 1, 1_000)
    assert [kept[0] for kept in watch.rows] == [later_ms, later_ms + 1]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=40))
def test_buckets_hold_the_sums_of_the_latest(added: list[tuple[int, int]]) -> None:
    """Whatever the order, each bucket that is kept has all that was added to it."""
    watch, sums = Watch(), dict[int, int]()
    for bucket, value in added:
        watch.count("what", bucket, value, 100)
        sums[bucket] = sums.get(bucket, 0) + value
    assert watch.counted("what") == sorted(sums.items())
