"""Points that are pending while others than the member's own partition may judge their event."""

from __future__ import annotations

from typing import Any

import pytest
from flags_support import review
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, START_MS, Bench, rule
from tiers_support import ladder, tier
from watch_support import HOUR_MS, MINUTE_MS, detector, watched

from pointstream.contracts.wire import rfc3339
from pointstream.operations.history import MemberThen

FARM = detector("distinct", id="farm", entity="device", of="member", limit=5, within="P1D")
HOLDING = {**FARM, "action": "hold"}
CLERKS = detector(
    "velocity",
    id="clerks",
    entity="staff",
    types=["points.adjust"],
    measure="points",
    limit=500,
    within="P1D",
    action="hold",
)
CLERK = {"id": "anna", "role": "store", "store_id": "s1"}


def waiting(
    *detectors: dict[str, Any], settings: dict[str, Any] | None = None, **fields: Any
) -> Bench:
    """Points wait for ten minutes."""
    fields.setdefault("pending_window", "PT10M")
    return Bench(watched(*(detectors or (HOLDING,)), settings=settings, **fields))


def where(bench: Bench, member: str = "m1") -> tuple[int, int]:
    """What can be spent, and what is pending."""
    wallet = bench.wallet(member)
    return wallet.available, wallet.pending


@pytest.mark.parametrize("late_ms", [0, HOUR_MS])
def test_points_wait_from_when_their_event_was_taken(late_ms: int) -> None:
    """However late it came: its flag comes after it, not after its date."""
    bench = waiting()
    bench.order("a", 10, device_id="D", occurred_ms=START_MS - late_ms)
    bench.later(ms=10 * MINUTE_MS - 1)
    assert where(bench) == (0, 10)

    bench.later(ms=1)

    assert where(bench) == (10, 0)
    activated = bench.entries[-1]
    assert (activated["type"], activated["occurred_at"]) == (
        "points.activated",
        rfc3339(START_MS + 10 * MINUTE_MS),
    )


@pytest.mark.parametrize(
    ("detectors", "event", "pending"),
    [
        ([HOLDING], {"device_id": "D"}, 10),
        ([HOLDING], {"ip": "203.0.113.7", "store_id": "s1"}, 0),
        ([FARM], {"device_id": "D"}, 0),
        ([{**HOLDING, "enabled": False}], {"device_id": "D"}, 0),
        ([{**HOLDING, "types": ["checkin.recorded"]}], {"device_id": "D"}, 0),
        ([{**HOLDING, "entity": "ip24"}], {"ip": "203.0.113.7"}, 10),
        ([{**HOLDING, "entity": "member", "of": "device"}], {"device_id": "D"}, 0),
        ([detector("spike", entity="store", types=["order.paid"], floor=99)], {"store_id": "s"}, 0),
        (
            [detector("spike", entity="store", types=["order.paid"], floor=99, action="block")],
            {"store_id": "s"},
            10,
        ),
    ],
)
def test_points_wait_only_where_a_detector_elsewhere_could_hold_them(
    detectors: list[dict[str, Any]], event: dict[str, Any], pending: int
) -> None:
    """By what the event names, its type and the detector's action."""
    bench = waiting(*detectors)
    bench.order("a", 10, **event)
    assert where(bench) == (10 - pending, pending)


def test_what_is_on_the_allow_list_lets_nothing_wait() -> None:
    """It trips nothing either."""
    bench = waiting(allow=[{"entity": "device", "id": "D"}])
    bench.order("a", 10, device_id="D")
    assert where(bench) == (10, 0)


@pytest.mark.case(36)
def test_points_of_a_referral_wait_whatever_it_names() -> None:
    """Any referral can close a circle."""
    gift = rule("referral", points=50, when="registered")
    sets = {"rule_sets": [{"id": "s", "version": 1, "rules": [gift]}]}
    bench = waiting(detector("referral_cycle", action="hold"), settings=sets)
    bench.give("referral.registered", "m1", referee_id="m2")
    assert where(bench) == (0, 50)


