"""Templates of the usual rule sets: one file each, with what is asked for and the text to fill in.

A file has two YAML documents. The first has a title, what it gives, and the values in the order in
which they are asked; the second is the rule set, with `${name}` where a value goes. An amount of
money stands there in minor units, and as `${name_words}` with its currency, as points do with their
word. `${version}` is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from string import Template as Text
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
import yaml

from pointstream.contracts.programme import Programme
from pointstream.operations.rulefiles import highest

__all__ = ["Asked", "Template", "ValueInvalid", "template_named", "templates"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MOST: Final = {"points": 1_000_000_000, "money": 1_000_000_000_000}


class ValueInvalid(ValueError):
    """A value is not one that the template takes; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One value that a template asks for."""

    name: str
    ask: str
    kind: str
    """points, count, factor, money, name, names, text, day or last_day."""
    default: Any
    """As people write it. Of a first day how many days from today, of a last one how many days in
    all."""
    min: int = 1
    max: int | None = None
    of: tuple[str, ...] = ()
    """Of a text or names: all that are allowed; empty where any is."""

    def filled(self, text: str, programme: Programme) -> dict[str, str]:
        """Return what stands in the rule set for a value as people write it.

        Days are local days of the programme. Raises `ValueInvalid`.
        """
        text = text.strip()
        if self.kind in ("points", "count"):
            whole = self._whole(text)
            words = "1 point" if whole == 1 else f"{whole:,} points"
            return {self.name: str(whole), f"{self.name}_words": words}
        if self.kind == "factor":
            return {self.name: self._factor(text)}
        if self.kind == "money":
            minor = self._minor(text)
            words = f"{minor // 100:,}.{minor % 100:02d} {programme.currency}"
            return {self.name: str(minor), f"{self.name}_words": words}
        if self.kind in ("day", "last_day"):
            return {self.name: self._moment(text, ZoneInfo(programme.time_zone))}
        if self.kind == "name":
            if not _NAME.fullmatch(text):
                raise self._refused(
                    text, "1 to 64 of a-z, 0-9, '_', '.', '-', a letter or digit first"
                )
            return {self.name: _quoted(text)}
        if self.kind == "names":
            names = [name.strip() for name in text.split(",") if name.strip()]
            if not names:
                raise self._refused(text, "at least one id, with commas between")
            for name in names:
                self._one_of(name)
            listed = f"[{', '.join(map(_quoted, names))}]"
            return {self.name: listed, f"{self.name}_words": _plain(", ".join(names))}
        if not 1 <= len(text) <= 128:
            raise self._refused(text, "1 to 128 characters")
        self._one_of(text)
        return {self.name: _quoted(text)}

    def _whole(self, text: str) -> int:
        most = self.max or _MOST["points"]
        if re.fullmatch(r"[0-9]{1,15}", text) and self.min <= int(text) <= most:
            return int(text)
        raise self._refused(text, f"a whole number from {self.min:,} to {most:,}")

    def _factor(self, text: str) -> str:
        # As the contract of rules has it; written out, for YAML reads 1e1 as a text.
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) and 1 < Decimal(text) <= 100:
            return text
        raise self._refused(text, "a number above 1 and up to 100, such as 2 or 1.5")

    def _one_of(self, text: str) -> None:
        if self.of and text not in self.of:
            raise self._refused(text, f"one of {', '.join(self.of)}")

    def _minor(self, text: str) -> int:
        try:
            minor = Decimal(text) * 100
            if minor == int(minor) and self.min <= minor <= _MOST["money"]:
                return int(minor)
        except (InvalidOperation, ValueError, OverflowError):
            pass
        least = f"{self.min // 100}.{self.min % 100:02d}"
        raise self._refused(text, f"an amount like 12.50, from {least} on")

    def _moment(self, text: str, zone: ZoneInfo) -> str:
        try:
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
                raise ValueError("no date")
            day = date.fromisoformat(text)
            if self.kind == "last_day":
                day += timedelta(days=1)
            return _quoted(datetime(day.year, day.month, day.day, tzinfo=zone).isoformat())
        except (ValueError, OverflowError):
            raise self._refused(text, "a day like 2027-12-31") from None

    def _refused(self, text: str, allowed: str) -> ValueInvalid:
        return ValueInvalid(f"{self.name}: {text!r} is not allowed; write {allowed}")


@dataclass(frozen=True, slots=True)
class Template:
    """A rule set with places to fill in."""

    name: str
    title: str
    gives: str
    asked: tuple[Asked, ...]
    text: str

    def offered(self, asked: Asked, values: Mapping[str, str], today: date) -> str:
        """Return the default of a value, as people write it, after what has been given so far."""
        if asked.kind == "day":
            return (today + timedelta(days=asked.default)).isoformat()
        if asked.kind == "last_day":
            first = next((each for each in self.asked if each.kind == "day"), None)
            begins = today
            if first is not None:
                text = values.get(first.name, self.offered(first, {}, today))
                with suppress(ValueError):
                    begins = date.fromisoformat(text.strip())
            return (begins + timedelta(days=asked.default - 1)).isoformat()
        return str(asked.default)

    def filled(self, values: Mapping[str, str], programme: Programme, today: date) -> str:
        """Return the text of a rule set; a value that is not given is its default.

        The version is the next of the rule set's id in the programme. Raises `ValueInvalid`.
        """
        names = [asked.name for asked in self.asked]
        for name in values:
            if name not in names:
                raise ValueInvalid(f"{self.name} asks for no {name!r}, but {', '.join(names)}")
        places: dict[str, str] = {}
        for asked in self.asked:
            given = values.get(asked.name, self.offered(asked, values, today))
            places.update(asked.filled(given, programme))
        known = highest(programme.rule_sets).get(values.get("id", self.name).strip())
        places["version"] = str(1 if known is None else known.version + 1)
        head = f"# {self.title}. {self.gives}\n# Made with `pointstream rules new {self.name}`.\n"
        return head + Text(self.text).substitute(places)


def templates() -> list[Template]:
    """Return all templates, by name."""
    found = [each for each in files(__name__).iterdir() if each.name.endswith(".yaml")]
    return [
        _template(each.name.removesuffix(".yaml"), each.read_text(encoding="utf-8"))
        for each in sorted(found, key=lambda each: each.name)
    ]


def template_named(name: str) -> Template | None:
    """Return one template, or None if there is none of that name."""
    return next((template for template in templates() if template.name == name), None)


def _template(name: str, text: str) -> Template:
    head, _, body = text.partition("\n---\n")
    told = yaml.safe_load(head)
    asked = tuple(_asked(each, what) for each, what in told["values"].items())
    return Template(name, told["title"], told["gives"], asked, body)


def _asked(name: str, what: dict[str, Any]) -> Asked:
    return Asked(name, **{**what, "of": tuple(what.get("of", ()))})


def _quoted(text: str) -> str:
    # JSON is YAML: whatever a value has in it, it stays one text.
    plain = _NAME.fullmatch(text) and yaml.safe_load(text) == text
    return text if plain else orjson.dumps(text).decode()


def _plain(text: str) -> str:
    return re.sub(r"[^\w .,-]", "_", text)
