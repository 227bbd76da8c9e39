"""Java libraries that a pom pins, brought once by Maven into a directory of the cache."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from pointstream.operations.broker.errors import BrokerStartError

__all__ = ["bring_jars", "jars_installed"]

_MAVEN_SECONDS = 900


def jars_installed(pom: Path, directory: Path) -> bool:
    """Tell whether the directory has what the pom asks for as it is now."""
    # A pom changed since (another exclusion, another log4j) asks for another set of jars.
    kept = directory / "pom.xml"
    return kept.is_file() and kept.read_bytes() == pom.read_bytes()


def bring_jars(pom: Path, directory: Path, name: str, say: Callable[[str], None]) -> None:
    """Bring every jar of the pom into the directory, unless they are there; `name` says of what.

    Raises:
        BrokerStartError: Maven did not get everything; the message carries what it said.
    """
    if jars_installed(pom, directory):
        return
    say(f"bringing {name} with Maven (50 to 60 MB, once)")
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Into a directory of its own, then renamed: a run that is cut short, or two at once, never
    # leave a cache that is only half there.
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        command = [
            "mvn",
            "--batch-mode",
            "--strict-checksums",
            "--no-transfer-progress",
            f"--file={pom}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={fresh}",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_MAVEN_SECONDS, check=False
        )
        if done.returncode != 0:
            told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
            raise BrokerStartError(f"Maven could not bring {name}:\n{told}")
        shutil.copyfile(pom, fresh / "pom.xml")
        fresh.chmod(0o755)
        _put_in_place(pom, fresh, directory)
    except subprocess.TimeoutExpired as error:
        raise BrokerStartError(f"Maven did not finish within {_MAVEN_SECONDS} s") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _put_in_place(pom: Path, fresh: Path, directory: Path) -> None:
    try:
        fresh.rename(directory)
    except OSError:
        if jars_installed(pom, directory):
            return  # Another process was faster.
        shutil.rmtree(directory)
        fresh.rename(directory)
