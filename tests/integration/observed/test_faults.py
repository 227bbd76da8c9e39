"""What goes wrong on running workers is told: each alert fires by its cause, and whoever looks at
the dashboard alone sees what is wrong, and where.
"""

from __future__ import annotations

import shutil

import pytest
from cases.deployment import at, now_ms, owned_by

from .conftest import PARTITIONS, Scene, instance_of
from .rules import expressions
from .server import Sample

pytestmark = pytest.mark.broker


def worst(shown: list[Sample]) -> dict[str, str]:
    """The labels of the highest series that a panel shows."""
    return max(shown, key=lambda sample: sample[1])[0]


def test_poison_flood_is_told_by_its_code(scene: Scene) -> None:
    """A publisher sends records that nobody can take: the pages for dead letters go off, and the
    panel names the code that they all have."""
    prometheus = scene.prometheus
    prometheus.until_quiet("PointstreamDeadLettersFastBurn", "PointstreamDeadLettersSlowBurn")
    good = scene.club.order("good", 10, "poisoner")
    bad = {"type": "order.paid", "member_id": "poisoner", "paid_minor": "ten"}
    scene.club.publish({**bad, "event_id": f"{good}-{number}"} for number in range(200))
    prometheus.until_fires("PointstreamDeadLettersFastBurn", "PointstreamDeadLettersSlowBurn")

    shown = {labels["code"]: value for labels, value in scene.panel("Dead letters")}
    assert shown["schema_invalid"] > 0
    assert not any(value for code, value in shown.items() if code != "schema_invalid")
    assert max(value for _, value in scene.panel("Share of dead letters")) > 0.0144


def test_lagging_partition_is_told_by_number_and_worker(scene: Scene) -> None:
    """One partition is slow while orders come in for all: it is the one at the top of both panels
    of lag, with its worker; its ticks are late, and when it has caught up, so were its records."""
    prometheus = scene.prometheus
    prometheus.until_quiet("PointstreamLagGrowing", "PointstreamFreshnessFastBurn")
    there = {"partition": "1", "instance": instance_of(scene.owner(1))}
    scene.suffer(slow=[1])
    prometheus.until_fires("PointstreamLagGrowing", "PointstreamTicksLate", **there)
    for title in ("Lag in seconds", "Lag in records"):
        assert there.items() <= worst(scene.panel(title)).items(), title
    assert worst(scene.panel("Late ticks"))["instance"] == there["instance"]

    # A third of all records of the last minute, and all of them wait for over a second.
    began_ms, member = now_ms(), scene.member_of(1)
    scene.club.publish(
        {
            "event_id": f"rush-{number}",
            "type": "order.paid",
            "member_id": member,
            "occurred_at": at(began_ms),
            "order_id": f"rush-{number}",
            "currency": "CNY",
            "paid_minor": 100,
        }
        for number in range(800)
    )
    scene.club.pass_by(began_ms + 1_500)
    scene.heal()
    prometheus.until_fires("PointstreamFreshnessFastBurn", "PointstreamFreshnessSlowBurn")
    prometheus.until(
        lambda: max(value for _, value in scene.panel("Later than a second")) > 0.144,
        "late records on the panel",
    )


def test_stuck_partition_is_told_though_its_worker_lives(scene: Scene) -> None:
    """A partition takes a batch and is never done: its last commit grows old, no other's."""
    scene.prometheus.until_quiet("PointstreamPartitionStuck")
    there = {"partition": "2", "instance": instance_of(scene.owner(2))}
    scene.suffer(stuck=[2])
    scene.prometheus.until_fires("PointstreamPartitionStuck", **there)
    assert there.items() <= worst(scene.panel("Age of the last commit")).items()
    assert {value for _, value in scene.panel("Workers")} == {1.0}
    scene.heal()
    scene.prometheus.until_quiet("PointstreamPartitionStuck")


def test_metrics_that_are_missing_are_told_by_name(scene: Scene) -> None:
    """Somebody's relabelling drops what an alert lives on: the alert on that names it."""
    scene.prometheus.until_quiet("PointstreamMetricsMissing")
    scene.prometheus.drop("pointstream_lag_seconds")
    scene.prometheus.until_fires("PointstreamMetricsMissing", metric="pointstream_lag_seconds")
    scene.prometheus.drop()
    scene.prometheus.until_quiet("PointstreamMetricsMissing")


