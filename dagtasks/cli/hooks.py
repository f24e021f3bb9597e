"""`dagtasks hooks`: install, uninstall, status, and what the hooks themselves call."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import note, show, table
from dagtasks.service import hooks


@click.group(cls=Group)
def group() -> None:
    """Hooks of Git: install, uninstall, status."""


@group.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_obj
def install(app: App, /, names: tuple[str, ...], *, as_json: bool) -> int:
    """Install the hooks that look at what Git did, or those named (pre-commit and pre-push, too).

    A hook that is there is kept and called first. Exit code 1 when one was changed by hand and is left so.
    """
    return _show(hooks.install(app.project(), names), as_json=as_json)


@group.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_obj
def uninstall(app: App, /, names: tuple[str, ...], *, as_json: bool) -> int:
    """Take out the hooks of dagtasks, or those named; what was there before is there again.

    Exit code 1 when one was changed by hand and is left so.
    """
    return _show(hooks.uninstall(app.project(), names), as_json=as_json)


@group.command()
@json_option
@click.pass_obj
def status(app: App, /, *, as_json: bool) -> int:
    """Show how each hook stands: installed or not, chained, changed by hand, or calling a program that is gone."""
    project = app.project()
    refusal = hooks.find_refusal(project)
    if refusal:
        note(f"note: {refusal}")
    _show(hooks.status(project), as_json=as_json)
    return 0


def _show(states: list[hooks.State], *, as_json: bool) -> int:
    text = table(("HOOK", "STATE", "WHAT"), states)
    show("hooks", [state._asdict() for state in states], text, as_json=as_json)
    return 1 if any(state.state == hooks.BY_HAND for state in states) else 0


@group.command()
@click.option("--foreground", is_flag=True, help="Do what it starts before it ends, and not in the background.")
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT]...")
@click.pass_obj
def run(app: App, /, name: str, arguments: tuple[str, ...], *, foreground: bool) -> int:
    """Do what the hook NAME is for; this is what an installed hook calls.

    Problems that a merge or a rebase brought are printed on stderr, and what a change has started. pre-commit
    and pre-push end with 7 when what is staged, or pushed, has errors.
    """
    from dagtasks.triggers.hooks import Options
    from dagtasks.triggers.hooks import run as run_hook

    for line in run_hook(name, list(arguments), app.path, Options(app.use_cache, foreground)):
        note(line)
    return 0
