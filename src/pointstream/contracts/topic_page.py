"""The topics as a page for people, made from the AsyncAPI document and the schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["topic_page"]

_Document = Mapping[str, Any]

_PARTS_SHOWN: Final = 4
"""A record made of more parts than this, as a rule set is, has documents of its own."""


def topic_page(asyncapi: _Document, schemas: Mapping[str, _Document]) -> str:
    """Return the page, in Markdown. `schemas` are by path, as `inputs/order.paid.schema.json`."""
    return "\n".join(_lines(asyncapi, schemas)) + "\n"


def _lines(asyncapi: _Document, schemas: Mapping[str, _Document]) -> Iterator[str]:
    info, channels = asyncapi["info"], asyncapi["channels"]
    yield f"# Topics of {info['title']}, contract {info['version']}"
    yield ""
    yield "Generated from [`asyncapi.json`](asyncapi.json) by `make schemas`; do not edit."
    yield "What the words mean, and the rules that no schema can say, are in"
    yield "[`README.md`](README.md)."
    for action, title in (("receive", "What comes in"), ("send", "What goes out")):
        yield ""
        yield f"## {title}"
        for name, channel in channels.items():
            if f"{action}.{name}" in asyncapi["operations"]:
                yield from _channel(name, channel, asyncapi, schemas)


def _channel(
    name: str, channel: _Document, asyncapi: _Document, schemas: Mapping[str, _Document]
) -> Iterator[str]:
    kafka = channel["bindings"]["kafka"]["topicConfiguration"]
    yield ""
    yield f"### `{channel['address']}`"
    yield ""
    kept = kafka.get("retention.ms")
    for_ever = ", kept for ever" if kept == -1 else ""
    yield f"{channel['description']} Cleanup: {', '.join(kafka['cleanup.policy'])}{for_ever}."
    for message in channel["messages"]:
        told = asyncapi["components"]["messages"][message]
        body = told.get("payload") or told["headers"]
        path = body["schema"]["$ref"].removeprefix("./")
        yield ""
        what = "headers" if "payload" not in told else "value"
        yield f"**`{message}`**: {told['summary']} The {what}: [`{path}`]({path})"
        yield ""
        schema = schemas[path]
        yield from _fields(schema, schema)
        parts = {
            name: part for name, part in schema.get("$defs", {}).items() if "properties" in part
        }
        if len(parts) > _PARTS_SHOWN:
            continue
        for name, part in parts.items():
            yield ""
            yield f"`{name}`: {part.get('description', '')}".rstrip(": ")
            yield ""
            yield from _fields(part, schema)


def _fields(part: _Document, schema: _Document) -> Iterator[str]:
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    required = part.get("required", ())
    for name, field in part.get("properties", {}).items():
        optional = "" if name in required else "?"
        words = str(field.get("description", "")).replace("|", "\\|")
        yield f"| `{name}`{optional} | {_type(field, schema)} | {words} |"


def _type(field: _Document, root: _Document) -> str:
    """Say in a few words what a field may hold."""
    if "$ref" in field:
        name = field["$ref"].removeprefix("#/$defs/")
        part = root["$defs"][name]
        return _type(part, root) if "enum" in part else name
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        told = [_type(choice, root) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(told))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(field.get('items', {}), root)}"
    if kind == "string" and "format" in field:
        return str(field["format"])
    return kind
