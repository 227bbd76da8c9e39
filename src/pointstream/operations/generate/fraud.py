"""Members who are up to something: who they are, and when their episodes begin."""

from __future__ import annotations

from collections.abc import Callable

from pointstream.operations.generate.plan import FRAUD_KINDS, SUBTLETIES, Label
from pointstream.operations.generate.schemes import Schemes

__all__ = ["Fraudsters"]

_LAST_BEGINS = 0.85
"""The share of the period after which nothing new begins: an episode should come to its end."""

_FIRST_MEMBERS = 30
"""Honest members that there must be before the first episode: a crowd to hide in."""

_ALL = tuple((kind, subtlety) for kind in FRAUD_KINDS for subtlety in SUBTLETIES)


class Fraudsters(Schemes):
    """Members, some of whom are none of the honest ones."""

    def _maybe_begin_fraud(self, now_ms: int) -> None:
        """Begin an episode if it is time for the next: they are spread evenly over the period."""
        plan = self._plan
        if self._joined < min(_FIRST_MEMBERS, plan.members) or not plan.fraudsters:
            return
        passed = (now_ms - plan.start_ms) / (plan.end_ms - plan.start_ms)
        wanted = plan.fraudsters * min(1.0, passed / _LAST_BEGINS)
        if len(self._fraudsters) >= wanted or passed > _LAST_BEGINS:
            return
        # Each kind in each subtlety comes as often as the others, in an order of its own.
        done = self._episodes % len(_ALL)
        if done == 0:
            self._round = list(_ALL)
        kind, subtlety = self._round.pop(self._below(len(self._round)))
        self._episodes += 1
        self._label = Label(self._episodes, kind, subtlety)
        begin: Callable[[int, int], None] = getattr(self, f"_{kind}")
        begin(now_ms, SUBTLETIES.index(subtlety))
