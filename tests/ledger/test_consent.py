"""Four eyes: what is above its actor's limit waits for a second actor."""

from __future__ import annotations

from typing import Any

import pytest
from consent_support import (
    BOSS,
    ELSEWHERE,
    MANAGER,
    TILL,
    answer_to,
    bench_of,
    review,
    waiting,
)
from ledger_support import DAY_MS, outcomes

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome


def test_above_the_limit_a_command_waits_and_a_flag_says_so() -> None:
    """No entry, no answer; the flag tells a reviewer what is asked and until when."""
    bench = bench_of()
    before = bench.wallet()

    asked = bench.adjust(150, event_id="c1", actor=TILL, store_id="s1")

    assert (asked.outcome, asked.entries, asked.result) == (Outcome.AWAITING_CONSENT, [], None)
    assert bench.wallet() == before
    (flag,) = bench.flags
    assert (flag["state"], flag["action"], flag["detector"]) == ("raised", "hold", "four_eyes")
    assert (flag["entity_kind"], flag["entity_id"]) == ("member", "m1")
    assert (flag["observed"], flag["threshold"], flag["evidence"]) == (150, 100, ["c1"])
    assert flag["flag_id"].startswith("consent-")
    until = rfc3339(bench.now_ms + 7 * DAY_MS)
    assert flag["explanation"] == (
        "points.adjust of 150 points by till-4 (store) is above the limit of 100: another actor"
        f" decides by review.release or review.reject, until {until}"
    )


@pytest.mark.parametrize(
    ("give", "fields"),
    [
        ("points.adjust", {"points": 100, "reason": "r"}),
        ("points.adjust", {"points": -100, "reason": "r"}),
        ("points.redeem", {"points": 100}),
        ("points.hold", {"points": 100, "hold_id": "h1"}),
    ],
)
def test_the_limit_itself_is_allowed_and_one_point_more_waits(
    give: str, fields: dict[str, Any]
) -> None:
    """Up or down; a role without a limit of its own never waits."""
    bench = bench_of()
    ours: dict[str, Any] = {"actor": TILL, "store_id": "s1"}
    more = {**fields, "points": fields["points"] + (1 if fields["points"] > 0 else -1)}

    assert bench.give(give, **more, **ours).outcome is Outcome.AWAITING_CONSENT
    assert bench.give(give, **fields, **ours).result["outcome"] == "accepted"
    again = {**more, "hold_id": "h2"} if give == "points.hold" else more
    by_system = bench.give(give, **again, actor={"id": "job", "role": "system"})
    assert by_system.result["outcome"] == "accepted"


def test_clearing_counts_what_it_would_take() -> None:
    """The balance of the moment, not a number in the command."""
    bench = bench_of()
    bench.order("o2", 200)

    assert bench.clear().outcome is Outcome.POINTS_CLEARED
    bench.order("o3", 501)
    assert bench.clear().outcome is Outcome.AWAITING_CONSENT
    assert (bench.flags[-1]["observed"], bench.flags[-1]["threshold"]) == (501, 500)


def test_consent_lets_it_take_effect_as_of_now() -> None:
    """The entry names who asked, who confirmed, why, and the command's own record."""
    bench = bench_of(wallets=[{"id": "points", "expiry": {"days": 30}}])
    flag_id = waiting(bench)
    asked_at = bench.offset - 1
    bench.later(3)

    consent = review(bench, "release", flag_id, BOSS, event_id="r1", reason="seen the kettle")

    assert consent.outcome is Outcome.REVIEW_RELEASED
    assert answer_to(bench, "r1")["outcome"] == "accepted"
    assert answer_to(bench, "c1") == {
        "command_id": "c1",
        "type": "points.adjust",
        "member_id": "m1",
        "outcome": "accepted",
        "seq": 2,
        "available_after": 450,
    }
    (entry,) = consent.entries
    assert (entry["type"], entry["delta"], entry["store_id"]) == ("points.adjusted", 150, "s1")
    assert (entry["actor_id"], entry["confirmed_by"]) == ("till-4", "boss")
    assert (entry["reason"], entry["cause_type"]) == ("broken kettle", "points.adjust")
    assert (entry["cause_event_id"], entry["cause_offset"]) == ("c1", asked_at)
    assert entry["occurred_at"] == rfc3339(bench.now_ms)
    assert entry["lots"][0]["expires_at"] == rfc3339(bench.now_ms + 30 * DAY_MS)
    flag = bench.flags[-1]
    assert (flag["flag_id"], flag["state"]) == (flag_id, "released")
    assert flag["evidence"] == ["c1", "r1"]
    assert flag["explanation"] == "boss (head_office) consents: seen the kettle"


