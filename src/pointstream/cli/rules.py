"""`rules`: the rule sets that operators change while workers run."""

from __future__ import annotations

import typer

__all__ = ["rules_app"]

rules_app = typer.Typer(
    name="rules",
    help="Check, compare and write rule sets: what earns how many points.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
