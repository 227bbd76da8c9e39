"""What the Helm chart has of this program, written into it: topics, access lists, settings.

A chart cannot ask the program. So what it needs is generated, and `make test` refuses a chart that
has fallen behind::

    python -m pointstream.operations.manifests deploy           # write
    python -m pointstream.operations.manifests deploy --check   # 1 when something differs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pointstream.contracts.topics import topic_specs
from pointstream.operations.acls import Role, acls_of
from pointstream.operations.kafkasettings import KafkaSettings
from pointstream.operations.settings import Settings
from pointstream.operations.websettings import WebSettings

__all__ = ["CHART_SETS", "files_of", "main", "settings_schema"]

#: What the chart puts in place of these words of the access lists.
_PLACEHOLDERS = {"prefix": "{prefix}", "app_id": "{app_id}", "group": "{group}"}

#: The settings that a release has no say in, or says in another place: the volume, the pod's name
#: and address, the brokers, the secrets.
CHART_SETS = frozenset(
    {
        *KafkaSettings.model_fields,
        *WebSettings.model_fields,
        "advertised_url",
        "bootstrap_servers",
        "data_dir",
        "group_instance_id",
        "programme_file",
    }
)

_HEAD = "# Written by `make manifests` from the program's own lists.\n"


def settings_schema() -> dict[str, Any]:
    """JSON Schema of those settings that a release may give, by their names; others are refused."""
    schema = Settings.model_json_schema()
    properties = {
        name: {word: rule for word, rule in rules.items() if word not in ("title", "default")}
        for name, rules in schema["properties"].items()
        if name not in CHART_SETS
    }
    return {
        "type": "object",
        "additionalProperties": False,
        # Topics, users and scaling are made of these.
        "required": ["app_id", "topic_prefix", "partitions", "replication_factor"],
        "properties": dict(sorted(properties.items())),
    }


def files_of(deploy: Path) -> Iterator[tuple[Path, str]]:
    """Every generated file of the chart below `deploy`, with what it must say."""
    chart = deploy / "helm" / "pointstream"
    lists = {
        "topics": [
            {"suffix": spec.suffix, "config": dict(spec.config)} for spec in topic_specs("")
        ],
        "roles": {
            role.value: [acl.as_json() for acl in acls_of(role, **_PLACEHOLDERS)] for role in Role
        },
    }
    yield chart / "files" / "kafka.yaml", _HEAD + yaml.safe_dump(lists, sort_keys=False)
    values = chart / "values.schema.json"
    schema = json.loads(values.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    schema["$defs"]["role"] = {"enum": [role.value for role in Role]}
    yield values, json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description="What the Helm chart has of the program.")
    parser.add_argument("deploy", type=Path, help="the directory with helm/ in it")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when it differs")
    chosen = parser.parse_args(arguments)
    wanted = dict(files_of(chosen.deploy))
    stale = {path for path, text in wanted.items() if _text_of(path) != text}
    if chosen.check:
        for path in sorted(stale):
            print(f"{path} is not what `make manifests` writes", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
