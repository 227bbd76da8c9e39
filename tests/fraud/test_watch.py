"""What is remembered of a member, when two are one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pointstream.fraud.watch import FIRST, PLACES_MAX, REFERRERS_MAX, SUM_MAX, TOTAL, Watch

COUNTED = st.lists(st.tuples(st.integers(20_000, 20_012), st.integers(1, 400)), max_size=40)


def test_a_device_known_for_long_is_not_new_after_a_merge() -> None:
    """The survivor would be taken for one whose account has just changed hands."""
    survivor, merged = Watch(), Watch()
    for nth in range(PLACES_MAX):
        survivor.see_device(f"d{nth}", 100 + nth)
    merged.see_device("own", 1)
    merged.see_device("own", 500)
    survivor.join(merged)
    assert survivor.devices["own"][FIRST] == 1
    assert len(survivor.devices) == PLACES_MAX


def test_what_others_told_of_two_members_is_bounded_when_they_are_one() -> None:
    """Merge after merge, nothing grows: the latest are kept."""
    survivor = Watch()
    for nth in range(3):
        merged = Watch()
        merged.rest.told["by"] = [[f"r{nth}-{n}", "e", 1, {}, False] for n in range(REFERRERS_MAX)]
        merged.rest.told["to"] = {f"d{nth}-{n}": n for n in range(PLACES_MAX)}
        survivor.join(merged)
    assert [row[0] for row in survivor.rest.told["by"]] == [f"r2-{n}" for n in range(REFERRERS_MAX)]
    assert list(survivor.rest.told["to"]) == [f"d2-{n}" for n in range(PLACES_MAX)]


@given(COUNTED, COUNTED, st.integers(1, 9))
def test_sums_are_those_of_the_latest_buckets_in_whatever_order_they_came(
    events: list[tuple[int, int]], others: list[tuple[int, int]], keep: int
) -> None:
    """Of a member, as it was stored in between, and of one who was merged into it."""
    watch, other, sums, theirs = Watch(), Watch(), {}, {}
    for known, counted, told in ((watch, sums, events), (other, theirs, others)):
        for bucket, value in told:
            known.count("points", bucket, value, keep)
            counted[bucket] = counted.get(bucket, 0) + value
            for old in sorted(counted)[:-keep]:
                del counted[old]
            assert known.counted("points") == sorted(counted.items())
    watch = Watch.of_body(watch.body(), 1)
    assert watch.counted("points") == sorted(sums.items())
    most = max(len(sums), len(theirs))
    watch.join(other)
    for bucket, value in sorted(theirs.items()):
        sums[bucket] = sums.get(bucket, 0) + value
        for old in sorted(sums)[:-most]:
            del sums[old]
    assert watch.counted("points") == sorted(sums.items())
    if sums:
        assert watch.counts["points"][TOTAL] == sum(sums.values())


def test_a_sum_is_never_more_than_a_reader_reads_exactly() -> None:
    """What was taken back is taken off again."""
    watch = Watch()
    for value in (5, SUM_MAX, -SUM_MAX):
        watch.count("points", 20_000, value, 3)
    assert watch.counted("points") == [(20_000, 0)]
    assert watch.counts["points"][TOTAL] == 0
