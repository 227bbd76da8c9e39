"""Who referred whom: chains of referrers, and the circles that they close.

Each member knows the chains that lead up from it: its referrer, that one's referrer, and so on. A
referral hands the referrer's chains, one step longer, to the referee, who hands on what is new to
those whom it referred itself. So whatever the order in which the referrals of a circle become
known, in the end a chain comes back to a member that stands in it.

    A refers B, B refers C, C refers A:   the chain C <- B <- A arrives at A

All sizes are bounded: a chain has at most `LENGTH_MAX` links, a member keeps at most `CHAINS_MAX`
chains and `REFEREES_MAX` referees, the latest of each. What is dropped can hide a circle, and
cannot make one up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = [
    "CHAINS_MAX",
    "EVENTS_MAX",
    "LENGTH_MAX",
    "REFEREES_MAX",
    "Chain",
    "Circle",
    "Family",
    "Link",
    "Referral",
    "chain_of",
    "chain_row",
    "circle_of",
    "handed_on",
]

LENGTH_MAX: Final = 5
"""The most members of a circle that is found."""

CHAINS_MAX: Final = 32
"""Mostly a member has one referrer, and so one chain."""

EVENTS_MAX: Final = 8
"""So many events of one referral are known; two of them earn."""

REFEREES_MAX: Final = 128
"""News go on to so many: one who refers more people is told of no circle through the oldest."""


class Link(NamedTuple):
    """One referral of a chain: who referred the one before, by which event, and when."""

    referrer: str
    event_id: str
    at_ms: int


Chain = tuple[Link, ...]
"""From the direct referrer upwards; of 1 to `LENGTH_MAX` links, each of another member."""


class Circle(NamedTuple):
    """Members who referred each other in a circle, beginning with the first by name."""

    links: Chain
    """In the order of referring: each link's member referred the next one's, the last the first."""

    @property
    def span_ms(self) -> int:
        """How far the first and the last of its referrals are apart."""
        times_ms = [link.at_ms for link in self.links]
        return max(times_ms) - min(times_ms)


@dataclass(slots=True)
class Referral:
    """A referee, as the referrer knows it."""

    referee: str
    at_ms: int
    event_ids: list[str]
    """Of the referral, and of the referee's first order; at most `EVENTS_MAX`."""
    suspicions: list[Any] = field(default_factory=list)
    """What this referral is suspected of, as the ledger keeps it."""

    def note(self, event_id: str, *, earned: bool) -> None:
        """Note one more event about it. There can be any number that say the same again; when there
        are many, only one that earned something is noted. The first names the referral."""
        if event_id in self.event_ids:
            return
        if len(self.event_ids) >= EVENTS_MAX:
            if not earned:
                return
            del self.event_ids[1]
        self.event_ids.append(event_id)


@dataclass(slots=True)
class Family:
    """The referrals around one member."""

    chains: list[Chain] = field(default_factory=list)
    referrals: dict[str, Referral] = field(default_factory=dict)
    """By referee, in the order in which they became known."""

    def refer(self, referral: Referral) -> None:
        """Note a new referee."""
        self.referrals.pop(referral.referee, None)
        self.referrals[referral.referee] = referral
        while len(self.referrals) > REFEREES_MAX:
            del self.referrals[next(iter(self.referrals))]

    def learn(self, chains: Iterable[Chain], is_self: Callable[[str], bool]) -> list[Chain]:
        """Note chains that lead up from this member; return those that are new to it.

        A chain that comes back to the member is known up to there, and leads no further.
        """
        new: list[Chain] = []
        for chain in chains:
            for place, link in enumerate(chain):
                if is_self(link.referrer):
                    chain = chain[:place]
                    break
            if not chain or any(known[: len(chain)] == chain for known in self.chains):
                continue
            self.chains = [known for known in self.chains if chain[: len(known)] != known]
            self.chains.append(chain)
            new.append(chain)
        if len(self.chains) > CHAINS_MAX:
            del self.chains[: len(self.chains) - CHAINS_MAX]
        return new

    def rename(self, member_id: str, name: str) -> bool:
        """Let another name stand for a member; whether the member was there."""
        there = False
        referral = self.referrals.pop(member_id, None)
        if referral is not None:
            there = True
            if name not in self.referrals:
                referral.referee = name
                self.refer(referral)
        for number, chain in enumerate(self.chains):
            if any(link.referrer == member_id for link in chain):
                there = True
                self.chains[number] = tuple(
                    link._replace(referrer=name) if link.referrer == member_id else link
                    for link in chain
                )
        return there

    @classmethod
    def of_row(cls, row: list[Any]) -> Family:
        """Return what `row` made a list of."""
        return cls(
            [chain_of(links) for links in row[0]],
            {fields[0]: Referral(*fields) for fields in row[1]},
        )

    def row(self) -> list[Any]:
        """Return all of this as plain lists."""
        referrals = [
            [each.referee, each.at_ms, each.event_ids, each.suspicions]
            for each in self.referrals.values()
        ]
        return [[chain_row(chain) for chain in self.chains], referrals]

    @property
    def latest_ms(self) -> int:
        """When the latest of the referrals was made; 0 without any."""
        times = [link.at_ms for chain in self.chains for link in chain]
        times += [referral.at_ms for referral in self.referrals.values()]
        return max(times, default=0)


def chain_row(chain: Chain) -> list[list[Any]]:
    """Return a chain as plain lists."""
    return [[*link] for link in chain]


def chain_of(links: list[list[Any]]) -> Chain:
    """Return the chain that `chain_row` made lists of."""
    return tuple(Link(*link) for link in links)


def handed_on(member_id: str, referral: Referral, chains: Iterable[Chain]) -> list[Chain]:
    """Return the chains that lead up from a referee: its referrer, and those of the referrer."""
    first = Link(member_id, referral.event_ids[0], referral.at_ms)
    return list(dict.fromkeys((first, *chain)[:LENGTH_MAX] for chain in chains)) or [(first,)]


def circle_of(chain: Chain, is_self: Callable[[str], bool]) -> Circle | None:
    """Return the circle that a chain closes when it arrives at a member that stands in it."""
    for number, link in enumerate(chain):
        if is_self(link.referrer):
            links = tuple(reversed(chain[: number + 1]))
            start = min(range(len(links)), key=lambda place: links[place])
            return Circle(links[start:] + links[:start])
    return None
