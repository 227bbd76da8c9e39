"""`contracts`: whether the published language still keeps what it promised."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from pointstream.cli.output import (
    FAILED,
    USAGE,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    notes,
)
from pointstream.contracts.compatibility import RELEASED, Break, breaks, releases
from pointstream.contracts.decoding import KEY_FIELD, Refusal, decode
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, loads

__all__ = ["contracts_app"]

contracts_app = typer.Typer(
    name="contracts",
    help="Check the published schemas against what was released.",
    no_args_is_help=True,
)

CHECK_EXAMPLES = examples("pointstream contracts check", "pointstream contracts check --json")
RELEASE_EXAMPLES = examples("pointstream contracts release 1.1.0")

_SAMPLES = "samples"

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIRECTORY", help="With the schemas and their releases.")
]


@contracts_app.command(epilog=CHECK_EXAMPLES)
@guarded
def check(directory: DirectoryArgument = Path("schemas"), as_json: JsonOption = False) -> None:
    """Refuse schemas that break a released version.

    Inputs: what a publisher may write by any release must be taken today, its samples included.
    Outputs: what is written today must fit what readers of any release know. A field, a type or a
    word of a list may be added. Exits 1 when a promise is broken.
    """
    known = _known(directory)
    found = breaks(directory)
    for release in known:
        found += _samples_refused(directory, release)
    if as_json:
        answer_json(
            {
                "releases": known,
                "breaks": [
                    {"release": b.release, "file": b.file, "path": b.path, "what": b.what}
                    for b in found
                ],
            }
        )
    else:
        for each in found:
            console.print(str(each), markup=False, soft_wrap=True)
        if not found:
            console.print(f"Every promise of {', '.join(known)} is kept.")
    if found:
        if not as_json:
            fail(
                f"{len(found)} promises are broken; add beside what was released, do not change it"
            )
        raise typer.Exit(FAILED)


@contracts_app.command(epilog=RELEASE_EXAMPLES)
@guarded
def release(
    version: Annotated[str, typer.Argument(help="Such as 1.1.0; above all that are released.")],
    directory: Annotated[Path, typer.Option(help="With the schemas and their releases.")] = Path(
        "schemas"
    ),
    samples: Annotated[
        Path, typer.Option(help="With a golden sample of every record, inputs/ and outputs/.")
    ] = Path("tests/contracts/golden"),
) -> None:
    """Keep the present schemas, and the samples of their records, as a released version."""
    if not re.fullmatch(r"[0-9]+[.][0-9]+[.][0-9]+", version):
        fail(f"{version!r} is no version; write it like 1.1.0", USAGE)
    known = _known(directory, any_number=True)
    if known and _number(version) <= _number(known[-1]):
        fail(f"{version} is not above {known[-1]}, the newest release", USAGE)
    if not (samples / "inputs").is_dir() or not (samples / "outputs").is_dir():
        fail(f"{samples} has no samples (inputs/ and outputs/)", USAGE)
    if found := breaks(directory):
        fail(f"these schemas break {found[0]}; see `pointstream contracts check`")
    target = directory / RELEASED / version
    for part in ("inputs", "outputs"):
        shutil.copytree(directory / part, target / part)
        shutil.copytree(samples / part, target / _SAMPLES / part)
    shutil.copy(directory / "asyncapi.json", target)
    notes.print(f"{version} is in {target}; what it promises is checked from now on.")


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _known(directory: Path, *, any_number: bool = False) -> list[str]:
    if not (directory / "asyncapi.json").is_file():
        fail(f"{directory} has no asyncapi.json: name the folder of the schemas", USAGE)
    known = releases(directory)
    if not known and not any_number:
        fail(f"{directory / RELEASED} has no release to check against", USAGE)
    return known


def _samples_refused(directory: Path, release: str) -> list[Break]:
    """The samples of released inputs that are not taken any more."""
    refused = []
    root = directory / RELEASED / release
    for path in sorted((root / _SAMPLES / "inputs").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            body = loads(line)
            topic = topic_of_type(body["type"])
            key = str(body[KEY_FIELD.get(topic, "member_id")]).encode()
            answer = decode(topic, key, dumps(body))
            if isinstance(answer, Refusal):
                what = f"the sample {body['event_id']} is refused: {answer.message}"
                refused.append(Break(release, str(path.relative_to(root)), "", what))
    return refused
