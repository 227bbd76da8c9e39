"""A simulation as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from pointstream.operations.simulation.plots import Bar, bars, lines
from pointstream.operations.simulation.result import Line, Simulation
from pointstream.operations.simulation.words import NOTHING_AWARDED, members_words, verdict_words

__all__ = ["page"]

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
th{font-weight:600;color:var(--soft);text-align:right}th:first-child,td:first-child{text-align:left}
td{text-align:right}th,td{padding:5px 8px;border-bottom:1px solid var(--rule)}
tr:last-child td{border-bottom:0}td:first-child{overflow-wrap:anywhere}
.up{color:var(--more)}.down{color:var(--less)}
svg{width:100%;min-width:560px;height:auto;display:block;font:12px system-ui,sans-serif}
.grid{stroke:var(--rule)}.axis{stroke:var(--soft)}.tick{fill:var(--soft)}
.name,.figure{fill:var(--ink)}.line{fill:none;stroke-width:2}.line.was{stroke:var(--was);
stroke-dasharray:5 4}.line.be{stroke:var(--be)}.dot.was{fill:var(--was)}.dot.be{fill:var(--be)}
rect.more{fill:var(--more)}rect.less{fill:var(--less)}.hit{fill:transparent}
.hit:hover{fill:var(--rule);fill-opacity:.45}
.key{display:inline-block;width:22px;border-top:3px solid var(--be);margin:0 6px 4px 14px}
.key.was{border-top:3px dashed var(--was);margin-left:0}
"""


def page(found: Simulation, *, top: int) -> str:
    """Return the page; of rules, shops and members the `top` ones with the largest difference."""
    names = ", ".join(f"{each.id} version {each.version}" for each in found.rule_sets)
    span = f"{_moment(found.from_ms, found.time_zone)} to {_moment(found.to_ms, found.time_zone)}"
    body = [
        f"<h1>What {escape(names)} would have done</h1>",
        f'<p class="soft">{span} ({escape(found.time_zone)}). {found.records:,} inputs of'
        f" {found.partitions} partitions replayed, {found.within:,} of them in the span.</p>",
        f'<div class="verdict {"good" if found.sound else "bad"}">'
        f"{escape(verdict_words(found))}</div>",
        "" if found.awarded else f'<div class="verdict bad">{escape(NOTHING_AWARDED)}</div>',
        _cards(found),
        _table("Over all members", found.figures()),
        _days(found),
        _differences("By rule", "net points by rule", found.rules(), top),
        _differences("By shop", "net points by shop", found.shops(), top),
        _tiers(found),
        _members(found, top),
        _table("Answers to commands", _answers(found)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'\">"
        f"<title>Simulation of {escape(names)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _cards(found: Simulation) -> str:
    cards = [
        (f"{line.name} outstanding at the end", line.difference, f"{line.real:,} → {line.other:,}")
        for line in found.outstanding()
    ]
    accounts = found.accounts
    net = found.other.awards.net - found.real.awards.net
    cards.insert(
        0,
        (
            "points awarded, less taken back",
            net,
            f"{found.real.awards.net:,} → {found.other.awards.net:,}",
        ),
    )
    html = "".join(
        f'<div class="card"><span class="soft">{escape(name)}</span>'
        f'<b class="{_sign(value)}">{_signed(value)}</b>'
        f'<span class="soft">{told}</span></div>'
        for name, value, told in cards
    )
    html += (
        '<div class="card"><span class="soft">members given more or less</span>'
        f"<b>{accounts.given_more + accounts.given_less:,}</b>"
        f'<span class="soft">{accounts.given_more:,} more, {accounts.given_less:,} less,'
        f" of {accounts.members:,}</span></div>"
    )
    return f'<div class="cards">{html}</div>'


def _days(found: Simulation) -> str:
    days = found.days()
    if not days:
        return ""
    plot = lines(days, label="net points awarded by day, as it was and as it would be")
    legend = (
        '<p class="soft"><span class="key was"></span>as it was<span class="key"></span>as it'
        " would be</p>"
    )
    return _section("Points awarded less taken back, by day of recording", legend + plot)


def _differences(title: str, label: str, found: Sequence[Line], top: int) -> str:
    named = [line if line.name else Line("(no shop)", line.real, line.other) for line in found]
    rows = [
        Bar(
            line.name,
            line.difference,
            f"{line.difference:+,}",
            f"{line.name}: {line.real:,} → {line.other:,}",
        )
        for line in named[:top]
        if line.difference
    ]
    plot = bars(rows, label=f"difference of {label}") if rows else ""
    note = (
        f'<p class="soft">The {top} with the largest difference, of {len(named):,}.</p>'
        if len(named) > top
        else ""
    )
    return _section(f"{title}: net points", plot + note + _rows(named[:top])) if named else ""


def _tiers(found: Simulation) -> str:
    tiers = found.tiers()
    if not tiers:
        return ""
    members = _rows([members for members, _ in tiers])
    points = _rows([points for _, points in tiers])
    said = '<p class="soft">Members at the end, then what they have.</p>'
    return _section("By tier", said + members + "<br>" + points)


def _members(found: Simulation, top: int) -> str:
    spread = found.spread()
    rows = [_spread(words, -less, "less") for words, less, _ in reversed(spread) if less]
    rows += [_spread(words, more, "more") for words, _, more in spread if more]
    html = f"<p>{escape(members_words(found))}</p>"
    if rows:
        html += '<p class="soft">How many have less (left) and more (right) at the end.</p>'
        html += bars(rows, label="how many members have more or less at the end")
    return _section("Members", html + _rows(found.members()[:top], given=found.given()[:top]))


def _spread(words: str, count: int, side: str) -> Bar:
    told = f"{abs(count):,} members would have {words} points {side}"
    return Bar(f"{words} points {side}", count, f"{abs(count):,}", told)


def _answers(found: Simulation) -> list[Line]:
    real, other = found.real.answers, found.other.answers
    return [Line(name, real[name], other[name]) for name in sorted({*real, *other})]


def _table(title: str, found: Sequence[Line]) -> str:
    return _section(title, _rows(found)) if found else ""


def _rows(found: Sequence[Line], *, given: Sequence[int] | None = None) -> str:
    head = "<th></th><th>as it was</th><th>would be</th><th>difference</th>"
    rows = [
        f"<td>{escape(line.name)}</td><td>{line.real:,}</td><td>{line.other:,}</td>"
        + _difference(line.difference)
        for line in found
    ]
    if given is not None:
        head += "<th>given</th>"
        rows = [row + _difference(more) for row, more in zip(rows, given, strict=True)]
    html = "".join(f"<tr>{row}</tr>" for row in (head, *rows))
    return f"<table>{html}</table>" if found else ""


def _difference(value: int) -> str:
    return f'<td class="{_sign(value)}">{_signed(value) if value else "-"}</td>'


def _section(title: str, html: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{html}</section>"


def _signed(value: int) -> str:
    return f"{value:+,}" if value else "0"


def _sign(value: int) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""


def _moment(at_ms: int, zone: str) -> str:
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S")
