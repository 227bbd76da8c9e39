"""Logging: structlog for everything, Faust's and aiokafka's records included, in one format.

Lines for people on a terminal, one JSON object per line elsewhere. A line about a record has its
`topic`, `partition` and `offset`, with `event_id` and `trace_id` where it has them.

No personal data, at any level: neither members' ids nor addresses nor anything of a record's key or
value. Whoever may see a member finds the record by its address. Three things see to it: our own
lines name none; fields whose names say that they hold some are emptied; of exceptions that are not
ours only type and place are told, because their words may quote a record. An `event_id` is logged:
publishers are asked to make it of nothing personal (`schemas/README.md`).
"""

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from pointstream.engine.errors import words_of

__all__ = ["Format", "configure_logs"]

Format = Literal["auto", "json", "pretty"]

#: Talkative libraries, and the level from which they have something to say to an operator.
_QUIETER = {
    "aiokafka": logging.WARNING,
    "aiohttp": logging.WARNING,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "asyncio": logging.WARNING,
    # Tells of every rejoin; a worker says it itself, in one line.
    "aiokafka.consumer.group_coordinator": logging.ERROR,
}
#: Fields that would hold personal data. None of ours is named so: this is the second net.
_PERSONAL = frozenset(
    {
        *("member", "member_id", "member_ids", "counterparty_id", "entity_id", "actor_id"),
        *("confirmed_by", "device_id", "ip", "geo", "key", "value", "headers", "body"),
        *("name", "phone", "email", "birthday", "referee_id", "referrer_id", "subject"),
    }
)
_EMPTIED = "(not logged)"

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _worth_telling(record: logging.LogRecord) -> bool:
    """Leave out that each of Faust's services starts and stops."""
    return record.levelno >= logging.WARNING or not str(record.msg).startswith("[^")


def _without_personal_data(
    logger: Any, method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in _PERSONAL & line.keys():
        line[name] = _EMPTIED
    return line


def _told(exc_info: _ExcInfo) -> str:
    """A traceback whose exceptions say no more than `words_of` lets them."""
    lines: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        stack = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
        words = words_of(error)
        kind = type(error).__name__
        lines.append(f"{stack}{kind}: {words}" if words != kind else f"{stack}{kind}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich came of this one:\n".join(lines)


def _format_exception(
    logger: Any, method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the traceback into `exception`."""
    exc_info = line.pop("exc_info", None)
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    elif exc_info and not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    if exc_info and exc_info[0] is not None:
        line["exception"] = _told(exc_info)
    return line


def _write_exception(out: TextIO, exc_info: _ExcInfo) -> None:
    out.write("\n" + _told(exc_info))


def configure_logs(*, level: str = "INFO", format: Format = "auto") -> None:
    """Set up logging for the process; what it raises and nobody catches is logged, too.

    `level` is one of Python's level names. `format` "auto" decides by whether standard error is a
    terminal.
    """
    as_json = not sys.stderr.isatty() if format == "auto" else format == "json"
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        _without_personal_data,
    ]
    if as_json:
        renderer: list[Any] = [_format_exception, structlog.processors.JSONRenderer()]
    else:
        renderer = [structlog.dev.ConsoleRenderer(exception_formatter=_write_exception)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_worth_telling)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quieter in _QUIETER.items():
        logging.getLogger(name).setLevel(max(quieter, logging.getLevelName(level)))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    logging.getLogger("pointstream").critical(
        "an error that nobody caught", exc_info=(kind, error, where)
    )


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
