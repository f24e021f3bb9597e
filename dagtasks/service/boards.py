"""The board: building it, and serving it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.board.build import build_site, find_site, open_site, serve_site, stage_site
from dagtasks.board.data import Compared
from dagtasks.errors import InvalidInput, NotFound, Problem
from dagtasks.store.project import Project
from dagtasks.store.runs import REF

if TYPE_CHECKING:
    from dagtasks.board.checking import Checked
    from dagtasks.board.driver import LiveSite


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


_CHANGING = (".html", ".xml")
"""Endings of what says something of tasks and runs; all else stays, or has another name when it changes."""


class LiveBoard:
    """The site of a repository as it is now, for who serves it by himself. May be used by several threads.

    It is built by `open`, or when something is asked for. Raises `NotFound` without `mkdocs.yml`, `InvalidProject` when
    that is wrong. `close` removes what was made.
    """

    def __init__(self, project: Project) -> None:
        find_site(project.root)
        self._project = project
        self._folder = TemporaryDirectory(prefix="dagtasks-board-")
        self._lock = Lock()
        self._changes = 0
        self._state: object = None
        self._site: LiveSite | None = None

    def open(self) -> None:
        """Have it be there and say what the files say now. Raises as `build` does; what was there stays then."""
        self._renew()

    def close(self) -> None:
        """Remove the files that were made."""
        with self._lock:
            self._folder.cleanup()

    def notice(self) -> None:
        """Say that files have changed, or may have."""
        self._changes += 1

    def find(self, uri: str) -> Path | None:
        """The file or folder to show at the address, relative to the root of the site. Raises as `open`."""
        site = self._site
        if site is None or uri.endswith(_CHANGING):
            site = self._renew()
        return site.find(uri)

    def _renew(self) -> LiveSite:
        with self._lock:
            state = self._find_state()
            if self._site is None or self._site.is_old:
                # A folder of its own: others may be reading in the one before.
                self._site = open_site(self._project.root, Path(mkdtemp(dir=self._folder.name)))
            elif state != self._state:
                self._site.renew()
            self._state = state
            return self._site

    def _find_state(self) -> object:
        """What is another whenever the board may be: files are told of by `notice`, runs write where nobody watches."""
        runs, git = self._project.runs, self._project.get_git()
        return self._changes, git.watch_refs(REF), [(run, runs.journal_size(run)) for run in runs.folders()]


def serve(project: Project, address: str, tell: Callable[[str], None]) -> None:
    """Serve the site at `host:port` and build it again when a file changes, until interrupted.

    `tell` gets a line for each thing that happens. Raises `InvalidInput` for an address that cannot be used.
    """
    try:
        serve_site(project.root, address, tell)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot serve at {address}: {error}", hint="choose another with --address") from None
