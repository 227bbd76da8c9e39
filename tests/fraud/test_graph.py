"""Circles of referrers are found whatever the order in which their referrals become known."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.fraud.graph import (
    CHAINS_MAX,
    LENGTH_MAX,
    REFEREES_MAX,
    Chain,
    Family,
    Link,
    Referral,
    chain_of,
    chain_row,
    circle_of,
    handed_on,
)

Edge = tuple[str, str]


class World:
    """Members who tell their referees of their referrers, over channels of their own speed."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}
        self.channels: dict[Edge, list[list[Chain]]] = {}
        self.circles: set[tuple[str, ...]] = set()

    def family(self, member: str) -> Family:
        known = self.families.setdefault(member, Family())
        # What was kept is what comes back.
        self.families[member] = Family.of_row(known.row())
        return self.families[member]

    def refer(self, edge: Edge, at_ms: int = 0) -> None:
        referrer, referee = edge
        family = self.family(referrer)
        referral = Referral(referee, at_ms, [f"{referrer}>{referee}"])
        family.refer(referral)
        self._tell(referrer, referral, family.chains)

    def deliver(self, channel: Edge) -> None:
        """The first message that is on its way from one member to another arrives."""
        member = channel[1]
        waiting = self.channels.get(channel)
        if not waiting:
            return
        chains = [chain_of(chain_row(chain)) for chain in waiting.pop(0)]
        family = self.family(member)
        for chain in chains:
            circle = circle_of(chain, lambda name: name == member)
            if circle is not None:
                self.circles.add(tuple(link.referrer for link in circle.links))
        new = family.learn(chains, lambda name: name == member)
        if new:
            for referral in family.referrals.values():
                self._tell(member, referral, new)

    def settle(self) -> None:
        """Everything that is on its way arrives."""
        while busy := [channel for channel, waiting in self.channels.items() if waiting]:
            for channel in busy:
                self.deliver(channel)

    def _tell(self, member: str, referral: Referral, chains: list[Chain]) -> None:
        told = handed_on(member, referral, chains)
        self.channels.setdefault((member, referral.referee), []).append(told)


def circle(size: int) -> list[Edge]:
    names = "ABCDEF"[:size]
    return [(names[place], names[(place + 1) % size]) for place in range(size)]


NOISE: list[Edge] = [("X", "A"), ("A", "Y"), ("Y", "Z"), ("W", "X"), ("C", "V")]


@pytest.mark.case(36)
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_circle_is_found_in_every_order_of_its_referrals(size: int, at_once: bool) -> None:
    """All permutations, each told at once or only when all have happened; with others around."""
    for order in permutations(circle(size)):
        world = World()
        for place, edge in enumerate(order):
            world.refer(edge)
            world.refer(NOISE[place])
            if at_once:
                world.settle()
        world.settle()
        assert world.circles == {tuple("ABCDEF"[:size])}, order


@pytest.mark.case(36)
@given(st.permutations([*circle(4), *NOISE]), st.data())
def test_a_circle_is_found_however_slowly_the_news_go(
    order: list[Edge], data: st.DataObject
) -> None:
    """Each channel between two members keeps its order, and nothing else is sure."""
    world = World()
    for edge in order:
        world.refer(edge)
        busy = [channel for channel, waiting in world.channels.items() if waiting]
        for channel in data.draw(st.lists(st.sampled_from(busy), max_size=4)):
            world.deliver(channel)
    world.settle()
    assert world.circles == {("A", "B", "C", "D")}


@given(st.lists(st.integers(0, 20), min_size=1, max_size=21), st.randoms(use_true_random=False))
def test_a_tree_has_no_circle(parents: list[int], dice) -> None:
    """Who refers many, and is referred by one, is no part of a circle."""
    edges = [(f"m{parent % (n + 1)}", f"m{n + 1}") for n, parent in enumerate(parents)]
    dice.shuffle(edges)
    world = World()
    for edge in edges:
        world.refer(edge)
    world.settle()
    assert world.circles == set()


@given(
    st.lists(
        st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("ABCDEF")), max_size=12, unique=True
    )
)
def test_what_is_found_is_what_is_there(edges: list[Edge]) -> None:
    """Against a search through the whole graph, for circles of up to five members."""
    world = World()
    for edge in edges:
        world.refer(edge)
    world.settle()
    real = {
        path
        for size in range(1, LENGTH_MAX + 1)
        for path in permutations("ABCDEF", size)
        if path[0] == min(path)
        and all((path[n], path[(n + 1) % size]) in edges for n in range(size))
    }
    assert world.circles <= real
    # Each member keeps so many chains: in a thicket a circle can be lost, but never all of them.
    assert world.circles == real or len(edges) > 9


def test_a_circle_tells_in_which_order_and_how_long() -> None:
    """It begins with the first by name, and goes the way of the referrals."""
    chain = (Link("B", "b", 7), Link("A", "a", 3), Link("C", "c", 5), Link("Z", "z", 1))
    found = circle_of(chain, lambda name: name == "C")
    assert found is not None
    assert found.links == (Link("A", "a", 3), Link("B", "b", 7), Link("C", "c", 5))
    assert found.span_ms == 4
    assert circle_of(chain, lambda name: name == "D") is None


def test_what_is_kept_is_bounded() -> None:
    """Of a member with very many referees or referrers the latest are kept."""
    family = Family()
    for nth in range(1_000):
        family.refer(Referral(f"m{nth}", nth, ["e"]))
        family.learn([(Link(f"r{nth}", "e", nth),)], lambda name: False)
    assert len(family.referrals) == REFEREES_MAX
    assert len(family.chains) == CHAINS_MAX
    assert family.latest_ms == 999


def test_another_name_stands_in_every_chain() -> None:
    """Nothing is left of an erased member; a merged one is the survivor from then on."""
    family = Family()
    family.refer(Referral("x", 1, ["e"]))
    family.learn([(Link("r", "e", 1), Link("x", "f", 1))], lambda name: False)
    assert family.rename("x", "y")
    assert "x" not in str(family.row())
    assert list(family.referrals) == ["y"]
    assert family.chains[0][1].referrer == "y"
    assert not family.rename("x", "y")
