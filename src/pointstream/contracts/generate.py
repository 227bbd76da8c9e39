"""Writes `schemas/`: a JSON Schema for every record, one AsyncAPI document over all topics, and a
page about them.

    python -m pointstream.contracts.generate schemas            write them
    python -m pointstream.contracts.generate schemas --check    exit 1 unless they are current

What is not generated is left alone: `README.md`, and the releases in `released/`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pointstream.contracts import outputs
from pointstream.contracts.inputs import InputEvent
from pointstream.contracts.topic_page import topic_page
from pointstream.contracts.topics import TopicSpec, topic_specs

__all__ = ["CONTRACT_VERSION", "documents", "main"]

CONTRACT_VERSION: Final = 1
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DIALECT_MEDIA_TYPE: Final = "application/schema+json;version=draft-2020-12"

_INPUTS: Final[Mapping[str, type[BaseModel]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(InputEvent)
}
_OUTPUTS: Final[Mapping[str, type[BaseModel]]] = {
    "balance-changes": outputs.BalanceChange,
    "crm-sync": outputs.CrmSync,
    "mall-sync": outputs.MallSync,
    "tier-changes": outputs.TierChange,
    "reminders": outputs.Reminder,
    "command-results": outputs.CommandResult,
    "fraud-flags": outputs.FraudFlag,
    "shadow-diffs": outputs.ShadowDiff,
    "dead-letters": outputs.DeadLetterHeaders,
}


def documents() -> dict[str, str]:
    """Every generated file: its path inside the directory, and its text."""
    schemas = {
        f"inputs/{name}.schema.json": _schema(name, model, inputs=True)
        for name, model in _INPUTS.items()
    }
    schemas |= {
        f"outputs/{_output_name(suffix)}.schema.json": _schema(
            _output_name(suffix), model, inputs=False
        )
        for suffix, model in _OUTPUTS.items()
    }
    everything = {**schemas, "asyncapi.json": _asyncapi()}
    texts = {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for path, document in sorted(everything.items())
    }
    return {**texts, "topics.md": topic_page(everything["asyncapi.json"], schemas)}


def _output_name(suffix: str) -> str:
    return "dead-letters.headers" if suffix == "dead-letters" else suffix


# --- JSON Schema ---------------------------------------------------------------------------------


def _schema(name: str, model: type[BaseModel], *, inputs: bool) -> dict[str, Any]:
    _, schema = models_json_schema([(model, "validation")], ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    own = definitions.pop(model.__name__)
    _tidy(own, inputs=inputs, nulls=inputs)
    for part_name, part in definitions.items():
        # Nulls are borne in the event itself and in its lines; a rule set means what it says.
        _tidy(part, inputs=inputs, nulls=inputs and part_name.endswith("Line"))
    document = {
        "$schema": _DIALECT,
        "$id": f"urn:pointstream:v{CONTRACT_VERSION}:{name}",
        "title": name,
        **{key: value for key, value in own.items() if key != "title"},
    }
    if definitions:
        document["$defs"] = definitions
    return document


def _tidy(part: dict[str, Any], *, inputs: bool, nulls: bool) -> None:
    """Make one object's schema say to readers and publishers what holds for them.

    Readers must bear fields that a later version adds, so nothing is closed to them. Publishers
    may write null for a field that they may leave out (`nulls`).
    """
    if not inputs:
        part.pop("additionalProperties", None)
    if "description" in part:
        part["description"] = " ".join(part["description"].split())
    properties: dict[str, Any] = part.get("properties", {})
    required = part.get("required", [])
    for name, field in properties.items():
        field.pop("title", None)
        if "description" in field:
            field["description"] = " ".join(field["description"].split())
        if field.get("default", ...) is None:
            del field["default"]
        if nulls and name not in required and not _takes_null(field):
            notes = {key: field.pop(key) for key in ("default", "description") if key in field}
            properties[name] = {"anyOf": [field, {"type": "null"}], **notes}


def _takes_null(field: Mapping[str, Any]) -> bool:
    return any(choice.get("type") == "null" for choice in field.get("anyOf", ()))


# --- AsyncAPI ------------------------------------------------------------------------------------


def _asyncapi() -> dict[str, Any]:
    specs = [spec for spec in topic_specs() if spec.direction != "internal"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "pointstream",
            "version": f"{CONTRACT_VERSION}.0.0",
            "description": (
                "A membership points ledger on Kafka. The topic names start with a prefix, "
                "`points.` unless configured. Read what is sent here with "
                "isolation.level=read_committed. README.md beside this document says the rest."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {spec.suffix: _channel(spec) for spec in specs},
        "operations": {
            f"{'receive' if spec.direction == 'in' else 'send'}.{spec.suffix}": {
                "action": "receive" if spec.direction == "in" else "send",
                "channel": {"$ref": f"#/channels/{spec.suffix}"},
                "summary": spec.description,
            }
            for spec in specs
        },
        "components": {
            "messages": {
                name: message for spec in specs for name, message in _messages(spec).items()
            },
            "messageTraits": {"cloudEvent": _CLOUD_EVENT},
        },
    }


_CLOUD_EVENT: Final = {
    "headers": {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {"type": "string"},
            "ce_source": {"type": "string"},
            "ce_type": {"type": "string"},
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_subject": {"type": "string"},
        },
    }
}


def _channel(spec: TopicSpec) -> dict[str, Any]:
    topic: dict[str, Any] = {"cleanup.policy": [spec.cleanup]}
    if spec.retention_ms is not None:
        topic["retention.ms"] = spec.retention_ms
    kafka: dict[str, Any] = {"topic": spec.name, "topicConfiguration": topic}
    return {
        "address": spec.name,
        "description": f"{spec.description} Keyed by {spec.keyed_by}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(spec)},
        "bindings": {"kafka": {**kafka, "bindingVersion": "0.5.0"}},
    }


def _messages(spec: TopicSpec) -> dict[str, dict[str, Any]]:
    key = {"kafka": {"key": {"type": "string", "description": spec.keyed_by}}}
    if spec.direction == "in":
        return {
            type_: {
                "name": type_,
                "summary": _first_sentence(_INPUTS[type_]),
                "payload": _reference(f"inputs/{type_}"),
                "bindings": key,
            }
            for type_ in spec.types
        }
    message: dict[str, Any] = {
        "name": spec.suffix,
        "summary": _first_sentence(_OUTPUTS[spec.suffix]),
    }
    reference = _reference(f"outputs/{_output_name(spec.suffix)}")
    if spec.suffix == "dead-letters":
        # The value is the input's, whatever it was: only the headers have a shape.
        message |= {"contentType": "application/octet-stream", "headers": reference}
    else:
        message |= {
            "payload": reference,
            "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        }
    return {spec.suffix: {**message, "bindings": key}}


def _reference(name: str) -> dict[str, Any]:
    return {"schemaFormat": _DIALECT_MEDIA_TYPE, "schema": {"$ref": f"./{name}.schema.json"}}


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


# --- command -------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Write or check the directory. Returns the exit code: 0 done or current, 1 not, 2 usage."""
    paths = [argument for argument in arguments if not argument.startswith("-")]
    options = set(arguments) - set(paths)
    if len(paths) != 1 or options - {"--check"}:
        print(
            "usage: python -m pointstream.contracts.generate DIRECTORY [--check]", file=sys.stderr
        )
        return 2
    directory = Path(paths[0])
    wanted = documents()
    there = {
        str(path.relative_to(directory)): path.read_text(encoding="utf-8")
        for pattern in ("*.json", "*puts/*.json", "topics.md")
        for path in directory.glob(pattern)
    }
    stale = sorted(
        path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path)
    )
    if "--check" in options:
        for path in stale:
            print(f"not current: {directory / path}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        target = directory / path
        if path in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted[path], encoding="utf-8")
        else:
            target.unlink()
    print(f"{len(wanted)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
