"""The topics: every one that the contract names, with what must hold for it."""

from typing import get_args

import pytest

from pointstream.contracts.inputs import Command, InputEvent
from pointstream.contracts.topics import INPUT_TYPES, topic_of_type, topic_specs

SPECS = {spec.suffix: spec for spec in topic_specs()}


def test_all_topics_are_there_once() -> None:
    """Nothing is created that the contract does not name, and nothing is missing."""
    assert len(SPECS) == len(topic_specs())
    assert {s for s, spec in SPECS.items() if spec.direction == "in"} == set(INPUT_TYPES)
    assert {s for s, spec in SPECS.items() if spec.direction == "out"} == {
        "balance-changes",
        "crm-sync",
        "mall-sync",
        "tier-changes",
        "reminders",
        "command-results",
        "fraud-flags",
        "shadow-diffs",
        "dead-letters",
    }


def test_every_input_type_has_one_topic_and_one_model() -> None:
    """The tables of types and the models can't drift apart."""
    types = [type_ for types in INPUT_TYPES.values() for type_ in types]
    models = [get_args(model.model_fields["type"].annotation)[0] for model in get_args(InputEvent)]
    assert sorted(types) == sorted(models)
    assert len(set(types)) == len(types)
    assert all(type_ in INPUT_TYPES[topic_of_type(type_)] for type_ in types)
    commands = [get_args(model.model_fields["type"].annotation)[0] for model in get_args(Command)]
    assert sorted(INPUT_TYPES["commands"]) == sorted(commands)


def test_the_prefix_goes_before_every_name() -> None:
    """Two programmes can share a broker."""
    assert {spec.name for spec in topic_specs("eu.")} == {f"eu.{suffix}" for suffix in SPECS}
    assert SPECS["orders"].name == "points.orders"


@pytest.mark.parametrize(
    ("suffix", "cleanup"),
    [
        ("orders", "delete"),
        ("rules", "compact"),
        ("catalogue", "compact"),
        ("balance-changes", "delete"),
        ("crm-sync", "compact"),
        ("mall-sync", "compact"),
        ("internal.changelog", "compact"),
        ("internal.journal", "delete"),
        ("internal.replays", "delete"),
        ("internal.ticks", "delete"),
    ],
)
def test_latest_state_is_compacted_and_history_is_not(suffix: str, cleanup: str) -> None:
    """Compacting history would lose entries; not compacting state would keep the erased."""
    assert SPECS[suffix].config["cleanup.policy"] == cleanup


def test_the_ledger_is_kept_for_ever() -> None:
    """An entry that the broker drops can't be explained to a member any more."""
    assert SPECS["balance-changes"].config["retention.ms"] == "-1"


def test_what_was_replayed_is_known_for_longer_than_it_could_be_replayed() -> None:
    """A dead letter that outlives its mark would be sent a second time."""
    kept = {s: int(SPECS[s].config["retention.ms"]) for s in ("dead-letters", "internal.replays")}
    assert kept["internal.replays"] >= 2 * kept["dead-letters"]


def test_what_moves_the_time_of_a_partition_is_stamped_by_the_broker() -> None:
    """A publisher's clock must not be able to."""
    for suffix, spec in SPECS.items():
        stamped = spec.config.get("message.timestamp.type") == "LogAppendTime"
        assert stamped == (
            spec.direction == "in" or suffix in ("internal.ticks", "internal.messages")
        ), suffix
