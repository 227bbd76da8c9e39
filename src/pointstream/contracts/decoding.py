"""From the bytes of a record to an event, or to the reason why not.

The three input forms become one: what a CloudEvents record says about itself in headers or in its
wrapper is filled into the body, and from there on nobody knows which form it had.

How it is done was measured (`python tests/bench/decoding.py` does it again). A value is parsed with
orjson, and the dictionary validated with the model of its type. Pydantic's own JSON parser, with a
tagged union, is quicker by about a sixth, but it takes `NaN` and `Infinity` in fields that we
ignore, which a reader of the dead letters or of an archive would choke on; and it leaves no
dictionary that the CloudEvents fields could be filled into. The digest, taken of the validated
event and not of the bytes, costs somewhat less than the validation.

Of a name that a JSON object gives twice the last counts, as with most readers: to notice it would
take a parser in Python, several times slower than all the rest.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple, get_args

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pointstream.contracts.cloudevents import without_cloudevents
from pointstream.contracts.fields import PATTERN_WORDS
from pointstream.contracts.inputs import (
    DetectorsWithdrawn,
    InputEvent,
    ItemWithdrawn,
    RulesetWithdrawn,
    Withdrawn,
)
from pointstream.contracts.refusals import Refusal, Refused
from pointstream.contracts.topics import INPUT_TYPES
from pointstream.contracts.vocabulary import DeadLetterCode

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DIGEST_BYTES",
    "KEY_FIELD",
    "Decoded",
    "Refusal",
    "decode",
    "digest_of",
]

DEFAULT_MAX_BYTES = 262_144
"""The largest value that is taken, in bytes."""

DIGEST_BYTES = 16

_MESSAGE_CHARACTERS_MAX = 500
_ERRORS_TOLD_MAX = 3


class Decoded(NamedTuple):
    """An event that fits the contract, and the digest of its content."""

    event: InputEvent | Withdrawn
    digest: bytes


_MODELS: Final = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(InputEvent)
}
# Straight to pydantic's core: on this path a wrapper's call per record is worth saving.
_VALIDATE: Final = {
    suffix: {type_: _MODELS[type_].__pydantic_validator__.validate_python for type_ in types}
    for suffix, types in INPUT_TYPES.items()
}
# Times go in as timestamps, so that one moment written with two offsets is the same content.
_CANONICAL: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_WITHDRAWN: Final[dict[str, type[Withdrawn]]] = {
    "rules": RulesetWithdrawn,
    "detectors": DetectorsWithdrawn,
    "catalogue": ItemWithdrawn,
}
KEY_FIELD: Final = {
    "rules": "ruleset_id",
    "detectors": "detector_set_id",
    "catalogue": "item_id",
}
"""By topic, the field that a record's key is equal to; `member_id` on the others."""


def digest_of(event: InputEvent) -> bytes:
    """The 16-byte digest of what an event says.

    The same whatever the order of the fields, the offset in which a time was written, the form of
    the record, and whether a default was written out. Unknown fields and `source` do not count.
    """
    content = event.__pydantic_serializer__.to_python(event, exclude_defaults=True)
    # Who published an event is not what happened: the CloudEvents forms must name a source, plain
    # JSON need not, and a redelivery in another form is still a redelivery.
    content.pop("source", None)
    canonical = orjson.dumps(content, default=_plain, option=_CANONICAL)
    return blake2b(canonical, digest_size=DIGEST_BYTES).digest()


def _plain(value: object) -> float | str:
    """Return what stands for a value that JSON has no form for."""
    # Spans and decimals only stand in what head office publishes.
    return value.timestamp() if isinstance(value, datetime) else str(value)


