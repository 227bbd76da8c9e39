"""`rules check`: every kind of mistake is told with line, path and what is allowed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.contracts.wire import rfc3339

PROGRAMME = """\
id: test
wallets: [{id: points}, {id: growth}]
budgets: [{id: autumn-2026, points: 1000}]
rule_sets:
  - id: autumn
    version: 3
    rules: [{id: base, kind: spend, per_minor: 100}]
"""

GOOD = """\
id: autumn
version: 4
effective_from: 2099-10-01T00:00:00+08:00
rules:
  - id: base
    kind: spend
    per_minor: 100
  - id: bonus
    kind: order_bonus
    points: 50
    min_minor: 30000
    budget: autumn-2026
  - id: daily
    kind: check_in
    points: 2
    streak: {days: 7, points: 30}
    wallet: growth
  - id: friend
    kind: referral
    when: registered
    points: 20
  - id: review
    kind: activity
    activity: review.posted
    points: 10
    cap: {day: 30}
    scope: {stores: [s1]}
caps:
  - {id: all, month: 500, rules: [base, bonus]}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        app,
        ["rules", "check", *map(str, arguments)],
        env={"COLUMNS": "200", "TERM": "dumb", "POINTSTREAM_PROGRAMME_FILE": None},
    )


@pytest.fixture
def programme(tmp_path: Path) -> Path:
    path = tmp_path / "programme.yaml"
    path.write_text(PROGRAMME, encoding="utf-8")
    return path


