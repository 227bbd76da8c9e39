"""The rules of deploy/prometheus: read, shortened for a test, and taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DEPLOY", "RULES", "expressions", "panels", "shortened"]

DEPLOY = Path(__file__).parents[3] / "deploy"
BOARDS = sorted((DEPLOY / "dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))

SHORTER = 240
"""By how much every wait is divided: an hour becomes a quarter of a minute."""
WINDOW_SHORTER = 60
"""By how much every window is divided, that a rate is taken over."""
THRESHOLD_SHORTER = 20
"""By how much a threshold in seconds is divided: the minute of a partition that lags or is stuck
becomes three seconds, which is three ticks."""
LEAST_WINDOW_MS = 15_000
"""No window becomes shorter: a worker that starts anew on a busy machine is away for so long."""

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_THRESHOLD = re.compile(r"(?:>=|==|>)(?: bool)? *[\d.]+(?: *\* *[\d.]+)?(?: # s)?")


def shortened(text: str) -> str:
    """Return rules, or an expression, with every duration divided.

    Windows (`[5m]`) by `WINDOW_SHORTER`, but none below `LEAST_WINDOW_MS`; `offset 1h` and
    `for: 5m` by `SHORTER`; thresholds in seconds, which are marked `# s`, by `THRESHOLD_SHORTER`.
    Names of series (`ratio_rate5m`) and shares stay as they are.
    """

    def window(found: re.Match[str]) -> str:
        return f"[{max(_ms(found[1], found[2]) // WINDOW_SHORTER, LEAST_WINDOW_MS)}ms]"

    def wait(found: re.Match[str]) -> str:
        return f"{found[1]}{_ms(found[2], found[3]) // SHORTER}ms"

    text = re.sub(r"\[(\d+)([smhd])\]", window, text)
    text = re.sub(r"(offset |for: )(\d+)([smhd])\b", wait, text)
    return re.sub(r"> (\d+) # s", lambda found: f"> {int(found[1]) / THRESHOLD_SHORTER}", text)


def _ms(number: str, unit: str) -> int:
    return int(number) * _SECONDS[unit] * 1000


@cache
def panels() -> dict[tuple[str, str], list[str]]:
    """Return by dashboard and title the expressions of a panel, as Grafana would send them with
    everything chosen; shortened."""
    return {
        (board.stem, panel["title"]): [_chosen(target["expr"]) for target in panel["targets"]]
        for board in BOARDS
        for panel in json.loads(board.read_text())["panels"]
        if panel["type"] != "row"
    }


def _chosen(expr: str) -> str:
    expr = expr.replace("$job", ".*").replace("$instance", ".*")
    return shortened(expr.replace("$__rate_interval", "10m"))


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of every panel and rule, shortened, with where it stands.

    Alerts without their thresholds: so they must have an answer at any time.
    """
    for (board, title), asked in panels().items():
        for expr in asked:
            yield f"{board}: {title}", expr
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield from _of_rule(rule)


def _of_rule(rule: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "alert" not in rule:
        yield rule["record"], shortened(rule["expr"])
    elif missing := re.findall(r"absent\(([^()]*)\)", rule["expr"]):
        # It has an answer only when something is wrong: in its stead, what must not be absent.
        for series in missing:
            yield rule["alert"], _THRESHOLD.sub("", series)
    else:
        yield rule["alert"], shortened(_THRESHOLD.sub("", rule["expr"]))
