"""What changes from one version of a rule set to another, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointstream.contracts.rulesets import RuleSet
from pointstream.operations.rulewords import gives, money

__all__ = ["ABSENT", "Change", "Difference", "differences"]


class _Absent:
    """Stands for a field that is not there, which is another thing than null."""


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was."""

    path: str
    """Rules and caps by their ids: `rules.review.cap.day`."""
    old: Any
    """As in JSON; `ABSENT` for what was added."""
    new: Any
    """As in JSON; `ABSENT` for what is removed."""
    words: str

    @property
    def kind(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule set of either side; None where a side has no rule set of that id."""

    id: str
    old: RuleSet | None
    new: RuleSet | None
    changes: tuple[Change, ...]


def differences(old: Mapping[str, RuleSet], new: Mapping[str, RuleSet]) -> list[Difference]:
    """Return the rule sets that differ, by id; nothing where both sides say the same."""
    found = []
    for id_ in sorted({*old, *new}):
        was, is_ = old.get(id_), new.get(id_)
        changes = tuple(_changes(was, is_)) if was is not None and is_ is not None else ()
        if changes or was is None or is_ is None:
            found.append(Difference(id_, was, is_, changes))
    return found


def _changes(old: RuleSet, new: RuleSet) -> Iterator[Change]:
    yield from _fields(_dumped(old, "rules", "caps"), _dumped(new, "rules", "caps"))
    was, is_ = {rule.id: rule for rule in old.rules}, {rule.id: rule for rule in new.rules}
    for id_ in [*was, *(each for each in is_ if each not in was)]:
        path = f"rules.{id_}"
        if id_ not in is_:
            value = _whole(was[id_])
            yield Change(path, value, ABSENT, f"rule {id_} is removed: {gives(was[id_])}")
        elif id_ not in was:
            value = _whole(is_[id_])
            yield Change(path, ABSENT, value, f"rule {id_} is added: {gives(is_[id_])}")
        else:
            one, other = _dumped(was[id_]), _dumped(is_[id_])
            yield from _fields(one, other, f"{path}.", f"rule {id_}: ")
    stay_old = [id_ for id_ in was if id_ in is_]
    stay_new = [id_ for id_ in is_ if id_ in was]
    if stay_old != stay_new:
        words = f"the rules stand in another order: {', '.join(stay_new)}"
        yield Change("rules", stay_old, stay_new, words)
    before, after = {cap.id: cap for cap in old.caps}, {cap.id: cap for cap in new.caps}
    for id_ in [*before, *(each for each in after if each not in before)]:
        path = f"caps.{id_}"
        if id_ not in after:
            yield Change(path, _whole(before[id_]), ABSENT, f"cap {id_} is removed")
        elif id_ not in before:
            words = f"cap {id_} is added: {_told(_dumped(after[id_], 'id'))}"
            yield Change(path, ABSENT, _whole(after[id_]), words)
        else:
            one, other = _dumped(before[id_]), _dumped(after[id_])
            yield from _fields(one, other, f"{path}.", f"cap {id_}: ")


def _whole(model: Any) -> dict[str, Any]:
    """Return it as it would be written."""
    dumped: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    return dumped


def _dumped(model: Any, *without: str) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", exclude=set(without))
    return dumped


def _fields(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str = "", words: str = ""
) -> Iterator[Change]:
    """Compare two mappings; what is null counts as not there."""
    for name in [*old, *(name for name in new if name not in old)]:
        was, is_ = old.get(name), new.get(name)
        if was == is_:
            continue
        if isinstance(was, dict) and isinstance(is_, dict):
            yield from _fields(was, is_, f"{path}{name}.", f"{words}{name}.")
        elif was is None:
            told = f"{words}{name} is now {_told(is_, name)}, there was none"
            yield Change(f"{path}{name}", ABSENT, is_, told)
        elif is_ is None:
            told = f"{words}{name} is gone, it was {_told(was, name)}"
            yield Change(f"{path}{name}", was, ABSENT, told)
        else:
            told = f"{words}{name} goes from {_told(was, name)} to {_told(is_, name)}"
            yield Change(f"{path}{name}", was, is_, told)


def _told(value: Any, name: str = "") -> str:
    if isinstance(value, dict):
        some = {key: each for key, each in value.items() if each not in (None, [], {})}
        return ", ".join(f"{key} {_told(each, key)}" for key, each in some.items()) or "nothing"
    if isinstance(value, list):
        return f"[{', '.join(_told(each) for each in value)}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,} ({money(value)})" if name.endswith("_minor") else f"{value:,}"
    return repr(value) if isinstance(value, str) else str(value)
