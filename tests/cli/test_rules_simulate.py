"""What `rules simulate` says before it asks a broker for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

GOOD = "id: autumn\nversion: 1\nrules:\n  - { id: base, kind: spend, per_minor: 100 }\n"
#: Nobody listens there: whoever comes so far says so.
NOBODY = "127.0.0.1:9"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "autumn.yaml"
    path.write_text(GOOD)
    return path


def run(*arguments: object) -> Result:
    words = ["rules", "simulate", *map(str, arguments), "-b", NOBODY]
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (("--from", "2026-03-31", "--to", "2026-03-30"), "the span is empty"),
        (("--from", "2999-01-01"), "the span is empty: it ends (now) before it begins"),
        (("--from", "yesterday"), "'yesterday' is no time; write a date"),
        (("--from", "2026-03-31T10:00:00"), "is no time"),
    ],
)
def test_a_span_that_is_none_is_wrong_usage(file: Path, span: tuple[str, ...], said: str) -> None:
    """Given a span that is empty or not understood, when it is simulated, then that is said."""
    result = run(file, *span)

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_single_day_is_a_span(file: Path) -> None:
    """Given the same date twice, when it is simulated, then it is that day: the broker is asked."""
    result = run(file, "--from", "2026-03-31", "--to", "2026-03-31")

    assert result.exit_code == 1
    assert "no Kafka broker answers" in result.output


def test_a_mistake_in_the_file_is_told_by_its_line(file: Path) -> None:
    """Given a rule that pays into no wallet, when it is simulated, then line and path are told."""
    file.write_text(GOOD.replace("per_minor: 100", "per_minor: 100, wallet: gems"))

    result = run(file, "--from", "2026-03-31")

    assert result.exit_code == 1
    assert "autumn.yaml:4: rules[0].wallet" in " ".join(result.output.split())
    assert "Nothing was simulated." in result.output


def test_a_programme_is_no_candidate(tmp_path: Path) -> None:
    """Given a whole programme, when it is simulated, then files with rule sets are asked for."""
    file = tmp_path / "programme.yaml"
    file.write_text("id: club\nrule_sets:\n  - " + GOOD.strip().replace("\n", "\n    ") + "\n")

    result = run(file, "--from", "2026-03-31")

    assert result.exit_code == 2
    assert "is a whole programme" in " ".join(result.output.split())


def test_a_page_that_cannot_be_written_is_told_before_the_work(file: Path, tmp_path: Path) -> None:
    """Given a page in a directory that is not there, when it is simulated, then that is said."""
    result = run(file, "--from", "2026-03-31", "--html", tmp_path / "none" / "page.html")

    assert result.exit_code == 2
    assert "there is no directory" in " ".join(result.output.split())


def test_what_the_job_logs_is_no_part_of_the_answer(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a replay in this process, when its job logs something, then it is on standard error."""
    run(file, "--from", "2026-03-31")

    structlog.get_logger("job").error("rule set set aside")

    said = capsys.readouterr()
    assert (said.out, "rule set set aside" in said.err) == ("", True)
