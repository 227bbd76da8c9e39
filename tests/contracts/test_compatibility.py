"""What was released stays: the present schemas against every release, and what the check sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_samples import SCHEMAS, key_of, samples, schema
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from pointstream.cli.app import app
from pointstream.contracts.compatibility import RELEASED, breaks, releases
from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.topics import topic_of_type

Change = Callable[[dict[str, Any]], object]


def _released(version: str, direction: str) -> list[tuple[str, dict[str, Any]]]:
    folder = SCHEMAS / RELEASED / version / "samples" / direction
    return [
        (path.name.removesuffix(".jsonl"), json.loads(line))
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


RELEASES = releases(SCHEMAS)
SAMPLES_IN = [(v, *each) for v in RELEASES for each in _released(v, "inputs")]


def test_the_schemas_keep_every_released_promise() -> None:
    """No release is broken, and there is one to keep."""
    assert RELEASES
    assert breaks(SCHEMAS) == []


@pytest.mark.parametrize(("version", "name", "value"), SAMPLES_IN)
def test_released_inputs_are_still_taken(version: str, name: str, value: dict[str, Any]) -> None:
    """A publisher who does not change anything is understood for ever."""
    body = json.dumps(value).encode()

    assert isinstance(decode(topic_of_type(name), key_of(value), body), Decoded)


@pytest.mark.parametrize("version", RELEASES)
def test_released_readers_understand_what_is_sent_now(version: str) -> None:
    """Every golden sample of today fits the schema that a reader of a release may check with."""
    root = SCHEMAS / RELEASED / version / "outputs"
    for name, value in samples("outputs"):
        path = root / f"{name}.schema.json"
        if not path.exists():
            continue  # a record that is newer than the release
        errors = list(Draft202012Validator(json.loads(path.read_text())).iter_errors(value))
        # A word that was added to a list is no break: readers are told that it happens.
        assert [error.message for error in errors if error.validator != "enum"] == []


@pytest.mark.parametrize("version", RELEASES)
def test_what_was_sent_by_a_release_is_still_what_we_send(version: str) -> None:
    """Records that lie on the topics since a release fit the present schema as well."""
    for name, value in _released(version, "outputs"):
        Draft202012Validator(schema(f"outputs/{name}")).validate(value)


# --- the check itself -----------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Schemas with one release, which is as they are."""
    for part in ("inputs", "outputs"):
        shutil.copytree(SCHEMAS / part, tmp_path / part)
        shutil.copytree(SCHEMAS / part, tmp_path / RELEASED / "1.0.0" / part)
    for to in (tmp_path, tmp_path / RELEASED / "1.0.0"):
        shutil.copy(SCHEMAS / "asyncapi.json", to)
    return tmp_path


def _change(directory: Path, file: str, change: Change) -> list[str]:
    path = directory / file
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return [f"{found.path}: {found.what}" for found in breaks(directory)]


def _optional(document: dict[str, Any], name: str) -> None:
    document["required"].remove(name)


