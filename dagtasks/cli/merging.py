"""`dagtasks merge-driver` and `resolve`."""

from __future__ import annotations

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.output import show, table


@click.command("merge-driver", context_settings={"ignore_unknown_options": True})
@click.argument("base", type=click.Path(exists=True, dir_okay=False))
@click.argument("ours", type=click.Path(exists=True, dir_okay=False))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False))
@click.argument("more", nargs=-1, metavar="[SIZE] [PATH] [LABEL]...")
def merge_driver(base: str, ours: str, theirs: str, more: tuple[str, ...]) -> int:
    """Merge THEIRS into OURS field by field, as Git calls it (%O %A %B %L %P).

    OURS is rewritten. Exit code 1 when it holds conflict marks then. `init` sets the driver up.
    """
    from dagtasks.store.merge import main

    return main([base, ours, theirs, *more])


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--no-add", is_flag=True, help="Leave the index as it is.")
@click.option("--overwrite", is_flag=True, help="Also files edited since the merge; what they held stays in Git.")
@click.option("--dry-run", is_flag=True, help="Say what would become of each file, and change nothing.")
@json_option
@click.pass_obj
def resolve(app: App, /, paths: tuple[str, ...], *, no_add: bool, overwrite: bool, dry_run: bool, as_json: bool) -> int:
    """Merge the task files that Git could not merge, field by field.

    What merges clean is written and added to the index; else marks stand round the fields that both sides changed.
    Exit code 1 when something is left to decide.
    """
    from dagtasks.service import checks, merging

    project = app.project()
    settings = merging.ResolveSettings(stage=not no_add, overwrite=overwrite, dry_run=dry_run)
    found = merging.resolve(project, [checks.relative_path(project, path) for path in paths], settings)
    text = table(("FILE", "STATE", "WHAT"), [(r.path, r.state, ", ".join(r.fields) or r.hint) for r in found])
    show("resolved", [r._asdict() for r in found], text if found else "no task file is unmerged", as_json=as_json)
    return 1 if any(r.state != "merged" for r in found) else 0
