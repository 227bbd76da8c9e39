"""The Helm chart, rendered for tests: documents, refusals, and which schema each must fit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from programs import helm

__all__ = [
    "CHART",
    "CI_VALUES",
    "NEWEST",
    "OLDEST",
    "ROOT",
    "check",
    "lint",
    "one",
    "pods",
    "refused",
    "rendered",
]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "pointstream"
CI_VALUES = ("plain", "secured", "everything")
OLDEST, NEWEST = "1.27.0", kubernetes_validate.latest_version()
RELEASE = "points"

Document = dict[str, Any]

# What the API of Kubernetes itself does not have. Written by hand from the operators' references,
# as far as the chart uses it: Strimzi (kafka.strimzi.io/v1), Prometheus' and KEDA's.
_OTHERS = yaml.safe_load(Path(__file__).with_name("custom_resources.yaml").read_text())


def _helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm(), *words], capture_output=True, text=True, check=False)


def lint(values: str) -> subprocess.CompletedProcess[str]:
    """`helm lint --strict` with one of the chart's own values."""
    file = CHART / "ci" / f"{values}-values.yaml"
    return _helm("lint", str(CHART), "--strict", "--kube-version", NEWEST, "--values", str(file))


@cache
def _template(chosen: str, more: str, version: str) -> subprocess.CompletedProcess[str]:
    words = ["template", RELEASE, str(CHART), "--namespace", "shops", "--kube-version", version]
    words += ["--values", str(CHART / "ci" / f"{chosen}-values.yaml")]
    for name, value in json.loads(more).items():
        words += ["--set-json", f"{name}={json.dumps(value)}"]
    return _helm(*words)


def rendered(
    chosen: str = "plain", values: Mapping[str, Any] = {}, version: str = NEWEST
) -> list[Document]:
    """The documents for one of the chart's own values and more, by their paths: `web.port`."""
    told = _template(chosen, json.dumps(dict(values)), version)
    assert told.returncode == 0, told.stderr
    return [each for each in yaml.safe_load_all(told.stdout) if each]


def refused(chosen: str = "plain", values: Mapping[str, Any] = {}) -> str:
    """What helm says of values that do not fit."""
    told = _template(chosen, json.dumps(dict(values)), NEWEST)
    assert told.returncode != 0, "these values are taken"
    return told.stderr


def one(documents: Iterable[Document], kind: str, ending: str = "") -> Document:
    """The only document of a kind whose name ends so."""
    (found,) = (
        d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(ending)
    )
    return found


def pods(documents: Iterable[Document]) -> dict[str, Document]:
    """The spec of every pod that is made, by kind and name of what makes it."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for each in documents
        if "template" in each.get("spec", {})
    }


def check(document: Document, version: str) -> None:
    """Raise when a document does not fit the schema of its kind; unknown fields do not."""
    if other := _OTHERS.get(f"{document['apiVersion']}/{document['kind']}"):
        jsonschema.Draft202012Validator(
            {
                "type": "object",
                "required": ["apiVersion", "kind", "metadata", "spec"],
                "properties": {"spec": other, "apiVersion": {}, "kind": {}, "metadata": {}},
                "additionalProperties": False,
                "$defs": _OTHERS["$defs"],
            }
        ).validate(document)
    else:
        kubernetes_validate.validate(document, version, strict=True)
