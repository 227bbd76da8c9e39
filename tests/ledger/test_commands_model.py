"""Random streams of commands against a simple model, with duplicates and in several batches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_model import Model
from ledger_support import DAY_MS, START_MS, Bench, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.codec import decode_list, split_lot_key
from pointstream.ledger.state import lots_prefix, prefix_stop

PENDING = {"at once": "P0D", "after a day": "P1D"}
COMPILED = {
    name: programme(
        rule("activity", activity="lottery.won", points=1),
        wallets=[{"id": "points", "activation": {"after": after}, "expiry": {"days": 3}}],
        dedup_window="P400D",
        hold_time="PT30H",
    )
    for name, after in PENDING.items()
}

Step = tuple[Any, ...]

points = st.integers(1, 60)
spans = st.sampled_from([0, DAY_MS // 2, DAY_MS, 2 * DAY_MS, 3 * DAY_MS, 4 * DAY_MS])
holds = st.sampled_from(["h1", "h2", "h3"])
earn = st.tuples(st.just("earn"), st.integers(20, 90))
wait = st.tuples(st.just("wait"), spans)
hold = st.tuples(st.just("hold"), holds, points, st.none() | spans)
capture = st.tuples(st.just("capture"), holds, st.none() | points)
void = st.tuples(st.just("void"), holds)
freeze, unfreeze = st.tuples(st.just("freeze")), st.tuples(st.just("unfreeze"))
step = st.one_of(
    earn,
    st.tuples(st.just("redeem"), points),
    hold,
    capture,
    void,
    st.tuples(st.just("adjust"), points, st.none() | spans),
    st.tuples(st.just("adjust"), st.integers(-60, -1), st.none()),
    st.tuples(st.just("clear")),
    freeze,
    unfreeze,
    wait,
    st.tuples(st.just("again"), st.integers(1, 5)),
)


def held_for(steps: tuple[Step, ...], hold_id: str) -> list[Step]:
    """The same steps, about one hold: steps drawn one by one seldom fit together."""
    return [
        (step[0], hold_id, *step[2:]) if step[0] in ("hold", "capture", "void") else step
        for step in steps
    ]


stories = st.one_of(
    step.map(lambda one: [one]),
    st.builds(held_for, st.tuples(earn, wait, earn, hold, wait, capture | void), holds),
    st.tuples(freeze, earn, wait, earn, unfreeze).map(list),
)
streams = st.lists(stories, min_size=3, max_size=25).map(
    lambda told: [one for story in told for one in story]
)

ACTOR = {"actor": {"id": "clerk", "role": "head_office"}, "reason": "asked"}


def body_of(step: Step, number: int, now_ms: int) -> dict[str, Any]:
    """A step as it stands on the wire."""
    kind, *rest = step
    body: dict[str, Any] = {
        "event_id": f"e{number}",
        "member_id": "m1",
        "occurred_at": rfc3339(now_ms),
    }
    if kind == "earn":
        return body | {
            "type": "activity.recorded",
            "activity": "lottery.won",
            "reference": f"r{number}",
            "quantity": rest[0],
        }
    verb = f"account.{kind}" if kind.endswith("freeze") else f"points.{kind}"
    body |= {"type": verb, **ACTOR}
    names = {
        "redeem": ("points",),
        "hold": ("hold_id", "points", "expires_at"),
        "capture": ("hold_id", "points"),
        "void": ("hold_id",),
        "adjust": ("points", "expires_at"),
    }.get(kind, ())
    for name, value in zip(names, rest, strict=True):
        if value is not None:
            body[name] = rfc3339(now_ms + value) if name == "expires_at" else value
    return body


def run(bench: Bench, model: Model, stream: list[Step], *, watch: bool) -> None:
    """Give a stream to both; the answers agree at each step, and with `watch` the books too."""
    given_before: list[tuple[dict[str, Any], Any]] = []
    for number, step in enumerate(stream):
        kind, *rest = step
        if kind == "wait":
            bench.later(ms=rest[0])
            model.wait(rest[0])
        elif kind == "again":
            if not given_before:
                continue
            body, answer = given_before[-min(rest[0], len(given_before))]
            decision = bench.give_body(body)
            assert not decision.entries
            assert decision.result == answer
        else:
            body = body_of(step, number, model.now_ms)
            decision = bench.give_body(body)
            reason = getattr(model, kind)(*rest)
            if kind == "earn":
                assert decision.outcome is Outcome.POINTS_AWARDED
            else:
                assert decision.result is not None
                assert decision.result.get("reason") == reason
                assert decision.result["available_after"] == model.sum("available")
            given_before.append((body, decision.result))
        if watch:
            agree(bench, model)
    bench.flush()
    agree(bench, model)


def agree(bench: Bench, model: Model) -> None:
    """The ledger has what the model has, place by place and lot by lot."""
    bench.flush()
    if b"am1" not in bench.state.values:
        assert not model.lots
        return
    account = bench.account()
    assert account.frozen == model.frozen
    if "points" not in account.wallets:
        assert not model.lots
        return
    totals = bench.wallet()
    places = (model.sum("available"), model.sum("pending"), model.held)
    assert (totals.available, totals.pending, totals.held) == places
    assert (totals.earned, totals.adjusted_up) == (model.earned, model.adjusted_up)
    for how in ("redeemed", "expired", "cleared", "adjusted_down"):
        assert getattr(totals, how) == model.gone.get(how, 0)
    prefix = lots_prefix(b"m1", "points")
    sums: dict[tuple[int, int], int] = {}
    for key, value in bench.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, _ = split_lot_key(key, len(prefix))
        at = (expires_ms, earned_ms)
        sums[at] = sums.get(at, 0) + decode_list(value)[0]
    assert sums == model.by_life()


def model_of(name: str) -> Model:
    return Model(0 if name == "at once" else DAY_MS, 3 * DAY_MS, 30 * 3_600_000, START_MS)


@pytest.mark.case(22, 23, 31)
@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(COMPILED)), streams)
def test_commands_do_what_a_simple_model_does(name: str, stream: list[Step]) -> None:
    """Answer by answer and lot by lot; cut into batches of 7 and 1,000, byte by byte the same."""
    one = Bench(COMPILED[name])
    run(one, model_of(name), stream, watch=True)
    for batch in (7, 1_000):
        bench = Bench(COMPILED[name], batch=batch)
        run(bench, model_of(name), stream, watch=False)
        assert bench.decisions == one.decisions
        assert bench.state.values == one.state.values
        if one.standings:
            assert bench.standings[-1] == one.standings[-1]
