"""The one way to change files of a repository: under its lock, after what others left has been finished."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from types import TracebackType
from typing import Self

from dagtasks.store.commits import CHANGED, FOLLOWED, Made, Written, commit, finish_commit, run_alone
from dagtasks.store.files import sweep_temps
from dagtasks.store.forwarding import fast_forward, finish_forwarding
from dagtasks.store.git import UNTRACKED
from dagtasks.store.journal import finish_writes, write_files
from dagtasks.store.layout import TASKS
from dagtasks.store.process import find_git_processes
from dagtasks.store.project import Project
from dagtasks.store.pushes import clear_pushes

GIT_SECONDS = 5.0
"""How long somebody else's git is waited for."""


class Writer:
    """Holds the lock of the repository while it is entered; `what` names the command for those who wait.

    Entering finishes what a command that died has left: files of one change, and a commit.
    """

    def __init__(self, project: Project, what: str) -> None:
        self._project = project
        self._what = what
        self._held = ExitStack()
        state = project.git.git_dir / "dagtasks" if project.git else project.root / TASKS
        self._journal = state / ".writes.tmp"

    def __enter__(self) -> Self:
        self._held.enter_context(self._project.lock(self._what))
        with self._held:
            finish_writes(self._project.root, self._journal)
            if self._project.git:
                finish_commit(self._project.git, lock=self._project.lock_path)
                finish_forwarding(self._project.git, lock=self._project.lock_path)
                clear_pushes(self._project.git)
            self._held = self._held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def read(self, path: str) -> bytes | None:
        """What the file holds now; None when it is not there."""
        try:
            return (self._project.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, files: Mapping[str, bytes | None], bases: Mapping[str, str | None] | None = None) -> None:
        """Give all these files their content (None removes), or none of them.

        `bases` are the digests of what the contents were made from. Raises `Changed` when a file does not hold that any
        more, `WriteError`, `Conflict`.
        """
        if not files:
            return
        self._keep([path for path, content in files.items() if content is None])
        self._expect(files)
        write_files(self._project.root, files, self._journal, bases)
        for folder in {(self._project.root / path).parent for path in files}:
            sweep_temps(folder)

    def wait_for_git(self) -> None:
        """Wait while somebody else's git holds the index: it may be about to check files out. A few seconds at most."""
        git = self._project.git
        if git is None or not (git.git_dir / "index.lock").exists():
            return
        end = time.monotonic() + GIT_SECONDS
        while (git.git_dir / "index.lock").exists() and time.monotonic() < end and find_git_processes(git.root):
            time.sleep(0.01)

    def holds(self, files: Mapping[str, bytes | None]) -> bool:
        """Whether the files are as they were written, once nobody's git is about to change them any more."""
        self.wait_for_git()
        return all(self.read(path) == content for path, content in files.items())

    def find_foreign(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths that hold edits which are neither committed nor ours."""
        git = self._project.get_git()
        written = Written(git)
        return [path for path in git.changed_paths(*paths) if not written.holds(path, _digest(self.read(path)))]

    def commit(self, changes: Mapping[str, str], message: str, action: str = CHANGED, author: str = "") -> Made:
        """Commit exactly the paths that changed, as Git's user or by that author, as `Git.changes` has found them.

        Raises `Conflict`, `GitError`; files stay.
        """
        git, paths = self._project.get_git(), sorted(changes)
        tracked = [path for path in paths if changes[path] != UNTRACKED]
        lock = self._project.lock_path
        made = commit(git, paths, message, lock=lock, action=action, author=author, tracked=tracked)
        Written(git).forget(paths)
        return made

    def fast_forward(self, commit: str, action: str = FOLLOWED) -> None:
        """Bring the branch and the files to the commit, which comes after HEAD. Raises `GitError`; all stays then."""
        fast_forward(self._project.get_git(), commit, lock=self._project.lock_path, action=action)

    def stage(self, path: str) -> None:
        """Put the file into Git's index. Raises `GitError`."""
        run_alone(self._project.get_git(), "add", "--", path, lock=self._project.lock_path)

    def configure(self, key: str, value: str) -> None:
        """Set a key of the configuration of this clone. Raises `GitError`."""
        run_alone(self._project.get_git(), "config", "--local", key, value, lock=self._project.lock_path)

    def _keep(self, removed: Sequence[str]) -> None:
        """Put what is removed into Git, even if it never was there: so that it can be brought back."""
        for path in removed:
            if self._project.git and (content := self.read(path)) is not None:
                self._project.git.write("hash-object", "-w", "--stdin", given=content)

    def _expect(self, files: Mapping[str, bytes | None]) -> None:
        """Before the files change: whoever finds them changed and us dead still knows that it was us."""
        if self._project.git:
            old = {path: _digest(self.read(path)) for path in files}
            Written(self._project.git).expect(old, {path: _digest(content) for path, content in files.items()})


def _digest(content: bytes | None) -> str | None:
    return None if content is None else sha256(content).hexdigest()
