"""What a worker tells Prometheus: complete, true after a crash, and nothing of members."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pointstream.engine.driver import CommitFate
from pointstream.engine.task import Boundary
from pointstream.ledger import ConservationBreach
from pointstream.operations.books import StateBooks
from pointstream.operations.metrics import CATALOGUE, Kind, table
from pointstream.operations.metrics.histogram import WeightedHistogram

from .observed import ObservedJob
from .test_processor import NOW_MS, order, publish, stream

README = Path(__file__).parents[2] / "deploy" / "README.md"


@pytest.fixture
def job() -> Iterator[ObservedJob]:
    """Two partitions of the job, observed; time stands at the generated stream's end."""
    made = ObservedJob()
    yield made
    made.driver.close()


def busy(job: ObservedJob) -> ObservedJob:
    """The job after a believable stream with a record that nobody can read."""
    publish(job.driver, stream(600))
    job.driver.send("points.orders", b"m1", b"{", timestamp_ms=NOW_MS)
    assert job.driver.run()
    return job


def owed(job: ObservedJob) -> dict[str, int]:
    """Points owed by wallet, added up account by account."""
    sums: Counter[str] = Counter()
    for partition in range(job.driver.partitions):
        books = StateBooks()
        for key, value in job.driver.state(partition).items():
            books.put(key, value)
        for account in books.accounts.values():
            for wallet, totals in account.wallets.items():
                sums[wallet] += totals.available + totals.pending + totals.held - totals.debt
    return dict(sums)


def liability(job: ObservedJob) -> dict[str, int]:
    """Points owed by wallet, as the metrics say."""
    sums: Counter[str] = Counter()
    for sample in job.families()["pointstream_liability_points"].samples:
        sums[sample.labels["wallet"]] += int(sample.value)
    return dict(sums)


def test_every_metric_of_the_catalogue_is_there_with_its_type_and_labels(job) -> None:
    """A dashboard built on the catalogue finds all that it names, and nothing else is told."""
    families = busy(job).families()
    for metric in CATALOGUE:
        family = families.pop(metric.name.removesuffix("_total"))
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample
    assert all(name.startswith(("process_", "python_gc_")) for name in families)


def test_names_follow_the_conventions_of_prometheus() -> None:
    """Base units, `_total` on counters alone, one prefix, no name twice."""
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert re.fullmatch(r"pointstream_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert not re.search(r"_(ms|millis|minutes|kb|percent)(_|$)", metric.name)
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)


def test_the_page_of_the_metrics_is_the_catalogue() -> None:
    """deploy/README.md shows every metric as it is."""
    assert table() in README.read_text(encoding="utf-8")


def test_no_label_tells_of_a_member(job) -> None:
    """Nobody can be found in what is told to a monitoring system, and labels stay few."""
    busy(job)
    job.driver.send("points.orders", b"m-secret", order(member_id="m-secret"))
    job.driver.run()
    families = job.families().values()
    members = {
        account.member_id
        for partition in range(job.driver.partitions)
        for account in states(job, partition).accounts.values()
    }
    assert "m-secret" in members
    told = {value for f in families for s in f.samples for value in s.labels.values()}
    assert not told & members
    assert sum(len(f.samples) for f in families) < 1_500


def states(job: ObservedJob, partition: int) -> StateBooks:
    books = StateBooks()
    for key, value in job.driver.state(partition).items():
        books.put(key, value)
    return books


def test_events_points_and_dead_letters_are_counted_once_committed(job) -> None:
    """What is counted is what consumers can read, and no more."""
    busy(job)
    entries = [orjson.loads(r.value) for r in job.driver.outputs("points.balance-changes")]
    moved = Counter((entry["type"].removeprefix("points."), entry["wallet"]) for entry in entries)
    points: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        points[entry["type"].removeprefix("points."), entry["wallet"]] += entry["amount"]
    for (type_, wallet), count in moved.items():
        labels = {"type": type_, "wallet": wallet}
        assert job.value("pointstream_movements_total", **labels) == count
        assert job.value("pointstream_points_moved_total", **labels) == points[type_, wallet]
    assert job.value("pointstream_dead_letters_total", code="not_json") == 1
    assert job.value("pointstream_dead_letters_total", code="too_old") == 0
    taken = sum(
        sample.value
        for sample in job.families()["pointstream_events"].samples
        if sample.name.endswith("_total") and "internal" not in sample.labels["topic"]
    )
    assert taken == 601
    assert job.value("pointstream_invariant_checks_total") >= len(entries)


def test_a_batch_that_never_committed_is_not_counted(job) -> None:
    """A worker that dies while it commits has told nobody of what it did not do."""
    job.driver.tick(NOW_MS)
    job.driver.run()
    job.driver.send("points.orders", b"m1", order())
    job.driver.crash_at(CommitFate.ABORTED)
    assert not job.driver.run()
    assert job.value("pointstream_movements_total", type="earned", wallet="points") is None
    job.driver.run()
    assert job.value("pointstream_movements_total", type="earned", wallet="points") == 1


