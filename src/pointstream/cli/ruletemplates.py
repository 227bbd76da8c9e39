"""`rules new` and `rules templates`: rule sets from templates."""

from __future__ import annotations

import sys
import time
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

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
from pointstream.cli.rulefiles import ProgrammeOption, read_programme, tell
from pointstream.contracts.programme import Programme
from pointstream.operations.rulecheck import check_rule_files
from pointstream.operations.rulefiles import read_rule_file
from pointstream.operations.templates import (
    Asked,
    Template,
    ValueInvalid,
    template_named,
    templates,
)

__all__ = ["NEW_EXAMPLES", "TEMPLATES_EXAMPLES", "list_templates", "new"]

NEW_EXAMPLES = examples(
    "pointstream rules new spend-x-get-y --out autumn.yaml",
    "pointstream rules new review --set points=20 --set day=60 --yes --out review.yaml",
)
TEMPLATES_EXAMPLES = examples("pointstream rules templates", "pointstream rules templates --json")


@guarded
def new(
    template_name: Annotated[
        str, typer.Argument(metavar="TEMPLATE", help="One of `pointstream rules templates`.")
    ],
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A value, so that it is not asked for."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there; else to the output.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: defaults for all that is not set.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    programme_file: ProgrammeOption = None,
) -> None:
    """Write a rule set from a template, with comments, fit to be used.

    Asks for the few values that it needs. Money is written like 12.50, in the programme's currency,
    days like 2027-12-31, in its time zone; the version is the next one of that id in the programme.
    Ends with 1, and writes nothing, if the outcome does not fit the programme.
    """
    template = template_named(template_name)
    if template is None:
        names = ", ".join(each.name for each in templates())
        fail(f"there is no template {template_name!r}; there are {names}", USAGE)
    if out is not None and out.exists() and not force:
        fail(f"{out} is there already; name another file, or use --force", USAGE)
    programme = read_programme(programme_file)
    today = datetime.now(ZoneInfo(programme.time_zone)).date()
    try:
        values = _given(given or [])
        # What is set is looked at before anything is asked.
        template.filled(values, programme, today)
        if not yes:
            _ask(template, values, programme, today)
        text = template.filled(values, programme, today)
    except ValueInvalid as error:
        fail(str(error), USAGE)
    name = template.name if out is None else str(out)
    checked = check_rule_files([read_rule_file(text, name)], programme, int(time.time() * 1000))
    tell(checked.problems, "bold red", "problem")
    tell(checked.warnings, "yellow", "warning")
    if checked.problems:
        fail("the rule set would not be fit to be used; nothing was written", FAILED)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"can't write {out}: {error.strerror}", USAGE)
    notes.print(Text(f"Wrote {out}; `pointstream rules check {out}` looks at it again."))


@guarded
def list_templates(as_json: JsonOption = False) -> None:
    """List the templates, what they give, and what they ask for."""
    found = templates()
    today = date.today()
    if as_json:
        answer_json(
            {
                "templates": [
                    {
                        "name": template.name,
                        "title": template.title,
                        "gives": template.gives,
                        "values": [
                            {
                                "name": asked.name,
                                "asks": asked.ask,
                                "kind": asked.kind,
                                "default": template.offered(asked, {}, today),
                            }
                            for asked in template.asked
                        ],
                    }
                    for template in found
                ]
            }
        )
        return
    table = Table(show_edge=False)
    table.add_column("template", no_wrap=True)
    table.add_column("gives")
    table.add_column("values")
    for template in found:
        names = ", ".join(asked.name for asked in template.asked)
        table.add_row(*(Text(text) for text in (template.name, template.gives, names)))
    console.print(table)


def _given(settings: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueInvalid(f"--set {setting!r} is not written like NAME=VALUE")
        if name.strip() in values:
            raise ValueInvalid(f"{name.strip()} is set twice")
        values[name.strip()] = value
    return values


def _ask(template: Template, values: dict[str, str], programme: Programme, today: date) -> None:
    """Ask for what is not set; what is not allowed is asked for again."""
    notes.print(Text(f"{template.title}. {template.gives}"))

    for asked in template.asked:
        if asked.name not in values:
            values[asked.name] = _answer(asked, template.offered(asked, values, today), programme)


def _answer(asked: Asked, default: str, programme: Programme) -> str:
    while True:
        # Not click's prompt: of that, a blank goes to the output.
        notes.print(Text(f"{asked.ask} [{default}]: "), end="")
        line = sys.stdin.readline()
        if not line:
            notes.print()
            fail("no more answers; nothing was written (--yes takes the defaults)")
        try:
            asked.filled(line.strip() or default, programme)
        except ValueInvalid as error:
            notes.print(Text(str(error), style="red"))
        else:
            return line.strip() or default
