"""Topics are created, or checked, before a worker reads a record.

A task's state is one partition number of every topic it reads: a topic with another number of
partitions would send a member's records to two tasks, and a changelog that is deleted instead of
compacted would lose state silently. So a difference is an error that ends the start, never
something to go on with, and nothing here alters a topic that exists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from pointstream.engine.access import Access, Reachable

__all__ = [
    "CHECKED_SETTINGS",
    "Topic",
    "TopicDifference",
    "TopicDifferencesError",
    "TopicLike",
    "TopicsError",
    "TopicsForbiddenError",
    "check_topics",
    "ensure_topics",
]

#: The settings that change what the records mean; any other (retention, segment size, …) is
#: given at creation and is the operator's from then on.
CHECKED_SETTINGS = ("cleanup.policy", "message.timestamp.type")

_VISIBLE_SECONDS = 30.0
_PARTITIONS = "partitions"


class TopicLike(Protocol):
    """What a topic is asked to be; any object with these three serves."""

    @property
    def name(self) -> str: ...

    @property
    def partitions(self) -> int:
        """1 or more."""

    @property
    def config(self) -> Mapping[str, str]:
        """Kafka's own names and values; settings not named take the broker's defaults."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A plain `TopicLike`."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One way in which a topic is not as asked: ``setting`` is "partitions" or Kafka's name.

    ``found`` is None where the topic does not exist.
    """

    topic: str
    setting: str
    expected: str
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.topic}: does not exist; {self._remedy}"
        return (
            f"{self.topic}: {self.setting} is {self.found}, must be {self.expected}; {self._remedy}"
        )

    @property
    def _remedy(self) -> str:
        if self.found is None:
            return "create it"
        if self.setting != _PARTITIONS:
            return (
                "kafka-configs --alter --entity-type topics "
                f"--entity-name {self.topic} --add-config {self.setting}=[{self.expected}]"
            )
        # Adding partitions moves keys to other partitions, away from the state they have.
        return (
            f"set the number of partitions to {self.found} for this programme, "
            "or copy the topic into a new one with the right number"
        )


class TopicsError(Exception):
    """Topics could not be created or looked at; the message names each with the broker's reason."""


class TopicsForbiddenError(TopicsError):
    """The brokers know who this is, and do not allow it to look at a topic or to create it."""


class TopicDifferencesError(TopicsError):
    """Topics exist that are not as asked; the message lists every difference and its remedy."""

    def __init__(self, differences: Sequence[TopicDifference]) -> None:
        self.differences = tuple(differences)
        super().__init__(
            "topics are not as this program needs them:\n"
            + "\n".join(f"  - {difference}" for difference in self.differences)
        )


async def ensure_topics(
    cluster: Reachable,
    topics: Iterable[TopicLike],
    *,
    replication_factor: int = 1,
    checked_settings: Sequence[str] = CHECKED_SETTINGS,
) -> list[str]:
    """Create what is missing and check the rest; return the names created, in the order given.

    Nothing is created when a topic that exists is not as asked. Several processes may do this at
    once. On return the brokers know the new topics and their leaders.

    Raises:
        TopicDifferencesError: topics exist with other partitions or other checked settings.
        TopicsForbiddenError: this process may not look at a topic, or not create it.
        TopicsError: the brokers refuse to create a topic, or do not answer.
    """
    wanted = _unique(topics)
    async with _admin(cluster) as admin:
        existing, differences = await _compare(admin, wanted, checked_settings)
        if differences:
            raise TopicDifferencesError(differences)
        missing = [topic for topic in wanted if topic.name not in existing]
        created = await _create(admin, missing, replication_factor)
        await _await_leaders(admin, [topic.name for topic in missing])
        if len(created) < len(missing):
            # Another process was faster; what it made must be right as well.
            _, differences = await _compare(admin, missing, checked_settings)
            if differences:
                raise TopicDifferencesError(differences)
        return created


async def check_topics(
    cluster: Reachable,
    topics: Iterable[TopicLike],
    *,
    checked_settings: Sequence[str] = CHECKED_SETTINGS,
) -> list[TopicDifference]:
    """Every difference between what is asked and what is there, missing topics included.

    Raises:
        TopicsError: the brokers do not answer.
    """
    wanted = _unique(topics)
    async with _admin(cluster) as admin:
        existing, differences = await _compare(admin, wanted, checked_settings)
    missing = [
        TopicDifference(topic.name, _PARTITIONS, str(topic.partitions), None)
        for topic in wanted
        if topic.name not in existing
    ]
    return missing + differences


