"""Dashboards: generated, up to date, about what the workers tell, and nothing of members."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pointstream.cli.app import app
from pointstream.operations.metrics import CATALOGUE, Kind

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "deploy" / "dashboards").glob("*.json"))
RULES = "".join(f.read_text() for f in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
RUNBOOKS = (ROOT / "deploy" / "runbooks.md").read_text()

#: What Prometheus and its Python client tell besides.
OTHERS = {"up", "process_start_time_seconds", "process_resident_memory_bytes"} | {
    "process_cpu_seconds_total"
}


def panels(board: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard, without its rows."""
    return [p for p in json.loads(board.read_text())["panels"] if p["type"] != "row"]


def told() -> set[str]:
    """The names of all series of a worker."""
    names = set(OTHERS)
    for metric in CATALOGUE:
        ends = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {metric.name + end for end in ends}
    return names


def named(expr: str) -> set[str]:
    """The series that an expression names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expr)
    return set(re.findall(r"\b(?:\w+:)?pointstream_[\w:]+|\bprocess_\w+|\bup\b", bare))


def test_the_files_are_what_the_generator_writes() -> None:
    """Whoever changes a dashboard changes it where it is told, and generates it."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.dashboards", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def within(part: Any, whole: Any) -> bool:
    """Whether all of a JSON value is in another, which may have more fields."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and within(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(within, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_the_model_of_grafana_reads_all_that_is_written(board: Path) -> None:
    """Read by the models of that Grafana's own schema and written again, nothing is lost: no field
    is one that it does not know."""
    register_default_plugins()
    written = json.loads(board.read_text())
    read = Dashboard.from_json(written)
    assert within(written, json.loads(json.dumps(read, cls=JSONEncoder)))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_panels_ask_for_series_that_are_told(board: Path) -> None:
    """Every name in an expression is in the catalogue, a recording rule, or the client's own."""
    recorded = set(re.findall(r"record: (\S+)", RULES))
    for panel in panels(board):
        for target in panel["targets"]:
            asked = named(target["expr"])
            assert asked, target["expr"]
            assert asked <= told() | recorded, (panel["title"], asked)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_panels_say_what_is_normal_and_lie_on_the_grid(board: Path) -> None:
    """Each has a title of its own and a description, a place that no other has, and the choices
    at the top of the board hold for it."""
    shown = panels(board)
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in shown:
        assert len(panel["description"]) > 60, panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all('job=~"$job"' in target["expr"] for target in panel["targets"])


def test_what_alerts_lead_to_is_there() -> None:
    """The panels that runbooks name are on the dashboards, and the runbooks that panels name are
    written."""
    titles = {panel["title"] for board in BOARDS for panel in panels(board)}
    for title in re.findall(r'"([A-Z][^"\n]+)"', RUNBOOKS):
        assert title in titles
    for board in BOARDS:
        for panel in panels(board):
            for alert in re.findall(r"\bPointstream[A-Z]\w+", panel["description"]):
                assert f"## {alert}\n" in RUNBOOKS, (panel["title"], alert)


def test_the_commands_that_people_are_told_to_type_exist() -> None:
    """Who is woken at night does not learn then that a command was renamed."""
    told = RUNBOOKS + "".join(p["description"] for board in BOARDS for p in panels(board))
    named = set(re.findall(r"\bpointstream((?: [a-z]+)+)", told))
    assert {" doctor", " dlq list"} <= named
    for words in named:
        group: click.Command = typer.main.get_command(app)
        for word in words.split():
            if not isinstance(group, click.Group):
                break
            assert word in group.commands, f"pointstream{words}"
            group = group.commands[word]


def test_no_dashboard_or_rule_knows_of_members() -> None:
    """What is shown to whoever may see graphs says nothing about a person."""
    for text in (*(board.read_text() for board in BOARDS), RULES):
        assert "member_id" not in text
        assert "account" not in re.sub(r'"description": .*', "", text)
