"""`fraud`: the detectors, what is in force of them, and how good they are."""

from __future__ import annotations

import typer

from pointstream.cli.backtest import BACKTEST_EXAMPLES, backtest_detectors
from pointstream.cli.detectors import detectors_app
from pointstream.cli.evaluate import EVALUATE_EXAMPLES, evaluate_detectors

__all__ = ["fraud_app"]

fraud_app = typer.Typer(
    name="fraud",
    help="Measure what is watched for fraud, and change it while workers run.",
    no_args_is_help=True,
)
fraud_app.command("evaluate", epilog=EVALUATE_EXAMPLES)(evaluate_detectors)
fraud_app.command("backtest", epilog=BACKTEST_EXAMPLES)(backtest_detectors)
fraud_app.add_typer(detectors_app)
