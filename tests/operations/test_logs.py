"""What is logged: one format for all, and nothing of members."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from pointstream.engine.errors import PositionGap, words_of
from pointstream.ledger.errors import BooksDisagree, ConservationBreach
from pointstream.operations.logs import Format, configure_logs

SECRET = "member-4711"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    # Whoever turned it on before did so on another `warnings.showwarning` than pytest's of now.
    logging.captureWarnings(False)
    yield
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(capsys: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def logged(format: Format = "json") -> structlog.stdlib.BoundLogger:
    configure_logs(format=format)
    return structlog.get_logger("pointstream.test").bind()


def test_libraries_speak_the_same_format(capsys) -> None:
    """Faust's, aiokafka's and Python's own lines are JSON with the same fields as ours."""
    logged().info("ours", partition=3)
    logging.getLogger("aiokafka.producer").warning("theirs %s", 7)
    logging.getLogger("faust.app").error("theirs too")
    warnings.warn("and this", stacklevel=1)
    found = lines(capsys)
    assert [line["event"] for line in found][:3] == ["ours", "theirs 7", "theirs too"]
    assert "and this" in found[3]["event"]
    for line in found:
        assert {"event", "level", "logger", "timestamp"} <= line.keys()
    assert found[0]["partition"] == 3


@pytest.mark.parametrize("format", ["json", "pretty"])
def test_fields_that_hold_personal_data_are_emptied(capsys, format) -> None:
    """A field that somebody adds without thinking of it tells nothing."""
    logged(format).warning("a line", member_id=SECRET, ip=SECRET, key=SECRET, topic="points.orders")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "points.orders" in said


@pytest.mark.parametrize("format", ["json", "pretty"])
def test_the_words_of_other_peoples_errors_are_not_told(capsys, format) -> None:
    """A parser quotes what it stumbled over; its type and the place are enough to find it."""
    log = logged(format)
    try:
        try:
            {}[SECRET]
        except KeyError as error:
            raise ValueError(f"cannot read {SECRET}") from error
    except ValueError:
        log.exception("it failed")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "KeyError" in said
    assert "ValueError" in said
    assert "test_logs.py" in said


def test_our_own_errors_are_told_and_name_no_member() -> None:
    """What is wrong with the books is said, and not whose they are."""
    for error in (
        ConservationBreach(SECRET, "points", 5, 4),
        BooksDisagree(SECRET, "points", 5, 4, 3),
    ):
        assert error.member_id == SECRET
        assert SECRET not in words_of(error)
        assert "'points'" in words_of(error)
    assert words_of(PositionGap("points.orders: expected 3")) == "points.orders: expected 3"
    assert words_of(ConnectionRefusedError(111, "refused")) == "[Errno 111] refused"
    assert words_of(KeyError(SECRET)) == "KeyError"


def test_what_nobody_catches_is_a_line_like_any_other(capsys) -> None:
    """Also out of a thread."""
    logged()

    def fail() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (line,) = lines(capsys)
    assert line["level"] == "critical"
    assert "RuntimeError" in line["exception"]
    assert SECRET not in str(line)


def test_terminals_get_lines_for_people_and_all_others_json(capsys) -> None:
    """`auto` goes by standard error; here it is no terminal."""
    logged("auto").info("one")
    assert json.loads(capsys.readouterr().err)["event"] == "one"
    logged("pretty").info("two")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(capsys.readouterr().err)