def test_an_entry_without_a_second_actor_names_none() -> None:
    """Below the limit one actor is enough."""
    bench = bench_of()

    (entry,) = bench.adjust(100, actor=TILL, store_id="s1").entries

    assert "confirmed_by" not in entry


@pytest.mark.parametrize(
    ("actor", "fields", "outcome"),
    [
        (TILL, {}, Outcome.NOT_PERMITTED),
        ({"id": "till-4", "role": "head_office"}, {}, Outcome.NOT_PERMITTED),
        (MANAGER, {}, Outcome.NOT_PERMITTED),
        (ELSEWHERE, {}, Outcome.NOT_PERMITTED),
        (ELSEWHERE, {"store_id": "s1"}, Outcome.NOT_PERMITTED),
        ({"id": "m1", "role": "member"}, {}, Outcome.NOT_PERMITTED),
        (BOSS, {}, Outcome.REVIEW_RELEASED),
        ({"id": "job", "role": "system"}, {}, Outcome.REVIEW_RELEASED),
    ],
)
def test_the_second_actor_is_another_and_could_do_it_alone(
    actor: dict[str, Any], fields: dict[str, Any], outcome: Outcome
) -> None:
    """Not the first under another role, no other shop, no limit below; refused, it waits on."""
    bench = bench_of()
    flag_id = waiting(bench)

    decision = review(bench, "release", flag_id, actor, **fields)

    assert decision.outcome is outcome
    assert bench.available() == (450 if outcome is Outcome.REVIEW_RELEASED else 300)
    if outcome is Outcome.NOT_PERMITTED:
        assert review(bench, "release", flag_id, BOSS).outcome is Outcome.REVIEW_RELEASED


def test_a_colleague_with_the_limit_for_it_may_consent() -> None:
    """A shop consents to what its own limit covers: here a command that always needs two."""
    bench = bench_of(consent_always=["points.adjust"])
    bench.adjust(50, actor=TILL, store_id="s1")
    flag_id = bench.flags[-1]["flag_id"]

    assert review(bench, "release", flag_id, ELSEWHERE).outcome is Outcome.NOT_PERMITTED
    assert review(bench, "release", flag_id, MANAGER).outcome is Outcome.REVIEW_RELEASED
    assert bench.available() == 350


def test_what_always_needs_two_waits_whoever_gives_it() -> None:
    """Also of a role without limits, and commands that move no points."""
    bench = bench_of(consent_always=["account.freeze"])

    asked = bench.freeze(actor={"id": "job", "role": "system"})

    assert asked.outcome is Outcome.AWAITING_CONSENT
    assert bench.flags[-1]["explanation"].startswith("account.freeze by job (system) needs a sec")
    review(bench, "release", bench.flags[-1]["flag_id"], BOSS)
    assert bench.account().frozen


def test_what_is_refused_is_answered_and_moves_nothing() -> None:
    """By anybody who may give such a command; who asked may take it back."""
    for actor in (MANAGER, TILL, BOSS):
        bench = bench_of()
        flag_id = waiting(bench)

        assert review(bench, "reject", flag_id, ELSEWHERE).outcome is Outcome.NOT_PERMITTED
        refused = review(bench, "reject", flag_id, actor, event_id="r1")

        assert (refused.outcome, refused.entries) == (Outcome.REVIEW_REJECTED, [])
        assert answer_to(bench, "r1")["outcome"] == "accepted"
        assert answer_to(bench, "c1")["reason"] == "consent_denied"
        assert bench.available() == 300
        assert (bench.flags[-1]["state"], bench.flags[-1]["flag_id"]) == ("confirmed", flag_id)


