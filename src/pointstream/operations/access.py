"""From settings to the access that every Kafka client is made with, and why one is refused."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from pointstream.engine.access import Access
from pointstream.operations.settings import Settings
from pointstream.operations.tokens import (
    ClientCredentials,
    TokenFile,
    TokenUnavailable,
    heed_refusals,
)

__all__ = ["LACKS_RIGHTS", "AccessError", "Refusal", "access_of", "refusal_of"]

#: What to do where the brokers know who this is, and do not allow what it does.
LACKS_RIGHTS = "`pointstream topics acls` prints what each role must be allowed"
_ANSWER_SECONDS = 5.0
#: OpenSSL's codes of a certificate that is made for another name or address.
_OTHER_NAME = (62, 64)


class AccessError(Exception):
    """A file that the settings name is not what it must be; the message says which and what."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the brokers do not let this process in."""

    message: str
    final: bool
    """Whether it will be so until somebody changes a setting, here or there."""

    def __str__(self) -> str:
        return self.message


def access_of(settings: Settings) -> Access:
    """Return how to reach the brokers that the settings name. Reads the files that they name.

    Raises `AccessError`.
    """
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return Access(settings.bootstrap_servers)
    security: dict[str, Any] = {"security_protocol": protocol}
    if protocol in ("SSL", "SASL_SSL"):
        security["ssl_context"] = _context(settings)
    if protocol.startswith("SASL_"):
        security["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            security["sasl_oauth_token_provider"] = _tokens(settings)
        else:
            security["sasl_plain_username"] = settings.kafka_username
            security["sasl_plain_password"] = _secret(settings, "kafka_password")
    return Access(settings.bootstrap_servers, security)


def _context(settings: Settings) -> ssl.SSLContext:
    context = _trusting(settings.kafka_ca_file)
    certificate, key = settings.kafka_client_cert_file, settings.kafka_client_key_file
    if certificate is not None:
        # A function, asked only for a key that is locked: without it the terminal would be asked.
        locked_with = _secret(settings, "kafka_client_key_password") or ""
        try:
            context.load_cert_chain(certificate, key, password=lambda: locked_with)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError.
            raise AccessError(
                f"kafka_client_cert_file {certificate} and its key {key or certificate} "
                f"cannot be used: {_words(error)}"
            ) from error
    return context


def _trusting(authorities: Path | None, *, the_systems_too: bool = False) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities)
        if the_systems_too:
            context.load_default_certs()
        return context
    except OSError as error:
        raise AccessError(f"kafka_ca_file {authorities} cannot be used: {_words(error)}") from error


def _secret(settings: Settings, name: str) -> str | None:
    """What a setting says, or the file that it may be in; a line end there is none of it."""
    value, path = getattr(settings, name), getattr(settings, f"{name}_file")
    if value is not None:
        return str(value.get_secret_value())
    if path is None:
        return None
    try:
        return str(path.read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"{name}_file {path} cannot be read: {_words(error)}") from error


def _tokens(settings: Settings) -> TokenFile | ClientCredentials:
    heed_refusals()
    if settings.kafka_oauth_token_file is not None:
        return TokenFile(settings.kafka_oauth_token_file)

    def secret() -> str:
        try:
            return _secret(settings, "kafka_oauth_client_secret") or ""
        except AccessError as error:
            raise TokenUnavailable(str(error)) from error

    return ClientCredentials(
        settings.kafka_oauth_token_url or "",
        settings.kafka_oauth_client_id or "",
        secret,
        scope=settings.kafka_oauth_scope,
        context=_trusting(settings.kafka_ca_file, the_systems_too=True),
    )


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


async def refusal_of(access: Access) -> Refusal | None:
    """Knock at each broker once and return why none lets us in; None when one does, or none is
    there.

    The clients themselves only tell that they could not connect, and write the reason to a log.
    """
    found: Refusal | None = None
    for server in access.bootstrap_servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            await _knock(access, host, int(port))
        except Exception as error:
            found = _refusal(access, server, error) or found
        else:
            return None
    return found


async def _knock(access: Access, host: str, port: int) -> None:
    timeout_ms = int(_ANSWER_SECONDS * 1000)
    connection = await create_conn(host, port, request_timeout_ms=timeout_ms, **access.security)
    try:
        # A client without the certificate that is asked for learns it behind the handshake.
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def _refusal(access: Access, server: str, error: Exception) -> Refusal | None:
    mechanism = access.security.get("sasl_mechanism")
    protocol = access.security.get("security_protocol", "PLAINTEXT")
    match error:
        case ssl.SSLCertVerificationError():
            if error.verify_code in _OTHER_NAME:
                words = "its certificate is made for another name; address it by that one"
            else:
                words = (
                    f"its certificate cannot be trusted ({error.verify_message}); "
                    "name whoever signed it with kafka_ca_file (POINTSTREAM_KAFKA_CA_FILE)"
                )
            return Refusal(f"{server}: {words}", True)
        case ssl.SSLError() if "CERTIFICATE" in str(error.reason):
            return Refusal(
                f"{server} does not take this client's certificate ({error.reason}); "
                "set kafka_client_cert_file to one that it trusts",
                True,
            )
        case ssl.SSLError() | ConnectionResetError():
            return Refusal(
                f"{server} does not speak TLS as this client does ({error}); "
                f"does its listener fit kafka_security_protocol {protocol}?",
                False,
            )
        case TokenUnavailable():
            return Refusal(str(error), False)
        case SaslAuthenticationFailed() if "sasl_plain_username" in access.security:
            user = access.security["sasl_plain_username"]
            return Refusal(
                f"{server} does not let the user {user} in with this password ({mechanism}); "
                "correct kafka_username and kafka_password, or have the user made there",
                True,
            )
        case SaslAuthenticationFailed():
            return Refusal(f"{server} does not take this client's token ({_answer(error)})", False)
        case UnsupportedSaslMechanismError() | IllegalSaslStateError():
            return Refusal(
                f"{server} does not know {mechanism}: {_answer(error)}; "
                "set kafka_sasl_mechanism to what its listener takes",
                True,
            )
        case ConnectionError() | TimeoutError() | OSError():
            return None
        case KafkaConnectionError():
            return Refusal(
                f"{server} takes the connection and closes it; does its listener fit "
                f"kafka_security_protocol {protocol}"
                + (
                    ", and ask for no certificate (kafka_client_cert_file)?"
                    if "ssl_context" in access.security
                    else "?"
                ),
                False,
            )
        case KafkaError():
            return Refusal(f"{server} answers: {_answer(error)}", False)
    raise error


def _answer(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
