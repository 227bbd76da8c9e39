"""Every numbered case of the ledger has a test that goes through the whole job."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Of the cases there are, those about the ledger; the others are about suspicions.
LEDGER_CASES = range(1, 34)
#: Not built yet.
NOT_YET = {21, 25, 26, 32, 33}
_TESTS = Path(__file__).parents[1]


class _Collector:
    """Notes the cases of the tests that pytest finds, without running any."""

    def __init__(self) -> None:
        self.found: dict[int, set[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if not _through_the_job(item):
                continue
            for marker in item.iter_markers("case"):
                for number in marker.args:
                    self.found.setdefault(number, set()).add(item.nodeid)


def _through_the_job(item: pytest.Item) -> bool:
    """Whether records pass through partition tasks: on `EngineTestDriver`."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("through") == "driver":
        return True
    return item.path.parent == _TESTS / "agents" and not item.get_closest_marker("broker")


def test_every_case_has_a_test_through_the_whole_job() -> None:
    """A case that only the bare ledger shows could still go wrong in the worker."""
    collector = _Collector()
    status = pytest.main(
        [
            "--collect-only",
            "-qq",
            "-p",
            "no:cacheprovider",
            "-m",
            "case",
            str(_TESTS / "ledger"),
            str(_TESTS / "agents"),
        ],
        plugins=[collector],
    )

    assert status == pytest.ExitCode.OK
    missing = [number for number in LEDGER_CASES if number not in collector.found]
    assert not missing