def test_a_flag_is_settled_once() -> None:
    """Again, either way: it says how it ended. One that was never raised is unknown."""
    released, rejected = bench_of(), bench_of()
    let_go, refused = waiting(released), waiting(rejected)
    review(released, "release", let_go, BOSS)
    review(rejected, "reject", refused, BOSS)

    for verdict in ("release", "reject"):
        again = review(released, verdict, let_go, BOSS)
        assert again.outcome is Outcome.FLAG_ALREADY_RELEASED
        again = review(rejected, verdict, refused, BOSS)
        assert again.outcome is Outcome.FLAG_ALREADY_REJECTED
        assert review(released, verdict, "f-0", BOSS).outcome is Outcome.FLAG_UNKNOWN
    assert (released.available(), rejected.available()) == (450, 300)
    assert len(released.flags) == len(rejected.flags) == 2
    released.later(400)
    assert review(released, "release", let_go, BOSS).outcome is Outcome.FLAG_UNKNOWN


def test_nobody_consents_in_time() -> None:
    """Until just before, it can be released; then it is answered, and the flag is confirmed."""
    bench = bench_of(consent_window="P2D")
    early, flag_id = bench_of(consent_window="P2D"), waiting(bench)
    early_flag = waiting(early)

    early.later(2, ms=-1)
    assert review(early, "release", early_flag, BOSS).outcome is Outcome.REVIEW_RELEASED
    assert outcomes(*bench.later(2)) == [Outcome.CONSENT_NEVER_CAME]

    assert answer_to(bench, "c1")["reason"] == "review_required"
    assert (bench.flags[-1]["state"], bench.available()) == ("confirmed", 300)
    assert review(bench, "release", flag_id, BOSS).outcome is Outcome.FLAG_ALREADY_REJECTED
    assert early.later(10) == []


def test_a_repeat_is_ignored_while_it_waits_and_answered_again_after() -> None:
    """One command, one effect, one flag, one answer."""
    bench = bench_of()
    body = {"event_id": "c1", "actor": TILL, "store_id": "s1", "occurred_ms": bench.now_ms}
    bench.adjust(150, **body)
    flag_id = bench.flags[-1]["flag_id"]

    waiting_still = bench.adjust(150, **body)
    review(bench, "release", flag_id, BOSS, event_id="r1", occurred_ms=bench.now_ms)
    review_again = review(bench, "release", flag_id, BOSS, event_id="r1", occurred_ms=bench.now_ms)
    done = bench.adjust(150, **body)

    assert waiting_still.outcome is Outcome.EVENT_ALREADY_TAKEN
    assert (waiting_still.result, waiting_still.effects) == (None, None)
    assert review_again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert done.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert done.result is not None
    assert (done.result["outcome"], done.result["available_after"]) == ("accepted", 450)
    assert (bench.available(), len(bench.flags)) == (450, 2)


def test_the_rules_of_the_moment_of_consent_count() -> None:
    """What it breaks by then, it is rejected for; the release itself is accepted."""
    bench = bench_of()
    bench.redeem(200, event_id="c1", actor=TILL, store_id="s1")
    flag_id = bench.flags[-1]["flag_id"]
    bench.freeze()

    consent = review(bench, "release", flag_id, BOSS, event_id="r1")

    assert consent.outcome is Outcome.REVIEW_RELEASED
    assert answer_to(bench, "r1")["outcome"] == "accepted"
    assert answer_to(bench, "c1")["reason"] == "account_frozen"
    assert (bench.available(), bench.flags[-1]["state"]) == (300, "released")
    bench.unfreeze()
    again = bench.redeem(301, event_id="c2", actor=TILL, store_id="s1")
    assert again.outcome is Outcome.AWAITING_CONSENT
    review(bench, "release", bench.flags[-1]["flag_id"], BOSS)
    assert answer_to(bench, "c2")["reason"] == "insufficient_points"


def test_who_consents_to_clearing_must_cover_what_is_there_by_then() -> None:
    """The limit is held against the points of that moment."""
    bench = bench_of(consent_always=["points.clear"])
    bench.clear(event_id="c1")
    flag_id = bench.flags[-1]["flag_id"]
    bench.order("o2", 201)

    assert review(bench, "release", flag_id, BOSS).outcome is Outcome.NOT_PERMITTED
    system = {"id": "job", "role": "system"}
    assert review(bench, "release", flag_id, system).outcome is Outcome.REVIEW_RELEASED
    assert (bench.available(), bench.moved("cleared")) == (0, [501])