def written(tmp_path: Path, text: str, name: str = "autumn.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def check(tmp_path: Path, programme: Path, text: str) -> dict[str, list[dict[str, Any]]]:
    result = run(written(tmp_path, text), "--programme", programme, "--json")
    answer: dict[str, list[dict[str, Any]]] = json.loads(result.stdout)
    assert result.exit_code == (1 if answer["problems"] else 0)
    assert answer["ok"] == (not answer["problems"])
    return answer


def test_a_good_file_passes_and_its_rules_are_shown(tmp_path: Path, programme: Path) -> None:
    """What each gives, and from when, in the programme's time."""
    result = run(written(tmp_path, GOOD), "--programme", programme)

    assert result.exit_code == 0
    assert "Fit to be used; no warnings." in result.output
    assert "2 points for a check-in, 30 more on every 7 days in a row" in result.output
    assert "50 points for an order, from 300.00 on; budget: autumn-2026" in result.output
    assert result.output.count("2099-10-01 00:00") == 5
    assert "Asia/Shanghai" in result.output


@pytest.mark.parametrize("form", ["[{}]", '{{"rule_sets": [{}]}}', "{}"])
def test_json_and_lists_are_taken_as_well(tmp_path: Path, programme: Path, form: str) -> None:
    """One rule set alone, in a list, and in a list with a name."""
    rule = '{"id": "base", "kind": "spend", "per_minor": 100}'
    text = form.format('{"id": "winter", "version": 1, "rules": [' + rule + "]}")

    answer = check(tmp_path, programme, text)

    assert [held["rule_set"] for held in answer["holds"]] == ["winter"]


MISTAKES = {
    "unknown field": ("min_minor: 30000", "min_mnor: 1", 11, "rules[1].min_mnor", "min_minor"),
    "unknown field in a part": (
        "{stores: [s1]}",
        "{shops: [s1]}",
        27,
        "rules[4].scope.shops",
        "stores, brands",
    ),
    "missing field": ("    per_minor: 100\n", "", 5, "rules[0].per_minor", "Field required"),
    "unknown kind": (
        "kind: order_bonus",
        "kind: bonus",
        9,
        "rules[1].kind",
        "is none of activity, check_in, ",
    ),
    "no kind": ("    kind: order_bonus\n", "", 8, "rules[1]", "one of activity, check_in"),
    "zero points": ("points: 50", "points: 0", 10, "rules[1].points", "greater than or equal to 1"),
    "too many points": ("points: 50", "points: 1e99", 10, "rules[1].points", "valid integer"),
    "a fraction": ("per_minor: 100", "per_minor: 1.5", 7, "rules[0].per_minor", "valid integer"),
    "a text for a number": ("points: 50", "points: many", 10, "rules[1].points", "valid integer"),
    "one of two words": (
        "registered",
        "joined",
        20,
        "rules[3].when",
        "'registered' or 'first_order'",
    ),
    "streak too short": (
        "days: 7",
        "days: 1",
        16,
        "rules[2].streak.days",
        "greater than or equal to 2",
    ),
    "an empty cap": (
        "{day: 30}",
        "{}",
        26,
        "rules[4].cap",
        "one of event, day, week, month, lifetime",
    ),
    "a bad id": ("id: daily", "id: Every Day", 13, "rules[2].id", "1 to 64 of a-z"),
    "an id twice": ("id: daily", "id: bonus", 13, "rules[2].id", "two rules have the id 'bonus'"),
    "an unknown rule in a cap": (
        "[base, bonus]",
        "[base, x]",
        29,
        "caps[0].rules[1]",
        "base, bonus, daily, friend, review",
    ),
    "no offset": ("00:00+08:00", "00:00", 3, "effective_from", "such as 2026-03-01T00:00:00+08:00"),
    "an end before the beginning": (
        "rules:\n  - id: base",
        "effective_to: 2000-01-01T00:00:00Z\nrules:\n  - id: base",
        4,
        "effective_to",
        "later than effective_from",
    ),
    "version 0": ("version: 4", "version: 0", 2, "version", "greater than or equal to 1"),
    "no version": ("version: 4\n", "", 1, "version", "Field required"),
    "an unknown wallet": (
        "wallet: growth",
        "wallet: coins",
        17,
        "rules[2].wallet",
        "points, growth",
    ),
    "an unknown budget": (
        "budget: autumn-2026",
        "budget: spring",
        12,
        "rules[1].budget",
        "this programme has autumn-2026",
    ),
    "a budget of another wallet": (
        "points: 2\n",
        "points: 2\n    budget: autumn-2026\n",
        16,
        "rules[2].budget",
        "of 'points', the rule pays into 'growth'",
    ),
    "a cap over two wallets": (
        "rules: [base, bonus]",
        "rules: [base, daily]",
        29,
        "caps[0].rules",
        "different wallets: growth, points",
    ),
    "a name twice": ("version: 4", "version: 4\nversion: 5", 3, "", "'version' is given twice"),
    "a day that is none": (
        "2099-10-01T00:00:00+08:00",
        "2099-02-30",
        3,
        "",
        "'2099-02-30' makes no sense: day is out of range",
    ),
    "a name that is none": ("id: autumn\n", "id: autumn\n? [a]\n: b\n", 2, "", "must be a text"),
    "no YAML": ("rules:", "rules: [", 5, "", "expected"),
}


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "allowed"), MISTAKES.values(), ids=MISTAKES.keys()
)
def test_a_mistake_is_told_with_line_path_and_what_is_allowed(
    tmp_path: Path, programme: Path, old: str, new: str, line: int, path: str, allowed: str
) -> None:
    """One mistake is told once, at the place where it is."""
    assert GOOD.count(old) >= 1

    answer = check(tmp_path, programme, GOOD.replace(old, new, 1))

    (problem,) = answer["problems"]
    assert (problem["line"], problem["path"]) == (line, path)
    assert allowed in str(problem["message"])
    assert answer["holds"] == []


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(
    tmp_path: Path, programme: Path
) -> None:
    """With the likely name of a field that was written wrong."""
    text = GOOD.replace("min_minor", "min_mnor").replace("id: daily", "id: base")
    text = text.replace("points: 20", "points: 0")

    result = run(written(tmp_path, text), "--programme", programme)

    assert result.exit_code == 1
    told = [line for line in result.output.splitlines() if line.startswith("problem")]
    assert [line.split(": ")[1] for line in told] == [
        "rules[1].min_mnor",
        "rules[2].id",
        "rules[3].points",
    ]
    assert "did you mean min_minor?" in told[0]
    assert "Not fit to be used: 3 problems." in result.output


@pytest.mark.parametrize(
    "text", ["", "42", "[]", "- 1", "rule_sets: []", "[" * 3_000, "a: &a [*a]"]
)
def test_what_is_no_rule_set_is_told(tmp_path: Path, programme: Path, text: str) -> None:
    """It ends with 1, like any other problem."""
    assert check(tmp_path, programme, text)["problems"]


WARNINGS = {
    "a version that is not above": (
        "version: 4",
        "version: 3",
        "version",
        "not above 3, which the programme has; write 4",
    ),
    "a beginning in the past": ("2099-10", "2020-10", "effective_from", "in the past"),
    "a rule before its rule set": (
        "    per_minor: 100\n",
        "    per_minor: 100\n    effective_to: 2098-01-01T00:00:00Z\n",
        "rules[0].effective_to",
        "never holds",
    ),
    "an empty list": ("{stores: [s1]}", "{stores: []}", "rules[4].scope.stores", "can never match"),
}


