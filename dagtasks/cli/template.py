"""`dagtasks template`: workflow templates."""

from __future__ import annotations

from typing import Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, printable, problem_line, show, table
from dagtasks.cli.writing import show_saved, write_settings
from dagtasks.errors import has_errors
from dagtasks.service import templates


@click.group(cls=Group)
def group() -> None:
    """Workflow templates: list, show, new, validate."""


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List all templates."""
    answer = templates.list_all(app.project())
    rows = [(t["name"], t["type"], t["version"], ", ".join(t["parameters"]), t["description"]) for t in answer.data]
    text = table(("TEMPLATE", "TYPE", "VERSION", "PARAMETERS", "DESCRIPTION"), rows)
    return show("templates", answer.data, text, as_json=as_json, problems=answer.problems)


@group.command("show")
@click.argument("name", shell_complete=complete.templates)
@json_option
@click.pass_obj
def show_(app: App, /, name: str, *, as_json: bool) -> int:
    """Show one template: parameters, steps, outputs."""
    data = templates.show(app.project(), name)
    return show("template", data, _sheet(data), as_json=as_json)


def _sheet(data: dict[str, Any]) -> str:
    top = {key: data[key] for key in ("name", "type", "version", "description", "category", "tags", "path")}
    parameters = [
        (name, spec["type"], "required" if spec.get("required") else spec.get("default"), spec.get("description"))
        for name, spec in data["parameters"].items()
    ]
    steps = [(step["name"], step["kind"], ", ".join(step["depends_on"]), step["description"]) for step in data["steps"]]
    parts = [fields(top), table(("PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"), parameters) if parameters else ""]
    parts += [table(("STEP", "KIND", "AFTER", "DESCRIPTION"), steps)]
    outputs = [(name, printable(output.get("description", ""))) for name, output in data["outputs"].items()]
    parts += [table(("OUTPUT", "DESCRIPTION"), outputs)] if outputs else []
    return "\n\n".join(part for part in parts if part)


@group.command()
@click.argument("name")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["containerized_workflow", "script_workflow", "api_workflow", "composite_workflow"]),
    default="containerized_workflow",
    show_default=True,
    help="What kind of steps it has.",
)
@write_options
@click.pass_obj
def new(app: App, /, name: str, kind: str, **options: bool) -> int:
    """Write a new template, to be changed."""
    return show_saved(templates.new(app.project(), name, kind, write_settings(options)), options)


@group.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@json_option
@click.pass_obj
def validate(app: App, /, paths: tuple[str, ...], *, as_json: bool) -> int:
    """Show the problems of templates, and advice on those that have none.

    Exit code 1 when one of the problems is an error.
    """
    problems = templates.validate(app.project(), paths)
    text = "\n".join(problem_line(problem) for problem in problems) or "no problems"
    show("problems", [problem.to_json() for problem in problems], text, as_json=as_json)
    return 1 if has_errors(problems) else 0
