"""What a simulation says of itself, in sentences."""

from __future__ import annotations

from pointstream.operations.htmlpage import local_time
from pointstream.operations.simulation.result import Simulation

__all__ = ["NOTHING_AWARDED", "members_words", "verdict_words", "warmed_words"]

NOTHING_AWARDED = (
    "No rule of the candidate gave anything: what it rewards did not happen in the span. Events"
    " are scored by their occurred_at, not by when they were taken."
)


def members_words(found: Simulation) -> str:
    """Tell how many members are better or worse off."""
    accounts = found.accounts
    return (
        f"Of {accounts.members:,} members {accounts.given_more:,} would have been given more and"
        f" {accounts.given_less:,} less; {accounts.more:,} would have more at the end and"
        f" {accounts.less:,} less."
    )


def verdict_words(found: Simulation) -> str:
    """Tell whether the replay by the real rules is what was written, and if not, where it leaves
    it and what may be the reason."""
    verdict, flags = found.verdict, None if found.flags is None else found.flags.verdict
    if found.sound:
        raised = "" if flags is None else f" and all {flags.same:,} records of flags"
        return (
            f"The replay by the real rules gives all {verdict.same:,} ledger entries{raised} byte"
            " for byte as they were written."
        )
    said = [
        f"Not what happened: {verdict.other:,} ledger entries are not as the replay by the real"
        f" rules makes them, {verdict.same:,} are."
    ]
    if flags is not None and not flags.identical:
        said.append(
            f"Of the records of flags {flags.other:,} are not, {flags.same:,} are; the first:"
            f" {flags.first}."
        )
    first = verdict.first
    if first is not None:
        said.append(
            f"The first, of {first.member_id} (partition {first.partition}): written"
            f" {first.written}; replayed {first.replayed}."
        )
    if found.begins_late:
        said.append("The journal's beginning is gone: what was taken before is not known.")
    said += [
        f"{count:,} inputs that were taken are gone from {topic}."
        for topic, count in sorted(found.lost.items())
    ]
    said.append(
        "So this compares two replays, and not what happened. Were inputs deleted by retention, or"
        " was the programme another one then?"
    )
    return " ".join(said)


def warmed_words(found: Simulation) -> str:
    """Say from when on the candidate's windows were counted."""
    if found.warm_from_ms is None:
        return "Windows were counted from the beginning of the span on, and nothing before it."
    moment = local_time(found.warm_from_ms, found.time_zone)
    return f"Windows were counted from {moment} on, over {found.warmed:,} inputs before the span."
