"""`dagtasks runs`: the records of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dagtasks.cli.app import App, json_option, yes_option
from dagtasks.cli.asking import make_asking
from dagtasks.cli.lazy import Group
from dagtasks.cli.listening import show_run
from dagtasks.cli.output import printable, show, table
from dagtasks.cli.progress import EXIT_CODES, exit_code, seconds, summary
from dagtasks.cli.writing import confirm
from dagtasks.errors import InvalidInput
from dagtasks.model.run import RunRecord
from dagtasks.model.values import RunState
from dagtasks.service import records

if TYPE_CHECKING:
    from dagtasks.service.execution import Doing
    from dagtasks.store.project import Project


@click.group(cls=Group)
def group() -> None:
    """Records of runs: list, show, logs, retry, cancel, approve, diff, push, pull, prune."""


@group.command("list")
@click.option("--task", help="Only runs of this task.")
@click.option("--status", help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at the most.")
@json_option
@click.pass_obj
def list_(app: App, /, task: str | None, status: str | None, limit: int, *, as_json: bool) -> int:
    """List runs, the newest first."""
    found, problems = records.list_runs(app.project(), task=task, status=status, limit=limit)
    rows = [
        (
            r.id,
            r.status,
            r.task,
            r.workflow or r.template["name"],
            r.started_at[:16].replace("T", " "),
            seconds(r.duration),
            r.engine,
        )
        for r in found
    ]
    text = table(("RUN", "STATUS", "TASK", "WORKFLOW", "STARTED (UTC)", "TIME", "ENGINE"), rows)
    return show("runs", [record.to_json() for record in found], text, as_json=as_json, problems=problems)


@group.command("show")
@click.argument("run")
@json_option
@click.pass_obj
def show_(app: App, /, run: str, *, as_json: bool) -> int:
    """Show one run: steps, parameters, outputs."""
    project = app.project()
    record = project.runs.get(run)
    return show("run", record.to_json(), summary(project.runs, record, whole=True), as_json=as_json)


@group.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@json_option
@click.pass_obj
def logs(app: App, /, run: str, step: str | None, *, follow: bool, as_json: bool) -> int:
    """Print what the steps of a run printed."""
    if follow:
        for line in records.follow_logs(app.project(), run, step):
            click.echo(json.dumps(line, ensure_ascii=False) if as_json else _log_line(line))
        return 0
    lines = records.read_logs(app.project(), run, step)
    return show("logs", lines, "\n".join(map(_log_line, lines)), as_json=as_json)


def _log_line(line: dict[str, Any]) -> str:
    return f"{line['step']} | {printable(line['text'], keep=chr(9))}"


@group.command()
@click.argument("run")
@click.option("--failed", is_flag=True, help="What did not succeed, and all after it (the default).")
@click.option("--from", "from_step", metavar="STEP", help="This step, and all after it.")
@click.option("--all", "everything", is_flag=True, help="Every step.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="Another value; may be given again.")
@click.option("--current", is_flag=True, help="With the template and the files of today.")
@click.option("--engine", help="dagger, or local: as processes of this machine, without isolation.")
@click.option("--no-wait", is_flag=True, help="Do not wait for approvals: exit code 11 when one is needed.")
@yes_option
@json_option
@click.pass_obj
def retry(
    app: App, /, run: str, engine: str | None, *, failed: bool, no_wait: bool, yes: bool, as_json: bool, **options: Any
) -> int:
    """Run again what did not succeed, with the template and the parameters of then.

    Results of steps that succeeded are taken over. A new record tells of it. A run that awaits an approval begins, once
    it has that or you say yes.
    """
    again = records.Again(**options)
    if failed + bool(again.from_step) + again.everything > 1:
        raise InvalidInput("say one of --failed, --from and --all")
    project = app.project().with_settings(engine__name=engine)
    return _carry_out(
        project, lambda doing: records.retry(project, run, again, doing), as_json=as_json, no_wait=no_wait, yes=yes
    )


@group.command()
@click.argument("run")
@json_option
@click.pass_obj
def cancel(app: App, /, run: str, *, as_json: bool) -> int:
    """End a run: its steps are stopped, and what `finally` says is done."""
    project = app.project()
    code = _carry_out(project, lambda doing: records.cancel(project, run, doing), as_json=as_json)
    return 0 if code == EXIT_CODES[RunState.CANCELLED] else code


@group.command()
@click.argument("run")
@click.argument("step")
@click.option("--reject", is_flag=True, help="Say no.")
@click.option("--reason", default="", help="Why.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="An answer; may be given again.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the next approval.")
@json_option
@click.pass_obj
def approve(
    app: App,
    /,
    run: str,
    step: str,
    reason: str,
    params: tuple[str, ...],
    *,
    reject: bool,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Say yes (or no) to an approval that a run waits for.

    Where no process waits for it any more, the run goes on here.
    """
    project = app.project()
    decision = records.Decision(not reject, reason, params)
    return _carry_out(
        project,
        lambda doing: records.approve(project, run, step, decision, doing),
        as_json=as_json,
        no_wait=no_wait,
    )


def _carry_out(
    project: Project, work: Callable[[Doing], RunRecord], *, as_json: bool, no_wait: bool = True, yes: bool = False
) -> int:
    from dagtasks.service.execution import Doing

    with show_run(as_json=as_json) as progress:
        record = work(Doing((progress,), not no_wait, make_asking(yes=yes)))
    show("run", record.to_json(), summary(project.runs, record), as_json=as_json)
    return exit_code(record) if record.status is not RunState.RUNNING else 0


@group.command()
@click.argument("one")
@click.argument("other")
@json_option
@click.pass_obj
def diff(app: App, /, one: str, other: str, *, as_json: bool) -> int:
    """Show what is different between two runs: template, parameters, images, commit, results."""
    found = records.diff(app.project(), one, other)
    rows = [(key, *(_short(value) for value in values)) for key, values in found.items()]
    text = table(("WHAT", one, other), rows) if rows else "the runs are alike"
    return show("run_diff", found, text, as_json=as_json)


def _short(value: Any) -> str | None:
    return None if value is None else printable(value if isinstance(value, str) else json.dumps(value))[:60]


@group.command()
@click.argument("remote", default="origin")
@json_option
@click.pass_obj
def push(app: App, /, remote: str, *, as_json: bool) -> int:
    """Send the records of runs to a remote; those that it has are kept."""
    synced = app.project().runs.push(remote)
    return show("synced", synced._asdict(), f"{synced.sent} sent, {synced.received} received", as_json=as_json)


@group.command()
@click.argument("remote", default="origin")
@json_option
@click.pass_obj
def pull(app: App, /, remote: str, *, as_json: bool) -> int:
    """Get the records of runs from a remote; those of here are kept."""
    synced = app.project().runs.pull(remote)
    return show("synced", synced._asdict(), f"{synced.received} received", as_json=as_json)


@group.command()
@click.option("--older-than", "age", default="90d", show_default=True, help="As 12h, 30d.")
@yes_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@json_option
@click.pass_obj
def prune(app: App, /, age: str, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Remove logs, journals and artifacts of old runs from this clone. Their records in Git stay."""
    confirm("Remove the logs of old runs? They cannot be brought back.", yes=yes, options={"dry_run": dry_run})
    gone = records.prune(app.project(), age, dry_run=dry_run)
    text = f"{'would remove' if dry_run else 'removed'} the logs of {len(gone)} runs"
    return show("pruned", gone, text, as_json=as_json)
