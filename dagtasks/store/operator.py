"""The state of the operator: what the user of this machine decided about one repository.

It lies outside of the repository and is found by where that lies, so that no clone and no archive brings any.
"""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

from dagtasks.errors import Conflict
from dagtasks.store.files import append_line, hold_lock, write_file, writing
from dagtasks.store.git import Git

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def state_home() -> Path:
    """The folder in which programs keep such state for the user; a relative one is passed over, as XDG says."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return Path(given) if given.startswith("/") else Path.home() / ".local" / "state"


class OperatorState:
    """The folder of one repository's state, which only its owner may change."""

    def __init__(self, git: Git) -> None:
        digest = sha256(os.fsencode(os.path.realpath(git.common_dir))).hexdigest()[:32]
        self.folder = state_home() / "dagtasks" / digest
        self._git = git

    def refuse_unsafe(self) -> None:
        """Raise `Conflict` when others could have put something into the folder, so that nothing in it counts."""
        if self._lies_in_repository():
            message = f"{self.folder} lies in the repository itself, and what is in there comes from others"
            raise Conflict(message, hint="set XDG_STATE_HOME to a folder outside of it")
        home, ours = self.folder.parents[1], (self.folder.parent, self.folder)
        for folder in filter(Path.exists, (home, *ours)):
            if fault := _find_fault(folder, is_ours=folder in ours):
                raise Conflict(f"what {self.folder} says does not count: {fault}", hint=f"see: ls -ld {folder}")

    def write(self, name: str, content: bytes) -> None:
        """Put a file there that the owner alone may read. Raises `Conflict`, `WriteError`."""
        write_file(self._prepare(name), content, mode=0o600)

    def lock(self, name: str, what: str) -> AbstractContextManager[None]:
        """The lock of that name, under which files there are changed. Raises `Conflict`, `WriteError`."""
        return hold_lock(self._prepare(name), what)

    def append(self, name: str, line: bytes, *, limit: int) -> None:
        """Add the line to a file that the owner alone may read, whoever else adds one.

        A file that would have more than `limit` bytes is put aside first, as `NAME.1`. Raises `Conflict`,
        `WriteError`, `LockTimeout`.
        """
        path = self._prepare(name)
        with hold_lock(path.parent, f"add to {name}"), writing(path):
            if path.exists() and path.stat().st_size + len(line) > limit:
                path.replace(f"{path}.1")
            append_line(path, line, mode=0o600)

    def _prepare(self, name: str) -> Path:
        """The path of the file, whose folders are there now and are safe. Raises `Conflict`, `WriteError`."""
        path = self.folder / name
        with writing(path):
            self.folder.parents[1].mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        self.refuse_unsafe()
        return path

    def _lies_in_repository(self) -> bool:
        place, common = Path(os.path.realpath(self.folder)), self._git.common_dir
        tops = (_top_of(self._git.root), common.parent if common.name == ".git" else common)
        return any(place.is_relative_to(top) for top in tops)


def _top_of(root: Path) -> Path:
    """The top of the work tree that the folder lies in."""
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root).resolve()


def _find_fault(folder: Path, *, is_ours: bool) -> str:
    """Why others could change what is in the folder; "" when they could not."""
    found = folder.stat()
    if is_ours and found.st_uid != os.geteuid():
        return f"{folder} belongs to somebody else"
    # In a folder like /tmp others may write and still not touch what is ours.
    if found.st_mode & _OTHERS_WRITE and (is_ours or not found.st_mode & stat.S_ISVTX):
        return f"others may write into {folder}"
    return ""
