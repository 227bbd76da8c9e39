"""All commands, put together."""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pointstream.cli import (
    account,
    acls,
    catalogue,
    config,
    contracts,
    demo,
    dlq,
    doctor,
    forecast,
    fraud,
    resync,
    review,
    rulefiles,
    rules,
    ruletemplates,
    service,
    shadow,
    simulate,
    state,
    stream,
    watch,
    why,
)
from pointstream.cli.output import console
from pointstream.operations.settingsfile import FILE_VARIABLE

__all__ = ["app"]

app = typer.Typer(
    name="pointstream",
    help="A membership points ledger that runs as an exactly-once stream worker on Kafka.",
    epilog="`pointstream demo` shows all of it at work, on a broker of its own.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        console.print(f"pointstream {version('pointstream')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
    config_file: Annotated[
        Path | None,
        typer.Option(help="YAML of settings; else the one that POINTSTREAM_CONFIG_FILE names."),
    ] = None,
) -> None:
    if config_file is not None:
        # The processes that this one starts read it as well.
        os.environ[FILE_VARIABLE] = str(config_file.absolute())
    # What the client library has to say of a fault reaches people as our own sentence; the worker
    # sets up logging for itself.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


app.command(epilog=demo.DEMO_EXAMPLES)(demo.demo)
app.command(epilog=service.WORKER_EXAMPLES)(service.worker)
app.command(epilog=doctor.DOCTOR_EXAMPLES)(doctor.doctor)
app.add_typer(service.topics_app)
service.topics_app.command("acls", epilog=acls.ACLS_EXAMPLES)(acls.acls)
app.add_typer(config.config_app)
app.add_typer(contracts.contracts_app)
app.add_typer(state.state_app)
app.command(epilog=stream.GENERATE_EXAMPLES)(stream.generate)
app.command(epilog=stream.PUBLISH_EXAMPLES)(stream.publish)
app.add_typer(catalogue.catalogue_app)
app.add_typer(rules.rules_app)
app.add_typer(fraud.fraud_app)
rules.rules_app.command(epilog=rulefiles.CHECK_EXAMPLES)(rulefiles.check)
rules.rules_app.command(epilog=rulefiles.DIFF_EXAMPLES)(rulefiles.diff)
rules.rules_app.command(epilog=ruletemplates.NEW_EXAMPLES)(ruletemplates.new)
rules.rules_app.command("why", epilog=why.WHY_EXAMPLES)(why.tell_why)
rules.rules_app.command("shadow", epilog=shadow.SHADOW_EXAMPLES)(shadow.sum_up_shadow)
rules.rules_app.command("templates", epilog=ruletemplates.TEMPLATES_EXAMPLES)(
    ruletemplates.list_templates
)
rules.rules_app.command("simulate", epilog=simulate.SIMULATE_EXAMPLES)(simulate.simulate_rules)
app.add_typer(review.review_app)
app.add_typer(dlq.dlq_app)
app.command(epilog=resync.RESYNC_EXAMPLES)(resync.resync)
app.command(epilog=watch.WATCH_EXAMPLES)(watch.watch)
app.command(epilog=account.BALANCE_EXAMPLES)(account.balance)
app.command(epilog=account.EXPLAIN_EXAMPLES)(account.explain)
app.command(epilog=forecast.FORECAST_EXAMPLES)(forecast.forecast)
app.command(epilog=service.TOPOLOGY_EXAMPLES)(service.topology)
