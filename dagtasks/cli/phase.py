"""`dagtasks phase`: phases of a project."""

from __future__ import annotations

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, show, table
from dagtasks.cli.writing import confirm, read_text, show_saved, write_settings
from dagtasks.service import phases


@click.group(cls=Group)
def group() -> None:
    """Phases of a project: create, list, show, set, delete."""


@group.command()
@click.argument("project", shell_complete=complete.projects)
@click.argument("key")
@click.option("--name", required=True, help="What the phase is called.")
@click.option("--description", default="", help="What it is about; `-` reads stdin.")
@click.option("--order", type=int, help="Which phase comes first: the smaller (default: last).")
@write_options
@click.pass_obj
def create(app: App, /, project: str, key: str, name: str, description: str, order: int | None, **options: bool) -> int:
    """Create the phase KEY of PROJECT."""
    data = {"name": name, "description": read_text(description), "order": order}
    return show_saved(phases.create(app.project(), f"{project}/{key}", data, write_settings(options)), options)


@group.command("list")
@click.argument("project", shell_complete=complete.projects)
@json_option
@click.pass_obj
def list_(app: App, /, project: str, *, as_json: bool) -> int:
    """List the phases of PROJECT in their order."""
    answer = phases.list_all(app.project(), project)
    rows = [(p["id"], p["order"], f"{p['tasks_completed']}/{p['tasks']}", p["name"]) for p in answer.data]
    text = table(("PHASE", "ORDER", "DONE", "NAME"), rows)
    return show("phases", answer.data, text, as_json=as_json, problems=answer.problems)


@group.command("show")
@click.argument("name", metavar="PROJECT/KEY", shell_complete=complete.phases)
@json_option
@click.pass_obj
def show_(app: App, /, name: str, *, as_json: bool) -> int:
    """Show one phase."""
    data = phases.show(app.project(), name)
    return show("phase", data, fields(data), as_json=as_json)


@group.command("set")
@click.argument("name", metavar="PROJECT/KEY", shell_complete=complete.phases)
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE...")
@write_options
@click.pass_obj
def set_(app: App, /, name: str, changes: tuple[str, ...], **options: bool) -> int:
    """Change fields of a phase.

    As in `name=Build` or `order=2`; `field=` empties the field.
    """
    return show_saved(phases.change(app.project(), name, changes, write_settings(options)), options)


@group.command()
@click.argument("name", metavar="PROJECT/KEY", shell_complete=complete.phases)
@yes_option
@write_options
@click.pass_obj
def delete(app: App, /, name: str, *, yes: bool, **options: bool) -> int:
    """Delete a phase that no task is in."""
    confirm(f"Delete phase {name}?", yes=yes, options=options)
    return show_saved(phases.delete(app.project(), name, write_settings(options)), options)
