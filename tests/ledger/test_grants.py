"""A limit over all partitions: asked for by members' partitions, decided by the key's owner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_support import Bench

from pointstream.ledger import Account, Decision, Outcome, Source, StateCorrupt
from pointstream.ledger import messaging as handlers
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_account
from pointstream.ledger.grants import Grant, GrantKind, ask, give_back
from pointstream.ledger.state import account_key, erased_key, grant_key

BUDGET = GrantKind.BUDGET


class Asking(Bench):
    """A bench whose members ask for shares of a budget, and note what they get."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        super().__init__(**settings)
        self.grants: list[Grant] = []
        self.members: list[str] = []

        def note(book: Book, account: Account, grant: Grant, source: Source) -> Decision:
            self.grants.append(grant)
            self.members.append(account.member_id)
            return Decision(Outcome.NOTHING_EARNED)

        monkeypatch.setitem(handlers._CONTINUATIONS, BUDGET, note)

    def ask(self, amount: int, key: str = "spring", **settings: Any) -> int:
        """Ask for an amount; return what was granted."""
        self.tell_of(amount, key, **settings)
        return self.grants[-1].granted

    def tell_of(self, ask_for: int, key: str = "spring", **settings: Any) -> None:
        settings = {"partial": False, "limit": 100, "note": {}, **settings}
        self._tell(
            lambda book: ask(book, BUDGET, key, ask_for, member_id="m1", ask_id="a", **settings)
        )
        self.deliver()

    def give_back(self, amount: int, key: str = "spring") -> None:
        self._tell(lambda book: give_back(book, BUDGET, key, amount))
        self.deliver()

    def given_away(self, key: str = "spring") -> int:
        return int(decode_list(self.books()[grant_key(BUDGET, key)])[1])

    def _tell(self, say: Any) -> None:
        book = self.ledger._book
        say(book)
        if book.effects is not None:
            self.messages.extend(book.effects.messages)
            book.effects = None


def test_nothing_is_granted_above_the_limit(monkeypatch) -> None:
    """What would go beyond is refused whole; what still fits is granted after it."""
    bench = Asking(monkeypatch)
    assert [bench.ask(60), bench.ask(60), bench.ask(40), bench.ask(1)] == [60, 0, 40, 0]
    assert bench.given_away() == 100


def test_a_part_is_granted_where_a_part_is_welcome(monkeypatch) -> None:
    """The last to ask gets what is left, then there is nothing."""
    bench = Asking(monkeypatch)
    granted = [bench.ask(80, partial=True) for _ in range(3)]
    assert granted == [80, 20, 0]


def test_every_question_is_answered_with_its_own_words(monkeypatch) -> None:
    """Who asked finds again what the question was about, refused or not."""
    bench = Asking(monkeypatch)
    bench.ask(60, note={"order": "o1"})
    bench.ask(60, note={"order": "o2"})
    assert bench.grants == [
        Grant(BUDGET, "spring", "a", 60, 60, {"order": "o1"}),
        Grant(BUDGET, "spring", "a", 60, 0, {"order": "o2"}),
    ]


def test_keys_do_not_share_a_limit(monkeypatch) -> None:
    """Each budget is counted by itself."""
    bench = Asking(monkeypatch)
    assert [bench.ask(100, "spring"), bench.ask(100, "autumn")] == [100, 100]


def test_what_comes_back_can_be_granted_again(monkeypatch) -> None:
    """Nothing is lost with a grant that could not be used."""
    bench = Asking(monkeypatch)
    bench.ask(100)
    bench.give_back(30)
    assert [bench.ask(31), bench.ask(30)] == [0, 30]


def test_more_than_was_given_away_cannot_come_back(monkeypatch) -> None:
    """It would raise the limit: the partition stops."""
    bench = Asking(monkeypatch)
    bench.ask(10)
    with pytest.raises(StateCorrupt, match="11 of budget 'spring' came back, but 10"):
        bench.give_back(11)


def test_a_limit_lowered_below_what_is_given_away_grants_nothing(monkeypatch) -> None:
    """And what was given before stays given; raised again, the difference is there."""
    bench = Asking(monkeypatch)
    bench.ask(100)
    assert bench.ask(1, limit=50, partial=True) == 0
    assert bench.ask(40, limit=120, partial=True) == 20


def test_without_a_limit_all_is_granted_and_counted(monkeypatch) -> None:
    """A limit that is set later counts what was given before."""
    bench = Asking(monkeypatch)
    assert bench.ask(1_000, limit=None) == 1_000
    assert bench.ask(1) == 0


def test_a_grant_for_an_erased_member_goes_back(monkeypatch) -> None:
    """Nobody would use it, and for everybody else it would be gone."""
    bench = Asking(monkeypatch)
    bench.state.put(erased_key(b"m1"), b"\x01")
    bench.tell_of(ask_for=60)
    assert not bench.grants
    assert bench.given_away() == 0


def test_a_grant_for_a_merged_member_goes_on_to_the_survivor(monkeypatch) -> None:
    """What was under way has moved there."""
    bench = Asking(monkeypatch)
    merged = Account("m1", b"m1", merged_into="m2")
    bench.state.put(account_key(b"m1"), encode_account(merged))
    bench.tell_of(ask_for=60)
    assert bench.members == ["m2"]
    assert bench.grants[-1].granted == bench.given_away() == 60


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.booleans(), st.integers(0, 120), st.integers(0, 50)),
        max_size=30,
    )
)
def test_whoever_asks_the_sum_stays_within_the_limit(steps) -> None:
    """Over any questions, limits and returns: granted less returned is within the last limit."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Asking(monkeypatch)
        out = 0
        for amount, partial, limit, back in steps:
            granted = bench.ask(amount, partial=partial, limit=limit)
            if granted:
                out += granted
                assert out <= limit
            if not partial:
                assert granted in (0, amount)
            back = min(back, out)
            bench.give_back(back)
            out -= back
            if out:
                assert bench.given_away() == out
