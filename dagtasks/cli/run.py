"""`dagtasks run` and `plan`: executing workflows, and looking at what would be executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from dagtasks.cli import complete
from dagtasks.cli.app import App, F, json_option, yes_option
from dagtasks.cli.asking import make_asking
from dagtasks.cli.listening import show_run
from dagtasks.cli.output import note, show
from dagtasks.cli.progress import exit_code, plan_text, summary
from dagtasks.errors import InvalidInput
from dagtasks.model.values import RunState
from dagtasks.service import runs

if TYPE_CHECKING:
    from dagtasks.store.project import Project


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
@click.option("--ready", is_flag=True, help="Each task that can be started and has a workflow, one by one.")
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
    ready: bool,
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
    succeeded, 1 failed, 10 timed out, 11 waiting for an approval (--no-wait), 130 cancelled. With --ready the first of
    these that is not 0. With --json what happens is told on stderr, one JSON object a line.
    """
    project = app.project().with_settings(engine__name=engine)
    if ready:
        _refuse_choice({**chosen, "--ignore-dependencies": ignore_dependencies})
        doing = {"waits": not no_wait, "asking": make_asking(yes=yes)}
        return _show_ready(project, as_json=as_json) if dry_run else _run_ready(project, doing, as_json=as_json)
    selection = runs.Selection(**chosen, ignore_dependencies=ignore_dependencies)
    if dry_run:
        return _show_plan(runs.make_plan(project, selection), as_json=as_json)
    with show_run(as_json=as_json) as progress:
        record, notes = runs.run(project, selection, [progress], waits=not no_wait, asking=make_asking(yes=yes))
    for text in notes:
        note(f"note: {text}")
    show("run", record.to_json(), summary(project.runs, record), as_json=as_json)
    return exit_code(record)


def _refuse_choice(chosen: Mapping[str, Any]) -> None:
    """With `--ready` the tasks say what is run."""
    if given := [name for name, value in chosen.items() if value]:
        raise InvalidInput(f"--ready takes what the tasks say, and no {given[0].strip('-').replace('_', '-')}")


def _show_ready(project: Project, *, as_json: bool) -> int:
    """What would be begun now; what becomes ready by that is not known yet."""
    found = [*runs.for_each_ready(project, lambda selection: runs.make_plan(project, selection))]
    plans = [one.done for one in found if one.done]
    show("plans", [runs.plan_to_json(made) for made in plans], "\n".join(map(plan_text, plans)), as_json=as_json)
    return _tell_left(one.reason for one in found)


def _run_ready(project: Project, doing: Mapping[str, Any], *, as_json: bool) -> int:
    """The exit code is that of the first run that did not succeed, and 1 when a task could not be run."""
    records, left = [], []
    with show_run(as_json=as_json) as progress:
        for one in runs.for_each_ready(project, lambda selection: runs.run(project, selection, [progress], **doing)):
            left.append(one.reason)
            record, notes = one.done or (None, ())
            for text in notes:
                note(f"note: {text}")
            if record:
                records.append(record)
            if record and record.status is RunState.CANCELLED:
                break
    text = "\n".join(f"{record.id}  {record.task}/{record.workflow}  {record.status}" for record in records)
    show("runs", [record.to_json() for record in records], text or "nothing was run", as_json=as_json)
    return next(filter(None, map(exit_code, records)), _tell_left(left))


def _tell_left(reasons: Iterable[str]) -> int:
    told = [reason for reason in reasons if reason]
    for reason in told:
        note(f"not run: {reason}")
    return 1 if told else 0


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
