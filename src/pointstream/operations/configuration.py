"""What this process would be told: every setting with where it comes from, and what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsConfigDict

from pointstream.operations.kafkasettings import Misfit
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.settings import Settings
from pointstream.operations.settingsfile import FILE_VARIABLE, SettingsFileInvalid, settings_file
from pointstream.operations.websettings import WebTokenError

__all__ = ["Finding", "Setting", "check_configuration", "setting_named", "settings_told"]

_PREFIX = "POINTSTREAM_"
_REDACTED = "(set, not shown)"
_LOOK_UP = "`pointstream config show` lists every setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it stands; a secret's value is never here."""

    name: str
    variable: str
    """The environment variable that sets it."""
    value: str | int | float | bool | None
    source: str
    """"default", "environment NAME" or "file NAME:LINE"."""
    secret: bool
    description: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the settings: `problem` keeps a worker from starting or from being safe."""

    setting: str
    problem: bool
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}; {self.remedy}"


class _Piecemeal(Settings):
    """Settings whose parts are looked at one by one, whether they go together or not."""

    model_config = SettingsConfigDict(extra="ignore")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        return self


def setting_named(name: str) -> str:
    """The environment variable that sets a setting."""
    variables = _variables(name, Settings.model_fields[name])
    return next(variable for variable in variables if variable != name.upper())


def settings_told() -> list[Setting]:
    """Every setting, its value and its source, as this process's environment and file have them.

    Raises:
        SettingsFileInvalid: the file cannot be read.
        pydantic.ValidationError: a value does not fit its setting.
    """
    settings = _Piecemeal()
    # Those of Kafka's security last: most deployments look for the others.
    names = sorted(Settings.model_fields, key=lambda name: name.startswith("kafka_"))
    return [_told(settings, name) for name in names]


def _told(settings: Settings, name: str) -> Setting:
    field = Settings.model_fields[name]
    value: Any = getattr(settings, name)
    secret = "SecretStr" in str(field.annotation)
    if isinstance(value, SecretStr):
        value = _REDACTED
    elif isinstance(value, Path):
        value = str(value)
    return Setting(
        name, setting_named(name), value, _source(name, field), secret, field.description or ""
    )


def _source(name: str, field: FieldInfo) -> str:
    set_by = {variable.upper(): variable for variable in os.environ}
    for variable in _variables(name, field):
        if variable in set_by:
            return f"environment {set_by[variable]}"
    document = settings_file()
    if document is not None and name in (document.content or {}):
        return f"file {document.name}:{document.problem((name,), '').line}"
    return "default"


def _variables(name: str, field: FieldInfo) -> list[str]:
    """The variables that set a field, the strongest first, in capitals."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice).upper() for choice in field.validation_alias.choices]
    return [_PREFIX + name.upper()]


def check_configuration() -> list[Finding]:
    """Everything that is wrong with the settings and the files they name, all at once.

    No broker is asked. Findings that are no problems are things that were hardly meant.
    """
    try:
        document = settings_file()
    except SettingsFileInvalid as error:
        message = "; ".join(error.problems)
        return [Finding(FILE_VARIABLE, True, message, "correct the file, or unset the variable")]
    found: list[Finding] = []
    content: Mapping[str, Any] = (document.content or {}) if document is not None else {}
    for name in content:
        if name not in Settings.model_fields and document is not None:
            line = document.problem((name,), "").line
            where = f"{name} ({document.name}:{line})"
            found.append(Finding(where, True, "is no setting", _likely(name)))
    settings, misfits = _read()
    found += misfits
    found += _unheard_of(os.environ)
    found += [
        Finding(_place(misfit.setting), True, misfit.problem, misfit.remedy)
        for misfit in (*settings.kafka_problems(), *settings.web_problems(), *_web(settings))
    ]
    found += _files(settings)
    try:
        load_programme(settings.programme_file)
    except ProgrammeInvalid as error:
        remedy = "`pointstream rules check` has more to say about it"
        found += [Finding(_place("programme_file"), True, each, remedy) for each in error.problems]
    return found


def _read() -> tuple[Settings, list[Finding]]:
    """The settings with defaults in the place of what does not fit, and what does not."""
    try:
        return _Piecemeal(), []
    except ValidationError as error:
        misfits = error.errors(include_url=False, include_input=False)
    found, defaults = [], {}
    for misfit in misfits:
        name = _field_of(str(misfit["loc"][0]))
        field = Settings.model_fields[name]
        found.append(Finding(_place(name), True, misfit["msg"], field.description or _LOOK_UP))
        defaults[name] = field.default
    return _Piecemeal(**defaults), found


def _field_of(location: str) -> str:
    """The field that an error is about: pydantic names it by whichever of its names was used."""
    for name, field in Settings.model_fields.items():
        if location.upper() in (name.upper(), *_variables(name, field)):
            return name
    raise AssertionError(f"{location} is no setting")


def _place(name: str) -> str:
    source = _source(name, Settings.model_fields[name])
    return name if source == "default" else f"{name} ({source})"


def _unheard_of(environ: Mapping[str, str]) -> Iterable[Finding]:
    known = {FILE_VARIABLE}
    for name, field in Settings.model_fields.items():
        known.update(_variables(name, field))
    for variable in sorted(environ):
        if variable.upper().startswith(_PREFIX) and variable.upper() not in known:
            name = variable.upper().removeprefix(_PREFIX).lower()
            yield Finding(variable, False, "is no setting and has no effect", _likely(name))


def _likely(name: str) -> str:
    close = get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else _LOOK_UP


def _web(settings: Settings) -> Iterable[Misfit]:
    if (exposed := settings.web_exposed()) is not None:
        yield exposed
    try:
        settings.read_web_token()
    except WebTokenError as error:
        name = "web_token" if settings.web_token is not None else "web_token_file"
        message, _, remedy = str(error).partition("; ")
        yield Misfit(name, message, remedy)


def _files(settings: Settings) -> Iterable[Finding]:
    """Files that are named and cannot be read; directories that could not be written to."""
    for name in Settings.model_fields:
        path = getattr(settings, name)
        if not isinstance(path, Path) or name in ("data_dir", "programme_file"):
            continue
        try:
            empty = not path.read_bytes().strip()
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            yield Finding(_place(name), True, message, "create it, or make it readable")
        else:
            if empty:
                yield Finding(_place(name), True, f"{path} is empty", "write into it what it holds")
    there = settings.data_dir
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        message = f"{there} is not a directory that can be written to"
        yield Finding(_place("data_dir"), True, message, "name another, or make it writable")
