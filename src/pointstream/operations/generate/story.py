"""The row of slots: each gets a follow-up that has come due, else something fresh."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop

from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps
from pointstream.operations.chain import moment_of, trade_until
from pointstream.operations.generate.events import Event
from pointstream.operations.generate.fraud import Fraudsters
from pointstream.operations.generate.plan import Generated, Label, StreamPlan

__all__ = ["generate"]

# A redelivery repeats one of this many latest events.
_REMEMBERED_FOR_REDELIVERY = 512


def generate(plan: StreamPlan) -> Iterator[Generated]:
    """Yield the plan's events in order of emission; nothing occurs at or after the plan's end."""
    return _Story(plan).tell()


class _Story(Fraudsters):
    def __init__(self, plan: StreamPlan) -> None:
        super().__init__(plan)
        self._topics: dict[str, str] = {}

    def tell(self) -> Iterator[Generated]:
        plan, chance, follow_ups = self._plan, self._random, self._follow_ups
        trade = trade_until(plan.start_ms)
        step = (trade_until(plan.end_ms) - trade) / max(plan.events, 1)
        latest: list[Generated] = []
        for slot in range(plan.events):
            # The end itself belongs to the next period, and rounding must not reach it.
            now_ms = min(moment_of(trade + step * (slot + chance())), plan.end_ms - 1)
            now_ms = max(now_ms, plan.start_ms)
            if latest and chance() < plan.redelivered:
                yield latest[self._below(len(latest))]._replace(again=True, at_ms=now_ms)
                continue
            self._maybe_begin_fraud(now_ms)
            if follow_ups and follow_ups[0][0] <= now_ms:
                _, _, build, details = heappop(follow_ups)
                event = build(*details)
            else:
                event = self._something_new(slot, now_ms)
            generated = self._finish(event, now_ms)
            if plan.redelivered:
                if len(latest) < _REMEMBERED_FOR_REDELIVERY:
                    latest.append(generated)
                else:
                    latest[slot % _REMEMBERED_FOR_REDELIVERY] = generated
            yield generated

    def _finish(self, event: Event, now_ms: int) -> Generated:
        label: Label | None = event.pop("label", None)
        kind = event["type"]
        topic = self._topics.get(kind)
        if topic is None:
            topic = self._topics[kind] = topic_of_type(kind)
        return Generated(topic, event["member_id"].encode(), dumps(event), False, now_ms, label)
