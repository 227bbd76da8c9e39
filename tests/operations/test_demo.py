"""What a demonstration claims: each claim can fail alone, and an empty run proves nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from pointstream.operations.demo import DemoResult, match_letters
from pointstream.operations.faulty import FaultyInput, faulty_inputs
from pointstream.operations.letters import DeadLetters
from pointstream.operations.reconcile import Proof

_FAULTY = list(faulty_inputs("p.", "mark", "M-1", 1_772_323_200_000, 1_772_323_100_000))


def _letters(faulty: list[FaultyInput]) -> DeadLetters:
    letters = DeadLetters()
    for each in faulty:
        letters.by_code[str(each.code)] += 1
        letters.contents[str(each.code), each.bad.key, each.bad.value] += 1
    return letters


def _right() -> DemoResult:
    return DemoResult(published=10, proof=Proof(members=1, entries=1), letters=_letters(_FAULTY))


def _broken(result: DemoResult) -> list[str]:
    match_letters(result, _FAULTY)
    assert result.holds == (not [name for name, holds, _ in result.checks() if not holds])
    return [name for name, holds, _ in result.checks() if not holds]


def test_a_right_run_holds() -> None:
    """Everything taken, proven, and every bad record come back."""
    assert _broken(_right()) == []


def test_waiting_records_do_not_hold() -> None:
    """Lag is not zero."""
    result = _right()
    result.lag = 1
    assert _broken(result) == ["lag"]


@pytest.mark.parametrize("check", ["conservation", "seq", "sums", "lots", "crm-sync", "mall-sync"])
def test_a_breach_does_not_hold(check: str) -> None:
    """Whichever check of the proof found it."""
    result = _right()
    result.proof.broken = Counter({check: 1})
    assert _broken(result) == [check]


def test_a_run_without_entries_proves_nothing() -> None:
    """Right sums of nothing are no proof."""
    result = _right()
    result.proof.entries = 0
    assert _broken(result) == ["not empty"]


def test_a_lost_dead_letter_does_not_hold() -> None:
    """A bad record that went nowhere."""
    result = _right()
    result.letters = _letters(_FAULTY[1:])
    assert _broken(result) == ["dead letters"]
    assert result.missing_letters == {str(_FAULTY[0].code): 1}


def test_a_changed_dead_letter_does_not_hold() -> None:
    """Not byte for byte: it counts as one missing and one that shouldn't be."""
    result = _right()
    code, bad = str(_FAULTY[0].code), _FAULTY[0].bad
    del result.letters.contents[code, bad.key, bad.value]
    result.letters.contents[code, bad.key, b"something else"] += 1
    assert _broken(result) == ["dead letters"]


def test_a_good_record_among_the_dead_letters_does_not_hold() -> None:
    """Nothing but the bad records may be there."""
    result = _right()
    result.letters.contents["schema_invalid", b"M-9", b"{}"] += 1
    assert _broken(result) == ["dead letters"]
    assert result.unexpected_letters == {"schema_invalid": 1}
