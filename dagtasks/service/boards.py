"""The board: building it, and serving it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dagtasks.board.build import build_site, serve_site
from dagtasks.errors import InvalidInput, Problem
from dagtasks.store.project import Project


class Built(NamedTuple):
    """A built site: where it is, how many pages it has, and what is wrong in the files that it shows."""

    site: Path
    pages: int
    problems: Sequence[Problem] = ()


def build(project: Project, site_dir: Path | None = None, *, strict: bool = False) -> Built:
    """Build the site. Raises `InvalidProject` when that fails (strict: when any file is wrong); the old site stays."""
    built = build_site(project.root, site_dir, is_strict=strict, is_fresh=not project.use_cache)
    pages = sum(1 for _ in built.site_dir.rglob("*.html"))
    return Built(built.site_dir, pages, project.load().problems)


def serve(project: Project, address: str, tell: Callable[[str], None]) -> None:
    """Serve the site at `host:port` and build it again when a file changes, until interrupted.

    `tell` gets a line for each thing that happens. Raises `InvalidInput` for an address that cannot be used.
    """
    try:
        serve_site(project.root, address, tell)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot serve at {address}: {error}", hint="choose another with --address") from None