def test_points_from_nowhere_are_told(scene: Scene) -> None:
    """A single order brings more than all points that were owed: the jump is told by its wallet."""
    scene.prometheus.until_quiet("PointstreamLiabilityJump")
    looking_back = [expr for _, expr in expressions() if "offset" in expr]
    scene.prometheus.until(
        lambda: len(looking_back) == 2 and all(map(scene.prometheus.query, looking_back)),
        f"data for {looking_back}",
    )
    scene.club.order("wrong", 1_000_000, "lucky")
    scene.prometheus.until_fires("PointstreamLiabilityJump", wallet="points")


def test_stopped_worker_is_told_and_who_takes_over(scene: Scene) -> None:
    """A worker is killed: the panels say which one is gone and which partitions nobody has, until
    the other one has them all."""
    prometheus = scene.prometheus
    prometheus.until_quiet("PointstreamWorkerDown", "PointstreamPartitionNotRunning")
    left, gone = scene.club.workers
    orphans = {str(partition) for partition in owned_by(gone)}
    gone.kill()
    prometheus.until_fires("PointstreamWorkerDown", instance=instance_of(gone))
    shown = {labels["instance"]: value for labels, value in scene.panel("Workers")}
    assert shown == {instance_of(left): 1.0, instance_of(gone): 0.0}
    for partition in orphans:
        prometheus.until_fires("PointstreamPartitionNotRunning", partition=partition)
    states = scene.panel("Partitions processed")
    nobody = {labels["partition"] for labels, running in states if not running}
    assert nobody == orphans

    prometheus.until_quiet("PointstreamPartitionNotRunning")
    ((labels, count),) = scene.panel("Partitions of each worker")
    assert (labels["instance"], count) == (instance_of(left), PARTITIONS)


def test_absence_of_all_workers_is_told(scene: Scene) -> None:
    """The other one is killed, too: that is a page of its own."""
    scene.prometheus.until_quiet("PointstreamNoWorker")
    scene.club.kill()
    scene.prometheus.until_fires("PointstreamNoWorker")
    assert {value for _, value in scene.panel("Workers")} == {0.0}


def test_restore_that_does_not_end_is_told(scene: Scene) -> None:
    """Both come back, one with an empty disk, and its restore halts before the last record."""
    prometheus = scene.prometheus
    prometheus.until_quiet("PointstreamRestoreTooLong", "PointstreamNotReady")
    back = scene.club.workers[1]
    scene.club.kill()
    shutil.rmtree(back.data_dir)
    scene.suffer(restore=[*range(PARTITIONS)])
    for worker in scene.club.workers:
        worker.start()
    there = {"instance": instance_of(back)}
    prometheus.until_fires("PointstreamRestoreTooLong", "PointstreamNotReady", **there)
    shown = [labels for labels, value in scene.panel("Restore remaining") if value]
    assert there["instance"] in {labels["instance"] for labels in shown}
    ready = {labels["instance"]: value for labels, value in scene.panel("Ready")}
    assert ready[there["instance"]] == 0
    scene.heal()
    prometheus.until_quiet(
        "PointstreamRestoreTooLong", "PointstreamNotReady", "PointstreamNoWorker"
    )
    scene.start()


def test_books_that_are_wrong_are_told_by_worker_and_invariant(scene: Scene) -> None:
    """A worker counts points that nobody gave: its own check ends it, three times; what it ended on
    is told by the panels when it is back, and by all the alerts that it concerns."""
    prometheus = scene.prometheus
    alerts = (
        "PointstreamInvariantBreach",
        "PointstreamFaultLoop",
        "PointstreamCorrectnessFastBurn",
        "PointstreamCorrectnessSlowBurn",
    )
    prometheus.until_quiet(*alerts)
    ill = scene.club.workers[0]
    scene.suffer(miscount=[ill.number])
    for life in range(3):
        prometheus.until(lambda: not ill.running, "the end of a worker with wrong books")
        if life == 2:
            scene.heal()
        ill.start()
    there = {"instance": instance_of(ill)}
    prometheus.until_fires(*alerts, **there, invariant="conservation", fault="ConservationBreach")
    assert worst(scene.panel("Invariant breaches")) == {**there, "invariant": "conservation"}
    assert worst(scene.panel("Faults")) == {**there, "fault": "ConservationBreach"}
    scene.start()
