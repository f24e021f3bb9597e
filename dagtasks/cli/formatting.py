"""`dagtasks fmt`."""

from __future__ import annotations

from typing import Any

import click

from dagtasks.cli.app import App, write_options
from dagtasks.cli.output import note, printable, show_json
from dagtasks.cli.writing import write_settings


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when a file is not in canonical form.")
@write_options
@click.pass_obj
def fmt(app: App, /, paths: tuple[str, ...], *, check: bool, **options: Any) -> int:
    """Bring task, phase and project files into canonical form: order of keys, gaps, sorted lists; words stay.

    With PATH only these files and folders. Exit code 1 when a file is refused; the reason is said.
    """
    from dagtasks.service.formatting import format_files

    settings = write_settings(options)
    saved, refused = format_files(app.project(), paths, settings._replace(dry_run=settings.dry_run or check))
    for path, reason in refused.items():
        note(f"left as it is: {path}: {reason}")
    if options["as_json"]:
        show_json("files", {"changed": saved.paths, "refused": refused})
    else:
        verb = "would change" if saved.dry_run else "changed"
        for path in saved.paths:
            click.echo(f"{verb}: {printable(path)}")
    return 1 if refused or (check and saved.paths) else 0