@pytest.mark.parametrize(("old", "new", "path", "says"), WARNINGS.values(), ids=WARNINGS.keys())
def test_what_may_not_be_meant_is_a_warning(
    tmp_path: Path, programme: Path, old: str, new: str, path: str, says: str
) -> None:
    """And no problem: the file can be used."""
    assert old in GOOD

    answer = check(tmp_path, programme, GOOD.replace(old, new, 1))

    (warning,) = answer["warnings"]
    assert warning["path"] == path
    assert says in str(warning["message"])
    assert not answer["problems"]


def test_a_rule_set_that_is_over_is_a_warning(tmp_path: Path, programme: Path) -> None:
    """Nothing but late events will ever be scored by it."""
    text = GOOD.replace("2099-10-01", "2020-01-01").replace(
        "rules:\n", "effective_to: 2020-02-01T00:00:00+08:00\nrules:\n", 1
    )

    (warning,) = check(tmp_path, programme, text)["warnings"]

    assert (warning["path"], warning["line"]) == ("effective_to", 4)


def test_a_higher_version_takes_the_time_from_a_lower_one(tmp_path: Path) -> None:
    """The lower one holds before and after, or never where the higher one always does."""
    lower = "{id: a, version: 1, rules: [{id: r, kind: spend, per_minor: 100}]}"
    spans = "effective_from: 2026-02-01T00:00:00Z, effective_to: 2026-03-01T00:00:00Z, "
    for span, expected in [
        (spans, [[None, "2026-02-01"], ["2026-03-01", None]]),
        ("", []),
    ]:
        higher = lower.replace("version: 1, ", f"version: 2, {span}")
        text = f"id: test\nrule_sets:\n- {lower}\n- {higher}\n"

        result = run(written(tmp_path, text), "--json")

        answer = json.loads(result.stdout)
        held = answer["holds"][0]["spans"]
        assert [
            [each and each[:10] for each in (span["from"], span["until"])] for span in held
        ] == expected
        paths = [warning["path"] for warning in answer["warnings"]]
        assert paths == ([] if expected else ["rule_sets[0].version"])


def test_a_version_without_a_beginning_holds_from_now_on(tmp_path: Path, programme: Path) -> None:
    """It would from when it is published; what came before stays with the versions before."""
    before_ms = int(time.time() * 1000)

    (held,) = check(
        tmp_path,
        programme,
        "id: winter\nversion: 1\nrules: [{id: base, kind: spend, per_minor: 100}]",
    )["holds"]

    (span,) = held["spans"]
    assert rfc3339(before_ms) <= span["from"] <= rfc3339(int(time.time() * 1000))
    assert span["until"] is None


def test_a_programme_is_held_against_itself(tmp_path: Path, programme: Path) -> None:
    """Its wallets and budgets count, and that its rule sets began long ago is as it should be."""
    result = run(programme, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["warnings"] == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("per_minor: 100}", "per_minor: 100, wallet: x}", "rule_sets[0].rules[0].wallet"),
        (
            "per_minor: 100}]",
            "per_minor: 100}]\n  - id: autumn\n    version: 3\n"
            "    rules: [{id: b, kind: spend, per_minor: 1}]",
            "rule_sets[1].version",
        ),
        ("points: 1000", "points: 0", "budgets[0].points"),
    ],
)
def test_mistakes_of_a_programme_are_told(
    tmp_path: Path, programme: Path, old: str, new: str, path: str
) -> None:
    """By the same place in the file."""
    result = run(written(tmp_path, PROGRAMME.replace(old, new)), "--json")

    assert result.exit_code == 1
    assert [problem["path"] for problem in json.loads(result.stdout)["problems"]] == [path]


def test_two_files_may_not_have_the_same_version(tmp_path: Path, programme: Path) -> None:
    """Neither would be sure to be the one that counts."""
    one, other = written(tmp_path, GOOD, "a.yaml"), written(tmp_path, GOOD, "b.yaml")

    result = run(one, other, "--programme", programme, "--json")

    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["name"] == str(other)
    assert str(one) in problem["message"]


@pytest.mark.parametrize("bad", ["file", "programme"])
def test_what_cannot_be_read_is_wrong_usage(tmp_path: Path, programme: Path, bad: str) -> None:
    """Exit code 2, and a sentence."""
    good = written(tmp_path, GOOD)
    nowhere = tmp_path / "nowhere.yaml"
    arguments = (nowhere,) if bad == "file" else (good, "--programme", nowhere)

    result = run(*arguments)

    assert result.exit_code == 2
    assert "cannot be read" in " ".join(result.output.split())
