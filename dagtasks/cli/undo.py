"""`dagtasks undo`."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.writing import show_saved


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and change nothing.")
@json_option
@click.pass_obj
def undo(app: App, /, **options: bool) -> int:
    """Take back the last change that dagtasks committed on this branch in this clone, in a new commit.

    Refused when a later edit touched the same thing.
    """
    from dagtasks.service.undo import undo as take_back

    return show_saved(take_back(app.project(), dry_run=options["dry_run"]), options)
