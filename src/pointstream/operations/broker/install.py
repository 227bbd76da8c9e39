"""Apache Kafka's jars, brought once by Maven from ``deploy/broker/pom.xml`` into a cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

from pointstream.operations.broker.errors import BrokerUnavailableError
from pointstream.operations.broker.jars import bring_jars, jars_installed

__all__ = [
    "OLDEST_JAVA",
    "java_executable",
    "java_version",
    "kafka_classpath",
    "kafka_version",
    "missing_for_kafka",
]

OLDEST_JAVA = 17
_CHECKOUT = Path(__file__).resolve().parents[4]
_POM = _CHECKOUT / "deploy" / "broker" / "pom.xml"
_NO_POM = "deploy/broker/pom.xml is missing: this is not a checkout of the project."


def java_executable() -> str | None:
    """The ``java`` of JAVA_HOME if that is set and has one, else the one on the PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        candidate = Path(home) / "bin" / "java"
        if candidate.is_file():
            return str(candidate)
    return shutil.which("java")


def java_version(java: str) -> int | None:
    """The major version that ``java -version`` tells, or None where it does not run."""
    try:
        told = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else None


def missing_for_kafka() -> list[str]:
    """What a local Kafka still lacks on this machine, one sentence each; empty if nothing."""
    missing: list[str] = []
    java = java_executable()
    version = java_version(java) if java else None
    if version is None:
        missing.append(f"Java {OLDEST_JAVA} or newer is not installed.")
    elif version < OLDEST_JAVA:
        missing.append(f"Java is version {version}; Kafka needs {OLDEST_JAVA} or newer.")
    if not _POM.is_file():
        missing.append(_NO_POM)
    elif shutil.which("mvn") is None and not jars_installed(
        _POM, _cache_directory(kafka_version())
    ):
        missing.append("Maven (mvn) is not installed; it brings Kafka's jars.")
    return missing


def kafka_classpath(say: Callable[[str], None]) -> str:
    """The class path of the pinned Kafka, brought by Maven if the cache does not have it yet.

    Raises:
        BrokerUnavailableError: Java, Maven or the pom is missing.
        BrokerStartError: Maven did not get everything; the message carries what it said.
    """
    missing = missing_for_kafka()
    if missing:
        raise BrokerUnavailableError(" ".join(missing))
    version = kafka_version()
    directory = _cache_directory(version)
    bring_jars(_POM, directory, f"Apache Kafka {version}", say)
    return str(directory / "*")


def kafka_version() -> str:
    """The version that the pom pins, for whichever way of running it.

    Raises:
        BrokerUnavailableError: there is no pom, or it names no version.
    """
    if not _POM.is_file():
        raise BrokerUnavailableError(_NO_POM)
    namespace = "{http://maven.apache.org/POM/4.0.0}"
    version = ElementTree.parse(_POM).findtext(f"{namespace}properties/{namespace}kafka.version")
    if not version:
        raise BrokerUnavailableError("deploy/broker/pom.xml has no property kafka.version")
    return version


def _cache_directory(version: str) -> Path:
    return _CHECKOUT / ".cache" / "kafka" / version
