"""`dagtasks board`: the static site."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import note, printable, show
from dagtasks.service import boards

if TYPE_CHECKING:
    from dagtasks.board.checking import Checked


@click.group(cls=Group)
def group() -> None:
    """The static site: init, build, stage, check, serve."""


@group.command()
@json_option
@click.pass_obj
def init(app: App, /, *, as_json: bool) -> int:
    """Write what the board needs, where missing."""
    from dagtasks.service import setup

    data = [step._asdict() for step in setup.init_board(app.project().root)]
    return show("steps", data, "\n".join(f"{step['path']}: {step['done']}" for step in data), as_json=as_json)


@group.command()
@click.option("--at", metavar="REV", help="Show that commit instead of the files as they are.")
@click.option("--diff", metavar="A..B", help="Add a page of what changed from A to B, and show the board of B.")
@click.option("--site-dir", type=click.Path(path_type=Path), help="Where the site goes (default: site/).")
@click.option("--strict", is_flag=True, help="Fail when any file is wrong; the old site stays then.")
@json_option
@click.pass_obj
def build(app: App, /, at: str | None, diff: str | None, site_dir: Path | None, *, strict: bool, as_json: bool) -> int:
    """Build the site.

    When that fails, the old site stays as it was.
    """
    return _show(boards.build(app.project(), site_dir, at=at, diff=diff, strict=strict), as_json=as_json)


@group.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def stage(app: App, /, folder: Path, *, as_json: bool) -> int:
    """Write the board as plain files, without MkDocs.

    What is there stays as it was when that fails; a folder that holds something else is refused.
    """
    return _show(boards.stage(app.project(), folder), as_json=as_json)


def _show(built: boards.Built, *, as_json: bool) -> int:
    data = {"site": str(built.site), "pages": built.pages}
    return show("board", data, f"{built.pages} pages in {built.site}", as_json=as_json, problems=built.problems)


@group.command()
@click.argument("site", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def check(app: App, /, site: Path | None, *, as_json: bool) -> int:
    """Look for dead links, requests to other hosts, heavy pages, and what keeps readers out.

    SITE is the folder of a built site, by default that of the repository. Exit code 1 when something is wrong.
    """
    folder = site or boards.find(app.project())
    found = boards.check(folder)
    data = {"site": str(folder), **found._asdict(), "faults": [fault._asdict() for fault in found.faults]}
    show("check", data, "\n".join([*_fault_lines(found), _say_size(found)]), as_json=as_json)
    return 1 if found.faults else 0


def _fault_lines(found: Checked) -> Iterator[str]:
    """A line for each fault; what the frame round all pages has is said once."""
    pages: dict[tuple[str, str], list[str]] = {}
    for fault in found.faults:
        pages.setdefault((fault.rule, fault.what), []).append(fault.page)
    for (rule, what), names in pages.items():
        more = f" (and {len(names) - 1} more pages)" if len(names) > 1 else ""
        yield printable(f"{names[0]}: {rule}: {what}{more}")


def _say_size(found: Checked) -> str:
    share = f", {found.bytes // found.tasks:,} for each of {found.tasks} tasks" if found.tasks else ""
    return f"{found.pages} pages, {found.bytes:,} bytes{share}; faults: {len(found.faults)}"


@group.command()
@click.option("--address", default="127.0.0.1:8000", show_default=True, help="Where to listen.")
@click.pass_obj
def serve(app: App, /, address: str) -> int:
    """Serve the board and rebuild it on changes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    boards.serve(app.project(), address, note)
    return 0
