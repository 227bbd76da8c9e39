"""The bench of a large state fails when a worker is not what is promised."""

from .scale import beyond

_WELL = {"resident_mib": 400.0, "latency_ms_median": 250.0, "start_seconds_empty_disk": 900.0}


def test_figures_within_their_limits_pass() -> None:
    """Up to the limit itself; what has no limit may be anything."""
    assert beyond(_WELL) == []


def test_each_figure_beyond_its_limit_is_told() -> None:
    """Memory and median latency, each in a sentence with both numbers."""
    (memory,) = beyond({**_WELL, "resident_mib": 400.1})
    assert "400.1" in memory
    assert len(beyond({**_WELL, "resident_mib": 512.0, "latency_ms_median": 251.0})) == 2
