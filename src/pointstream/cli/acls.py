"""`topics acls`: what each role must be allowed on the brokers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from pointstream.cli.output import (
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
from pointstream.operations.acls import Role, acls_of, apply_acls, kafka_acls_commands

__all__ = ["ACLS_EXAMPLES", "acls"]

ACLS_EXAMPLES = examples(
    "pointstream topics acls --role worker --principal User:pointstream",
    "pointstream topics acls --role upstream --principal User:pos --only orders --only check-ins",
    "pointstream topics acls --role downstream --principal User:crm --group crm. --json",
    "pointstream topics acls --role worker --principal User:pointstream --apply",
)


@guarded
def acls(
    role: Annotated[Role, typer.Option(help="Whose: what it does with the topics.")],
    principal: Annotated[
        str | None,
        typer.Option(metavar="User:NAME", help="Who has the role; else User: and the role."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="What a reader's consumer groups start with; else it has none."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="SUFFIX", help="Confine it to this topic of its role; repeatable."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Put them in force on the broker, as who you are.")
    ] = False,
    command_config: Annotated[
        str, typer.Option(help="The file of kafka-acls that says how to reach the broker.")
    ] = "admin.properties",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Print what a role must be allowed, and no more, as commands of kafka-acls.

    With --json as the entries of a Strimzi KafkaUser. Nothing is asked of a broker, but by --apply;
    that only adds, and needs Alter on the cluster.
    """
    settings = read_settings(bootstrap_servers)
    who = principal or f"User:{role}"
    if not who.startswith("User:"):
        fail(f"--principal is written like User:NAME, not {who}", USAGE)
    try:
        wanted = acls_of(
            role,
            prefix=settings.topic_prefix,
            app_id=settings.app_id,
            group=group,
            only=only or (),
        )
    except ValueError as error:
        fail(str(error), USAGE)
    if apply:
        asyncio.run(apply_acls(access_of(settings), who, wanted))
        notes.print(f"{len(wanted)} resources are open to {who} as {role}.", markup=False)
    if as_json:
        answer_json({"role": role, "principal": who, "acls": [acl.as_json() for acl in wanted]})
    elif not apply:
        for command in kafka_acls_commands(wanted, who, settings.bootstrap_servers, command_config):
            console.print(command, markup=False, soft_wrap=True)
