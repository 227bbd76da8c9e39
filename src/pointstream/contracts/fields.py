"""The kinds of field that the records are made of, with their limits.

Everything is strict: no number is read out of a text, no truth value counts as a number, no
fraction as an integer. Limits keep every value inside what a 64-bit integer and a JavaScript number
hold exactly, so that a consumer in any language reads the number that was written.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, core_schema

from pointstream.contracts.wire import epoch_ms, rfc3339

__all__ = [
    "ID_CHARACTERS_MAX",
    "MAX_AMOUNT",
    "PATTERN_WORDS",
    "TEXT_CHARACTERS_MAX",
    "Currency",
    "Id",
    "Instant",
    "Minor",
    "Points",
    "PositivePoints",
    "Quantity",
    "SignedPoints",
    "Text",
]

MAX_AMOUNT = 10**15
"""The largest number of points or minor units in one record."""

ID_CHARACTERS_MAX = 128
TEXT_CHARACTERS_MAX = 500

_ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
_CURRENCY_PATTERN = r"^[A-Z]{3}$"
_INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

PATTERN_WORDS = {
    _ID_PATTERN: "must not contain control characters",
    _CURRENCY_PATTERN: "must be an ISO 4217 code: three capital letters",
}
"""What a pattern asks for, in words, for the messages that publishers read."""

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ID_CHARACTERS_MAX, pattern=_ID_PATTERN),
    # Control characters are kept out because state keys separate their parts with NUL.
]
"""An identifier or a short name: 1 to 128 characters, none of them a control character."""


def _without_nul(text: str) -> str:
    # PostgreSQL has no NUL in a text: what a command's reason brings would stop each sink for good.
    return text.replace("\0", "\ufffd")


Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TEXT_CHARACTERS_MAX),
    AfterValidator(_without_nul),
]
"""Free text that people read: 1 to 500 characters. A NUL is taken as U+FFFD."""

Currency = Annotated[str, StringConstraints(pattern=_CURRENCY_PATTERN)]
"""An ISO 4217 currency code, such as CNY."""

Minor = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
"""Money in minor units (cents, fen), 0 to 10^15."""

Points = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
"""Points, 0 to 10^15."""

PositivePoints = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
"""Points, 1 to 10^15."""

SignedPoints = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
"""Points with a sign, -10^15 to 10^15."""

Quantity = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""A number of pieces, 1 to 10^9."""

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


class _Rfc3339:
    """RFC 3339 with seconds and an offset, and nothing else that pydantic would take for a time.

    Pydantic alone also takes `1700000000` and a space for the `T`: two publishers could then mean
    different moments by the same text. It all runs in pydantic's core, without a call into Python.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def moment(*, strict: bool) -> CoreSchema:
            return core_schema.datetime_schema(
                tz_constraint="aware", ge=_FIRST, le=_LAST, strict=strict
            )

        text = core_schema.str_schema(pattern=_INSTANT_PATTERN, strict=True)
        ready = core_schema.is_instance_schema(datetime)
        return core_schema.union_schema(
            [
                core_schema.chain_schema([text, moment(strict=False)]),
                core_schema.chain_schema([ready, moment(strict=True)]),
            ],
            mode="left_to_right",
            custom_error_type="instant",
            custom_error_message=(
                "must be an RFC 3339 time with an offset, such as 2026-03-01T10:15:30+08:00, "
                "from 1970 to 9999"
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _text_of, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "date-time", "pattern": _INSTANT_PATTERN}


def _text_of(moment: datetime) -> str:
    return rfc3339(epoch_ms(moment))


Instant = Annotated[datetime, _Rfc3339]
"""An aware moment, 1970 to 9999; on the wire RFC 3339 with an offset, kept to the millisecond."""
