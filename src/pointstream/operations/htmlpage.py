"""What the HTML pages of results have in common: how they look, their frame, sections and tables.

Each is one file that needs nothing else, no script and no network. Colours follow the reader's,
light or dark; the plots of `plots` are coloured here, by their class names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from pointstream.operations.plots import Beside

__all__ = [
    "Card",
    "cards",
    "compared",
    "difference",
    "document",
    "key",
    "local_time",
    "section",
    "signed",
    "table",
    "verdict",
]

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#fbfaf7;--card:#fff;--ink:#1d2126;--soft:#667078;
--rule:#e2dfd7;--was:#8a929a;--be:#0b6bb5;--more:#1f8a5b;--less:#c2452d;--good:#e5f4ec;--bad:#fbe5e0}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1c2024;--ink:#e6e8ea;--soft:#98a1a9;
--rule:#30363c;--was:#87919a;--be:#5cb2f2;--more:#4cc38a;--less:#f0806a;--good:#15332a;--bad:#40201a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:880px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:17px;margin:0 0 12px}
p{margin:0 0 12px}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:18px 20px;
margin-top:18px;overflow-x:auto}
.verdict{border-radius:8px;padding:12px 16px;margin-top:18px}.good{background:var(--good)}
.bad{background:var(--bad);border:2px solid var(--less)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;
margin-top:18px}.card{background:var(--card);border:1px solid var(--rule);border-radius:8px;
padding:14px 16px}.card b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);text-align:right}
td{text-align:right}th,td{padding:5px 8px;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child,.words{text-align:left}
tr:last-child td{border-bottom:0}td:first-child{overflow-wrap:anywhere}
.up{color:var(--more)}.down{color:var(--less)}
svg{width:100%;min-width:560px;height:auto;display:block;font:12px system-ui,sans-serif}
.grid{stroke:var(--rule)}.axis{stroke:var(--soft)}.tick{fill:var(--soft)}
.name,.figure{fill:var(--ink)}.line{fill:none;stroke-width:2}.line.was{stroke:var(--was);
stroke-dasharray:5 4}.line.be{stroke:var(--be)}.dot.was{fill:var(--was)}.dot.be{fill:var(--be)}
rect.was{fill:var(--was)}rect.be{fill:var(--be)}.aim{stroke:var(--ink);stroke-dasharray:2 2}
rect.more{fill:var(--more)}rect.less{fill:var(--less)}.hit{fill:transparent}
.hit:hover{fill:var(--rule);fill-opacity:.45}
.key{display:inline-block;width:22px;border-top:3px solid var(--be);margin:0 6px 4px 14px}
.key.was{border-top:3px dashed var(--was);margin-left:0}
"""


_WORDS: Final = ' class="words"'


class Card(NamedTuple):
    """One large figure."""

    name: str
    figure: str
    told: str
    kind: str = ""
    """`up` or `down`: how it is coloured."""


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; `parts` are HTML, `title` is text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def verdict(words: str, *, good: bool) -> str:
    """Say whether what follows can be trusted."""
    return f'<div class="verdict {"good" if good else "bad"}">{escape(words)}</div>'


def cards(rows: Iterable[Card]) -> str:
    """Large figures, side by side."""
    html = "".join(
        f'<div class="card"><span class="soft">{escape(card.name)}</span>'
        f'<b class="{card.kind}">{escape(card.figure)}</b>'
        f'<span class="soft">{escape(card.told)}</span></div>'
        for card in rows
    )
    return f'<div class="cards">{html}</div>'


def section(title: str, html: str) -> str:
    """A part of the page, under a title."""
    return f"<section><h2>{escape(title)}</h2>{html}</section>"


def key(was: str, be: str) -> str:
    """Say what the two colours of a plot stand for."""
    return (
        f'<p class="soft"><span class="key was"></span>{escape(was)}'
        f'<span class="key"></span>{escape(be)}</p>'
    )


def table(names: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Rows of text under names; the first `words` columns are words, the others figures."""
    html = _row("th", names, words)
    html += "".join(_row("td", row, words) for row in rows)
    return f"<table>{html}</table>"


def compared(rows: Sequence[Beside], *, given: Sequence[int] | None = None) -> str:
    """A table of figures as they were and as they would be; nothing where there are none."""
    head = "<th></th><th>as it was</th><th>would be</th><th>difference</th>"
    cells = [
        f"<td>{escape(row.name)}</td><td>{row.real:,}</td><td>{row.other:,}</td>"
        + difference(row.difference)
        for row in rows
    ]
    if given is not None:
        head += "<th>given</th>"
        cells = [cell + difference(more) for cell, more in zip(cells, given, strict=True)]
    html = "".join(f"<tr>{cell}</tr>" for cell in (head, *cells))
    return f"<table>{html}</table>" if rows else ""


def difference(value: int) -> str:
    """A cell of a table with a signed figure."""
    return f'<td class="{_sign(value)}">{signed(value) if value else "-"}</td>'


def signed(value: int) -> str:
    """A figure with its sign."""
    return f"{value:+,}" if value else "0"


def local_time(at_ms: int, zone: str) -> str:
    """A moment as the clocks of a zone show it."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S")


def _sign(value: int) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""


def _row(tag: str, cells: Sequence[str], words: int) -> str:
    html = "".join(
        f"<{tag}{_WORDS if nth < words else ''}>{escape(cell)}</{tag}>"
        for nth, cell in enumerate(cells)
    )
    return f"<tr>{html}</tr>"
