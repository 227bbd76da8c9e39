"""Topics at start: created when missing, checked when there, never altered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from pointstream.engine.topics import (
    Topic,
    TopicDifference,
    TopicDifferencesError,
    TopicsError,
    check_topics,
    ensure_topics,
)

pytestmark = pytest.mark.broker

_COMPACTED = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}


def _settings(servers: str, topic: str) -> dict[str, str]:
    async def ask() -> dict[str, str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            [response] = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic)]
            )
            return {entry[0]: entry[1] for entry in response.resources[0][4]}
        finally:
            await admin.close()

    return asyncio.run(ask())


def test_missing_topics_are_created_as_asked(
    bootstrap_servers: str, unique_name: Callable[[str], str]
) -> None:
    """Partitions and every setting, also those that are not checked later."""
    one, two = unique_name("created"), unique_name("created")
    topics = [Topic(one, 3, {**_COMPACTED, "segment.ms": "60000"}), Topic(two, 1)]

    created = asyncio.run(ensure_topics(bootstrap_servers, topics))

    assert created == [one, two]
    assert asyncio.run(check_topics(bootstrap_servers, topics)) == []
    settings = _settings(bootstrap_servers, one)
    assert {name: settings[name] for name in (*_COMPACTED, "segment.ms")} == {
        **_COMPACTED,
        "segment.ms": "60000",
    }


def test_topics_that_are_right_are_left_alone(
    bootstrap_servers: str, unique_name: Callable[[str], str]
) -> None:
    """The second start creates nothing; retention is the operator's and no difference."""
    name = unique_name("again")
    asyncio.run(ensure_topics(bootstrap_servers, [Topic(name, 2, {"retention.ms": "1000"})]))

    created = asyncio.run(
        ensure_topics(bootstrap_servers, [Topic(name, 2, {"retention.ms": "2000"})])
    )

    assert created == []
    assert _settings(bootstrap_servers, name)["retention.ms"] == "1000"


def test_every_difference_is_listed_with_its_remedy_and_nothing_is_created(
    bootstrap_servers: str, unique_name: Callable[[str], str]
) -> None:
    """One start tells the operator all there is to put right."""
    wrong, other, missing = unique_name("wrong"), unique_name("other"), unique_name("missing")
    asyncio.run(
        ensure_topics(
            bootstrap_servers,
            [
                Topic(wrong, 4, {"cleanup.policy": "delete"}),
                Topic(other, 2, {"message.timestamp.type": "CreateTime"}),
            ],
        )
    )

    with pytest.raises(TopicDifferencesError) as refused:
        asyncio.run(
            ensure_topics(
                bootstrap_servers,
                [Topic(wrong, 12, _COMPACTED), Topic(other, 2, _COMPACTED), Topic(missing, 1)],
            )
        )

    assert set(refused.value.differences) == {
        TopicDifference(wrong, "partitions", "12", "4"),
        TopicDifference(wrong, "cleanup.policy", "compact", "delete"),
        TopicDifference(wrong, "message.timestamp.type", "LogAppendTime", "CreateTime"),
        TopicDifference(other, "cleanup.policy", "compact", "delete"),
        TopicDifference(other, "message.timestamp.type", "LogAppendTime", "CreateTime"),
    }
    told = str(refused.value)
    assert f"{wrong}: partitions is 4, must be 12; set the number of partitions to 4" in told
    assert f"--entity-name {other} --add-config cleanup.policy=[compact]" in told
    [difference] = asyncio.run(check_topics(bootstrap_servers, [Topic(missing, 1)]))
    assert difference == TopicDifference(missing, "partitions", "1", None)
    assert str(difference) == f"{missing}: does not exist; create it"


def test_a_policy_of_two_parts_is_the_same_in_either_order(
    bootstrap_servers: str, unique_name: Callable[[str], str]
) -> None:
    """Kafka gives the list back in an order of its own."""
    name = unique_name("both")
    asyncio.run(
        ensure_topics(bootstrap_servers, [Topic(name, 1, {"cleanup.policy": "compact,delete"})])
    )

    swapped = [Topic(name, 1, {"cleanup.policy": "delete, compact"})]

    assert asyncio.run(check_topics(bootstrap_servers, swapped)) == []


def test_workers_that_start_together_agree(
    bootstrap_servers: str, unique_name: Callable[[str], str]
) -> None:
    """Each topic is created by one of them; the others find it and go on."""
    topics = [Topic(unique_name("together"), 3, _COMPACTED) for _ in range(5)]

    async def start_four() -> list[list[str]]:
        return await asyncio.gather(*(ensure_topics(bootstrap_servers, topics) for _ in range(4)))

    created = asyncio.run(start_four())

    assert sorted(name for names in created for name in names) == sorted(t.name for t in topics)


@pytest.mark.parametrize(
    ("topic", "copies", "reason"),
    [
        (Topic("refused-policy", 1, {"cleanup.policy": "sometimes"}), 1, "sometimes"),
        (Topic("refused-copies", 1), 99, "InvalidReplicationFactorError"),
        (Topic("refused name", 1), 1, "InvalidTopicError"),
    ],
)
def test_a_topic_that_the_broker_refuses_is_named_with_its_reason(
    bootstrap_servers: str, topic: Topic, copies: int, reason: str
) -> None:
    """The broker's own words, and which topic they are about."""
    with pytest.raises(TopicsError, match=rf"{topic.name}: .*{reason}"):
        asyncio.run(ensure_topics(bootstrap_servers, [topic], replication_factor=copies))


def test_no_broker_is_an_error_that_names_the_address() -> None:
    """Nothing hangs, and nobody has to guess where it looked."""
    with pytest.raises(TopicsError, match=r"no broker answers at 127\.0\.0\.1:9"):
        asyncio.run(ensure_topics("127.0.0.1:9", [Topic("t", 1)]))


@pytest.mark.parametrize(
    ("topics", "problem"),
    [
        ([Topic("t", 0)], "t: partitions must be at least 1"),
        ([Topic("t", 1), Topic("t", 2)], "t: asked for twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_broker_is_asked(
    topics: list[Topic], problem: str
) -> None:
    """A mistake of the program, not of the cluster."""
    with pytest.raises(ValueError, match=problem):
        asyncio.run(ensure_topics("127.0.0.1:9", topics))