def decode(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]] = (),
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Decoded | Refusal:
    """Decode one record of an input topic.

    `topic` is the topic's suffix, such as `orders`; a `KeyError` is raised for one that is no input
    topic, and nothing else is ever raised, whatever the bytes. A null value withdraws what its key
    names on the compacted topics, and is refused as `not_json` on the others.
    """
    validators = _VALIDATE[topic]
    if value is None:
        if topic in _WITHDRAWN:
            return _withdrawn(topic, key)
        return Refusal(DeadLetterCode.NOT_JSON, "the value is null")
    if len(value) > max_bytes:
        message = f"the value has {len(value)} bytes, at most {max_bytes} are taken"
        return Refusal(DeadLetterCode.TOO_LARGE, message)
    if not key:
        return Refusal(DeadLetterCode.KEY_MISSING, "the record has no key")
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal(DeadLetterCode.NOT_JSON, _shorten(f"the value is not JSON: {error}"))
    if type(body) is not dict:
        return Refusal(DeadLetterCode.SCHEMA_INVALID, "the value must be one JSON object")
    try:
        if headers:
            body = without_cloudevents(body, headers)
        type_ = body.get("type")
        validate = validators.get(type_) if type(type_) is str else None
        if validate is None:
            return _unknown_type(topic, body)
        try:
            event = validate(body)
        except ValidationError:
            # A null where nothing had to be is the same as nothing. Only looked into when the
            # record does not fit as it is, so that it costs nothing where it does.
            event = validate(_without_nulls(body))
        key_field = KEY_FIELD.get(topic, "member_id")
        if getattr(event, key_field).encode() != key:
            message = f"the key must be the {key_field} as plain UTF-8"
            return Refusal(DeadLetterCode.KEY_MISMATCH, message)
        return Decoded(event, digest_of(event))
    except Refused as refused:
        return refused.refusal
    except ValidationError as error:
        return _explain(error)
    except RecursionError:
        # JSON may be nested deeper than Python compares or prints.
        return Refusal(DeadLetterCode.SCHEMA_INVALID, "the value is nested too deeply")


def _withdrawn(topic: str, key: bytes | None) -> Decoded | Refusal:
    if not key:
        return Refusal(DeadLetterCode.KEY_MISSING, "the record has no key")
    try:
        event = _WITHDRAWN[topic].model_validate({KEY_FIELD[topic]: key.decode()})
    except (UnicodeDecodeError, ValidationError):
        message = f"the key must be the {KEY_FIELD[topic]} as plain UTF-8"
        return Refusal(DeadLetterCode.KEY_MISMATCH, message)
    return Decoded(event, blake2b(key, digest_size=DIGEST_BYTES).digest())


def _without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """The body without null fields, in itself and in its lines."""
    return {
        name: [
            {n: v for n, v in item.items() if v is not None} if type(item) is dict else item
            for item in value
        ]
        if name == "lines" and type(value) is list
        else value
        for name, value in body.items()
        if value is not None
    }


def _unknown_type(topic: str, body: dict[str, Any]) -> Refusal:
    allowed = ", ".join(INPUT_TYPES[topic])
    if "type" not in body:
        return Refusal(DeadLetterCode.UNKNOWN_TYPE, f"type is missing; it must be one of {allowed}")
    if type(body["type"]) is not str:
        return Refusal(DeadLetterCode.UNKNOWN_TYPE, f"type is no text, it must be one of {allowed}")
    given = ascii(body["type"])[:64]
    return Refusal(DeadLetterCode.UNKNOWN_TYPE, f"type is {given}, it must be one of {allowed}")


def _explain(error: ValidationError) -> Refusal:
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == DeadLetterCode.LINES_DO_NOT_ADD_UP:
        return Refusal(DeadLetterCode.LINES_DO_NOT_ADD_UP, _shorten(details[0]["msg"]))
    told = [_in_words(detail) for detail in details[:_ERRORS_TOLD_MAX]]
    if len(details) > _ERRORS_TOLD_MAX:
        told.append(f"and {len(details) - _ERRORS_TOLD_MAX} more")
    return Refusal(DeadLetterCode.SCHEMA_INVALID, _shorten("; ".join(told)))


def _in_words(detail: ErrorDetails) -> str:
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]
    ).lstrip(".")
    pattern = detail.get("ctx", {}).get("pattern")
    words = PATTERN_WORDS.get(pattern, detail["msg"]) if pattern else detail["msg"]
    return f"{path}: {words}" if path else words


def _shorten(message: str) -> str:
    """A message fit for a header: bounded, printable, on one line."""
    printable = "".join(char if char.isprintable() else "?" for char in message)
    if len(printable) <= _MESSAGE_CHARACTERS_MAX:
        return printable
    return printable[: _MESSAGE_CHARACTERS_MAX - 1] + "…"
