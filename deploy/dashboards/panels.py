"""What the dashboards are built of: a board has rows, a row has panels, a panel has queries.

In a query, `WORKERS` stands for the choice of programme and worker at the top of the board, and
`PROGRAMME` for the programme alone: what belongs to a partition is told by whoever owns it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "PROGRAMME",
    "RATE",
    "WORKERS",
    "Board",
    "Kind",
    "Panel",
    "Query",
    "Row",
    "as_json",
    "quantiles",
]

PROGRAMME: Final = 'job=~"$job"'
WORKERS: Final = 'job=~"$job", instance=~"$instance"'
#: The span of rates: Grafana takes one that fits the scrape interval and the time shown.
RATE: Final = "$__rate_interval"

_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH: Final = 24


class Kind(Enum):
    """How a panel draws."""

    LINES = "lines"
    STACKED = "stacked"
    NUMBERS = "numbers"
    """The latest value of each series."""
    STATES = "states"
    """A bar of colours over time for each series."""
    TABLE = "table"
    """The latest values, one row for each series, with its labels."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its series are called: `{{label}}` gives a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is one of Grafana's. `bad_from` colours what is so large or larger red;
    with `good_is_one` the values are 1 (`words[1]`, green) and 0 (`words[0]`, red)."""

    title: str
    about: str
    """What it shows, what it looks like when all is well, what to do when it does not."""
    queries: Sequence[Query]
    kind: Kind = Kind.LINES
    unit: str = "short"
    bad_from: float | None = None
    good_is_one: tuple[str, str] | None = None
    below_zero: bool = False
    """Whether values may be negative; else the axis begins at 0."""
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `name` is its file and the end of its address."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    by_worker: bool = True
    """Whether single workers can be chosen."""
    span: str = "now-1h"


def quantiles(metric: str) -> list[Query]:
    """Return the queries for the median and the 99th percentile of a histogram, over workers."""
    return [
        Query(
            f"histogram_quantile({share}, sum by (le) "
            f"(rate(pointstream_{metric}_bucket{{{WORKERS}}}[{RATE}])))",
            name,
        )
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    ]


_Builder = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel


def as_json(board: Board) -> str:
    """Return a board as Grafana takes it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"pointstream-{board.name}")
        .description(board.about)
        .tags(["pointstream"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(board.span, "now")
        .refresh("30s")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("pointstream")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["pointstream"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(_SOURCE)
            .enable(True)
            .icon_color("red")
            .expr(f'ALERTS{{alertstate="firing", {PROGRAMME}}}')
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(_choice("job", "programme", "label_values(pointstream_build_info, job)"))
    )
    if board.by_worker:
        made.with_variable(
            _choice("instance", "worker", f"label_values(up{{{PROGRAMME}}}, instance)")
        )
    number = 0
    for row in board.rows:
        number += 1
        made.with_row(dashboard.Row(row.title).id(number))
        used = 0
        for panel in row.panels:
            number += 1
            used = used + panel.width if used + panel.width <= _WIDTH else panel.width
            made.with_panel(_drawn(panel).id(number))
        if used != _WIDTH:
            raise ValueError(f"{board.name}: the panels of {row.title!r} leave a hole")
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _drawn(panel: Panel) -> _Builder:
    made = _bare(panel.kind)
    made.title(panel.title).description(panel.about).datasource(_SOURCE)
    made.height(8).span(panel.width).unit(panel.unit)
    if panel.good_is_one is not None:
        made.mappings([_words(*panel.good_is_one)])
        made.thresholds(_steps(("red", None), ("green", 1.0)))
    elif panel.bad_from is not None:
        made.thresholds(_steps(("green", None), ("red", panel.bad_from)))
    else:
        made.thresholds(_steps(("green", None)))
    if isinstance(made, timeseries.Panel):
        if not panel.below_zero:
            made.min(0)
        if panel.bad_from is not None:
            line = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
            made.thresholds_style(line)
    for nth, query in enumerate(panel.queries):
        made.with_target(_target(query, panel.kind, chr(ord("A") + nth)))
    return made


def _bare(kind: Kind) -> _Builder:
    match kind:
        case Kind.NUMBERS:
            return stat.Panel().color_mode(options.BigValueColorMode.BACKGROUND)
        case Kind.STATES:
            bars = statetimeline.Panel().fill_opacity(80).line_width(0)
            return bars.merge_values(True).show_value(options.VisibilityMode.NEVER)
        case Kind.TABLE:
            return table.Panel()
    lines = timeseries.Panel().line_width(1).fill_opacity(10)
    if kind is Kind.STACKED:
        stacking = common.StackingConfig().mode(options.StackingMode.NORMAL).group("A")
        lines.stacking(stacking).fill_opacity(40)
    return lines


def _target(query: Query, kind: Kind, ref: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(_SOURCE)
    if query.legend:
        made.legend_format(query.legend)
    if kind in (Kind.NUMBERS, Kind.TABLE):
        made.instant()
    if kind is Kind.TABLE:
        made.format(PromQueryFormat.TABLE)
    return made


def _words(bad: str, good: str) -> models.ValueMap:
    return models.ValueMap(
        options={
            "0": models.ValueMappingResult(text=bad, color="red", index=0),
            "1": models.ValueMappingResult(text=good, color="green", index=1),
        }
    )


def _steps(*steps: tuple[str, float | None]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for color, value in steps])
    )
