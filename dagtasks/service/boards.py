"""The board: building it, and serving it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.board.build import build_site, find_site, serve_site, stage_site
from dagtasks.board.data import Compared
from dagtasks.errors import InvalidInput, NotFound, Problem
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.board.checking import Checked


class Built(NamedTuple):
    """A built site: where it is, how many pages it has, and what is wrong in the files that it shows."""

    site: Path
    pages: int
    problems: Sequence[Problem] = ()


def build(
    project: Project,
    site_dir: Path | None = None,
    *,
    at: str | None = None,
    diff: str | None = None,
    strict: bool = False,
) -> Built:
    """Build the site, of the files as they are or of the commit `at`.

    `diff` adds a page of what changed, as `service.diff.compare` takes it; the site is that of the second side then.
    Raises `InvalidProject` when building fails (strict: when any file is wrong), `InvalidInput` when there is no such
    commit; the old site stays then.
    """
    compared = _compare(project, diff) if diff is not None else None
    shown = _choose(at, compared)
    with project.checked_out(shown) if shown else nullcontext() as past:
        built = build_site(
            project.root,
            site_dir,
            is_strict=strict,
            is_fresh=not project.use_cache,
            past=past,
            compared=compared and compared.told,
        )
        return Built(built.site_dir, _count_pages(built.site_dir), (past or project).load().problems)


class _Told(NamedTuple):
    told: Compared
    after: str | None


def _compare(project: Project, revisions: str) -> _Told:
    from dagtasks.service.diff import compare  # most builds compare nothing

    found = compare(project, revisions)
    return _Told(Compared(revisions, found.before, found.old, found.events), found.after)


def _choose(at: str | None, compared: _Told | None) -> str | None:
    """The commit that is shown; None for the files as they are."""
    if at is not None and compared:
        raise InvalidInput("a difference is shown with the board of its second side", hint="leave out --at")
    return compared.after if compared else at


def stage(project: Project, folder: Path) -> Built:
    """Write the board as plain files into the folder. Raises `Conflict` when that holds something else."""
    stage_site(project, folder)
    return Built(folder.resolve(), _count_pages(folder), project.load().problems)


def find(project: Project) -> Path:
    """Where the site of the repository is built. Raises `NotFound` when nothing says so."""
    return find_site(project.root)


def check(site: Path) -> Checked:
    """Look at the files of a built site. Raises `NotFound` when there is none."""
    from dagtasks.board.checking import check_site

    sizes = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    if "index.html" not in sizes:
        raise NotFound(f"there is no built site in {site}", hint="build it: dagtasks board build")
    return check_site(sizes, lambda name: (site / name).read_text("utf-8", "replace"))


def _count_pages(site: Path) -> int:
    return sum(1 for _ in site.rglob("*.html"))


def serve(project: Project, address: str, tell: Callable[[str], None]) -> None:
    """Serve the site at `host:port` and build it again when a file changes, until interrupted.

    `tell` gets a line for each thing that happens. Raises `InvalidInput` for an address that cannot be used.
    """
    try:
        serve_site(project.root, address, tell)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot serve at {address}: {error}", hint="choose another with --address") from None
