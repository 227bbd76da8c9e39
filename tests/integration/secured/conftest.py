"""A secured broker with a programme's topics, and a user for each role."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from pointstream.engine.access import Access
from pointstream.engine.topics import ensure_topics
from pointstream.operations.access import access_of
from pointstream.operations.acls import Role, acls_of, apply_acls
from pointstream.operations.broker import SUPERUSER, LocalBroker, Secured
from pointstream.operations.broker.install import missing_for_kafka
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

PREFIX = "club."
APP_ID = "club"


class World:
    """The broker, and what its users are told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.passwords = {user: secrets.token_urlsafe() for user in (SUPERUSER, *Role, "nobody")}
        self.broker = LocalBroker(
            heap_mb=512,
            secured=Secured(self.certificate(SUPERUSER, "127.0.0.1"), self.ca_file, self.passwords),
        )

    def certificate(self, user: str, *names: str) -> Path:
        """PEM of a key and a certificate of that common name."""
        leaf = self.authority.issue_cert(*names or (user,), common_name=user)
        # Kafka wants the key as PKCS #8.
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self.directory / f"{user}.pem"
        file.write_bytes(pem + b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return file

    def told(self, user: str, **other: Any) -> dict[str, Any]:
        """The settings of a user who comes by SCRAM, or as `other` has it."""
        told = {
            "bootstrap_servers": self.broker.bootstrap_servers,
            "app_id": APP_ID,
            "topic_prefix": PREFIX,
            "partitions": 2,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": self.ca_file,
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_username": user,
            "kafka_password": self.passwords[user],
            **other,
        }
        return {name: value for name, value in told.items() if value is not None}

    def settings(self, user: str, **other: Any) -> Settings:
        return Settings(**self.told(user, **other))

    def access(self, user: str, **other: Any) -> Access:
        return access_of(self.settings(user, **other))

    def environ(self, user: str, **other: Any) -> dict[str, str]:
        return self.settings(user, **other).environ()


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: roles that are users of that name, topics made by the operator."""
    if missing := missing_for_kafka():
        pytest.skip(" ".join(missing))
    world = World(tmp_path_factory.mktemp("secured"))
    with world.broker:
        for role in Role:
            acls = acls_of(role, prefix=PREFIX, app_id=APP_ID, group=f"{role}.")
            asyncio.run(apply_acls(world.broker.access, f"User:{role}", acls))
        operator = world.settings(Role.OPERATOR)
        asyncio.run(ensure_topics(access_of(operator), wanted_topics(operator)))
        yield world
