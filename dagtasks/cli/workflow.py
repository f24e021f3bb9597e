"""`dagtasks workflow`: templates bound to a task."""

from __future__ import annotations

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, show, table
from dagtasks.cli.writing import confirm, show_saved, write_settings
from dagtasks.service import workflows


@click.group(cls=Group)
def group() -> None:
    """Workflows of a task: add, list, show, set, remove."""


@group.command()
@click.argument("task", shell_complete=complete.tasks)
@click.argument("name")
@click.option("--template", required=True, shell_complete=complete.templates, help="The template to bind.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; may be given again.")
@write_options
@click.pass_obj
def add(app: App, /, task: str, name: str, template: str, params: tuple[str, ...], **options: bool) -> int:
    """Bind a template to TASK under NAME."""
    return show_saved(workflows.add(app.project(), task, name, template, params, write_settings(options)), options)


@group.command("list")
@click.argument("task", shell_complete=complete.tasks)
@json_option
@click.pass_obj
def list_(app: App, /, task: str, *, as_json: bool) -> int:
    """List the workflows of TASK."""
    data = workflows.list_all(app.project(), task)
    text = table(
        ("WORKFLOW", "TEMPLATE", "PARAMETERS"), [(w["name"], w["template"], len(w["parameters"])) for w in data]
    )
    return show("workflows", data, text, as_json=as_json)


@group.command("show")
@click.argument("task", shell_complete=complete.tasks)
@click.argument("name")
@json_option
@click.pass_obj
def show_(app: App, /, task: str, name: str, *, as_json: bool) -> int:
    """Show one workflow of TASK."""
    data = workflows.show(app.project(), task, name)
    flat = {**data, **{f"parameter {key}": value for key, value in data["parameters"].items()}}
    return show("workflow", data, fields({k: v for k, v in flat.items() if k != "parameters"}), as_json=as_json)


@group.command("set")
@click.argument("task", shell_complete=complete.tasks)
@click.argument("name")
@click.argument("changes", nargs=-1, required=True, metavar="PARAMETER=VALUE...")
@write_options
@click.pass_obj
def set_(app: App, /, task: str, name: str, changes: tuple[str, ...], **options: bool) -> int:
    """Change parameters of a workflow.

    `parameter=` takes one out; `template=T` binds another template.
    """
    return show_saved(workflows.change(app.project(), task, name, changes, write_settings(options)), options)


@group.command()
@click.argument("task", shell_complete=complete.tasks)
@click.argument("name")
@yes_option
@write_options
@click.pass_obj
def remove(app: App, /, task: str, name: str, *, yes: bool, **options: bool) -> int:
    """Remove a workflow from TASK."""
    confirm(f"Remove workflow {name} from {task}?", yes=yes, options=options)
    return show_saved(workflows.remove(app.project(), task, name, write_settings(options)), options)
