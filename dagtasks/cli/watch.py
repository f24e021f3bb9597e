"""`dagtasks watch`: looking whenever files change."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from dagtasks.cli.app import App
from dagtasks.cli.output import note, show_problems
from dagtasks.cli.wording import describe_events
from dagtasks.errors import DagtasksError
from dagtasks.service import boards

if TYPE_CHECKING:
    from dagtasks.store.project import Project
    from dagtasks.triggers.watch import Seen, Watcher


@click.command()
@click.option("--serve", metavar="ADDRESS", help="Serve the board at HOST:PORT, too, and rebuild it on changes.")
@click.pass_obj
def watch(app: App, /, serve: str | None) -> int:
    """Show what happens to tasks while their files change, and have done what that starts.

    It ends with ^C; runs that it started go on.
    """
    project = app.project()
    watcher = make_watcher(project)
    note(f"watching {project.root}; ^C ends it")
    if serve is None:
        watcher.run()
    else:
        _serve(project, serve, watcher)
    return 0


def make_watcher(
    project: Project, ring: Callable[[], None] = lambda: None, tell: Callable[[Seen], None] | None = None
) -> Watcher:
    """A watcher that tells what happens, as `watch` does without `tell`; `ring` is called whenever it looks."""
    try:
        from dagtasks.triggers.watch import Watcher
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'dagtasks[watch]'"
        raise DagtasksError(f"watching needs the package {error.name}", hint=hint) from error
    return Watcher(project, tell or _tell, note, ring)


def _serve(project: Project, address: str, watcher: Watcher) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = threading.Thread(target=watcher.run, daemon=True)
    watching.start()
    try:
        boards.serve(project, address, note)
    finally:
        watcher.stop()
        watching.join()


def _tell(seen: Seen) -> None:
    if seen.events:
        click.echo(describe_events([event.to_json() for event in seen.events]))
    show_problems(seen.problems)
    for text in seen.notes:
        note(text)
