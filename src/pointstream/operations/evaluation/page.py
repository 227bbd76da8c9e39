"""The result as one page that needs nothing else: two plots and the tables behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pointstream.operations.evaluation.score import DetectorScore, Evaluation, KindScore
from pointstream.operations.htmlpage import document, key, section, table
from pointstream.operations.plots import Twin, pairs

__all__ = ["page"]

_AIMS: Final = {"plain": 0.95, "subtle": 0.8}
"""What recall and precision should be at least. Faint fraud keeps below the limits: no aim."""


def page(result: Evaluation) -> str:
    """Return the page as HTML. It loads nothing from anywhere."""
    rows = [row for row in result.kinds if row.episodes]
    most = max((row.at_stake for row in rows), default=0)
    found = [
        Twin(
            _name(row),
            (row.recall, row.precision),
            (_plain(row.recall), _plain(row.precision)),
            _AIMS.get(row.subtlety),
        )
        for row in rows
    ]
    points = [
        Twin(
            _name(row),
            (_part(row.at_stake, most), _part(row.saved, most)),
            (f"{row.at_stake:,}", f"{row.saved:,}"),
        )
        for row in rows
    ]
    parts = [
        "<h1>Detectors, measured on labelled traffic</h1>",
        f'<p class="soft">{result.events:,} events of {result.members:,} members,'
        f" {result.fraudsters:,} of them fraudsters; {result.flags:,} flags were raised.</p>",
        section(
            "What was found, and how much of what was flagged was right",
            key("recall", "precision")
            + '<p class="soft">The dashed mark is the aim; faint fraud keeps below the limits on'
            " purpose and has none.</p>"
            + pairs(found, label="recall and precision by kind of fraud"),
        ),
        section(
            "Points at stake, and what of them was saved",
            key("at stake", "saved") + pairs(points, label="points at stake and saved"),
        ),
        section(
            "Kinds",
            table(
                ("kind", "", "episodes", "found", "recall", "precision", "minutes until flagged"),
                (_kind(row) for row in rows),
                words=2,
            ),
        ),
        section(
            "Detectors",
            table(
                ("detector", "right", "wrong", "precision", "minutes until flagged", "found"),
                (_detector(score) for score in result.detectors),
            ),
        ),
    ]
    return document("Detectors, measured", parts)


def _name(row: KindScore) -> str:
    return f"{row.kind.replace('_', ' ')}, {row.subtlety}"


def _plain(share: float | None) -> str:
    return "none" if share is None else f"{share:.2f}"


def _part(points: int, most: int) -> float | None:
    return points / most if most else None


def _kind(row: KindScore) -> Sequence[str]:
    return (
        row.kind,
        row.subtlety,
        f"{row.episodes:,}",
        f"{row.found:,}",
        _share(row.recall),
        _share(row.precision),
        _minutes(row.median_to_flag_ms),
    )


def _detector(score: DetectorScore) -> Sequence[str]:
    return (
        score.detector,
        f"{score.true_flags:,}",
        f"{score.false_flags:,}",
        _share(score.precision),
        _minutes(score.median_to_flag_ms),
        ", ".join(f"{kind} {count}" for kind, count in score.episodes.most_common()),
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"


def _minutes(span_ms: float | None) -> str:
    return "" if span_ms is None else f"{span_ms / 60_000:,.0f}"
