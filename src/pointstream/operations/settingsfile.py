"""The file of settings: YAML that ``POINTSTREAM_CONFIG_FILE`` names, one line for each setting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from pointstream.operations.documents import Document, DocumentInvalid, Problem, read_text

__all__ = ["FILE_VARIABLE", "FileSource", "SettingsFileInvalid", "settings_file"]

FILE_VARIABLE = "POINTSTREAM_CONFIG_FILE"


class SettingsFileInvalid(DocumentInvalid):
    """The file of settings cannot be read, or is no mapping of settings."""


def settings_file() -> Document | None:
    """Return what the file says; None when none is named. Raises `SettingsFileInvalid`."""
    name = os.environ.get(FILE_VARIABLE, "").strip()
    if not name:
        return None
    document = Document(read_text(Path(name), SettingsFileInvalid), name, SettingsFileInvalid)
    if document.content is not None and not isinstance(document.content, dict):
        message = "settings are a mapping, such as `partitions: 24`"
        raise SettingsFileInvalid(name, [Problem(name, None, "", message)])
    return document


class FileSource(PydanticBaseSettingsSource):
    """Gives what the file says of those settings that nothing stronger says anything of."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        document = settings_file()
        self._content: dict[str, Any] = document.content or {} if document is not None else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a field's value, its name, and whether it is to be decoded."""
        return self._content.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return everything, names that are none included: they are refused like any other."""
        # A setting with several names, such as the brokers, would else be given twice.
        stronger = {name.lower() for name in self.current_state}
        given = dict(self._content)
        for name, field in self.settings_cls.model_fields.items():
            others = getattr(field.validation_alias, "choices", ())
            if any(str(other).lower() in stronger for other in others):
                given.pop(name, None)
        return given