def test_the_later_activation_of_a_wallet_stands() -> None:
    """And one that is earlier gives way to the window."""
    for after, pending in (("PT5M", 10), ("PT1H", 60)):
        wallets = [{"id": "points", "activation": {"after": after}}]
        bench = waiting(settings={"wallets": wallets})
        bench.order("a", 10, device_id="D")
        bench.later(ms=pending * MINUTE_MS - 1)
        assert where(bench) == (0, 10)
        bench.later(ms=1)
        assert where(bench) == (10, 0)


def test_points_that_cannot_be_spent_do_not_wait() -> None:
    """A wallet that only measures a tier is no loot."""
    growth = rule("spend", id="growth", points=1, per_minor=100, wallet="growth")
    wallets = [{"id": "points"}, {"id": "growth", "spendable": False}]
    sets = {"wallets": wallets, "rule_sets": [{"id": "s", "version": 1, "rules": [growth]}]}
    bench = waiting(settings=sets)
    bench.order("a", 10, device_id="D")
    assert bench.wallet(wallet="growth").available == 10


def test_points_that_end_within_the_window_do_not_wait() -> None:
    """They would never be anybody's; those that end after it do, and keep their end."""
    wallets = [{"id": "points", "expiry": {"kind": "rolling", "days": 1}}]
    for late_ms, pending in ((DAY_MS - 10 * MINUTE_MS, 0), (DAY_MS - 10 * MINUTE_MS - 1, 10)):
        bench = waiting(settings={"wallets": wallets})
        bench.order("a", 10, device_id="D", occurred_ms=START_MS - late_ms)
        assert where(bench) == (10 - pending, pending)
        bench.later(1)
        assert bench.moved("expired") == [10]
        (expired,) = (entry for entry in bench.entries if entry["type"] == "points.expired")
        assert expired["occurred_at"] == rfc3339(START_MS - late_ms + DAY_MS)


@pytest.mark.parametrize("first", ["order", "completion"])
def test_a_completion_activates_nothing_within_the_window(first: str) -> None:
    """An order that is completed seconds after it was paid waits on."""
    wallets = [{"id": "points", "activation": {"on_activity": "order.completed"}}]
    bench = waiting(settings={"wallets": wallets})

    def complete() -> None:
        bench.give("activity.recorded", activity="order.completed", reference="a")

    if first == "completion":
        complete()
    bench.order("a", 10, device_id="D")
    if first == "order":
        complete()

    assert where(bench) == (0, 10)
    bench.later(ms=10 * MINUTE_MS)
    assert where(bench) == (10, 0)


@pytest.mark.parametrize("first", ["order", "completion"])
def test_what_ends_within_the_window_is_activated_by_the_completion(first: str) -> None:
    """To wait on would be to lose it: the completion came in time, and its member did nothing."""
    activation = {"on_activity": "order.completed"}
    expiry = {"kind": "rolling", "days": 1}
    bench = waiting(
        settings={"wallets": [{"id": "points", "activation": activation} | {"expiry": expiry}]}
    )
    late_ms = DAY_MS - 10 * MINUTE_MS
    order = {"device_id": "D", "occurred_ms": START_MS - late_ms}
    completion = {"activity": "order.completed", "reference": "a"}

    if first == "order":
        bench.order("a", 10, **order)
    bench.give("activity.recorded", **completion)
    if first == "completion":
        bench.order("a", 10, **order)

    assert where(bench) == (10, 0)


@pytest.mark.case(14)
def test_an_order_refunded_within_the_window_never_activates() -> None:
    """A refund finds the points where they wait."""
    bench = waiting()
    bench.order("a", 10, device_id="D")
    bench.refund("a", "r", 10)
    assert where(bench) == (0, 0)
    bench.later(1)
    assert bench.moved("activated") == []


