"""`dagtasks template`: workflow templates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, json_option, write_options
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, printable, problem_line, show, table
from dagtasks.cli.writing import show_saved, write_settings
from dagtasks.errors import has_errors
from dagtasks.service import checks, templates

if TYPE_CHECKING:
    from dagtasks.service.casefiles import Outcome


@click.group(cls=Group)
def group() -> None:
    """Workflow templates: list, show, new, validate, graph, test."""


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
    type=click.Choice(templates.TYPES),
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
@click.argument("name", shell_complete=complete.templates)
@click.option("--format", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid", show_default=True)
@click.option("--run", metavar="RUN", help="As this run had it, and with the states of its steps.")
@json_option
@click.pass_obj
def graph(app: App, /, name: str, form: str, run: str | None, *, as_json: bool) -> int:
    """Draw the steps of a template: which waits for which."""
    from dagtasks.planning.drawing import FORMS

    drawing = templates.draw(app.project(), name, run)
    return show("graph", drawing.to_json(), FORMS[form](drawing), as_json=as_json)


@group.command()
@click.argument("name", required=False, shell_complete=complete.templates)
@json_option
@click.pass_obj
def test(app: App, /, name: str | None, *, as_json: bool) -> int:
    """Carry out the test cases of templates, without an engine.

    They lie beside the template, in NAME.test.yaml. Exit code 1 when one of them fails.
    """
    from dagtasks.service.casefiles import run_tests

    outcomes = run_tests(app.project(), name)
    show("tests", [outcome.to_json() for outcome in outcomes], _report(outcomes), as_json=as_json)
    return 0 if all(outcome.is_ok for outcome in outcomes) else 1


def _report(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.template}: {printable(outcome.case)} ... {'ok' if outcome.is_ok else 'FAILED'}")
        lines += [f"  {printable(text)}" for text in (outcome.error, *map(str, outcome.differences)) if text]
    failed = sum(not outcome.is_ok for outcome in outcomes)
    return "\n".join([*lines, f"{len(outcomes)} case{'' if len(outcomes) == 1 else 's'}, {failed} failed"])


@group.command()
def schema() -> int:
    """Print the JSON Schema (2020-12) of template files, for editors."""
    click.echo(json.dumps(checks.make_schema("template"), indent=2, ensure_ascii=False))
    return 0


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
