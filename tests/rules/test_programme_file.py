"""The programme file: the default is sound, and mistakes are named by line and path."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointstream.operations.programme import ProgrammeInvalid, load_programme, parse_programme

DEFAULT = Path(__file__).parents[2] / "deploy" / "programme.yaml"


def test_the_default_programme_is_sound() -> None:
    """It says what the documents say it says."""
    programme = load_programme(DEFAULT)

    assert programme.time_zone == "Asia/Shanghai"
    assert programme.refund_policy.value == "within_balance"
    assert programme.wallets[0].expiry.months == 12
    assert programme.wallets[0].expiry.end_of.value == "month"
    assert {rule.kind for rule_set in programme.rule_sets for rule in rule_set.rules} == {
        "spend",
        "order_bonus",
        "check_in",
        "referral",
        "activity",
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("per_minor: 100\n", "per_minor: 1.5\n", "rule_sets[0].rules[0].per_minor: "),
        ("    points: 50\n", "    pionts: 50\n", "rule_sets[0].rules[1].pionts: Extra inputs"),
        ("        points: 50\n", "", "rule_sets[0].rules[1].points: Field required"),
        ("kind: order_bonus", "kind: bonus", "rule_sets[0].rules[1].kind: kind 'bonus' is none of"),
        ("Asia/Shanghai\n", "Asia/Shangai\n", "time_zone: unknown time zone 'Asia/Shangai'"),
        ("refund_policy: within_balance", "refund_policy: none", "'only_pending', 'within_b"),
        ("2026-11-13", "2025-11-13", "rules[0].effective_to: effective_to must be later"),
        ("id: big-basket", "id: spend-and-earn", "rule_sets[0]: two rules have the id"),
        ("+08:00", "", "rule_sets[1].rules[0].effective_from: Input should have timezone"),
        ("id: points", "id: coins", "a programme has a wallet named 'points'"),
        ("currency: CNY", "currency: CNY\ncurrency: CNY", "'currency' is given twice"),
        ("wallets:", "wallets: [", "expected the node content"),
        ("hold_time: P1D", "hold_time: P0D", "hold_time: Input should be greater than 0"),
        (
            "budget: bring-a-",
            "budget: a-",
            ".budget: unknown budget 'a-friend-2026'; this programme",
        ),
        ("- id: bring-a-friend-2026", "- id: b", "].budget: unknown budget 'bring-a-friend-2026'"),
        ("day: 30\n          month", "year: 30\n          month", "].cap.year: Extra inputs"),
        ("  store:\n", "  shop:\n", "limits.shop"),
        ("adjust: 500", "adjust: -1", "limits.store.adjust: Input should be greater"),
        ("adjust: 500", "adjusts: 1", "limits.store.adjusts: Extra inputs"),
        ("consent_always: []", "consent_always: [account.eat]", "consent_always[0]: Input should"),
        ("consent_window: P7D", "consent_window: P0D", "consent_window: Input should be greater"),
        ("park_window: P7D", "park_window: 7 days of waiting", "park_window: Input should be"),
    ],
)
def test_a_mistake_is_named_by_line_and_path(old: str, new: str, problem: str) -> None:
    """Whoever wrote the file finds the place, and what is allowed there."""
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text

    with pytest.raises(ProgrammeInvalid) as caught:
        parse_programme(text.replace(old, new, 1), "p.yaml")

    (told,) = [told for told in caught.value.problems if problem in told]
    line = int(told.removeprefix("p.yaml:").split(":")[0])
    assert 1 <= line <= text.count("\n") + 1


def test_the_line_is_that_of_the_mistake() -> None:
    """Counted from 1, as editors do."""
    with pytest.raises(ProgrammeInvalid) as caught:
        parse_programme("id: test\ncurrency: yuan\nrule_sets: []\n", "p.yaml")

    assert [problem.split(": ")[0:2] for problem in caught.value.problems] == [
        ["p.yaml:2", "currency"],
        ["p.yaml:3", "rule_sets"],
    ]


@pytest.mark.parametrize("text", ["", "- a\n", "42", "\x00", "a: !!python/object:os.system {}"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    """Nothing but a mapping is a programme, and nothing in it is executed."""
    with pytest.raises(ProgrammeInvalid):
        parse_programme(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(ProgrammeInvalid, match=r"missing\.yaml: cannot be read"):
        load_programme(tmp_path / "missing.yaml")