@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_liability_is_what_the_accounts_have_whatever_dies(job, place) -> None:
    """The points owed are right at once after a restart, from the disk or from nothing."""
    publish(job.driver, stream(400))
    if place in (Boundary.FENCED, Boundary.POSITIONED, Boundary.RESTORED):
        job.driver.run(batches=1)
        job.driver.crash()
    job.driver.crash_at(place)
    assert not job.driver.run()
    job.driver.run()
    assert liability(job) == owed(job)
    assert liability(job)["points"] > 0
    job.driver.lose_state()
    job.driver.run()
    assert liability(job) == owed(job)


def test_lag_counts_what_waits_and_for_how_long(job) -> None:
    """Records that nobody has taken yet are told, in records and in seconds."""
    job.driver.tick(NOW_MS)
    job.driver.run()
    (partition, _) = job.driver.send("points.orders", b"m1", order(), timestamp_ms=NOW_MS)
    labels = {"topic": "points.orders", "partition": str(partition)}
    job.now = NOW_MS / 1000 + 7
    assert job.value("pointstream_lag_records", **labels) == 1
    job.driver.run()
    job.now += 7
    assert job.value("pointstream_lag_records", **labels) == 0
    assert job.value("pointstream_lag_seconds", **labels) == 0
    job.driver.send("points.orders", b"m1", order("e2", "o2"), timestamp_ms=NOW_MS)
    job.now += 2
    assert job.value("pointstream_lag_records", **labels) == 1
    assert job.value("pointstream_lag_seconds", **labels) == pytest.approx(16)


def test_a_partition_that_takes_nothing_lags_since_it_came(job) -> None:
    """One that hangs from its first moment on shows in seconds, too."""
    job.driver.tick(NOW_MS)
    job.now = NOW_MS / 1000
    job.driver.run()
    job.driver.crash()
    job.driver.send("points.orders", b"m1", order(), timestamp_ms=NOW_MS)
    job.metrics.assigned([0, 1])
    job.driver.run(batches=0)
    job.now += 90
    partition = str(job.partition_of("m1"))
    labels = {"topic": "points.orders", "partition": partition}
    assert job.value("pointstream_lag_records", **labels) == 1
    assert job.value("pointstream_lag_seconds", **labels) == 90
    assert job.value("pointstream_rebalances_total") == 1


def test_a_tick_that_comes_late_is_told(job) -> None:
    """A partition whose time stands still shows, also where no member does anything."""
    job.now = NOW_MS / 1000 + 1.5
    job.driver.tick(NOW_MS)
    job.driver.run()
    assert job.value("pointstream_ticks_late_total") == 0
    job.now = NOW_MS / 1000 + 5
    job.driver.tick(NOW_MS + 1000)
    job.driver.run()
    assert job.value("pointstream_ticks_total") == 4
    assert job.value("pointstream_ticks_late_total") == 2


def test_a_broker_that_is_away_leaves_the_last_lag_and_its_age(job, monkeypatch) -> None:
    """Metrics answer without a broker, and say how old what they say is."""
    job.driver.tick(NOW_MS)
    job.driver.run()
    assert job.value("pointstream_lag_age_seconds") == 0

    async def nobody() -> dict[int, dict[str, int]]:
        raise OSError("connection refused")

    monkeypatch.setattr(job, "ends", nobody)
    job.now += 60
    assert job.value("pointstream_lag_age_seconds") == 60
    assert job.value("pointstream_lag_records", topic="points.orders", partition="0") == 0


def test_a_breach_is_told_by_the_next_process(tmp_path) -> None:
    """What ended a process is told by the one after it, and by all later ones."""
    job = ObservedJob(data_dir=tmp_path)
    assert job.value("pointstream_invariant_breaches_total", invariant="conservation") == 0
    job.metrics.failed(ConservationBreach("m1", "points", 2, 1))
    job.metrics.failed(ZeroDivisionError())
    job.driver.close()
    for _ in range(2):
        job = ObservedJob(data_dir=tmp_path)
        assert job.value("pointstream_invariant_breaches_total", invariant="conservation") == 1
        assert job.value("pointstream_faults_total", fault="ConservationBreach") == 1
        assert job.value("pointstream_faults_total", fault="other") == 1
        job.driver.close()


def test_a_broken_file_of_faults_stops_nobody(tmp_path) -> None:
    """Points do not hang on a count."""
    (tmp_path / "faults.json").write_text('{"Fenced": ')
    job = ObservedJob(data_dir=tmp_path)
    assert job.value("pointstream_faults_total", fault="Fenced") == 0
    job.driver.close()


def test_the_rules_in_force_are_told(job) -> None:
    """Which version counts, by its content."""
    busy(job)
    told = job.families()["pointstream_rule_set_info"].samples
    assert told
    for sample in told:
        version = job.value("pointstream_rule_set_version", rule_set=sample.labels["rule_set"])
        assert version == float(sample.labels["version"])


def test_a_weighted_value_counts_as_often_as_it_weighs() -> None:
    """The histogram of records is the one that Prometheus' own client would have made."""
    histogram = WeightedHistogram((0.5, 1.0))
    histogram.add(0.5, 3)
    histogram.add(0.7, 2)
    histogram.add(9.0)
    assert histogram.buckets() == [("0.5", 3.0), ("1.0", 5.0), ("+Inf", 6.0)]
    assert histogram.sum == pytest.approx(11.9)
