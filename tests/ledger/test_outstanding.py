"""The points that a partition owes, kept as a sum."""

from __future__ import annotations

from ledger_support import Bench, DictState, programme

from pointstream.ledger.outstanding import Outstanding, decode_outstanding
from pointstream.ledger.state import OUTSTANDING_KEY, account_key


def sums(state: DictState) -> dict[str, tuple[int, ...]]:
    return decode_outstanding(state.get(OUTSTANDING_KEY))


def bench(**settings: object) -> Bench:
    """Two members: one holds points back and is owed some later, one owes some."""
    made = Bench(programme(refund_policy="debt"), **settings)
    made.order("o1", 100)
    made.order("o2", 50, member="m2")
    made.hold("h1", 30)
    made.redeem(50, member="m2")
    made.refund("o2", "r1", 50, member="m2")
    made.flush()
    return made


def test_every_place_is_summed_over_all_members() -> None:
    """Available, pending, held and debt: what one owes takes from what the others are owed."""
    assert sums(bench().state) == {"points": (70, 0, 30, 50)}


def test_the_sum_does_not_depend_on_where_batches_end() -> None:
    """One value of the state like any other."""
    assert sums(bench().state) == sums(bench(batch=100).state)


def test_a_new_owner_goes_on_with_the_sum() -> None:
    """Nothing is counted twice, also for accounts that are decoded anew."""
    made = bench()
    made.restart()
    made.order("o3", 10)
    made.flush()
    assert sums(made.state) == {"points": (80, 0, 30, 50)}


def test_a_state_from_before_there_were_sums_is_added_up_once() -> None:
    """An upgrade tells the right liability from its first batch on."""
    made = bench()
    before = sums(made.state)
    made.state.delete(OUTSTANDING_KEY)
    made.restart()
    made.order("o3", 10)
    made.flush()
    (available, *others) = before["points"]
    assert sums(made.state) == {"points": (available + 10, *others)}


def test_a_wallet_in_which_nothing_was_has_no_sum_after_a_restart_either() -> None:
    """The state must not show that an owner changed."""
    made = Bench()
    made.order("o1", 0)
    made.flush()
    made.restart()
    made.order("o2", 0)
    made.flush()
    assert made.state.get(OUTSTANDING_KEY) is None


def test_a_sum_that_is_there_is_not_added_up_again() -> None:
    """A start does not read all accounts."""

    class Counting(DictState):
        scans = 0

        def scan(self, start: bytes, stop: bytes):  # type: ignore[no-untyped-def]
            self.scans += start == account_key(b"")
            return super().scan(start, stop)

    state = Counting()
    state.values = bench().state.values
    Outstanding().load(state)
    assert state.scans == 0
    state.values.pop(OUTSTANDING_KEY)
    Outstanding().load(state)
    assert state.scans == 1
