"""How a process reaches a Kafka that asks who is there: TLS, SASL, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, SecretStr

__all__ = ["KafkaSettings", "Mechanism", "Misfit", "Protocol"]

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

_MECHANISMS = "SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or OAUTHBEARER"
_TLS_FIELDS = ("kafka_ca_file", "kafka_client_cert_file", "kafka_client_key_file")
_USER_FIELDS = ("kafka_username", "kafka_password", "kafka_password_file")
_OAUTH_FIELDS = (
    "kafka_oauth_token_file",
    "kafka_oauth_token_url",
    "kafka_oauth_client_id",
    "kafka_oauth_client_secret",
    "kafka_oauth_client_secret_file",
)
#: Each can be given itself, or as the name of a file that holds it.
_SECRETS = ("kafka_password", "kafka_client_key_password", "kafka_oauth_client_secret")
# A client's secret must not travel in the clear but on this machine.
_TOKEN_URL = r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/])[^\s@]*$"


class Misfit(NamedTuple):
    """A setting that does not go with the others, what is wrong, and what to do about it."""

    setting: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting} {self.problem}; {self.remedy}"


class KafkaSettings(BaseModel):
    """The settings of TLS and SASL, for every Kafka client of a process alike.

    A secret is given by its variable or in a file whose name ends the setting's with `_file`: by
    nothing that other users of the machine can read in the list of processes.
    """

    kafka_security_protocol: Annotated[
        Protocol, Field(description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, as Kafka has them")
    ] = "PLAINTEXT"
    kafka_ca_file: Annotated[
        Path | None,
        Field(description="PEM of those who may sign the brokers' certificates; else the system's"),
    ] = None
    kafka_client_cert_file: Annotated[
        Path | None, Field(description="PEM of this client's certificate, for brokers that ask")
    ] = None
    kafka_client_key_file: Annotated[
        Path | None, Field(description="PEM of its private key; none takes the certificate's file")
    ] = None
    kafka_client_key_password: Annotated[
        SecretStr | None, Field(description="what the private key is locked with")
    ] = None
    kafka_client_key_password_file: Annotated[
        Path | None, Field(description="a file that holds it")
    ] = None
    kafka_sasl_mechanism: Annotated[Mechanism | None, Field(description=_MECHANISMS)] = None
    kafka_username: Annotated[
        str | None, Field(min_length=1, description="who this is, for SCRAM and PLAIN")
    ] = None
    kafka_password: Annotated[SecretStr | None, Field(description="the user's password")] = None
    kafka_password_file: Annotated[Path | None, Field(description="a file that holds it")] = None
    kafka_oauth_token_file: Annotated[
        Path | None,
        Field(description="for OAUTHBEARER: a file with the token, read anew when it is needed"),
    ] = None
    kafka_oauth_token_url: Annotated[
        str | None,
        Field(
            pattern=_TOKEN_URL,
            description="for OAUTHBEARER: https address that gives tokens for client credentials",
        ),
    ] = None
    kafka_oauth_client_id: Annotated[
        str | None, Field(min_length=1, description="the client that it knows")
    ] = None
    kafka_oauth_client_secret: Annotated[
        SecretStr | None, Field(description="the client's secret")
    ] = None
    kafka_oauth_client_secret_file: Annotated[
        Path | None, Field(description="a file that holds it")
    ] = None
    kafka_oauth_scope: Annotated[
        str | None,
        Field(min_length=1, description="what the token is asked for; none asks nothing"),
    ] = None

    def kafka_problems(self) -> Iterator[Misfit]:
        """What does not go together, or is missing."""
        for name in _SECRETS:
            if self._given(name) and self._given(f"{name}_file"):
                yield Misfit(name, f"is given as well as {name}_file", "leave one of them out")
        yield from self._tls_problems()
        yield from self._sasl_problems()

    def _tls_problems(self) -> Iterator[Misfit]:
        protocol = self.kafka_security_protocol
        if protocol not in ("SSL", "SASL_SSL"):
            for name in filter(self._given, _TLS_FIELDS):
                words = f"is given, but kafka_security_protocol {protocol} does not encrypt"
                yield Misfit(name, words, "take SSL or SASL_SSL")
        if self._given("kafka_client_key_file") and not self._given("kafka_client_cert_file"):
            yield _missing("kafka_client_cert_file", "kafka_client_key_file")

    def _sasl_problems(self) -> Iterator[Misfit]:
        protocol, mechanism = self.kafka_security_protocol, self.kafka_sasl_mechanism
        if not protocol.startswith("SASL_"):
            for name in filter(
                self._given, ("kafka_sasl_mechanism", *_USER_FIELDS, *_OAUTH_FIELDS)
            ):
                # Silently, nobody would be asked for it, and what is sent could be read by all.
                words = f"is given, but kafka_security_protocol {protocol} has no use for it"
                yield Misfit(name, words, "take SASL_SSL")
        elif mechanism is None:
            yield Misfit("kafka_sasl_mechanism", f"is missing; {protocol} needs it", _MECHANISMS)
        elif mechanism == "OAUTHBEARER":
            yield from self._foreign(_USER_FIELDS)
            yield from self._oauth_problems()
        else:
            yield from self._foreign(_OAUTH_FIELDS)
            if self.kafka_username is None:
                yield _missing("kafka_username", mechanism)
            if not self._given("kafka_password") and not self._given("kafka_password_file"):
                yield _missing("kafka_password", mechanism, "kafka_password_file")

    def _oauth_problems(self) -> Iterator[Misfit]:
        by_file, by_url = map(self._given, ("kafka_oauth_token_file", "kafka_oauth_token_url"))
        if by_file and by_url:
            words = "is given as well as kafka_oauth_token_url"
            yield Misfit("kafka_oauth_token_file", words, "leave one of them out")
        elif not by_file and not by_url:
            yield _missing("kafka_oauth_token_file", "OAUTHBEARER", "kafka_oauth_token_url")
        if by_url and self.kafka_oauth_client_id is None:
            yield _missing("kafka_oauth_client_id", "kafka_oauth_token_url")
        secret = "kafka_oauth_client_secret"
        if by_url and not self._given(secret) and not self._given(f"{secret}_file"):
            yield _missing(secret, "kafka_oauth_token_url", f"{secret}_file")

    def _foreign(self, names: tuple[str, ...]) -> Iterator[Misfit]:
        for name in filter(self._given, names):
            words = f"is given, but {self.kafka_sasl_mechanism} has no use for it"
            yield Misfit(name, words, "leave it out")

    def _given(self, name: str) -> bool:
        return getattr(self, name) is not None


def _missing(name: str, needed_by: str, instead: str | None = None) -> Misfit:
    remedy = f"set it, or {instead}" if instead else "set it"
    return Misfit(name, f"is missing; {needed_by} needs it", remedy)
