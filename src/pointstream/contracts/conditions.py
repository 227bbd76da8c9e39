"""Conditions: what a rule asks of an event, of the member and of the local time, as data.

A condition is either a comparison (`field` with one of `eq`, `ne`, `in`, `not_in`, `lt`, `le`,
`gt`, `ge`, `between`, `contains`, `exists`), or it joins others: `all`, `any`, `not`; of an order
also `any_line` and `all_lines`, which look at its lines. Which fields there are depends on the kind
of event that the rule is about: `askable.py` lists them.

A field that an event or member does not have equals nothing, is in no list, and is neither less nor
more than anything: `ne` and `not_in` hold for it, all other comparisons do not.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, LiteralString, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["OPERATORS", "Comparison", "Condition", "LineCondition", "Where", "raise_mistakes"]

_TEXT_MAX: Final = 500
_NUMBER_MAX: Final = 10**15

Where = tuple[str | int, ...]
"""The way to a place in a rule, such as `("when", "all", 1, "eq")`."""

OPERATORS: Final = (
    "eq",
    "ne",
    "in",
    "not_in",
    "lt",
    "le",
    "gt",
    "ge",
    "between",
    "contains",
    "exists",
)


def _value(value: object) -> object:
    """Return a value that can be compared. A date is its text: YAML reads one without quotes."""
    if type(value) is date:
        return value.isoformat()
    if type(value) not in (str, int, bool):
        raise PydanticCustomError("comparable", "must be a text, an integer, true or false")
    if isinstance(value, str) and not 0 < len(value) <= _TEXT_MAX:
        raise PydanticCustomError("comparable", "a text has 1 to 500 characters")
    if type(value) is int and abs(value) > _NUMBER_MAX:
        raise PydanticCustomError("comparable", "an integer is at most 10^15 either way")
    return value


Comparable = Annotated[
    Any, PlainValidator(_value), WithJsonSchema({"type": ["string", "integer", "boolean"]})
]


class Comparison(BaseModel):
    """One field, and what it is compared with."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )

    field: str | None = None
    eq: Comparable | None = None
    ne: Comparable | None = None
    in_: tuple[Comparable, ...] | None = Field(None, alias="in", min_length=1, max_length=1_000)
    not_in: tuple[Comparable, ...] | None = Field(None, min_length=1, max_length=1_000)
    lt: Comparable | None = None
    le: Comparable | None = None
    gt: Comparable | None = None
    ge: Comparable | None = None
    between: tuple[Comparable, Comparable] | None = Field(None, description="Both inclusive.")
    contains: Comparable | None = None
    exists: Annotated[bool, Field(strict=True)] | None = None

    @property
    def operator(self) -> str:
        """Return the one operator that is given."""
        return self._given(OPERATORS)[0]

    @property
    def operand(self) -> Any:
        """Return what the field is compared with."""
        name = self.operator
        return self.in_ if name == "in" else getattr(self, name)

    def _given(self, names: tuple[str, ...]) -> list[str]:
        attributes = {"in": "in_", "not": "not_"}
        return [name for name in names if getattr(self, attributes.get(name, name)) is not None]

    def _is_one_thing(self, joining: tuple[str, ...]) -> None:
        operators = self._given(OPERATORS)
        joined = self._given(joining)
        if self.field is None and operators:
            raise ValueError(f"{operators[0]} needs a field to compare")
        if len(joined) + (self.field is not None) != 1:
            raise ValueError(f"a condition is one of field, {', '.join(joining)}")
        if self.field is not None and len(operators) != 1:
            raise ValueError(
                f"a comparison has one of {', '.join(OPERATORS)}; several are joined by all"
            )


class LineCondition(Comparison):
    """What is asked of one line of an order."""

    all: tuple[LineCondition, ...] | None = Field(None, min_length=1, max_length=100)
    any: tuple[LineCondition, ...] | None = Field(None, min_length=1, max_length=100)
    not_: LineCondition | None = Field(None, alias="not")

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        self._is_one_thing(("all", "any", "not"))
        return self


class Condition(Comparison):
    """What is asked of an event."""

    days: Annotated[int, Field(strict=True, ge=1, le=366)] | None = Field(
        None, description="For spend_minor: over so many local days, today included."
    )
    all: tuple[Condition, ...] | None = Field(None, min_length=1, max_length=100)
    any: tuple[Condition, ...] | None = Field(None, min_length=1, max_length=100)
    not_: Condition | None = Field(None, alias="not")
    any_line: LineCondition | None = None
    all_lines: LineCondition | None = Field(
        None, description="Does not hold for an order without lines."
    )

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        self._is_one_thing(("all", "any", "not", "any_line", "all_lines"))
        if (self.days is not None) != (self.field == "spend_minor"):
            raise ValueError("days belongs to spend_minor, and to no other field")
        return self


def raise_mistakes(
    title: str, found: list[tuple[Where, str]], kind: LiteralString = "value_error"
) -> None:
    """Refuse what is wrong, each mistake by its place; nothing if there are none.

    The kind `missing` is for a place where there is nothing.
    """
    if found:
        raise ValidationError.from_exception_data(
            title,
            [
                InitErrorDetails(
                    type=PydanticCustomError(kind, "{message}", {"message": message}),
                    loc=where,
                    input=None,
                )
                for where, message in found
            ],
        )