@asynccontextmanager
async def _admin(cluster: Reachable) -> AsyncIterator[AIOKafkaAdminClient]:
    access = Access.to(cluster)
    admin = access.admin()
    try:
        await admin.start()
        yield admin
    except KafkaConnectionError as error:
        raise TopicsError(f"no broker answers at {access.bootstrap_servers}: {error}") from error
    except KafkaError as error:
        raise TopicsError(f"the broker at {access.bootstrap_servers} answers: {error!r}") from error
    finally:
        await admin.close()


def _unique(topics: Iterable[TopicLike]) -> list[TopicLike]:
    wanted: dict[str, TopicLike] = {}
    for topic in topics:
        if topic.partitions < 1:
            raise ValueError(f"{topic.name}: partitions must be at least 1, not {topic.partitions}")
        if topic.name in wanted:
            raise ValueError(f"{topic.name}: asked for twice")
        wanted[topic.name] = topic
    return list(wanted.values())


async def _compare(
    admin: AIOKafkaAdminClient, wanted: Sequence[TopicLike], checked_settings: Sequence[str]
) -> tuple[set[str], list[TopicDifference]]:
    """Which of the topics exist, and how those differ."""
    partitions = await _partition_counts(admin, [topic.name for topic in wanted])
    existing = [topic for topic in wanted if topic.name in partitions]
    settings = await _settings(admin, [topic.name for topic in existing])
    differences: list[TopicDifference] = []
    for topic in existing:
        count = partitions[topic.name]
        if count != topic.partitions:
            differences.append(
                TopicDifference(topic.name, _PARTITIONS, str(topic.partitions), str(count))
            )
        for setting in checked_settings:
            expected = topic.config.get(setting)
            found = settings[topic.name].get(setting, "")
            if expected is not None and _parts(expected) != _parts(found):
                differences.append(TopicDifference(topic.name, setting, expected, found))
    return {topic.name for topic in existing}, differences


def _kind_of(error: type[KafkaError]) -> type[TopicsError]:
    forbidden = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
    return TopicsForbiddenError if error in forbidden else TopicsError


def _parts(value: str) -> set[str]:
    # "compact,delete" and "delete, compact" are the same policy.
    return {part.strip() for part in value.split(",")}


async def _partition_counts(
    admin: AIOKafkaAdminClient, names: Sequence[str], *, led: bool = False
) -> dict[str, int]:
    """Partition counts of those that exist; with ``led`` of those whose partitions have leaders."""
    if not names:
        return {}
    counts: dict[str, int] = {}
    for described in await admin.describe_topics(list(names)):
        error = for_code(described["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if error is not NoError and not (led and error.retriable):
            words = f"{described['topic']}: {error.__name__}: {error.description}"
            raise _kind_of(error)(words)
        leaders = [partition["leader"] for partition in described["partitions"]]
        if not led or (leaders and min(leaders) >= 0):
            counts[described["topic"]] = len(leaders)
    return counts


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        # (error code, error message, resource type, name, entries of (setting, value, …))
        for code, message, _, name, entries in response.resources:
            if code:
                words = f"{name}: its settings cannot be read: {message}"
                raise _kind_of(for_code(code))(words)
            found[name] = {entry[0]: entry[1] or "" for entry in entries}
    return found


async def _create(
    admin: AIOKafkaAdminClient, topics: Sequence[TopicLike], replication_factor: int
) -> list[str]:
    if not topics:
        return []
    response: Any = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=replication_factor,
                topic_configs=dict(topic.config),
            )
            for topic in topics
        ]
    )
    refused: list[str] = []
    kind = TopicsError
    done: set[str] = set()
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if error is NoError:
            done.add(name)
        elif error is not TopicAlreadyExistsError:
            reason = message[0] if message and message[0] else error.description
            refused.append(f"  - {name}: {error.__name__}: {reason}")
            kind = _kind_of(error)
    if refused:
        raise kind("topics could not be created:\n" + "\n".join(refused))
    return [topic.name for topic in topics if topic.name in done]


async def _await_leaders(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    # A client that asks before the leaders are known backs off for seconds.
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while len(await _partition_counts(admin, names, led=True)) < len(names):
        if time.monotonic() > deadline:
            raise TopicsError(
                f"new topics have no leaders after {_VISIBLE_SECONDS:.0f} s: {', '.join(names)}"
            )
        await asyncio.sleep(0.05)
