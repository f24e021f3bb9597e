"""`dagtasks runs`: the records of runs."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import printable, show, table
from dagtasks.cli.progress import seconds, summary
from dagtasks.service import runs


@click.group(cls=Group)
def group() -> None:
    """Records of runs: list, show, logs."""


@group.command("list")
@click.option("--task", help="Only runs of this task.")
@click.option("--status", help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at the most.")
@json_option
@click.pass_obj
def list_(app: App, /, task: str | None, status: str | None, limit: int, *, as_json: bool) -> int:
    """List runs, the newest first."""
    found = runs.list_runs(app.project(), task=task, status=status, limit=limit)
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
    return show("runs", [record.to_json() for record in found], text, as_json=as_json)


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
@json_option
@click.pass_obj
def logs(app: App, /, run: str, step: str | None, *, as_json: bool) -> int:
    """Print what the steps of a run printed."""
    lines = runs.read_logs(app.project(), run, step)
    text = "\n".join(f"{line['step']} | {printable(line['text'], keep=chr(9))}" for line in lines)
    return show("logs", lines, text, as_json=as_json)
