"""Four eyes where a command goes on elsewhere, or the account ends while it waits."""

from __future__ import annotations

from typing import Any

from consent_support import (
    BOSS,
    LIMITS,
    MANAGER,
    TILL,
    answer_to,
    bench_of,
    review,
    waiting,
)
from ledger_support import Bench, outcomes, programme

from pointstream.contracts.vocabulary import Reason
from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.consent import deny_all


def test_what_waits_ends_with_the_account() -> None:
    """Every waiting command is answered, its flag ended, and no timer is left behind."""
    bench = bench_of()
    waiting(bench)
    bench.hold("h1", 200, event_id="c2", actor=TILL, store_id="s1")
    bench.order("o9", 200, member="m2")
    bench.redeem(150, member="m2", event_id="c9", actor=TILL, store_id="s1")
    bench.flush()
    bench.ledger.open(bench.state)
    book = bench.ledger._book
    account = book.account("m1", b"m1")

    deny_all(book, account, Reason.ACCOUNT_ERASED)

    effects = book.effects
    assert effects is not None
    told = {answer["command_id"]: answer["reason"] for answer in effects.answers}
    assert told == {"c1": "account_erased", "c2": "account_erased"}
    assert [flag["state"] for flag in effects.flags] == ["confirmed", "confirmed"]
    bench.ledger.close()
    assert outcomes(*bench.later(7)) == [Outcome.CONSENT_NEVER_CAME]
    assert answer_to(bench, "c9")["reason"] == "review_required"


def test_two_commands_of_one_id_have_two_flags() -> None:
    """An id that was forgotten may come again: its flag is not the old one's."""
    bench = bench_of(dedup_window="P10D", consent_window="P1D")
    first = waiting(bench)
    bench.later(11)

    assert waiting(bench) != first


def test_it_makes_no_difference_where_a_batch_ends() -> None:
    """Same state and same flags in batches of one and of many, with restarts between."""
    told = []
    for batch in (1, 7, 1000):
        bench = Bench(programme(limits=LIMITS), batch=batch)
        bench.order("o1", 300)
        flag_id = waiting(bench)
        if batch == 1:
            bench.restart()
        review(bench, "release", flag_id, MANAGER)
        review(bench, "release", flag_id, BOSS)
        bench.redeem(150, actor=TILL, store_id="s1")
        bench.later(8)
        bench.flush()
        told.append((bench.books(), bench.flags, bench.answers, bench.entries))
    assert told[0] == told[1] == told[2]


def test_a_consented_transfer_counts_on_the_day_of_consent() -> None:
    """All rules take it as of then, a limit per day too; it is answered when it has arrived."""
    bench = bench_of(transfers={"daily_points": 150})
    bench.order("o2", 1, member="m2")
    ours: dict[str, Any] = {"to_member_id": "m2", "actor": TILL, "store_id": "s1"}
    asked = bench.give("points.transfer", points=120, event_id="c1", **ours)
    assert asked.outcome is Outcome.AWAITING_CONSENT
    flag_id = bench.flags[-1]["flag_id"]
    bench.give("points.transfer", points=100, event_id="c2", **ours)
    bench.later(1)

    review(bench, "release", flag_id, BOSS)
    bench.give("points.transfer", points=50, event_id="c3", **ours)

    assert answer_to(bench, "c1")["outcome"] == "accepted"
    assert answer_to(bench, "c2")["outcome"] == "accepted"
    assert answer_to(bench, "c3")["reason"] == "limit_reached"
    confirmed = [(e["member_id"], e["type"]) for e in bench.entries if e.get("confirmed_by")]
    assert confirmed == [("m1", "points.transferred_out"), ("m2", "points.transferred_in")]
    assert (bench.available(), bench.available("m2")) == (80, 221)


def test_a_consented_transfer_that_comes_back_names_both_actors() -> None:
    """All of its entries do, also when the recipient's side refuses."""
    bench = bench_of(transfers={})
    ours: dict[str, Any] = {"to_member_id": "nobody", "actor": TILL, "store_id": "s1"}
    bench.give("points.transfer", points=120, event_id="c1", **ours)

    review(bench, "release", bench.flags[-1]["flag_id"], BOSS)

    assert answer_to(bench, "c1")["reason"] == "recipient_unknown"
    gone, back = bench.entries[-2:]
    assert (gone["delta"], back["delta"]) == (-120, 120)
    assert gone["confirmed_by"] == back["confirmed_by"] == "boss"


