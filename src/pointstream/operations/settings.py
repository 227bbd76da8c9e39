"""Every setting of a process, read from the environment and a file: one class, one prefix.

``POINTSTREAM_PARTITIONS=24`` sets ``partitions``, and so on; the bootstrap servers are named by
``KAFKA_BOOTSTRAP_SERVERS``, as other Kafka programs have it. ``POINTSTREAM_CONFIG_FILE`` names a
YAML file with the same settings, ``partitions: 24``. What the command line says wins over the
environment, that over the file, and the file over the defaults. A value that does not fit ends the
start with its name and what it may be.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pointstream.ledger.codec import READS
from pointstream.operations.kafkasettings import KafkaSettings
from pointstream.operations.settingsfile import FileSource
from pointstream.operations.websettings import WebSettings

__all__ = ["Settings"]

_PREFIX = "POINTSTREAM_"
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})


class Settings(KafkaSettings, WebSettings, BaseSettings):
    """What one process of the programme is told; immutable.

    Keyword arguments win over the environment, the environment over the file, the file over the
    defaults.

    Raises:
        pydantic.ValidationError: at construction, for a value that does not fit.
        SettingsFileInvalid: at construction, when the file cannot be read.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        populate_by_name=True,
        extra="forbid",
        # Among what was given are secrets, and errors are logged.
        hide_input_in_errors=True,
    )

    bootstrap_servers: Annotated[
        str,
        Field(
            validation_alias=AliasChoices(
                "bootstrap_servers",
                "KAFKA_BOOTSTRAP_SERVERS",
                f"{_PREFIX}BOOTSTRAP_SERVERS",
            ),
            pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$",
            description="host:port of one or more brokers, comma-separated",
        ),
    ] = "localhost:9092"
    app_id: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._-]{1,100}$",
            description="consumer group, and the stem of the transactional ids: one per programme",
        ),
    ] = "pointstream"
    topic_prefix: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._-]{0,100}$", description="what every topic name starts with"),
    ] = "points."
    partitions: Annotated[
        int,
        Field(ge=1, le=10_000, description="partitions of every topic that is keyed by member"),
    ] = 12
    replication_factor: Annotated[
        int, Field(ge=1, le=9, description="copies of each topic that is created")
    ] = 1
    data_dir: Annotated[
        Path, Field(description="where this process keeps its state; its own, never shared")
    ] = Path(".run/worker")
    programme_file: Annotated[
        Path | None, Field(description="YAML of the programme; none takes the one that comes along")
    ] = None
    advertised_url: Annotated[
        str | None,
        Field(
            pattern=r"^http://([^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$",
            description="http://host:port at which the other workers reach this one's web page; "
            "none takes web_host (this machine's name where it is bound to every address)",
        ),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="the least that is logged")
    ] = "INFO"
    log_format: Annotated[
        Literal["auto", "json", "pretty"],
        Field(description="auto: pretty on a terminal, JSON elsewhere"),
    ] = "auto"
    max_batch_records: Annotated[
        int, Field(ge=1, le=100_000, description="most records in one transaction")
    ] = 1_000
    transaction_timeout_ms: Annotated[int, Field(ge=1_000, le=900_000)] = 60_000
    session_timeout_ms: Annotated[
        int,
        Field(ge=1_000, le=1_800_000, description="silence after which a worker counts as dead"),
    ] = 10_000
    group_instance_id: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{1,200}$",
            description="this worker's name in the group, its own and lasting: back within "
            "session_timeout_ms it has its partitions again, and no other worker notices",
        ),
    ] = None
    tick_interval_ms: Annotated[
        int, Field(ge=10, le=60_000, description="how often a partition's time moves while idle")
    ] = 1_000
    standby_replicas: Annotated[
        int, Field(ge=0, le=8, description="workers that keep a second copy of a state")
    ] = 0
    state_format: Annotated[
        int,
        Field(
            ge=min(READS),
            le=max(READS),
            description="the form in which state is written; to be raised, for good, when every "
            "worker runs a release that reads it",
        ),
    ] = 1

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where settings come from, the strongest first."""
        return init_settings, env_settings, FileSource(settings_cls)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if misfits := [*map(str, self.kafka_problems()), *map(str, self.web_problems())]:
            raise ValueError("; ".join(misfits))
        return self

    @property
    def web_url(self) -> str:
        """Where the other workers of the group reach this one's web page."""
        if self.advertised_url is not None:
            return self.advertised_url
        # Bound to every address, it is reached by none of that name.
        host = socket.gethostname() if self.web_host in _EVERY_ADDRESS else self.web_host
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.web_port}"

    @property
    def heartbeat_interval_ms(self) -> int:
        """A third of the session, so that no single lost heartbeat ends it."""
        return self.session_timeout_ms // 3

    def environ(self) -> dict[str, str]:
        """The variables that give another process the same settings."""
        named = {
            _PREFIX + name.upper(): (
                value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            )
            for name, value in self.model_dump().items()
            if value is not None
        }
        named["KAFKA_BOOTSTRAP_SERVERS"] = named.pop(_PREFIX + "BOOTSTRAP_SERVERS")
        return named
