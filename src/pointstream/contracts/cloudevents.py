"""CloudEvents in: what a record says about itself beside its body, filled into the body.

A record's form is told by its headers, as the CloudEvents Kafka binding says. `content-type:
application/cloudevents+json` is structured mode: the value is a wrapper and the body is its `data`.
Any other record with `ce_` headers is binary mode: the value is the body. In both, attributes fill
the envelope fields that the body lacks, and one that says otherwise than the body is a conflict.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pointstream.contracts.fields import Instant
from pointstream.contracts.refusals import Refused
from pointstream.contracts.vocabulary import DeadLetterCode

__all__ = ["without_cloudevents"]

_FIELD_OF_ATTRIBUTE: Final[Mapping[str, str]] = {
    "id": "event_id",
    "type": "type",
    "time": "occurred_at",
    "source": "source",
    # Extensions: CloudEvents allows lower-case letters and digits only in their names.
    "memberid": "member_id",
    "storeid": "store_id",
    "brandid": "brand_id",
    "channel": "channel",
    "deviceid": "device_id",
    "ip": "ip",
}
_STRUCTURED: Final = "application/cloudevents"
_STRUCTURED_JSON: Final = "application/cloudevents+json"
_SPEC_VERSION: Final = "1.0"
_INSTANT: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)


def without_cloudevents(
    value: dict[str, Any], headers: Sequence[tuple[str, bytes]]
) -> dict[str, Any]:
    """The body of a record, complete with what its headers or its wrapper say.

    `value` is the parsed value and is left as it is. Raises `Refused` with `envelope_conflict`
    where two places contradict each other, and with `schema_invalid` where an attribute is not what
    CloudEvents 1.0 allows.
    """
    content_type = ""
    attributes: dict[str, str] = {}
    for name, raw in headers:
        is_attribute = name.startswith("ce_")
        # A header's value may be null in Kafka, whatever the client's types say.
        if raw is not None and (is_attribute or name.lower() == "content-type"):
            text = _text(name, raw)
            if is_attribute:
                attributes[name[len("ce_") :]] = text
            else:
                content_type = text.partition(";")[0].strip().lower()
    body = value
    if content_type.startswith(_STRUCTURED):
        if content_type != _STRUCTURED_JSON:
            raise _invalid(f"content-type must be {_STRUCTURED_JSON} or a plain JSON one")
        wrapper = {name: given for name, given in value.items() if name != "data"}
        data = value.get("data")
        if type(data) is not dict:
            raise _invalid("data: must be a JSON object, the body of the event")
        body = _filled(data, wrapper.items(), "")
    elif not attributes:
        return body
    return _filled(body, attributes.items(), "ce_")


def _filled(
    body: dict[str, Any], attributes: Iterable[tuple[str, Any]], prefix: str
) -> dict[str, Any]:
    filled = dict(body)
    for name, given in attributes:
        if name == "specversion":
            if given != _SPEC_VERSION:
                raise _invalid(f"{prefix}specversion: must be {_SPEC_VERSION}")
        elif name == "subject":
            # Publishers name other things than the member here: it helps out, it never conflicts.
            if filled.get("member_id") is None:
                filled["member_id"] = given
        elif (field := _FIELD_OF_ATTRIBUTE.get(name)) is not None and given is not None:
            there = filled.get(field)
            if there is None:
                filled[field] = given
            elif there != given and not (name == "time" and _same_moment(there, given)):
                message = f"{prefix}{name} and {field} say different things"
                raise Refused(DeadLetterCode.ENVELOPE_CONFLICT, message)
    return filled


def _same_moment(one: object, other: object) -> bool:
    try:
        return _INSTANT.validate_python(one) == _INSTANT.validate_python(other)
    except ValidationError:
        return False


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _invalid(f"{ascii(name)[1:-1][:64]}: the header must be UTF-8") from None


def _invalid(message: str) -> Refused:
    return Refused(DeadLetterCode.SCHEMA_INVALID, message)
