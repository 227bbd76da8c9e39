"""A seeded, believable stream of a chain of shops, of any size, in constant memory.

Theory of operation. The stream is a row of slots spread over the period as trade is spread over a
day. Each slot emits one event: a follow-up that has come due (a refund of an earlier order,
tomorrow's check-in of a streak, a referee's first order …), else something fresh. Follow-ups wait
in a heap of bounded size; when it is full, the story simply isn't continued. Nothing else is
remembered: a member is a number, and all that is fixed about one (device, address, home shop) is
computed from that number.

Same plan, same bytes: every choice comes from one `random.Random(seed)` and only from its
`random()`, whose sequence Python guarantees, and no clock is read. Ids of events and orders carry a
mark of the plan, so that streams of different plans never reuse each other's ids, while members are
shared by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop

from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps
from pointstream.operations.chain import moment_of, trade_until
from pointstream.operations.generate.events import Event
from pointstream.operations.generate.fraud import Fraudsters
from pointstream.operations.generate.plan import Generated, StreamPlan

__all__ = ["generate"]

# A redelivery repeats one of this many latest events.
_REMEMBERED_FOR_REDELIVERY = 512


def generate(plan: StreamPlan) -> Iterator[Generated]:
    """Yield the plan's events in order of emission; nothing occurs at or after the plan's end."""
    return _Story(plan).tell()


class _Story(Fraudsters):
    def tell(self) -> Iterator[Generated]:
        plan, chance, follow_ups = self._plan, self._random, self._follow_ups
        trade = trade_until(plan.start_ms)
        step = (trade_until(plan.end_ms) - trade) / max(plan.events, 1)
        episodes_per_slot = 3 * plan.fraudsters / max(plan.events, 1)
        latest: list[Generated] = []
        for slot in range(plan.events):
            # The end itself belongs to the next period, and rounding must not reach it.
            now_ms = min(moment_of(trade + step * (slot + chance())), plan.end_ms - 1)
            now_ms = max(now_ms, plan.start_ms)
            if latest and chance() < plan.redelivered:
                yield latest[self._below(len(latest))]._replace(again=True)
                continue
            if chance() < episodes_per_slot and self._joined:
                self._begin_fraud(now_ms)
            if follow_ups and follow_ups[0][0] <= now_ms:
                _, _, build, details = heappop(follow_ups)
                event = build(*details)
            else:
                event = self._something_new(slot, now_ms)
            generated = self._finish(event)
            if plan.redelivered:
                if len(latest) < _REMEMBERED_FOR_REDELIVERY:
                    latest.append(generated)
                else:
                    latest[slot % _REMEMBERED_FOR_REDELIVERY] = generated
            yield generated
