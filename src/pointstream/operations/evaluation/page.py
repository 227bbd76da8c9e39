"""The result as one page that needs nothing else: two plots and the tables behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from pointstream.operations.evaluation.score import DetectorScore, Evaluation, KindScore

__all__ = ["page"]

_AIMS: Final = {"plain": 0.95, "subtle": 0.8}
"""What recall and precision should be at least. Faint fraud keeps below the limits: no aim."""

_LEFT, _WIDTH, _RIGHT, _ROW, _BAR = 170, 520, 90, 40, 12
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Detectors, measured</title><style>
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#6a737d;--line:#d8dee4;--one:#2563a8;
--two:#c2701c;--page:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#9aa4ae;--line:#3a424a;--one:#6ea8e0;
--two:#e0a058;--page:#15191d}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p.dim,td.dim{color:var(--dim)}
svg{width:100%;height:auto;font:13px system-ui,sans-serif}svg text{fill:var(--ink)}
svg .dim{fill:var(--dim)}svg .one{fill:var(--one)}svg .two{fill:var(--two)}
svg .grid{stroke:var(--line)}svg .aim{stroke:var(--ink);stroke-dasharray:2 2}
table{border-collapse:collapse;width:100%;font-size:.9rem;display:block;overflow-x:auto}
th,td{text-align:right;padding:.2rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.words{text-align:left}.key{display:inline-block;width:.8em;height:.8em}
</style>"""


def page(result: Evaluation) -> str:
    """Return the page as HTML. It loads nothing from anywhere."""
    rows = [row for row in result.kinds if row.episodes]
    most = max((row.at_stake for row in rows), default=0)
    parts = [
        _HEAD,
        "<h1>Detectors, measured on labelled traffic</h1>",
        f"<p>{result.events:,} events of {result.members:,} members, {result.fraudsters:,} of them"
        f" fraudsters; {result.flags:,} flags were raised.</p>",
        "<h2>What was found, and how much of what was flagged was right</h2>",
        _key("one", "recall"),
        _key("two", "precision"),
        '<p class="dim">The dashed mark is the aim; faint fraud keeps below the limits on purpose'
        " and has none.</p>",
        _plot(
            rows,
            [(row.recall, row.precision) for row in rows],
            aims=[_AIMS.get(row.subtlety) for row in rows],
        ),
        "<h2>Points at stake, and what of them was saved</h2>",
        _key("one", "at stake"),
        _key("two", "saved"),
        _plot(
            rows,
            [(_part(row.at_stake, most), _part(row.saved, most)) for row in rows],
            told=[(f"{row.at_stake:,}", f"{row.saved:,}") for row in rows],
        ),
        "<h2>Kinds</h2>",
        _table(
            ("kind", "", "episodes", "found", "recall", "precision", "minutes until flagged"),
            (_kind(row) for row in rows),
        ),
        "<h2>Detectors</h2>",
        _table(
            ("detector", "right", "wrong", "precision", "minutes until flagged", "found"),
            (_detector(score) for score in result.detectors),
        ),
    ]
    return "\n".join(parts) + "</html>\n"


def _key(name: str, text: str) -> str:
    return f'<span class="key" style="background:var(--{name})"></span> {text} &nbsp;'


def _part(points: int, most: int) -> float | None:
    return points / most if most else None


def _plot(
    rows: Sequence[KindScore],
    pairs: Sequence[tuple[float | None, float | None]],
    *,
    aims: Sequence[float | None] = (),
    told: Sequence[tuple[str, str]] = (),
) -> str:
    """Two bars a row, each from 0 to 1."""
    height = len(rows) * _ROW + 10
    width = _LEFT + _WIDTH + _RIGHT
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img">']
    for tenth in range(0, 11, 2):
        x = _LEFT + _WIDTH * tenth / 10
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for nth, (row, pair) in enumerate(zip(rows, pairs, strict=True)):
        top = nth * _ROW + 6
        name = escape(row.kind.replace("_", " "))
        parts.append(f'<text x="0" y="{top + 17}">{name}</text>')
        parts.append(f'<text class="dim" x="{_LEFT - 62}" y="{top + 17}">{row.subtlety}</text>')
        for which, share in enumerate(pair):
            y = top + which * (_BAR + 2)
            text = told[nth][which] if told else ("none" if share is None else f"{share:.2f}")
            length = _WIDTH * (share or 0)
            style = ("one", "two")[which]
            parts.append(
                f'<rect class="{style}" x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}"/>'
                f'<text class="dim" x="{_LEFT + length + 6:.1f}" y="{y + 10}">{text}</text>'
            )
        if aims and (aim := aims[nth]) is not None:
            x = _LEFT + _WIDTH * aim
            parts.append(f'<line class="aim" x1="{x}" x2="{x}" y1="{top - 2}" y2="{top + 28}"/>')
    return "".join(parts) + "</svg>"


def _table(names: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return f"<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>"


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
