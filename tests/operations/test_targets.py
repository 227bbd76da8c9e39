"""The file that tells Prometheus where workers are: there while they run, and no longer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointstream.operations.targets import told_to_prometheus


def test_prometheus_is_told_the_workers_while_they_run(tmp_path: Path) -> None:
    """A file as file_sd takes it, gone at the end even of a run that failed."""
    file = tmp_path / "workers" / "run.json"
    addresses = ["http://127.0.0.1:1", "http://127.0.0.1:2"]

    def run() -> None:
        with told_to_prometheus(file, addresses):
            assert json.loads(file.read_text()) == [{"targets": ["127.0.0.1:1", "127.0.0.1:2"]}]
            assert [*file.parent.iterdir()] == [file]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not file.exists()


def test_nobody_is_told_without_a_file() -> None:
    """Whoever names no file gets none."""
    with told_to_prometheus(None, ["http://127.0.0.1:1"]):
        pass
