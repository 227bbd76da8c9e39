"""The file of settings, where each setting comes from, and what is said of all that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pointstream.operations.configuration import (
    Finding,
    check_configuration,
    setting_named,
    settings_told,
)
from pointstream.operations.settings import Settings
from pointstream.operations.settingsfile import SettingsFileInvalid

SECRET = "correct-horse"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_") or name == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the file of settings and names it in the environment."""

    def write(text: str) -> Path:
        file = tmp_path / "settings.yaml"
        file.write_text(text)
        monkeypatch.setenv("POINTSTREAM_CONFIG_FILE", str(file))
        return file

    return write


def problems(findings: list[Finding]) -> dict[str, str]:
    """What is wrong with each setting, without its place."""
    told: dict[str, str] = {}
    for finding in filter(lambda finding: finding.problem, findings):
        name = finding.setting.split(" ")[0]
        told[name] = f"{told.get(name, '')}{finding.message}\n"
    return told


def test_the_file_is_stronger_than_the_defaults_alone(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Argument, environment, file, default: each setting takes the first that says something."""
    write(
        "bootstrap_servers: file:1\napp_id: file\npartitions: 3\nweb_port: 7000\ntopic_prefix: f.\n"
    )
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "environment:1")
    monkeypatch.setenv("POINTSTREAM_APP_ID", "environment")
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "5")

    settings = Settings(partitions=7)

    assert settings.partitions == 7
    assert (settings.bootstrap_servers, settings.app_id) == ("environment:1", "environment")
    assert (settings.web_port, settings.topic_prefix) == (7000, "f.")
    assert settings.max_batch_records == Settings.model_fields["max_batch_records"].default


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_says_nothing(write: Any, text: str) -> None:
    """The defaults hold."""
    write(text)

    assert Settings().partitions == 12


@pytest.mark.parametrize(
    ("text", "named"), [("- a list", "mapping"), ("a: [", "settings.yaml:1"), ("a: 1\na: 2", ":2")]
)
def test_a_file_that_cannot_be_read_is_named(write: Any, text: str, named: str) -> None:
    """By its name and line; nothing starts with half of it."""
    write(text)

    with pytest.raises(SettingsFileInvalid, match=named):
        Settings()


def test_a_file_that_is_not_there_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting with the defaults instead would be another programme."""
    monkeypatch.setenv("POINTSTREAM_CONFIG_FILE", "/nowhere.yaml")

    with pytest.raises(SettingsFileInvalid, match=r"/nowhere\.yaml: cannot be read"):
        Settings()
    assert [finding.problem for finding in check_configuration()] == [True]


def test_a_name_in_the_file_that_is_no_setting_is_refused(write: Any) -> None:
    """A misspelt setting would have no effect, unnoticed."""
    write("partitons: 24\n")

    with pytest.raises(ValidationError, match="partitons"):
        Settings()


def test_every_setting_says_where_it_comes_from(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, the line of the file, or that nobody said anything."""
    file = write("app_id: club\npartitions: 3\n")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "5")

    told = {setting.name: setting for setting in settings_told()}

    assert told.keys() == Settings.model_fields.keys()
    assert told["bootstrap_servers"].source == "environment KAFKA_BOOTSTRAP_SERVERS"
    assert (told["partitions"].value, told["partitions"].source) == (
        5,
        "environment POINTSTREAM_PARTITIONS",
    )
    assert told["app_id"].source == f"file {file}:1"
    assert told["web_port"].source == "default"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_variable_that_is_told_sets_the_setting(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty value is either refused under its name, or is what holds then."""
    monkeypatch.setenv(setting_named(name), "")

    try:
        named = [s.name for s in settings_told() if s.source == f"environment {s.variable}"]
    except ValidationError as refused:
        located = [str(misfit["loc"][0]) for misfit in refused.errors()]
        named = [name for part in located if part in (name, setting_named(name))]

    assert named == [name]


def test_secrets_are_never_shown(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is shown, nor a refusal, nor the settings' own text has them."""
    write(f"kafka_password: {SECRET}\nkafka_security_protocol: SASL_SSL\nkafka_username: worker\n")
    monkeypatch.setenv("POINTSTREAM_KAFKA_OAUTH_CLIENT_SECRET", SECRET)

    with pytest.raises(ValidationError) as refused:
        Settings()
    monkeypatch.delenv("POINTSTREAM_KAFKA_OAUTH_CLIENT_SECRET")
    settings = Settings(kafka_sasl_mechanism="SCRAM-SHA-512")

    assert settings.kafka_password is not None
    assert settings.kafka_password.get_secret_value() == SECRET
    told = {setting.name: setting for setting in settings_told()}
    assert told["kafka_password"].secret
    for text in (str(refused.value), repr(settings), repr(told), repr(check_configuration())):
        assert SECRET not in text


def test_another_process_is_given_the_secrets_by_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker under `demo` has the settings of whoever started it, the password included."""
    settings = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_username="worker",
        kafka_password=SECRET,
    )

    for variable, value in settings.environ().items():
        monkeypatch.setenv(variable, value)

    assert Settings() == settings


@pytest.mark.parametrize(
    ("given", "setting", "words"),
    [
        ({"kafka_ca_file": "ca.pem"}, "kafka_ca_file", "PLAINTEXT does not encrypt"),
        ({"kafka_password": "x"}, "kafka_password", "PLAINTEXT has no use for it"),
        ({"kafka_security_protocol": "SASL_SSL"}, "kafka_sasl_mechanism", "is missing"),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512"},
            "kafka_password",
            "SCRAM-SHA-512 needs it",
        ),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"},
            "kafka_oauth_token_file",
            "OAUTHBEARER needs it",
        ),
        (
            {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_sasl_mechanism": "OAUTHBEARER",
                "kafka_oauth_token_url": "https://login.example/token",
                "kafka_oauth_token_file": "token",
                "kafka_oauth_client_id": "worker",
                "kafka_oauth_client_secret": "x",
            },
            "kafka_oauth_token_file",
            "as well as",
        ),
        (
            {"kafka_security_protocol": "SSL", "kafka_client_key_file": "key.pem"},
            "kafka_client_cert_file",
            "is missing",
        ),
        (
            {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_sasl_mechanism": "PLAIN",
                "kafka_username": "worker",
                "kafka_password": "x",
                "kafka_password_file": "password",
            },
            "kafka_password",
            "as well as kafka_password_file",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    given: dict[str, str], setting: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a security setting is none; both a start and the check say which half."""
    with pytest.raises(ValidationError, match=f"{setting} .*{words}"):
        Settings(**given)
    for name, value in given.items():
        monkeypatch.setenv(f"POINTSTREAM_{name.upper()}", value)

    assert words in problems(check_configuration())[setting]


def test_a_clients_secret_goes_nowhere_in_the_clear() -> None:
    """A token's address is https, or on this machine."""
    with pytest.raises(ValidationError, match="kafka_oauth_token_url"):
        Settings(kafka_oauth_token_url="http://login.example/token")


def test_all_problems_are_told_at_once(
    write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Values, names, files and the programme, each with its place and what to do."""
    (tmp_path / "file").touch()
    file = write(
        "partitons: 3\napp_id: a b\nkafka_security_protocol: SSL\nkafka_ca_file: /nowhere.pem\n"
        "programme_file: /nowhere.yaml\ndata_dir: file/data\n"
    )
    monkeypatch.setenv("POINTSTREAM_WEB_PORT", "x")
    monkeypatch.setenv("POINTSTREAM_WEB_PRT", "7000")

    findings = check_configuration()

    assert problems(findings).keys() == {
        "partitons",
        "app_id",
        "web_port",
        "kafka_ca_file",
        "programme_file",
        "data_dir",
    }
    by_setting = {finding.setting: finding for finding in findings}
    assert by_setting[f"partitons ({file}:1)"].remedy == "did you mean partitions?"
    assert f"app_id (file {file}:2)" in by_setting
    assert "web_port (environment POINTSTREAM_WEB_PORT)" in by_setting
    # Kubernetes and others set variables of that kind; it keeps nobody from starting.
    assert not by_setting["POINTSTREAM_WEB_PRT"].problem
    assert all(finding.remedy for finding in findings)


def test_settings_that_fit_have_no_findings() -> None:
    """The defaults are such."""
    assert check_configuration() == []
