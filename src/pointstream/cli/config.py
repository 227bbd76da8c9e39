"""`config`: every setting and where it comes from, and all that is wrong with them."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from pointstream.cli.output import (
    FAILED,
    JsonOption,
    answer_json,
    console,
    examples,
    guarded,
    settings_refused,
)

__all__ = ["config_app"]

SHOW_EXAMPLES = examples(
    "pointstream config show",
    "pointstream --config-file production.yaml config show --json",
)
CHECK_EXAMPLES = examples(
    "pointstream config check",
    "pointstream --config-file production.yaml config check",
)

config_app = typer.Typer(
    name="config",
    help="Show the settings and where each comes from, or check them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@config_app.command("show", epilog=SHOW_EXAMPLES)
@guarded
def show(as_json: JsonOption = False) -> None:
    """Show every setting, its value, and where it comes from. Secrets are not shown.

    What a command line says wins over the environment (`POINTSTREAM_…`, `KAFKA_BOOTSTRAP_SERVERS`),
    that over the YAML file that `--config-file` or `POINTSTREAM_CONFIG_FILE` names, and that over
    the defaults.
    """
    from pointstream.operations.configuration import settings_told

    with settings_refused():
        settings = settings_told()
    if as_json:
        answer_json({"settings": [asdict(setting) for setting in settings]})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for setting in settings:
        value = "—" if setting.value is None else str(setting.value)
        style = "dim" if setting.source == "default" else ""
        table.add_row(Text(setting.name), Text(value), Text(setting.source), style=style)
    console.print(table)


@config_app.command("check", epilog=CHECK_EXAMPLES)
@guarded
def check(as_json: JsonOption = False) -> None:
    """Check the settings, the files that they name and the programme; ask no broker.

    All problems are told at once, each with what to do. Ends with 1 when there is one; what was
    only hardly meant, such as a variable that is no setting, does not count.
    """
    from pointstream.operations.configuration import check_configuration

    findings = check_configuration()
    problems = sum(finding.problem for finding in findings)
    if as_json:
        answer_json({"fits": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark, style = ("✗", "red") if finding.problem else ("!", "yellow")
            console.print(Text(f"{mark} ", style).append(str(finding), "default"), soft_wrap=True)
        console.print(
            f"{problems} problem{'s' * (problems != 1)}." if problems else "The settings fit."
        )
    if problems:
        raise typer.Exit(FAILED)