def test_what_a_budget_grants_waits_as_well() -> None:
    """The window is the event's: an answer that comes after it lets nothing wait."""

    class Slow(Bench):
        held = True

        def deliver(self) -> None:
            if not self.held:
                super().deliver()

    spend = rule("spend", points=1, per_minor=100, budget="autumn")
    sets = {
        "rule_sets": [{"id": "s", "version": 1, "rules": [spend]}],
        "budgets": [{"id": "autumn", "points": 1_000, "campaign_id": "autumn"}],
    }
    compiled = watched(HOLDING, settings=sets, pending_window="PT10M")
    for minutes, pending in ((9, 10), (10, 0)):
        bench = Slow(compiled)
        bench.order("a", 10, device_id="D")
        bench.later(ms=minutes * MINUTE_MS)
        bench.held = False
        bench.deliver()
        assert where(bench) == (10 - pending, pending)
        bench.later(1)
        assert where(bench) == (10, 0)


def test_what_a_clerk_gives_waits_and_is_no_progress_towards_a_tier() -> None:
    """As what is given by hand never is; an entry that names points into a lot, but no delta."""
    tiers = {"ladders": [ladder(tier("gold", 100))]}
    bench = waiting(CLERKS, settings=tiers)
    bench.adjust(400, actor=CLERK, store_id="s1")
    bench.adjust(50)
    assert where(bench) == (50, 400)
    given_ = bench.entries[0]
    assert (given_["type"], given_["amount"], given_["delta"]) == ("points.adjusted", 400, 0)
    assert [lot["delta"] for lot in given_["lots"]] == [400]

    bench.later(ms=10 * MINUTE_MS)

    assert where(bench) == (450, 0)
    assert bench.tier_changes == []


@pytest.mark.case(39)
@pytest.mark.parametrize(("how", "left"), [("release", 1_200), ("reject", 0)])
def test_what_a_clerk_gives_comes_under_the_flag_where_it_waits(how: str, left: int) -> None:
    """All of it was pending, and all of it comes or goes by the review."""
    bench = waiting(CLERKS)
    for nth in range(3):
        bench.adjust(400, event_id=f"a{nth}", actor=CLERK, store_id="s1")
    (flag_id,) = {flag["flag_id"] for flag in bench.flags}
    bench.later(1)
    assert where(bench) == (0, 1_200)

    review(bench, how, flag_id)

    assert where(bench) == (left, 0)
    assert bench.moved("held") == []


def test_a_balance_of_a_moment_shows_what_waited_as_pending() -> None:
    """Also what was given by hand, which no entry calls pending."""
    bench = waiting(HOLDING, CLERKS)
    bench.adjust(400, actor=CLERK, store_id="s1")
    bench.order("a", 10, device_id="D")
    bench.later(ms=MINUTE_MS)
    for minutes, pending in ((1, 2), (10, 0)):
        bench.tick(START_MS + minutes * MINUTE_MS)
        then = MemberThen("m1")
        for entry in bench.entries:
            then.add(entry)
        lots = then.wallets["points"].lots.values()
        assert [lot.pending for lot in lots] == [True] * pending + [False] * (2 - pending)


@settings(max_examples=60)
@given(st.data())
def test_with_a_window_members_end_with_what_they_would_have_without(data: st.DataObject) -> None:
    """Once everything has waited: the same points in the same lots, but for what was spent."""
    steps = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["order", "refund", "cancel", "check_in", "adjust", "later"]),
                st.integers(1, 3),
                st.sampled_from(["D", None]),
            ),
            max_size=20,
        )
    )
    ends = []
    for window in ("PT0S", "PT10M"):
        bench = waiting(HOLDING, CLERKS, pending_window=window)
        for nth, (what, number, device) in enumerate(steps):
            if what == "order":
                bench.order(f"o{number}", 30, device_id=device)
            elif what == "refund":
                bench.refund(f"o{number}", f"r{nth}", 10, device_id=device)
            elif what == "cancel":
                bench.cancel(f"o{number}")
            elif what == "check_in":
                bench.check_in(device_id=device)
            elif what == "adjust":
                bench.adjust(number, actor=CLERK, store_id="s1")
            else:
                bench.later(ms=number * 4 * MINUTE_MS)
        bench.check_in()
        bench.later(1)
        # Lots are named after entries, of which there are more where points waited.
        ends.append((where(bench), sorted(bench.lots().values()), bench.wallet().reversed))
    assert ends[0] == ends[1]
