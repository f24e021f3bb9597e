"""What all commands share that change files: reading their arguments and saying what changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from dagtasks.cli.output import note, printable, show_error, show_json
from dagtasks.errors import DagtasksError, InvalidInput

if TYPE_CHECKING:
    from dagtasks.service.saving import Saved, WriteSettings


def write_settings(options: Mapping[str, Any]) -> WriteSettings:
    """The settings that the options of `write_options` say."""
    from dagtasks.service.saving import WriteSettings

    return WriteSettings(options["commit"], options["dry_run"])


def show_saved(saved: Saved, options: Mapping[str, Any], *, answer: str | None = None) -> int:
    """Say what changed, in one line or as a document; with `answer`, that field alone is on stdout."""
    for text in saved.change.notes:
        note(f"note: {text}")
    if options["as_json"]:
        paths, change = list(saved.paths), saved.change
        show_json(change.kind, change.data, changed=paths, commit=saved.commit, dry_run=saved.dry_run)
        return 0
    if not saved.paths:
        click.echo(f"{printable(saved.change.message)} (nothing to change)")
    elif saved.dry_run:
        click.echo(f"would: {printable(saved.change.message)} ({', '.join(saved.paths)})")
    else:
        commit = f" [{saved.commit[:10]}]" if saved.commit else ""
        click.echo(f"{printable(saved.change.message)}{commit}", err=answer is not None)
        if answer:
            click.echo(cast(Mapping[str, Any], saved.change.data)[answer])
    return 0


def read_text(text: str) -> str:
    """The text, or what stdin holds when it is `-`."""
    return sys.stdin.read() if text == "-" else text


def confirm(question: str, *, yes: bool, options: Mapping[str, Any]) -> None:
    """Ask on a terminal; elsewhere `--yes` is needed. A dry run is never asked about."""
    if yes or options["dry_run"]:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Nobody is there to ask.", hint="say --yes")
    click.confirm(question, abort=True, err=True)


def ask_again(error: DagtasksError) -> bool:
    """Show what is wrong with an edited text, and ask whether to edit on; where nobody can answer: no."""
    if not sys.stdin.isatty():
        return False
    show_error(error, as_json=False)
    return click.confirm("Open the editor again?", default=True, err=True)
