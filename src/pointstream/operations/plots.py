"""Plots as inline SVG: lines over days, bars to both sides of nothing, and bars in pairs.

A plotting library would be megabytes of script in every page, or a picture that does not follow the
reader's colours. These are shapes with class names: the page's style sheet colours them, light or
dark (`htmlpage`), and each has a `title` that browsers show on hovering.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final, NamedTuple, Protocol

__all__ = ["Bar", "Beside", "Twin", "bars", "lines", "pairs"]

_WIDTH: Final = 760
_HEIGHT: Final = 260
_LEFT: Final = 84
_BOTTOM: Final = 28
_TOP: Final = 12
_ROW: Final = 26
_NAMES: Final = 230
_FIGURES: Final = 90
_NAME_LENGTH: Final = 34
_THIN: Final = 12
"""The height of one bar of a pair."""


class Bar(NamedTuple):
    """One bar."""

    name: str
    value: int
    figure: str
    """What stands at its end."""
    told: str
    """What hovering tells."""


class Beside(Protocol):
    """A figure as it was, beside what it would be."""

    @property
    def name(self) -> str: ...
    @property
    def real(self) -> int: ...
    @property
    def other(self) -> int: ...
    @property
    def difference(self) -> int: ...


class Twin(NamedTuple):
    """Two bars of one name, each a share from 0 to 1; None is no bar."""

    name: str
    shares: tuple[float | None, float | None]
    figures: tuple[str, str]
    """What stands at their ends."""
    aim: float | None = None
    """The share that both should reach."""


def lines(points: Sequence[Beside], *, label: str) -> str:
    """Two lines over the names of `points`, in their order: as it was, and as it would be."""
    values = [value for point in points for value in (point.real, point.other)]
    ticks = _ticks(min((0, *values)), max((0, *values)))
    low, high = ticks[0], ticks[-1]
    right = _WIDTH - 16
    step = (right - _LEFT) / max(1, len(points) - 1)

    def y(value: int) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / max(1, high - low)

    def x(place: int) -> float:
        # A single day stands in the middle.
        return _LEFT + place * step if len(points) > 1 else (_LEFT + right) / 2

    parts = [_open(_HEIGHT, label)]
    for tick in ticks:
        kind = "axis" if tick == 0 else "grid"
        parts.append(
            f'<path class="{kind}" d="M{_LEFT} {y(tick):.1f}H{right}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{tick:,}</text>"
        )
    every = max(1, ceil(len(points) / 7))
    for place, point in enumerate(points):
        if place % every == 0:
            parts.append(
                f'<text class="tick" x="{x(place):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">'
                f"{escape(point.name)}</text>"
            )
    for kind in ("was", "be"):
        path = " ".join(
            f"{x(place):.1f},{y(point.real if kind == 'was' else point.other):.1f}"
            for place, point in enumerate(points)
        )
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        if len(points) <= 62:
            parts += [
                f'<circle class="dot {kind}" r="3" cx="{x(place):.1f}"'
                f' cy="{y(point.real if kind == "was" else point.other):.1f}"/>'
                for place, point in enumerate(points)
            ]
    for place, point in enumerate(points):
        # The whole height tells, not the line alone: it is hard to hit.
        told = f"{point.name}: {point.real:,} → {point.other:,} ({point.difference:+,})"
        parts.append(
            f'<rect class="hit" x="{x(place) - step / 2:.1f}" y="0" width="{step:.1f}"'
            f' height="{_HEIGHT - _BOTTOM}"><title>{escape(told)}</title></rect>'
        )
    return "".join([*parts, "</svg>"])


def bars(rows: Sequence[Bar], *, label: str) -> str:
    """One bar for each row: to the right above zero, else to the left."""
    low, high = min((0, *(row.value for row in rows))), max((0, *(row.value for row in rows)))
    # Both sides have room for the figure at the end of the bar.
    left = _NAMES + (_FIGURES if low < 0 else 0)
    right = _WIDTH - (_FIGURES if high > 0 else 10)
    scale = (right - left) / max(1, high - low)
    zero = left - low * scale
    height = _ROW * len(rows) + 8
    parts = [_open(height, label)]
    for place, (name, value, figure, told) in enumerate(rows):
        top = 4 + place * _ROW
        size = abs(value) * scale
        start = zero if value >= 0 else zero - size
        end = zero + size + 6 if value >= 0 else zero - size - 6
        anchor = "start" if value >= 0 else "end"
        parts.append(
            f'<g><title>{escape(told)}</title><text class="name" x="{_NAMES - 12}"'
            f' y="{top + 16}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect class="{"more" if value >= 0 else "less"}" x="{start:.1f}" y="{top + 3}"'
            f' width="{max(size, 1):.1f}" height="{_ROW - 8}" rx="2"/>'
            f'<text class="figure" x="{end:.1f}" y="{top + 16}" text-anchor="{anchor}">'
            f"{escape(figure)}</text></g>"
        )
    parts.append(f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}"/></svg>')
    return "".join(parts)


def pairs(rows: Sequence[Twin], *, label: str) -> str:
    """Two bars for each row, from nothing to the whole; a dashed mark is the aim."""
    step = 2 * _THIN + 16
    height, length = step * len(rows) + 8, _WIDTH - _NAMES - _FIGURES
    parts = [_open(height, label)]
    for fifth in range(6):
        x = _NAMES + length * fifth / 5
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
    for place, row in enumerate(rows):
        top = 8 + place * step
        parts.append(
            f"<g><title>{escape(f'{row.name}: {row.figures[0]}, {row.figures[1]}')}</title>"
            f'<text class="name" x="{_NAMES - 12}" y="{top + 17}" text-anchor="end">'
            f"{escape(_short(row.name))}</text>"
        )
        for nth, (share, figure) in enumerate(zip(row.shares, row.figures, strict=True)):
            y, size = top + nth * (_THIN + 2), length * (share or 0)
            parts.append(
                f'<rect class="{("was", "be")[nth]}" x="{_NAMES}" y="{y}" width="{size:.1f}"'
                f' height="{_THIN}"/><text class="tick" x="{_NAMES + size + 6:.1f}" y="{y + 10}">'
                f"{escape(figure)}</text>"
            )
        if row.aim is not None:
            x = _NAMES + length * row.aim
            parts.append(
                f'<line class="aim" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{top + 28}"/>'
            )
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _open(height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def _ticks(low: int, high: int) -> list[int]:
    """Round figures that a range lies between, some five of them."""
    span = max(1, high - low)
    unit = 10 ** floor(log10(span))
    step = max(1, next(s for s in (unit // 5, unit // 2, unit, 2 * unit) if s and span / s <= 6))
    return [*range(floor(low / step) * step, ceil(high / step) * step + step, step)][:9] or [0, 1]