def test_a_merge_can_need_two_and_names_both() -> None:
    """Nothing moves before; then what leaves and what arrives says who asked and who consented."""
    bench = bench_of(consent_always=["account.merge"])
    bench.order("o2", 10, member="m2")
    asked = bench.command("account.merge", into_member_id="m2", event_id="c1")
    assert (asked.outcome, bench.available("m2")) == (Outcome.AWAITING_CONSENT, 10)

    review(bench, "release", bench.flags[-1]["flag_id"], BOSS)

    assert answer_to(bench, "c1")["outcome"] == "accepted"
    assert bench.available("m2") == 310
    moved = [entry for entry in bench.entries if entry["type"].startswith("points.merged")]
    assert [entry["member_id"] for entry in moved] == ["m1", "m2"]
    for entry in moved:
        assert (entry["actor_id"], entry["confirmed_by"]) == ("clerk", "boss")


def test_an_erasure_can_need_two_and_leaves_nothing_of_the_member() -> None:
    """Neither what waited nor the flag; both commands are answered."""
    bench = bench_of(consent_always=["account.erase"])
    before = {key for key in bench.books() if b"m1" in key}
    bench.order("o2", 10, member="m2")
    bench.command("account.erase", event_id="c1")
    bench.adjust(200, event_id="c2", actor=TILL, store_id="s1")
    first, _ = (flag["flag_id"] for flag in bench.flags)

    review(bench, "release", first, BOSS, event_id="r1")

    assert before
    assert [key for key, value in bench.books().items() if b"m1" in key or b"m1" in value] == []
    assert answer_to(bench, "c1")["outcome"] == "accepted"
    assert answer_to(bench, "r1")["outcome"] == "accepted"
    assert answer_to(bench, "c2")["reason"] == "account_erased"
    assert bench.later(8) == []


def test_an_item_counts_with_its_price() -> None:
    """Of all pieces, as it is now; consented to, its stock is asked for."""
    bench = bench_of()
    bench.give_body(
        {
            "event_id": "i1",
            "type": "item.published",
            "item_id": "mug",
            "member_id": "mug",
            "occurred_at": rfc3339(bench.now_ms),
            "price_points": 51,
            "stock": 3,
        }
    )
    ours: dict[str, Any] = {"item_id": "mug", "actor": TILL, "store_id": "s1"}

    bench.give("points.redeem", quantity=1, event_id="c1", **ours)
    asked = bench.give("points.redeem", quantity=2, event_id="c2", **ours)

    assert answer_to(bench, "c1")["outcome"] == "accepted"
    assert asked.outcome is Outcome.AWAITING_CONSENT
    assert bench.flags[-1]["observed"] == 102
    review(bench, "release", bench.flags[-1]["flag_id"], BOSS)
    assert (answer_to(bench, "c2")["outcome"], bench.available()) == ("accepted", 147)
    of_c2 = [entry for entry in bench.entries if entry["cause_event_id"] == "c2"]
    assert of_c2
    assert all(entry["confirmed_by"] == "boss" for entry in of_c2)


def test_what_waits_is_answered_when_the_account_is_merged() -> None:
    """Its flag ends too: reviewed later, at the survivor, it is settled already."""
    bench = bench_of()
    bench.order("o2", 10, member="m2")
    flag_id = waiting(bench)

    bench.command("account.merge", into_member_id="m2")

    assert answer_to(bench, "c1")["reason"] == "account_merged"
    assert (bench.flags[-1]["flag_id"], bench.flags[-1]["state"]) == (flag_id, "confirmed")
    review(bench, "release", flag_id, BOSS, event_id="r1")
    assert answer_to(bench, "r1")["reason"] == "flag_already_rejected"
    assert bench.available("m2") == 310
    assert bench.later(8) == []
