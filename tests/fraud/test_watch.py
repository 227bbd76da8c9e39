"""What is remembered of a member, when two are one."""

from __future__ import annotations

from pointstream.fraud.watch import FIRST, PLACES_MAX, REFERRERS_MAX, Watch


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
