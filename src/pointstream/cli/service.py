"""`worker`, `topics` and `topology`: what runs a programme, and what it is made of."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from pointstream.cli.output import (
    FAILED,
    USAGE,
    BootstrapOption,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    notes,
    read_settings,
)
from pointstream.operations.access import access_of

__all__ = ["topics_app", "topology", "worker"]

WORKER_EXAMPLES = examples(
    "pointstream worker",
    "pointstream worker --supervise --data-dir /var/lib/pointstream/1 --web-port 6067",
)
TOPOLOGY_EXAMPLES = examples(
    "pointstream topology",
    "pointstream topology --mermaid > topology.md",
    "pointstream topology --json",
)
CREATE_EXAMPLES = examples(
    "pointstream topics create", "pointstream topics create --partitions 24 --replication-factor 3"
)
CHECK_EXAMPLES = examples("pointstream topics check", "pointstream topics check --json")

topics_app = typer.Typer(
    name="topics",
    help="Create the topics, or check those that are there.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

PartitionsOption = Annotated[
    int | None, typer.Option(min=1, help="Of every topic keyed by member; else 12.")
]


@guarded
def worker(
    supervise: Annotated[
        bool, typer.Option("--supervise", help="Start the worker anew whenever it dies.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where this worker keeps its state; never shared.")
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Its web page; 0 for none.")
    ] = None,
    partitions: PartitionsOption = None,
    programme_file: Annotated[
        Path | None, typer.Option("--programme", help="YAML of the programme and its rules.")
    ] = None,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Run a worker: take inputs, keep points, emit balance changes, exactly once.

    Start as many as you like on as many machines, each with a data directory and a web port of its
    own; they share the partitions. A worker ends itself on any fault inside a transaction and is
    safe to start again at once: --supervise does that, except after exit code 2: what is wrong with
    the programme, the directory, the port or the topics has to be put right first. All other
    settings come from POINTSTREAM_… variables.
    """
    settings = read_settings(
        bootstrap_servers,
        data_dir=data_dir,
        web_port=web_port,
        partitions=partitions,
        programme_file=programme_file,
    )
    if supervise:
        from pointstream.operations.supervise import supervise as keep_running

        # The same command line without the one flag; settings in the environment are inherited.
        arguments = [word for word in sys.argv[1:] if word != "--supervise"]
        command = [sys.executable, "-m", "pointstream", *arguments]
        raise typer.Exit(keep_running(command, say=lambda text: notes.print(text, markup=False)))
    from pointstream.agents.app import CannotStart, run_worker

    try:
        raise typer.Exit(run_worker(settings))
    except CannotStart as error:
        for problem in error.problems:
            notes.print(problem, markup=False, soft_wrap=True)
        raise typer.Exit(USAGE) from None


@topics_app.command("create", epilog=CREATE_EXAMPLES)
@guarded
def create(
    partitions: PartitionsOption = None,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, help="Copies of each topic; else 1.")
    ] = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Create the topics that are missing; check those that are there.

    A topic that is there with another number of partitions or another cleanup policy is an error,
    and nothing is created or altered then.
    """
    from pointstream.engine.topics import ensure_topics
    from pointstream.operations.topics import wanted_topics

    settings = read_settings(
        bootstrap_servers, partitions=partitions, replication_factor=replication_factor
    )
    wanted = wanted_topics(settings)
    created = asyncio.run(
        ensure_topics(access_of(settings), wanted, replication_factor=settings.replication_factor)
    )
    if as_json:
        answer_json({"created": created, "there_before": len(wanted) - len(created)})
        return
    for name in created:
        console.print(f"created {name}", markup=False)
    console.print(
        f"{len(created)} topics created, {len(wanted) - len(created)} were there and fit."
    )


@topics_app.command("check", epilog=CHECK_EXAMPLES)
@guarded
def check(
    partitions: PartitionsOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Check that every topic is there, with the right partitions and policies; change nothing.

    Ends with 1 when something differs.
    """
    from pointstream.engine.topics import check_topics
    from pointstream.operations.topics import wanted_topics

    settings = read_settings(bootstrap_servers, partitions=partitions)
    wanted = wanted_topics(settings)
    differences = asyncio.run(check_topics(access_of(settings), wanted))
    if as_json:
        answer_json(
            {
                "topics": len(wanted),
                "differences": [
                    {
                        "topic": difference.topic,
                        "setting": difference.setting,
                        "expected": difference.expected,
                        "found": difference.found,
                    }
                    for difference in differences
                ],
            }
        )
    elif differences:
        for difference in differences:
            console.print(str(difference), markup=False, soft_wrap=True)
    else:
        console.print(f"All {len(wanted)} topics are there and as they should be.")
    if differences:
        raise typer.Exit(FAILED)


@guarded
def topology(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what feeds what: topics, agents, the partition task, its outputs. Needs no broker."""
    from pointstream.agents.topology import topology as graph_of

    if mermaid and as_json:
        fail("--mermaid and --json exclude each other", USAGE)
    settings = read_settings()
    graph = graph_of(settings.topic_prefix, settings.partitions)
    if as_json:
        answer_json(graph.as_json())
        return
    console.print(graph.mermaid() if mermaid else graph.text(), markup=False, soft_wrap=True)
