"""Why a condition does not hold: the comparisons that are to blame, with what was found.

Of conditions joined by `all` those that fail are to blame, of `any` all of them, and of `not` what
holds under it. Only who asks why pays for it: events are scored without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pointstream.contracts.conditions import Condition
from pointstream.rules.conditions import compile_condition, compile_line, value_of
from pointstream.rules.model import MemberFacts, Test, Unmet

__all__ = ["tests_of"]


def tests_of(condition: Condition | None, path: str) -> tuple[Test, ...]:
    """Return what a condition asks, one by one as far as it is joined by `all`."""
    if condition is None:
        return ()
    if condition.all is not None:
        return tuple(
            test
            for place, part in enumerate(condition.all)
            for test in tests_of(part, f"{path}.all[{place}]")
        )

    def unmet(event: Any, facts: MemberFacts) -> list[Unmet]:
        return list(_unmet(condition, path, event, facts, negated=False))

    return (Test(path, compile_condition(condition), unmet),)


def _unmet(
    condition: Condition, path: str, event: Any, facts: MemberFacts, *, negated: bool
) -> Iterator[Unmet]:
    """Yield what keeps a condition from holding; `negated`: what makes it hold."""
    parts, name = condition.all, "all"
    if parts is None:
        parts, name = condition.any, "any"
    if parts is not None:
        for place, part in enumerate(parts):
            # Of `all` those that fail, or all that hold; of `any` the other way round.
            if compile_condition(part)(event, facts) is negated:
                yield from _unmet(part, f"{path}.{name}[{place}]", event, facts, negated=negated)
    elif condition.not_ is not None:
        yield from _unmet(condition.not_, f"{path}.not", event, facts, negated=not negated)
    elif condition.field is None:
        yield _of_lines(condition, path, event, negated=negated)
    else:
        found = (
            facts.profile("birthday")
            if condition.field == "birthday"
            else value_of(condition)(event, facts)
        )
        asked = (condition.operator, condition.operand)
        yield Unmet(path, condition.field, found, *asked, negated=negated)


def _of_lines(condition: Condition, path: str, event: Any, *, negated: bool) -> Unmet:
    name = "any_line" if condition.any_line is not None else "all_lines"
    asked = condition.any_line or condition.all_lines
    assert asked is not None
    fits = compile_line(asked)
    found = [line.line_id for line in event.lines if fits(line)]
    told = asked.model_dump(mode="json", exclude_none=True)
    return Unmet(f"{path}.{name}", "lines that fit", found, name, told, negated=negated)
