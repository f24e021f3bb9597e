"""`dagtasks project`: projects."""

from __future__ import annotations

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, show, table
from dagtasks.cli.writing import confirm, read_text, show_saved, write_settings
from dagtasks.service import projects
from dagtasks.service.fields import parse_pairs


@click.group(cls=Group)
def group() -> None:
    """Projects: create, list, show, set, delete."""


@group.command()
@click.argument("key")
@click.option("--name", required=True, help="What the project is called.")
@click.option("--description", default="", help="What it is for; `-` reads stdin.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Data of your own; may be given again.")
@write_options
@click.pass_obj
def create(app: App, /, key: str, name: str, description: str, meta: tuple[str, ...], **options: bool) -> int:
    """Create the project KEY.

    KEY is the name of its folder below tasks/ and the beginning of the ids of its tasks.
    """
    data = {"name": name, "description": read_text(description), "metadata": parse_pairs(meta)}
    return show_saved(projects.create(app.project(), key, data, write_settings(options)), options)


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List all projects with their progress."""
    answer = projects.list_all(app.project())
    rows = [(p["key"], p["name"], f"{p['tasks_completed']}/{p['tasks']}", len(p["phases"])) for p in answer.data]
    text = table(("PROJECT", "NAME", "DONE", "PHASES"), rows)
    return show("projects", answer.data, text, as_json=as_json, problems=answer.problems)


@group.command("show")
@click.argument("key", shell_complete=complete.projects)
@json_option
@click.pass_obj
def show_(app: App, /, key: str, *, as_json: bool) -> int:
    """Show the project KEY."""
    data = projects.show(app.project(), key)
    return show("project", data, fields(data), as_json=as_json)


@group.command("set")
@click.argument("key", shell_complete=complete.projects)
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE...")
@write_options
@click.pass_obj
def set_(app: App, /, key: str, changes: tuple[str, ...], **options: bool) -> int:
    """Change fields of the project KEY.

    As in `name=Web` or `metadata.team=core`; `field=` empties the field.
    """
    return show_saved(projects.change(app.project(), key, changes, write_settings(options)), options)


@group.command()
@click.argument("key", shell_complete=complete.projects)
@yes_option
@write_options
@click.pass_obj
def delete(app: App, /, key: str, *, yes: bool, **options: bool) -> int:
    """Delete an empty project."""
    confirm(f"Delete project {key}?", yes=yes, options=options)
    return show_saved(projects.delete(app.project(), key, write_settings(options)), options)
