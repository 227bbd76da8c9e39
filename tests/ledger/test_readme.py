"""The page about the ledger tells which cases are built, what shows each, and what is where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import pointstream.ledger

_LEDGER: Final = Path(pointstream.ledger.__file__).parent
_HERE: Final = Path(__file__).parent
_ON_BROKER: Final = _HERE.parent / "integration/cases"
_PAGE: Final = (_LEDGER / "README.md").read_text(encoding="utf-8")
_ROWS: Final = [
    (int(number), tick == "✓", shown)
    for number, tick, shown in re.findall(
        r"^\| (\d+) (\S) \| .* \|([^|]*)\|$", _PAGE, flags=re.MULTILINE
    )
]


def _cases_of(file: Path) -> set[int]:
    marks = re.findall(r"mark\.case\(([\d, ]+)\)", file.read_text(encoding="utf-8"))
    return {int(number) for mark in marks for number in mark.split(",")}


def test_every_case_has_its_row() -> None:
    """Cases 1 to 39 are told, in order."""
    assert [number for number, _, _ in _ROWS] == list(range(1, 40))


@pytest.mark.parametrize(("number", "built", "shown"), _ROWS)
def test_ticked_cases_are_shown_by_the_files_that_they_name(
    number: int, built: bool, shown: str
) -> None:
    """A tick names test files that carry the case's number; without one there is none."""
    plain, _, on_broker = shown.partition("+")
    named = [_HERE / name for name in re.findall(r"`([^`]+)`", plain)]
    named_on_broker = [_ON_BROKER / name for name in re.findall(r"`([^`]+)`", on_broker)]

    assert bool(named) == built
    for file in named + named_on_broker:
        assert number in _cases_of(file), file
    marked = {file for file in _ON_BROKER.glob("test_*.py") if number in _cases_of(file)}
    assert marked == set(named_on_broker)
    if not built:
        assert not any(number in _cases_of(file) for file in _HERE.glob("test_*.py"))


def test_the_map_names_modules_that_are_there_and_each_once() -> None:
    """A module that is renamed or gone leaves the table too."""
    table = _PAGE.partition("## Where it is in the code")[2].partition("\n## ")[0]
    named = [
        name
        for row in re.findall(r"^\| [^|]+ \| (.*) \|$", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]

    modules = {file.stem for file in _LEDGER.glob("*.py")} - {"__init__"}
    assert named
    assert not {*named} - modules
    assert len(named) == len({*named})
