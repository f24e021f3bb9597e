"""`dagtasks mcp`: tools for agents."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from dagtasks.cli.app import App
from dagtasks.cli.output import show_bug
from dagtasks.errors import DagtasksError, InvalidInput
from dagtasks.model.values import NAME_LIMIT

if TYPE_CHECKING:
    from dagtasks.store.project import Project


@click.command()
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["write", "run"]),
    help="Also tools that change tasks, or that run approved workflows; may be given again.",
)
@click.option("--as", "name", metavar="NAME", default="", help="Who claims and comments, as agent:NAME.")
@click.pass_obj
def mcp(app: App, /, allow: tuple[str, ...], name: str) -> int:
    """Serve tools for agents over stdin and stdout.

    An agent starts it itself: see the guide on agents. Without --allow it can read only. Each call is written into an
    audit log. It ends when the agent closes stdin; runs go on.
    """
    if "write" in allow and not name.strip():
        raise InvalidInput("who writes? An agent needs a name of its own", hint="say --as agent:NAME")
    if len(name) > NAME_LIMIT or not name.isprintable():
        raise InvalidInput(f"a name is one line of up to {NAME_LIMIT} characters", hint="say --as agent:NAME")
    _serve(app.project(), {"read", *allow}, name)
    return 0


def _serve(project: Project, rights: Collection[str], name: str) -> None:
    from dagtasks.triggers.runner import start_if_idle

    try:
        from dagtasks.mcp import server
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'dagtasks[mcp]'"
        raise DagtasksError(f"serving agents needs the package {error.name}", hint=hint) from error
    server.serve(server.Face(project, rights, name, start_if_idle, show_bug))
