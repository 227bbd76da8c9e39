"""`config show` and `config check`: what they answer, and with which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

SECRET = "correct-horse"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_") or name == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(name)
    # Put back after the test: `--config-file` sets it.
    monkeypatch.setenv("POINTSTREAM_CONFIG_FILE", "")


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "app_id: club\nkafka_security_protocol: SASL_SSL\nkafka_sasl_mechanism: SCRAM-SHA-512\n"
        f"kafka_username: worker\nkafka_password: {SECRET}\n"
    )
    return file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_settings_are_shown_without_their_secrets(
    settings_file: Path, options: tuple[str, ...]
) -> None:
    """Values and where they come from; of a password only that there is one."""
    result = run("--config-file", str(settings_file), "config", "show", *options)

    assert result.exit_code == 0
    assert f"file {settings_file}:1" in result.output
    assert "(set, not shown)" in result.output
    assert SECRET not in result.output
    if options:
        told = {setting["name"]: setting for setting in json.loads(result.output)["settings"]}
        assert told["app_id"]["value"] == "club"
        assert told["app_id"]["variable"] == "POINTSTREAM_APP_ID"


def test_settings_that_fit_end_with_0(settings_file: Path) -> None:
    """Nothing to do."""
    result = run("--config-file", str(settings_file), "config", "check")

    assert (result.exit_code, result.output.strip()) == (0, "The settings fit.")


def test_settings_that_do_not_fit_end_with_1(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every problem with what to do, for people and for programs."""
    monkeypatch.setenv("POINTSTREAM_KAFKA_CA_FILE", "/nowhere.pem")
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "0")
    arguments = ("--config-file", str(settings_file), "config", "check")

    for_people, for_programs = run(*arguments), run(*arguments, "--json")

    assert for_people.exit_code == for_programs.exit_code == 1
    assert "/nowhere.pem cannot be read" in for_people.output
    assert "2 problems." in for_people.output
    told = json.loads(for_programs.output)
    assert not told["fits"]
    assert len([finding for finding in told["findings"] if finding["problem"]]) == 2


def test_settings_that_do_not_fit_are_a_usage_error_of_any_command(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told in a sentence, and no secret among it."""
    monkeypatch.setenv("POINTSTREAM_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")

    result = run("--config-file", str(settings_file), "topics", "check")

    assert result.exit_code == 2
    assert "kafka_password is given, but" in result.output
    assert SECRET not in result.output
