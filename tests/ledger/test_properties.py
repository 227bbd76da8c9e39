"""What holds whatever comes: random streams of everything, against simple models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import conservation, decode_account, is_account_key
from pointstream.ledger.codec import decode_hold, decode_list, split_lot_key, split_pending_key
from pointstream.ledger.decision import Outcome
from pointstream.ledger.memory import SWEEP_EVERY
from pointstream.ledger.records import Account, HoldState
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import (
    NEVER,
    SLIDING_FROM,
    event_key,
    held_prefix,
    lots_prefix,
    pending_prefix,
    prefix_stop,
    timer_key,
)

MEMBERS = ("m1", "m2")
RULES = (
    SPEND,
    rule("order_bonus", points=50, min_minor=30_000),
    rule("spend", id="growth", wallet="growth", per_minor=1_000),
    rule("check_in", points=2, streak={"days": 2, "points": 5}),
    rule("activity", activity="lottery.won", points=7),
)
PROGRAMMES = [
    programme(
        *RULES,
        refund_policy=policy,
        park_window="P2D",
        dedup_window="P9D",
        wallets=[
            {"id": "points", "activation": {"after": pending}, "expiry": {"days": days}},
            {"id": "growth", "spendable": False},
        ],
    )
    for policy in ("only_pending", "within_balance", "debt")
    for pending, days in (("P0D", 0), ("P1D", 3), ("P0D", 3))
] + [
    # All that goes by time: waiting for an activity, sliding, reminders, and what is dated.
    programme(
        *RULES,
        refund_policy=policy,
        park_window="P2D",
        dedup_window="P9D",
        wallets=[
            {
                "id": "points",
                "activation": {"on_activity": "lottery.won", "after": after, "at_latest": "P3D"},
                "expiry": expiry,
                "remind_before": ["PT30H", "PT6H"],
            },
            {"id": "growth", "spendable": False, "expiry": {"kind": "sliding", "days": 2}},
        ],
        clear_outs=[
            {
                "id": "once",
                "at": rfc3339(START_MS + 9 * DAY_MS // 2),
                "remind_before": ["P1D"],
                "condition": {"max_balance": 300},
            }
        ],
        expiry_migrations=[
            {"id": wallet, "at": rfc3339(START_MS + 3 * DAY_MS), "wallet": wallet}
            for wallet in ("points", "growth")
        ],
    )
    for policy, after, expiry in (
        ("only_pending", "P0D", {"days": 2}),
        ("within_balance", "P1D", {"kind": "sliding", "days": 3}),
        ("debt", "P0D", {"kind": "sliding", "days": 1, "end_of": "day"}),
        ("debt", "P0D", {"kind": "calendar", "period": "month"}),
    )
]

IGNORED = {
    Outcome.ORDER_ALREADY_AWARDED,
    Outcome.REFUND_ALREADY_TAKEN,
    Outcome.ORDER_ALREADY_CANCELLED,
    Outcome.ALREADY_CHECKED_IN,
    Outcome.ACTIVITY_ALREADY_AWARDED,
}

Step = tuple[Any, ...]

orders = st.sampled_from(["o1", "o2", "o3"])
holds = st.sampled_from(["h1", "h2"])
money = st.integers(0, 40_000)
steps = st.one_of(
    st.tuples(st.just("order"), orders, money, st.booleans()),
    st.tuples(st.just("refund"), orders, st.sampled_from(["r1", "r2", "r3"]), money),
    st.tuples(st.just("cancel"), orders),
    st.tuples(st.just("redeem"), st.integers(1, 400), st.none() | orders),
    st.tuples(st.just("check-in")),
    st.tuples(st.just("activity"), st.sampled_from(["a", "o1", "o2"])),
    st.tuples(st.just("hold"), holds, st.integers(1, 400), st.none() | st.integers(1, 4 * DAY_MS)),
    st.tuples(st.just("capture"), holds, st.none() | st.integers(1, 400)),
    st.tuples(st.just("void"), holds),
    st.tuples(st.just("adjust"), st.integers(1, 300), st.none() | st.integers(0, 3 * DAY_MS)),
    st.tuples(st.just("adjust"), st.integers(-300, -1), st.none()),
    st.tuples(st.just("clear")),
    st.tuples(st.just("freeze")),
    st.tuples(st.just("unfreeze")),
    st.tuples(st.just("wait"), st.integers(0, 2 * DAY_MS)),
)
streams = st.lists(st.tuples(st.sampled_from(MEMBERS), steps), max_size=40)


def bodies(stream: Sequence[tuple[str, Step]]) -> list[dict[str, Any] | int]:
    """The stream as bodies on the wire; a number is a wait in ms."""
    made: list[dict[str, Any] | int] = []
    now_ms = START_MS
    for number, (member, step) in enumerate(stream):
        body: dict[str, Any] = {
            "event_id": f"e{number}",
            "member_id": member,
            "occurred_at": rfc3339(now_ms),
        }
        match step:
            case ("wait", int(ms)):
                now_ms += ms
                made.append(ms)
                continue
            case ("order", str(order), int(minor), bool(split)):
                body |= {"type": "order.paid", "order_id": order, "paid_minor": minor}
                body["currency"] = "CNY"
                if split:
                    body["lines"] = [
                        {"line_id": "1", "quantity": 1, "paid_minor": minor // 3, "earns": False},
                        {"line_id": "2", "quantity": 1, "paid_minor": minor - minor // 3},
                    ]
            case ("refund", str(order), str(refund), int(minor)):
                body |= {"type": "order.refunded", "order_id": order}
                body |= {"refund_id": refund, "refunded_minor": minor // 4}
            case ("cancel", str(order)):
                body |= {"type": "order.cancelled", "order_id": order}
            case ("redeem", int(points), order):
                body |= {"type": "points.redeem", "points": points}
                body["actor"] = {"id": member, "role": "member"}
                if order is not None:
                    body["order_id"] = order
            case ("hold", str(hold), int(points), lasts_ms):
                body |= {"type": "points.hold", "hold_id": hold, "points": points}
                if lasts_ms is not None:
                    body["expires_at"] = rfc3339(now_ms + lasts_ms)
            case ("capture", str(hold), points):
                body |= {"type": "points.capture", "hold_id": hold}
                if points is not None:
                    body["points"] = points
            case ("void", str(hold)):
                body |= {"type": "points.void", "hold_id": hold}
            case ("adjust", int(points), lives_ms):
                body |= {"type": "points.adjust", "points": points}
                if lives_ms is not None:
                    body["expires_at"] = rfc3339(now_ms + lives_ms)
            case ("clear",):
                body["type"] = "points.clear"
            case ("freeze" | "unfreeze" as verb,):
                body["type"] = f"account.{verb}"
            case ("activity", str(reference)):
                body |= {"type": "activity.recorded", "activity": "lottery.won"}
                body["reference"] = reference
            case _:
                body["type"] = "checkin.recorded"
        if body["type"].startswith(("points.", "account.")):
            body.setdefault("actor", {"id": "clerk", "role": "head_office"})
            body.setdefault("reason", "asked")
        made.append(body)
    return made


def run(bench: Bench, made: Sequence[dict[str, Any] | int], *, watch: bool = False) -> Bench:
    for body in made:
        if isinstance(body, int):
            bench.later(ms=body)
        else:
            bench.give_body(body)
        if watch:
            check_books(bench)
    bench.flush()
    return bench


def check_books(bench: Bench) -> None:
    """Every account agrees with itself and with its lots; nothing is below zero."""
    for key, value in bench.books().items():
        if not is_account_key(key):
            continue
        account = decode_account(key, value)
        for wallet, came_in, accounted_for in conservation(account):
            assert came_in == accounted_for
            check_wallet(bench, account, wallet)


def check_wallet(bench: Bench, account: Account, wallet: str) -> None:
    totals = account.wallets[wallet]
    assert min(totals.available, totals.pending, totals.held, totals.debt) >= 0
    assert not (totals.debt and totals.available)
    prefix = lots_prefix(account.member, wallet)
    buckets: dict[int, int] = {}
    for key, value in bench.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, _, _ = split_lot_key(key, len(prefix))
        points = decode_list(value)[0]
        assert points > 0
        buckets[expires_ms] = buckets.get(expires_ms, 0) + points
    assert sum(buckets.values()) == totals.available
    dated = [[expires, points] for expires, points in buckets.items() if expires < SLIDING_FROM]
    slides = {expires: points for expires, points in buckets.items() if expires >= SLIDING_FROM}
    slides.pop(NEVER, None)
    assert slides == {expires: points for expires, points, _ in totals.slides if points}
    assert totals.horizon == dated[: len(totals.horizon)]
    assert totals.beyond or len(totals.horizon) == len(dated)
    assert bool(totals.horizon) == bool(dated)

    prefix = pending_prefix(account.member, wallet)
    calendar = bench.programme.calendar
    ends = [expires_ms for expires_ms, _ in dated]
    ends += [ends_ms(calendar, account, totals, expires_ms) for expires_ms in slides]
    pending, due = 0, list(ends)
    for key, value in bench.state.scan(prefix, prefix_stop(prefix)):
        activates_ms = split_pending_key(key, len(prefix))[0]
        due += [activates_ms] if activates_ms != NEVER else []
        pending += decode_list(value)[0]
    assert pending == totals.pending
    if account.frozen:
        due = list(ends)  # what is pending waits for a command
    check_holds(bench, account, wallet)
    for lead_ms in bench.programme.wallets[wallet].leads_ms:
        told_day = account.reminded.get(f"{wallet} {lead_ms}", -1)
        due += [
            end_ms - lead_ms
            for end_ms in ends
            if end_ms - lead_ms > bench.ledger.now_ms and calendar.local_day(end_ms) > told_day
        ]
    if due:
        assert 0 < account.timer_ms <= min(due)
        assert bench.state.get(timer_key(account.timer_ms, b"a" + account.member)) is not None


def check_holds(bench: Bench, account: Account, wallet: str) -> None:
    """Held lots belong to open holds and add up to what is held; each open hold has its timer."""
    held = 0
    for key, value in bench.books().items():
        prefix = b"H" + account.member + b"\0"
        if not key.startswith(prefix):
            continue
        hold, hold_id = decode_hold(value), key[len(prefix) :]
        lots_start = held_prefix(account.member, hold.wallet, hold_id.decode())
        parts = [
            decode_list(lot)[0] for _, lot in bench.state.scan(lots_start, prefix_stop(lots_start))
        ]
        timer = timer_key(hold.due_ms, b"h" + account.member + b"\0" + hold_id)
        is_open = hold.state is HoldState.OPEN
        assert sum(parts) == (hold.points if is_open else 0)
        assert (bench.state.get(timer) is not None) == is_open
        assert (hold.until_ms == NEVER) == is_open
        held += sum(parts) if hold.wallet == wallet else 0
    assert held == account.wallets[wallet].held


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PROGRAMMES), streams)
def test_books_agree_after_every_record(compiled: Any, stream: list[tuple[str, Step]]) -> None:
    """Conservation, lots, horizon and timers agree, and seq has no gap."""
    bench = run(Bench(compiled), bodies(stream), watch=True)

    for member in MEMBERS:
        mine = [entry for entry in bench.entries if entry["member_id"] == member]
        assert [entry["seq"] for entry in mine] == list(range(1, len(mine) + 1))
        balance = {"points": 0, "growth": 0}
        for entry in mine:
            balance[entry["wallet"]] += entry["delta"]
            assert entry["available_after"] == balance[entry["wallet"]]
            assert sum(lot["delta"] for lot in entry["lots"]) in lots_of(entry)
    assert len({entry["event_id"] for entry in bench.entries}) == len(bench.entries)


def lots_of(entry: dict[str, Any]) -> Sequence[int]:
    """What the lots of an entry may have gained or lost in all."""
    amount, delta = entry["amount"], entry["delta"]
    match entry["type"]:
        case "points.earned":  # points that were over already: in a lot, and never spendable
            return delta, amount
        case "points.pending":
            return (amount,)
        case "points.activated":  # they were in the lot before; what pays a debt leaves it
            return (delta - amount,)
        case "points.restored" | "points.adjusted" | "points.voided":
            return (delta,)
        case "points.captured":  # they left their lots when they were held
            return (0,)
        case "points.reversed":  # what has become debt was in no lot
            return range(-amount, delta + 1)
    return (-amount,)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PROGRAMMES), streams)
def test_what_entries_say_of_a_lot_adds_up_to_what_is_in_it(
    compiled: Any, stream: list[tuple[str, Step]]
) -> None:
    """Lot by lot, pending and spendable: a reader needs no other source to know them."""
    bench = run(Bench(compiled), bodies(stream))

    told: dict[str, int] = {}
    for entry in bench.entries:
        for lot in entry["lots"]:
            told[lot["lot_id"]] = told.get(lot["lot_id"], 0) + lot["delta"]
            assert told[lot["lot_id"]] >= 0
    there: dict[str, int] = {}
    for key, value in bench.books().items():
        if key[:1] in b"lq":
            prefix = len(key) - len(key.split(b"\0", 2)[2])
            lot_id = (
                split_lot_key(key, prefix)[-1]
                if key[:1] == b"l"
                else split_pending_key(key, prefix)[-1]
            )
            there[lot_id] = decode_list(value)[0]
    assert {lot_id: points for lot_id, points in told.items() if points} == there


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PROGRAMMES), streams, st.integers(2, 9))
def test_batches_and_restarts_change_nothing(
    compiled: Any, stream: list[tuple[str, Step]], batch: int
) -> None:
    """Entries, answers and state are the same bytes however the stream is cut."""
    made = bodies(stream)
    one = run(Bench(compiled), made)
    for bench in (Bench(compiled, batch=batch), Bench(compiled, batch=1_000)):
        run(bench, made)
        assert bench.decisions == one.decisions
        assert bench.state.values == one.state.values
        last = {s.member_id: s for s in one.standings}
        assert {s.member_id: s for s in bench.standings} == last
    restarted = Bench(compiled)
    for body in made:
        run(restarted, [body])
        restarted.restart()
    assert restarted.decisions == one.decisions
    assert restarted.state.values == one.state.values


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PROGRAMMES), streams, st.data())
def test_duplicates_change_nothing(
    compiled: Any, stream: list[tuple[str, Step]], data: st.DataObject
) -> None:
    """Redelivered at once or a little later, a record moves no point and no byte."""
    made = bodies(stream)
    plain = run(Bench(compiled), made)
    repeated = Bench(compiled)
    offsets: list[int] = []
    given_before: list[tuple[int, dict[str, Any]]] = []
    for body in made:
        offset = repeated.offset
        run(repeated, [body])
        if isinstance(body, int):
            continue
        offsets.append(offset)
        given_before.append((repeated.now_ms, body))
        # Given again after it became a dead letter, or after the window, an event counts.
        dead = {
            letter.source.offset
            for decision in repeated.decisions
            for letter in decision.dead_letters
        }
        again = [
            earlier
            for number, (at_ms, earlier) in enumerate(given_before)
            if repeated.now_ms - at_ms < 8 * DAY_MS and offsets[number] not in dead
        ][-5:]
        if not again:
            continue
        before = repeated.books()
        decision = repeated.give_body(data.draw(st.sampled_from(again)))
        assert not decision.entries
        if decision.outcome is not Outcome.PARKED_UNTIL_ORDER:
            assert repeated.books() == before

    def moves(bench: Bench) -> list[tuple[Any, ...]]:
        return [(e["event_id"], e["seq"], e["amount"], e["lots"]) for e in bench.entries]

    assert moves(repeated) == moves(plain)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PROGRAMMES), streams)
def test_what_is_not_taken_leaves_the_books_untouched(
    compiled: Any, stream: list[tuple[str, Step]]
) -> None:
    """Refused events change no byte; ignored ones leave their id, rejected commands the answer."""
    bench = Bench(compiled)
    for body in bodies(stream):
        if isinstance(body, int):
            bench.later(ms=body)
            continue
        bench.tick(bench.now_ms)  # what is due rings before, and is not the record's doing
        before = bench.books()
        decision = bench.give_body(body)
        after = bench.books()
        refused = [letter.code.value for letter in decision.dead_letters]
        rejected = decision.result is not None and decision.result["outcome"] == "rejected"
        if decision.outcome.value in refused:
            assert after == before
        elif decision.outcome in IGNORED or rejected:
            del after[event_key(body["member_id"].encode(), body["event_id"])]
            assert after == before
        else:
            assert after != before


refund_plans = st.tuples(
    st.lists(st.tuples(st.integers(0, 20_000), st.booleans()), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9_000)), max_size=5),
    st.integers(0, 300),
)


@settings(max_examples=150, deadline=None)
@given(refund_plans, st.data())
def test_refunds_in_any_order_equal_a_recomputation(plan: Any, data: st.DataObject) -> None:
    """What is left is points(P - R) and the share of paid points, whoever arrives first.

    With `debt` nothing is written off, so the net balance is exactly the recomputation.
    """
    lines, refunds, redeemed = plan
    paid = [minor for minor, _ in lines]
    left = list(paid)
    unspecified = 0
    events: list[tuple[str, Any]] = [("order", None)]
    for number, (line, minor) in enumerate(refunds):
        if line < len(left):
            minor = min(minor, left[line], sum(left) - unspecified)
            left[line] -= minor
            events.append((f"r{number}", [{"line_id": str(line), "refunded_minor": minor}]))
        else:
            minor = min(minor, sum(left) - unspecified)
            unspecified += minor
            events.append((f"r{number}", minor))
    bench = Bench(programme(*RULES, refund_policy="debt", wallets=PROGRAMMES[0].source.wallets))
    bench.order("before", 300)
    if redeemed:
        events.append(("redeem", redeemed))

    for name, content in data.draw(st.permutations(events)):
        if name == "order":
            bench.give(
                "order.paid",
                order_id="o",
                currency="CNY",
                paid_minor=sum(paid),
                lines=[
                    {"line_id": str(i), "quantity": 1, "paid_minor": minor, "earns": earns}
                    for i, (minor, earns) in enumerate(lines)
                ],
            )
        elif name == "redeem":
            bench.redeem(content, order_id="o")
        elif isinstance(content, int):
            bench.give("order.refunded", order_id="o", refund_id=name, refunded_minor=content)
        else:
            bench.give(
                "order.refunded",
                order_id="o",
                refund_id=name,
                refunded_minor=content[0]["refunded_minor"],
                lines=content,
            )

    earning = sum(minor for minor, (_, earns) in zip(left, lines, strict=True) if earns)
    total = sum(left)
    if total:
        earning = earning * (total - unspecified) // total
    expected = 350 + earning // 100 + (50 if earning >= 30_000 else 0)
    returned = sum(paid) - total + unspecified
    if sum(paid):
        expected += redeemed * returned // sum(paid) - redeemed
    else:
        expected += 0 if redeemed and len(refunds) else -redeemed
    totals = bench.wallet()
    assert totals.available - totals.debt == expected
    assert totals.written_off == 0


FORGETFUL = [
    programme(
        *RULES,
        refund_policy=policy,
        park_window="P1D",
        dedup_window="P1D",
        refund_window="P3D",
        wallets=[
            {"id": "points", "activation": {"after": pending}, "expiry": {"days": days}},
            {"id": "growth", "spendable": False},
        ],
    )
    for policy in ("within_balance", "debt")
    for pending, days in (("P0D", 0), ("P1D", 3), ("P0D", 1))
]


acts = st.sampled_from(
    [
        ("order", "o1", 40_000, False),
        ("refund", "o1", "r1", 4_000),
        ("refund", "o1", "r2", 4_000),
        ("cancel", "o1"),
        ("redeem", 50, "o1"),
        ("hold", "h1", 30, None),
        ("hold", "h1", 200, 5 * DAY_MS),
        ("capture", "h1", 10),
        ("void", "h1"),
        ("freeze",),
        ("unfreeze",),
    ]
)
long_lives = st.lists(st.tuples(acts, st.integers(1, 4)), min_size=3, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORGETFUL), long_lives)
def test_when_the_sweep_comes_by_changes_no_decision(
    compiled: Any, rounds: list[tuple[Step, int]]
) -> None:
    """Swept after every record or never: what is over counts no more, what is not over counts."""
    steps: list[Step] = [("order", "o0", 30_000, False)]
    for act, half_days in rounds:
        steps += [act, ("wait", half_days * DAY_MS // 2)]
    made = bodies([("m1", step) for step in steps])
    swept, never = Bench(compiled), Bench(compiled)
    for body in made:
        swept.ledger.open(swept.state)
        swept.ledger._memory.new = SWEEP_EVERY
        swept.ledger._memory.sweep()
        swept.ledger.close()
        never.ledger._memory.new = 0
        run(swept, [body])
        run(never, [body])

    assert swept.decisions == never.decisions
