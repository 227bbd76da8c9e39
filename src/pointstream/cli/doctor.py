"""`doctor`: looks over a deployment, and says what to do about what it finds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pointstream.cli.output import (
    FAILED,
    USAGE,
    BootstrapOption,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    read_settings,
)
from pointstream.operations.acls import Role
from pointstream.operations.doctor import Finding, Level, examine

__all__ = ["DOCTOR_EXAMPLES", "doctor"]

DOCTOR_EXAMPLES = examples(
    "pointstream doctor",
    "pointstream doctor --data-dir /var/lib/pointstream/1 --json",
    "pointstream doctor --principal User:pos --role upstream",
)

_MARKS = {
    Level.RIGHT: ("✓", "green"),
    Level.UNKNOWN: ("?", "yellow"),
    Level.LOOK: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
}


@guarded
def doctor(
    data_dir: Annotated[
        Path | None, typer.Option(help="The worker's directory that is looked at.")
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option(metavar="User:NAME", help="Whose rights are looked at; else one's own."),
    ] = None,
    role: Annotated[Role, typer.Option(help="What that user should be allowed.")] = Role.WORKER,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Look over a deployment: settings, versions, disk, brokers, topics, clocks, group,
    transactions, rights.

    Changes nothing and writes nothing. Each finding comes with what to do about it; ends with 1
    when one of them is a problem.
    """
    settings = read_settings(bootstrap_servers, data_dir=data_dir)
    if principal is not None and not principal.startswith("User:"):
        fail(f"--principal is written like User:NAME, not {principal}", USAGE)

    async def look() -> list[Finding]:
        found = []
        async for finding in examine(settings, role, principal):
            found.append(finding)
            if not as_json:
                _tell(finding)
        return found

    findings = asyncio.run(look())
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if as_json:
        answer_json({"well": not problems, "findings": [each.as_json() for each in findings]})
    else:
        console.print(f"{problems} problem{'s' * (problems != 1)}." if problems else "All is well.")
    if problems:
        raise typer.Exit(FAILED)


def _tell(finding: Finding) -> None:
    mark, style = _MARKS[finding.level]
    line = Text(f"{mark} ", style)
    line.append(f"{finding.check}: ", "bold").append(finding.message, "default")
    console.print(line, soft_wrap=True)
    if finding.remedy:
        console.print(Text(f"    {finding.remedy}", "dim"), soft_wrap=True)
