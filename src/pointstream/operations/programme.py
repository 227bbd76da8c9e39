"""Reads a programme from YAML, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

from pointstream.contracts.programme import Programme
from pointstream.operations.documents import DocumentInvalid, parse_document, read_text

__all__ = ["ProgrammeInvalid", "load_programme", "parse_programme"]

_PACKAGE = Path(__file__).resolve().parents[1]
#: The programme that comes along: beside the package where it is installed, else the checkout's.
_INCLUDED = (_PACKAGE / "programme.yaml", _PACKAGE.parents[1] / "deploy" / "programme.yaml")


class ProgrammeInvalid(DocumentInvalid):
    """A programme file cannot be read or does not make sense; `problems` has one line for each."""


def load_programme(path: Path | str | None = None) -> Programme:
    """Read a programme file; without a path the one that comes along. Raises `ProgrammeInvalid`."""
    if path is None:
        path = next((each for each in _INCLUDED if each.exists()), _INCLUDED[0])
    return parse_programme(read_text(path, ProgrammeInvalid), str(path))


def parse_programme(text: str, name: str = "programme") -> Programme:
    """Read a programme from YAML text; `name` stands for the file in messages."""
    what = "a programme is a mapping of settings"
    return parse_document(text, name, Programme, what, ProgrammeInvalid)