BROKEN: list[tuple[str, str, Change, str]] = [
    (
        "a field of an input becomes required",
        "inputs/order.paid.schema.json",
        lambda s: s["required"].append("store_id"),
        "store_id: is needed",
    ),
    (
        "an input may hold less",
        "inputs/order.paid.schema.json",
        lambda s: s["properties"]["order_id"].update(maxLength=64),
        "order_id: maxLength is 128",
    ),
    (
        "an input is known no more",
        "inputs/order.paid.schema.json",
        lambda s: s["properties"].pop("lines"),
        "lines: is gone",
    ),
    (
        "a field of an input has another type",
        "inputs/order.paid.schema.json",
        lambda s: s["properties"].update(paid_minor={"type": "string"}),
        "paid_minor: is integer to the one side, and string",
    ),
    (
        "a part of an input may hold less",
        "inputs/order.paid.schema.json",
        lambda s: s["$defs"]["OrderLine"]["properties"]["line_id"].update(minLength=3),
        "lines[].line_id: minLength is 1",
    ),
    (
        "a word of an input is taken no more",
        "inputs/points.redeem.schema.json",
        lambda s: s["$defs"]["Role"]["enum"].remove("store"),
        "actor.role: store is not among",
    ),
    (
        "an output has a field no more",
        "outputs/balance-changes.schema.json",
        lambda s: s["properties"].pop("reason"),
        "reason: is gone",
    ),
    (
        "an output may lack a field",
        "outputs/balance-changes.schema.json",
        lambda s: _optional(s, "delta"),
        "delta: is needed",
    ),
    (
        "an output may hold more",
        "outputs/mall-sync.schema.json",
        lambda s: s["properties"]["available"].pop("minimum"),
        "available: minimum is open",
    ),
    (
        "an output says null where it never did",
        "outputs/mall-sync.schema.json",
        lambda s: s["properties"].update(seq={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "seq: is null",
    ),
    (
        "a word of an output is gone",
        "outputs/command-results.schema.json",
        lambda s: s["$defs"]["Reason"]["enum"].remove("out_of_stock"),
        "reason: out_of_stock is gone",
    ),
    (
        "a topic has another name",
        "asyncapi.json",
        lambda s: s["channels"]["crm-sync"].update(address="points.crm"),
        "crm-sync: the topic is called 'points.crm'",
    ),
    (
        "a topic is kept in another way",
        "asyncapi.json",
        lambda s: s["channels"]["crm-sync"]["bindings"]["kafka"]["topicConfiguration"].update(
            {"cleanup.policy": ["delete"]}
        ),
        "crm-sync: cleanup.policy",
    ),
]


@pytest.mark.parametrize(
    ("file", "change", "told"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_break_is_found_and_named(directory: Path, file: str, change: Change, told: str) -> None:
    """Where in the record, and what it was."""
    assert breaks(directory) == []

    found = _change(directory, file, change)

    assert any(each.startswith(told) for each in found), found


HARMLESS: list[tuple[str, str, Change]] = [
    (
        "an input gets an optional field",
        "inputs/order.paid.schema.json",
        lambda s: s["properties"].update(table={"type": "string"}),
    ),
    (
        "an input may hold more",
        "inputs/order.paid.schema.json",
        lambda s: s["properties"]["order_id"].update(maxLength=256),
    ),
    (
        "an output gets a field",
        "outputs/balance-changes.schema.json",
        lambda s: (s["properties"].update(note={"type": "string"}), s["required"].append("note")),
    ),
    (
        "a list of an output gets a word",
        "outputs/command-results.schema.json",
        lambda s: s["$defs"]["Reason"]["enum"].append("moon_is_full"),
    ),
    (
        "words are described better",
        "outputs/balance-changes.schema.json",
        lambda s: s["properties"]["delta"].update(description="Better."),
    ),
]


@pytest.mark.parametrize(
    ("file", "change"), [row[1:] for row in HARMLESS], ids=[row[0] for row in HARMLESS]
)
def test_what_may_be_added_is_no_break(directory: Path, file: str, change: Change) -> None:
    """Publishers and readers of the release go on as before."""
    assert _change(directory, file, change) == []


def test_a_schema_that_is_gone_is_a_break(directory: Path) -> None:
    """What was released stays."""
    (directory / "inputs/order.cancelled.schema.json").unlink()

    assert [found.file for found in breaks(directory)] == ["inputs/order.cancelled.schema.json"]


def test_the_command_says_so_and_exits_1(directory: Path) -> None:
    """Each break is a line; JSON tells the same."""
    runner = CliRunner()
    assert runner.invoke(app, ["contracts", "check", str(directory)]).exit_code == 0
    (directory / "inputs/order.cancelled.schema.json").unlink()

    told = runner.invoke(app, ["contracts", "check", str(directory)])
    as_json = runner.invoke(app, ["contracts", "check", str(directory), "--json"])

    assert told.exit_code == as_json.exit_code == 1
    assert "inputs/order.cancelled.schema.json of 1.0.0: is gone" in told.output
    assert json.loads(as_json.stdout)["breaks"][0]["release"] == "1.0.0"


def test_a_release_is_kept_once_and_above_the_others(directory: Path) -> None:
    """What is released can be checked at once; a number is not used again."""
    runner = CliRunner()
    golden = str(Path(__file__).parent / "golden")
    options = ["--directory", str(directory), "--samples", golden]

    first = runner.invoke(app, ["contracts", "release", "1.1.0", *options])
    again = runner.invoke(app, ["contracts", "release", "1.1.0", *options])
    below = runner.invoke(app, ["contracts", "release", "1.0.9", *options])
    nonsense = runner.invoke(app, ["contracts", "release", "next", *options])

    assert (first.exit_code, again.exit_code, below.exit_code, nonsense.exit_code) == (0, 2, 2, 2)
    assert releases(directory) == ["1.0.0", "1.1.0"]
    assert runner.invoke(app, ["contracts", "check", str(directory)]).exit_code == 0
    assert (directory / "released/1.1.0/samples/inputs/order.paid.jsonl").exists()


def test_where_there_is_nothing_to_check_it_says_what_to_do(tmp_path: Path) -> None:
    """A wrong folder is a usage error."""
    answer = CliRunner().invoke(app, ["contracts", "check", str(tmp_path)])

    assert answer.exit_code == 2
    assert "name the folder of the schemas" in answer.output
