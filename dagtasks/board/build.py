"""Building the site beside the old one and then swapping them: a failed build leaves the old site as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.board.data import Compared
from dagtasks.board.scaffold import write_board_files
from dagtasks.errors import Conflict, DagtasksError, InvalidInput
from dagtasks.store.files import exchange
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.board.driver import LiveSite

CONFIG = "mkdocs.yml"


class Built(NamedTuple):
    """A built site, and what MkDocs warned of on the way."""

    site_dir: Path
    warnings: list[str]


def build_site(
    root: Path,
    site_dir: Path | None = None,
    *,
    is_strict: bool = False,
    is_fresh: bool = False,
    past: Project | None = None,
    compared: Compared | None = None,
) -> Built:
    """Build the board of the repository into `site_dir` (by default where `mkdocs.yml` says).

    Pages that are as they were are taken from the old site; with `is_fresh` each is made anew. `past` is the same
    repository where a commit is checked out (`Project.checked_out`): then the site shows that commit alone, and its
    `mkdocs.yml` counts; when it had none, one is written there. `compared` gives it a page of what changed.

    Raises `NotFound` without `mkdocs.yml`, `InvalidProject` when MkDocs fails (strict: when it warns), `Conflict` when
    the folder holds something that is no built site. In each case the old site stays as it was.
    """
    driver = _import("driver")
    source = _make_ready(past, root.name) if past else root
    config = driver.read_config(source / CONFIG, is_strict=is_strict)
    target = Path(site_dir or root / os.path.relpath(config.site_dir, source)).resolve()
    _check_target(root.resolve(), target)
    with _staging(target) as staging:
        config.site_dir = str(staging)
        warnings = driver.build_pages(config, target, is_fresh=is_fresh, past=past, compared=compared)
        _swap(staging, target)
    return Built(target, warnings)


def _make_ready(past: Project, name: str) -> Path:
    """The root of the repository in the past, with what a board needs."""
    if not (past.root / CONFIG).exists():
        write_board_files(past.root, name)
    return past.root


def find_site(root: Path) -> Path:
    """Where `mkdocs.yml` says that the site goes. Raises `NotFound` without it."""
    return Path(_import("driver").read_config(root / CONFIG).site_dir)


def stage_site(project: Project, folder: Path) -> None:
    """Write the board as plain files into `folder`, without MkDocs. What was there before stays when that fails.

    Raises `Conflict` when the folder holds something that is no built site.
    """
    stage = _import("stage")
    target = folder.resolve()
    _check_target(project.root.resolve(), target)
    view = _import("overview").Overview(_import("source").load_board(project))
    with _staging(target) as staging:
        for uri, content in stage.stage_board(view):
            path = staging / uri
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _swap(staging, target)


def serve_site(root: Path, address: str, tell: Callable[[str], None]) -> None:
    """Serve the board at `host:port`, building again when a task, template or page changes, until interrupted.

    `tell` gets a line for what happens: where it is served, each build, each warning. Raises `NotFound` without
    `mkdocs.yml`, `InvalidProject` when the first build fails, and `OSError` when the port is taken.
    """
    driver = _import("driver")
    driver.read_config(root / CONFIG)
    driver.serve_pages(root / CONFIG, address, tell)


def open_site(root: Path, folder: Path) -> LiveSite:
    """Build the site into the folder, to be served from there by us; its pages are made when they are asked for.

    Raises `NotFound` without `mkdocs.yml`, `InvalidProject` when the build fails.
    """
    driver = _import("driver")
    site: LiveSite = driver.LiveSite(driver.read_config(root / CONFIG), folder)
    return site


def _import(name: str) -> ModuleType:
    """A module of the board. What it needs is an extra: everything else works without it."""
    try:
        return import_module(f"dagtasks.board.{name}")
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'dagtasks[board]'"
        raise DagtasksError(f"the board needs the package {error.name}", hint=hint) from error


def _check_target(root: Path, target: Path) -> None:
    if root == target or target in root.parents:
        raise InvalidInput(f"the site cannot be built into {target}: the repository lies there")
    if target.is_dir() and any(target.iterdir()) and not (target / "404.html").exists():
        hint = "empty it, or name another folder"
        raise Conflict(f"{target} holds something that is no built site", hint=hint)


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside the target to build in; gone afterwards, also what builds that were killed left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        if _is_left_over(left):
            shutil.rmtree(left, ignore_errors=True)
    staging = target.parent / f".{target.name}.{os.getpid()}.tmp"
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_left_over(folder: Path) -> bool:
    number = folder.name.split(".")[-2]
    if not number.isdecimal() or int(number) == os.getpid():
        return number.isdecimal()
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _swap(new: Path, old: Path) -> None:
    """Put `new` where `old` is, in one step where the system can: at no instant is there no site."""
    if not old.exists():
        new.rename(old)
    elif not exchange(new, old):
        aside = new.with_name(f"{new.name}.old.tmp")
        old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside, ignore_errors=True)
