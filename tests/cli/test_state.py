"""`state`, as far as it asks no broker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.operations.moving.archive import Archive

_GOLDEN = Path(__file__).parents[1] / "agents" / "golden" / "state-1"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def test_a_backup_is_looked_at_without_a_broker() -> None:
    """What is in it, in words and for programs."""
    result = _run("state", "verify", str(_GOLDEN), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["holds"], told["members"]) == (True, 38)
    assert "38 members" in _run("state", "verify", str(_GOLDEN)).stdout


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_backup_ends_with_1_and_names_the_file(tmp_path: Path, damage: str) -> None:
    """Nobody learns of it only when it is needed."""
    out = tmp_path / "backup"
    shutil.copytree(_GOLDEN, out)
    file = out / Archive.open(out).manifest.files[0].name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes(content[:-9] if damage == "cut" else changed)
    result = _run("state", "verify", str(out))
    assert result.exit_code == 1
    assert file.name in result.output.replace("\n", "")


def test_books_that_do_not_balance_are_told(tmp_path: Path) -> None:
    """A file may be what was written, and its content wrong all the same."""
    out = tmp_path / "backup"
    shutil.copytree(_GOLDEN, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"] = [f for f in manifest["files"] if f["topic"] != "balance-changes"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    result = _run("state", "verify", str(out))
    assert result.exit_code == 1
    assert "the table is at seq" in result.output


def test_an_interrupted_backup_is_none(tmp_path: Path) -> None:
    """Without its manifest."""
    out = tmp_path / "backup"
    shutil.copytree(_GOLDEN, out)
    (out / "manifest.json").unlink()
    result = _run("state", "verify", str(out))
    assert (result.exit_code, "was interrupted" in result.output) == (1, True)


def test_topics_are_not_moved_onto_themselves() -> None:
    """It would need a place to put them meanwhile."""
    result = _run("state", "expand", "--partitions", "3", "--to-prefix", "points.")
    assert result.exit_code == 2
    assert "another than 'points.'" in result.output
