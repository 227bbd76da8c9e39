"""A local broker that asks who is there: TLS, SASL and access lists, for tests of all three."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pointstream.engine.access import Access

__all__ = ["SUPERUSER", "Secured"]

#: The nodes themselves, and whoever sets up topics and access lists: no list is asked for it.
SUPERUSER = "broker"

_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Secured:
    """What such a broker needs.

    Its clients come by SASL over TLS (SCRAM-SHA-256 or -512, PLAIN, OAUTHBEARER), or with a
    certificate whose common name is the user, at a second port. Of a token of OAUTHBEARER it
    believes every word (it need not be signed): that is for tests alone.
    """

    key_file: Path
    """PEM of the nodes' private key (PKCS #8) and certificate for 127.0.0.1, whose common name is
    `SUPERUSER`."""
    ca_file: Path
    """PEM of whoever signs the certificates of nodes and clients."""
    users: Mapping[str, str]
    """Passwords by user, for SCRAM and PLAIN; one of them is `SUPERUSER`."""

    def properties(
        self, host: str, port: int, tls_port: int, controller_port: int
    ) -> dict[str, str]:
        """Kafka's settings for a node, on top of the others."""
        passwords = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
        own = f'username="{SUPERUSER}" password="{self.users[SUPERUSER]}"'
        return {
            "listeners": (
                f"SASL://{host}:{port},TLS://{host}:{tls_port},"
                f"CONTROLLER://{host}:{controller_port}"
            ),
            "advertised.listeners": f"SASL://{host}:{port},TLS://{host}:{tls_port}",
            "listener.security.protocol.map": "SASL:SASL_SSL,TLS:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "SASL",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                f"{_MODULES}.scram.ScramLoginModule required {own};"
            ),
            "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
                f"{_MODULES}.scram.ScramLoginModule required;"
            ),
            "listener.name.sasl.plain.sasl.jaas.config": (
                f"{_MODULES}.plain.PlainLoginModule required {passwords};"
            ),
            "listener.name.sasl.oauthbearer.sasl.jaas.config": (
                f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
                f'unsecuredLoginStringClaim_sub="{SUPERUSER}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.key_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            "listener.name.tls.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{SUPERUSER}",
        }

    def formatting(self, file: Path) -> list[str]:
        """Write the users to a file, and return what `kafka-storage format` is told to read it."""
        lines = [
            f"--add-scram={mechanism}=[name={user},password={password}]"
            for user, password in self.users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")
        # By the command line, every user of the machine could read the passwords.
        return [f"@{file}"]

    def access(self, servers: str) -> Access:
        """As the superuser."""
        return Access(
            servers,
            {
                "security_protocol": "SASL_SSL",
                "ssl_context": ssl.create_default_context(cafile=self.ca_file),
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": SUPERUSER,
                "sasl_plain_password": self.users[SUPERUSER],
            },
        )
