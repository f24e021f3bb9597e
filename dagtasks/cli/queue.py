"""`dagtasks queue`: what changes of files have started, and having it done."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import show, table
from dagtasks.service import queue


@click.group(cls=Group)
def group() -> None:
    """What changes of files have started: list, work, cancel."""


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List what waits to be done, first come first."""
    found = queue.list_entries(app.project())
    rows = [(entry["id"], entry["what"], entry["event"], entry["subject"], entry["queued_at"]) for entry in found]
    text = table(("ENTRY", "WHAT", "EVENT", "SUBJECT", "SINCE (UTC)"), rows)
    return show("queue", found, text, as_json=as_json)


@group.command()
@click.option("--engine", help="dagger, or local: as processes of this machine, without isolation.")
@json_option
@click.pass_obj
def work(app: App, /, engine: str | None, *, as_json: bool) -> int:
    """Look for changes, and do what is in the queue until it is empty.

    Nothing is done here while another runner is at it. What runs say is in their records.
    """
    from dagtasks.triggers.runner import work as work_off

    records = []
    for record in work_off(app.project().with_settings(engine__name=engine)):
        records.append(record)
        if not as_json:
            click.echo(f"{record.id}  {queue.name_of(record)}  {record.status}")
    return show("runs", [record.to_json() for record in records], "", as_json=as_json)


@group.command()
@click.argument("entry")
@json_option
@click.pass_obj
def cancel(app: App, /, entry: str, *, as_json: bool) -> int:
    """Take an entry out of the queue. Its run is recorded as cancelled."""
    record = queue.cancel(app.project(), entry)
    return show("run", record.to_json(), f"{queue.name_of(record)}: cancelled ({record.id})", as_json=as_json)
