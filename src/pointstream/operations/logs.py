"""Logging: structlog for everything, Faust's and aiokafka's records included.

Lines for people on a terminal, one JSON object per line elsewhere. No personal data: members
are never named in a log line, records are named by topic, partition and offset.
"""

import logging
import sys
from typing import Any

import structlog

__all__ = ["configure_logs"]

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


def _worth_telling(record: logging.LogRecord) -> bool:
    """Leave out that each of Faust's services starts and stops."""
    return record.levelno >= logging.WARNING or not str(record.msg).startswith("[^")


def configure_logs(*, level: str = "INFO", as_json: bool | None = None) -> None:
    """Set up logging for the process.

    `level` is one of Python's level names. `as_json` None decides by whether standard error
    is a terminal.
    """
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        renderer: list[Any] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        plain = structlog.dev.plain_traceback
        renderer = [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
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
