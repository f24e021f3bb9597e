"""`dagtasks diff`: what changed between two commits, in words."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.output import show
from dagtasks.cli.wording import describe_events


@click.command()
@click.argument("revisions", metavar="[A..B]", default="HEAD")
@json_option
@click.pass_obj
def diff(app: App, /, revisions: str, *, as_json: bool) -> int:
    """Show what changed from commit A to commit B: created, completed, moved and so on.

    `A` alone compares it with the files as they are now; without it that is the last commit. --json gives the events.
    """
    from dagtasks.service.diff import compare

    found = compare(app.project(), revisions)
    events = [event.to_json() for event in found.events]
    sides = {"before": found.before, "after": found.after}
    return show("events", events, describe_events(events), as_json=as_json, problems=found.problems, **sides)
