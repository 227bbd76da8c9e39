"""A simulation as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pointstream.operations.htmlpage import (
    Card,
    cards,
    compared,
    document,
    key,
    local_time,
    section,
    signed,
    verdict,
)
from pointstream.operations.plots import Bar, bars, lines
from pointstream.operations.simulation.result import Line, Simulation
from pointstream.operations.simulation.words import NOTHING_AWARDED, members_words, verdict_words

__all__ = ["page"]


def page(found: Simulation, *, top: int) -> str:
    """Return the page; of rules, shops and members the `top` ones with the largest difference."""
    names = ", ".join(f"{each.id} version {each.version}" for each in found.rule_sets)
    moments = (local_time(at_ms, found.time_zone) for at_ms in (found.from_ms, found.to_ms))
    span = " to ".join(moments)
    body = [
        f"<h1>What {escape(names)} would have done</h1>",
        f'<p class="soft">{span} ({escape(found.time_zone)}). {found.records:,} inputs of'
        f" {found.partitions} partitions replayed, {found.within:,} of them in the span.</p>",
        verdict(verdict_words(found), good=found.sound),
        "" if found.awarded else verdict(NOTHING_AWARDED, good=False),
        _cards(found),
        _table("Over all members", found.figures()),
        _days(found),
        _differences("By rule", "net points by rule", found.rules(), top),
        _differences("By shop", "net points by shop", found.shops(), top),
        _tiers(found),
        _members(found, top),
        _table("Answers to commands", _answers(found)),
    ]
    return document(f"Simulation of {names}", body)


def _cards(found: Simulation) -> str:
    net = Line("points awarded, less taken back", found.real.awards.net, found.other.awards.net)
    rows = [_card(net)]
    rows += [_card(line, f"{line.name} outstanding at the end") for line in found.outstanding()]
    accounts = found.accounts
    given = accounts.given_more + accounts.given_less
    told = f"{accounts.given_more:,} more, {accounts.given_less:,} less, of {accounts.members:,}"
    return cards([*rows, Card("members given more or less", f"{given:,}", told)])


def _card(line: Line, name: str = "") -> Card:
    sign = "up" if line.difference > 0 else "down" if line.difference < 0 else ""
    told = f"{line.real:,} → {line.other:,}"
    return Card(name or line.name, signed(line.difference), told, sign)


def _days(found: Simulation) -> str:
    days = found.days()
    if not days:
        return ""
    plot = lines(days, label="net points awarded by day, as it was and as it would be")
    legend = key("as it was", "as it would be")
    return section("Points awarded less taken back, by day of recording", legend + plot)


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
    return section(f"{title}: net points", plot + note + compared(named[:top])) if named else ""


def _tiers(found: Simulation) -> str:
    tiers = found.tiers()
    if not tiers:
        return ""
    members = compared([members for members, _ in tiers])
    points = compared([points for _, points in tiers])
    said = '<p class="soft">Members at the end, then what they have.</p>'
    return section("By tier", said + members + "<br>" + points)


def _members(found: Simulation, top: int) -> str:
    spread = found.spread()
    rows = [_spread(words, -less, "less") for words, less, _ in reversed(spread) if less]
    rows += [_spread(words, more, "more") for words, _, more in spread if more]
    html = f"<p>{escape(members_words(found))}</p>"
    if rows:
        html += '<p class="soft">How many have less (left) and more (right) at the end.</p>'
        html += bars(rows, label="how many members have more or less at the end")
    return section("Members", html + compared(found.members()[:top], given=found.given()[:top]))


def _spread(words: str, count: int, side: str) -> Bar:
    told = f"{abs(count):,} members would have {words} points {side}"
    return Bar(f"{words} points {side}", count, f"{abs(count):,}", told)


def _answers(found: Simulation) -> list[Line]:
    real, other = found.real.answers, found.other.answers
    return [Line(name, real[name], other[name]) for name in sorted({*real, *other})]


def _table(title: str, found: Sequence[Line]) -> str:
    return section(title, compared(found)) if found else ""
