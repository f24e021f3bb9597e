"""`dagtasks init` and `demo`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.output import show
from dagtasks.service import setup


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--ci",
    type=click.Choice(["github", "gitlab", "forgejo"]),
    help="Also the job of a forge that checks pull requests and publishes the board.",
)
@json_option
@click.pass_obj
def init(app: App, /, path: Path, *, ci: str | None, as_json: bool) -> int:
    """Make the repository at PATH ready for dagtasks; never overwrites a file, says what it did."""
    steps = setup.init(app.path / path, ci)
    text = "\n".join(f"{step.path}: {step.done}" for step in steps)
    hint = "\n\nnext: dagtasks project create web --name Web"
    return show("steps", [step._asdict() for step in steps], text + hint, as_json=as_json)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("dagtasks-demo"))
@click.option("--engine", help="dagger or local (default: dagger where one answers, else local).")
@click.pass_obj
def demo(app: App, /, folder: Path, engine: str | None) -> int:
    """Make a small project in FOLDER, run workflows of it and build its board."""
    from dagtasks.service import demo as demo_

    program = "dagtasks" if shutil.which("dagtasks") else str(Path(sys.argv[0]).absolute())
    for line in demo_.make(app.path / folder, engine, program):
        click.echo(line)
    return 0
