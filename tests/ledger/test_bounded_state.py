"""The state does not grow with time: what is over goes, whatever it was."""

from __future__ import annotations

from collections import Counter

from ledger_support import DAY_MS, SPEND, Bench, programme, rule

from pointstream.ledger.memory import SWEEP_EVERY

MEMBERS = 8
COMPILED = programme(
    SPEND,
    rule("activity", activity="lottery.won", points=1),
    rule("check_in", points=1),
    wallets=[{"id": "points", "expiry": {"days": 6}}],
    dedup_window="P3D",
    refund_window="P5D",
    park_window="P2D",
    hold_time="P2D",
)


def day(bench: Bench, number: int) -> None:
    """What happens on one day: everything that leaves something behind."""
    for member in (f"m{n}" for n in range(MEMBERS)):
        for part in range(3):
            name = f"{number}-{part}"
            bench.order(f"o{name}", 50, member)
            bench.hold(f"h{name}", 4, member)
        bench.refund(f"o{number}-0", "r", 10, member)
        bench.refund(f"never-{number}", "r", 10, member)
        bench.redeem(10, member, order_id=f"o{number}-1")
        bench.capture(f"h{number}-0", member)
        bench.void(f"h{number}-1", member)
        to = f"m{(number + 1) % MEMBERS}"
        bench.command("points.transfer", member, to_member_id=to, points=5)
        bench.give("activity.recorded", member, activity="lottery.won", reference=f"{number}")
        bench.check_in(member)
    bench.later(1)


def test_state_of_a_club_that_goes_on_stays_as_large_as_it_was() -> None:
    """Thirty days or sixty: as many keys of every kind, and as many bytes."""
    bench = Bench(COMPILED, batch=500)
    sizes: list[tuple[Counter[bytes], int]] = []
    for number in range(60):
        day(bench, number)
        books = bench.books()
        sizes.append((Counter(key[:1] for key in books), sum(map(len, books.values()))))

    early, late = sizes[15:30], sizes[45:]
    for kind in late[-1][0]:
        assert max(counts[kind] for counts, _ in late) <= 1.1 * max(
            counts[kind] for counts, _ in early
        ), kind
    assert max(size for _, size in late) <= 1.1 * max(size for _, size in early)


def test_nothing_but_accounts_is_left_of_what_is_over() -> None:
    """Ids, orders, payments, holds, lots, timers, parked refunds: gone when their time is over."""
    bench = Bench(COMPILED, batch=500)
    for number in range(3):
        day(bench, number)
    kinds = {key[:1] for key in bench.books()}
    assert kinds >= {b"M", b"O", b"P", b"H", b"B", b"l", b"h", b"p", b"t"}
    bench.tick(bench.now_ms + 40 * DAY_MS)
    bench.flush()
    bench.restart()

    for turn in range(3):
        for ledger in bench.ledgers:
            ledger._memory.new = SWEEP_EVERY
        bench.order(f"turn-{turn}", 0, "other")
    bench.flush()

    left = Counter(key[:1] for key in bench.books() if b"other" not in key)
    assert left[b"a"] == MEMBERS
    assert left.keys() <= {b"a", b"r"}
