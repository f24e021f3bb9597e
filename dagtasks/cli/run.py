"""`dagtasks run` and `plan`: executing workflows, and looking at what would be executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, F, json_option, yes_option
from dagtasks.cli.asking import make_asking
from dagtasks.cli.listening import show_run
from dagtasks.cli.output import note, show
from dagtasks.cli.progress import exit_code, plan_text, summary
from dagtasks.service import runs


def _selection(command: F) -> F:
    """Add what says which workflow with which parameters."""
    options: list[Callable[[Any], Any]] = [
        click.argument("task", required=False, shell_complete=complete.tasks),
        click.argument("workflow", required=False),
        click.option(
            "--template", shell_complete=complete.templates, help="A template, instead of a workflow of a task."
        ),
        click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; may be given again."),
        click.option(
            "--param-file", "param_files", multiple=True, type=click.Path(), help="A YAML file of parameters."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_selection
@click.option("--engine", help="dagger, or local: as processes of this machine, without isolation.")
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@click.option("--ignore-dependencies", is_flag=True, help="Run although a task that it depends on is open.")
@click.option("--no-wait", is_flag=True, help="Do not wait for approvals: exit code 11 when one is needed.")
@yes_option
@json_option
@click.pass_obj
def run(
    app: App,
    /,
    engine: str | None,
    *,
    dry_run: bool,
    ignore_dependencies: bool,
    no_wait: bool,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Execute a workflow of a task, or a template.

    Without WORKFLOW the only one of TASK. On a terminal you are asked first when it is something that you have not seen
    yet; elsewhere only what gets secrets needs --yes or an approval (see `dagtasks trust`). Exit code 0 when it
    succeeded, 1 failed, 10 timed out, 11 waiting for an approval (--no-wait), 130 cancelled. With --json what happens
    is told on stderr, one JSON object a line.
    """
    project = app.project().with_settings(engine__name=engine)
    selection = runs.Selection(**chosen, ignore_dependencies=ignore_dependencies)
    if dry_run:
        return _show_plan(runs.make_plan(project, selection), as_json=as_json)
    with show_run(as_json=as_json) as progress:
        record, notes = runs.run(project, selection, [progress], waits=not no_wait, asking=make_asking(yes=yes))
    for text in notes:
        note(f"note: {text}")
    show("run", record.to_json(), summary(project.runs, record), as_json=as_json)
    return exit_code(record)


@click.command()
@_selection
@json_option
@click.pass_obj
def plan(app: App, /, *, as_json: bool, **chosen: Any) -> int:
    """Show what a run would do.

    Its steps, commands and environment names; no engine is asked and nothing is written.
    """
    return _show_plan(runs.make_plan(app.project(), runs.Selection(**chosen)), as_json=as_json)


def _show_plan(made: Any, *, as_json: bool) -> int:
    return show("plan", runs.plan_to_json(made), plan_text(made), as_json=as_json)
