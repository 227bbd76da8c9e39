"""What every command shares: consoles, options, JSON answers, and faults told in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import typer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pointstream.engine.topics import TopicsError, TopicsForbiddenError
from pointstream.operations.access import LACKS_RIGHTS, AccessError, access_of, refusal_of
from pointstream.operations.acls import AclsError
from pointstream.operations.broker import BrokerError
from pointstream.operations.publish import MissingTopicError
from pointstream.operations.reading import NoTopicsError
from pointstream.operations.rows import MappingError
from pointstream.operations.settings import Settings
from pointstream.operations.settingsfile import SettingsFileInvalid

__all__ = [
    "FAILED",
    "USAGE",
    "BootstrapOption",
    "JsonOption",
    "answer_json",
    "console",
    "examples",
    "fail",
    "guarded",
    "notes",
    "read_settings",
    "reading_bar",
    "settings_refused",
    "zone_named",
]

FAILED = 1
USAGE = 2

_NO_BROKER = (
    "Start one, or name a running one with --bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS; "
    "`pointstream demo` brings its own."
)

_FORBIDDEN = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
#: With what the command that runs asks its brokers: a fault of theirs tells too little by itself.
_asked_by: ContextVar[Settings | None] = ContextVar("asked_by", default=None)

P = ParamSpec("P")
R = TypeVar("R")

#: Answers go to standard output, everything else to standard error, so that answers can be piped.
console = Console(highlight=False)
notes = Console(stderr=True, highlight=False)

BootstrapOption = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT,…",
        help="Kafka brokers; else KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def examples(*lines: str) -> str:
    """An epilog, in Markdown, that shows commands as they are typed."""
    return "\n\n".join(["**Examples**", *(f"- `{line}`" for line in lines)])


def answer_json(value: Any) -> None:
    """Write one JSON value and a line end to standard output, at once."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong on standard error and end with the code."""
    notes.print(f"[bold red]Error:[/bold red] {_plain(message)}", soft_wrap=True)
    raise typer.Exit(code)


def _plain(text: str) -> str:
    # Square brackets in a message are part of it, not markup.
    return text.replace("[", "\\[")


def read_settings(bootstrap_servers: str | None = None, **values: Any) -> Settings:
    """The settings of the environment and the file, with what the command line says on top."""
    given = {name: value for name, value in values.items() if value is not None}
    if bootstrap_servers is not None:
        given["bootstrap_servers"] = bootstrap_servers
    with settings_refused():
        settings = Settings(**given)
    _asked_by.set(settings)
    return settings


@contextlib.contextmanager
def settings_refused() -> Iterator[None]:
    """Turn settings that do not fit into a usage error that names each."""
    try:
        yield
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        ]
        fail("\n".join(["these settings don't fit:", *lines]), USAGE)
    except SettingsFileInvalid as error:
        fail("\n".join(["the file of settings doesn't fit:", *error.problems]), USAGE)


def reading_bar(quiet: bool) -> Progress:
    """A bar on standard error for what takes long; gone when done, and silent in a pipe."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=quiet or not notes.is_terminal,
    )


def zone_named(name: str) -> ZoneInfo:
    """The time zone of an IANA name; ends with a usage error for another."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"{name!r} is not a time zone; write it like Asia/Shanghai or UTC", USAGE)


def _why_refused() -> str | None:
    """Why the broker that was asked last lets nobody in; None where none is there."""
    settings = _asked_by.get()
    refusal = asyncio.run(refusal_of(access_of(settings))) if settings is not None else None
    return str(refusal) if refusal is not None else None


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the faults that a user can do something about into a sentence and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read our answer has seen enough. What is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except MappingError as error:
            fail(str(error), USAGE)
        except BrokerError as error:
            fail(_why_refused() or str(error))
        except (AclsError, MissingTopicError, NoTopicsError) as error:
            fail(str(error))
        except AccessError as error:
            fail(str(error), USAGE)
        except TopicsForbiddenError as error:
            fail(f"{error}; {LACKS_RIGHTS}")
        except TopicsError as error:
            if isinstance(error.__cause__, KafkaConnectionError):
                fail(_why_refused() or f"{error}. {_NO_BROKER}")
            fail((_why_refused() if error.__cause__ is not None else None) or str(error))
        except (KafkaConnectionError, KafkaTimeoutError, ConnectionError) as error:
            fail(_why_refused() or f"no Kafka broker answers: {error}. {_NO_BROKER}")
        except KafkaError as error:
            if isinstance(error, _FORBIDDEN):
                fail(f"The Kafka broker does not allow this: {error!r}; {LACKS_RIGHTS}")
            fail(_why_refused() or f"The Kafka broker refused: {error!r}")
        except KeyboardInterrupt:
            notes.print("interrupted")
            raise typer.Exit(130) from None

    return run
