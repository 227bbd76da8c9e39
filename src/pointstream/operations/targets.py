"""A file that tells Prometheus where workers answer: its file-based service discovery."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["told_to_prometheus"]


@contextlib.contextmanager
def told_to_prometheus(file: Path | None, addresses: Iterable[str]) -> Iterator[None]:
    """Have a file for Prometheus' `file_sd_configs` while the context lasts; None does nothing.

    `addresses` are the workers' web pages, http://host:port. The file's directory is made. It is
    removed at the end: workers that were stopped on purpose are not down. Raises `OSError` when it
    cannot be written.
    """
    if file is None:
        yield
        return
    hosts = [address.removeprefix("http://") for address in addresses]
    file.parent.mkdir(parents=True, exist_ok=True)
    # Prometheus may look at any moment.
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps([{"targets": hosts}]) + "\n")
    os.replace(fresh, file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
