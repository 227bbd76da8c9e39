"""What is remembered of a member, when two are one."""

from __future__ import annotations

from pointstream.fraud.watch import FIRST, PLACES_MAX, Watch


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
