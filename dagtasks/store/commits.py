"""Committing exactly our paths, and finishing a commit that was cut off (02 section 5).

Before git is started, a journal says what is to be committed. Whoever finds the journal, under the lock of the
repository, knows that a commit was cut off: what its git left behind is then ours to clear away, and nothing else is.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from dagtasks.errors import Conflict, GitError, LockTimeout
from dagtasks.store.files import LOCK_HELD, write_file
from dagtasks.store.git import Git
from dagtasks.store.process import find_git_processes, find_processes_with

MARK = "DAGTASKS_COMMIT"
"""An environment variable that marks the git that we started, and all that it starts."""
CHANGED = "dagtasks"
UNDONE = "dagtasks undo"
FOLLOWED = "dagtasks pull"
"""What Git's log of a branch in this clone (the reflog) says of a commit that dagtasks made, or brought here."""
RETRY_SECONDS = 5.0
"""How long a lock of another git is waited for."""
ENDING_SECONDS = 10.0
"""How long the git of a command that died is waited for."""

BUSY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "BISECT_LOG": "a bisect",
}
"""Files in Git's folder that say that something is under way, in which a commit of ours has no place."""


class _Journal(NamedTuple):
    """A commit that is under way: its mark, when it began, and the blob that each path is to have (None: removed)."""

    token: str
    since: int
    blobs: dict[str, str | None]

    @classmethod
    def read(cls, git: Git) -> Self | None:
        try:
            data = json.loads(_journal_path(git).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return cls(data["token"], data["since"], data["blobs"])

    def write(self, git: Git) -> None:
        write_file(_journal_path(git), json.dumps(self._asdict()).encode())


def _journal_path(git: Git) -> Path:
    return git.git_dir / "dagtasks" / "commit.json"


def commit(git: Git, paths: Sequence[str], message: str, *, lock: Path, action: str = CHANGED) -> str:
    """Commit exactly these paths as they are on disk and return the commit's id. The caller holds `lock`.

    `action` goes into Git's log of the branch. The user's other changes, staged or not, stay as they are. Raises
    `Conflict` or `GitError`; the files stay.
    """
    if what := find_busy(git):
        hint = "finish it first; what dagtasks wrote can be part of it"
        raise Conflict(f"{what} is under way, so nothing was committed; the files are saved", hint=hint)
    journal = _Journal(secrets.token_hex(8), time.time_ns(), _blobs(git, paths))
    environment = {MARK: journal.token, LOCK_HELD: str(lock), "GIT_REFLOG_ACTION": action}
    journal.write(git)
    try:
        _retry(git, lambda: _announce(git, paths, environment))
        _retry(git, lambda: git.write("commit", "--quiet", "--message", message, "--", *paths, env=environment))
    except GitError:
        _finish(git, journal)
        if not _is_committed(git, journal):
            raise
    _journal_path(git).unlink(missing_ok=True)
    return git.read("rev-parse", "HEAD")


def run_alone(git: Git, *arguments: str, lock: Path, given: bytes | None = None, action: str = FOLLOWED) -> None:
    """Run a git that changes the index or the branch; what it leaves when it is killed goes. The caller holds `lock`.

    Raises `GitError`.
    """
    journal = _Journal(secrets.token_hex(8), time.time_ns(), {})
    environment = {MARK: journal.token, LOCK_HELD: str(lock), "GIT_REFLOG_ACTION": action}
    journal.write(git)
    try:
        _retry(git, lambda: git.write(*arguments, given=given, env=environment))
    except GitError:
        _finish(git, journal)
        raise
    finally:
        _journal_path(git).unlink(missing_ok=True)


def find_busy(git: Git) -> str | None:
    """The merge, rebase, cherry-pick, revert or bisect that is under way, in words."""
    return next((what for name, what in BUSY.items() if (git.git_dir / name).exists()), None)


def _blobs(git: Git, paths: Sequence[str]) -> dict[str, str | None]:
    """What each path is to be in the commit. Git's own filters (line endings) are applied."""
    present = [path for path in paths if (git.root / path).exists()]
    ids = git.read("hash-object", "--", *present).split("\n") if present else []
    return {**dict.fromkeys(paths, None), **dict(zip(present, ids, strict=True))}


def _announce(git: Git, paths: Sequence[str], environment: Mapping[str, str]) -> None:
    """`git commit -- path` knows only paths that Git tracks: announce new ones."""
    fresh = [path for path in paths if (git.root / path).exists() and not git.tracks(path)]
    if fresh:
        git.write("add", "--intent-to-add", "--", *fresh, env=environment)


def _retry(git: Git, run: Callable[[], object]) -> None:
    """Run it; while another git holds a lock, try again for a few seconds."""
    end = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            run()
            break
        except GitError as error:
            if not _is_about_a_lock(error):
                raise
            if time.monotonic() >= end:
                raise _held(git, error) from None
        # Jitter, so that two who wait for one another do not do so in step.
        time.sleep(random.uniform(0.02, 0.1))  # noqa: S311


def _is_about_a_lock(error: GitError) -> bool:
    return ".lock': File exists" in error.message or "cannot lock ref" in error.message


def _held(git: Git, error: GitError) -> GitError:
    locks = [path for path in _lock_files(git) if path.exists()]
    ages = ", ".join(f"{path} ({time.time() - path.stat().st_mtime:.0f} s old)" for path in locks)
    hint = "the files are saved; another git command holds the lock: commit them when it has ended"
    return GitError(f"{error.message.splitlines()[0]}; locks: {ages or 'gone by now'}", hint=hint)


def finish_commit(git: Git) -> None:
    """Finish a commit that a command of ours left when it died; nothing when there is none. The caller holds the lock.

    Raises `LockTimeout` when the git that it started still runs.
    """
    journal = _Journal.read(git)
    if journal is None:
        return
    _wait_for_its_git(journal)
    _finish(git, journal)
    _journal_path(git).unlink(missing_ok=True)


def _wait_for_its_git(journal: _Journal) -> None:
    mark = f"{MARK}={journal.token}"
    end = time.monotonic() + ENDING_SECONDS
    while running := find_processes_with(mark):
        if time.monotonic() >= end:
            raise LockTimeout(f"a git started by dagtasks still runs (process {running[0]})", hint="try again later")
        time.sleep(0.05)


def _finish(git: Git, journal: _Journal) -> None:
    """Clear away what the git of the journal left: its locks, and entries of the index that are neither old nor new."""
    if find_git_processes(Path(git.read("rev-parse", "--show-toplevel"))) == []:
        for lock in _lock_files(git):
            if lock.exists() and lock.stat().st_mtime_ns >= journal.since:
                lock.unlink(missing_ok=True)
    stale = [path for path, blob in journal.blobs.items() if _is_half_done(git, path, blob)]
    if stale:
        git.write("reset", "--quiet", "--", *stale)


def _lock_files(git: Git) -> Iterator[Path]:
    yield from (git.git_dir / f"{name}.lock" for name in ("index", "HEAD", "ORIG_HEAD"))
    yield from git.git_dir.glob("next-index-*.lock")
    branch = git.head().branch
    if branch:
        yield git.common_dir / "refs" / "heads" / f"{branch}.lock"


def _is_half_done(git: Git, path: str, blob: str | None) -> bool:
    """Whether the index has the path only announced, or not yet as HEAD already has it."""
    staged = git.read("ls-files", "--stage", "--", path).split()
    in_index = staged[1] if staged else None
    in_head = _in_head(git, path)
    announced = in_head is None and in_index is not None and not git.read("diff", "--cached", "--name-only", "--", path)
    return announced or (in_head == blob and in_index != blob and git.head().commit is not None)


def _is_committed(git: Git, journal: _Journal) -> bool:
    """Whether HEAD has everything that was to be committed: git may fail after it moved the branch."""
    changed = git.changed_paths(*journal.blobs)
    return not changed and all(_in_head(git, path) == blob for path, blob in journal.blobs.items())


def _in_head(git: Git, path: str) -> str | None:
    return git.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"HEAD:./{path}")


class Written:
    """Which files hold what dagtasks wrote and nobody committed: their digests, kept in Git's folder.

    A file whose bytes are as we last wrote them holds no edit of anybody else, so it may be committed. They are in the
    order in which they were written, and `_COMMIT` stands where the last commit was made.
    """

    _COMMIT = ""

    def __init__(self, git: Git) -> None:
        self._path = git.git_dir / "dagtasks" / "written.json"

    def note(self, digests: Mapping[str, str | None]) -> None:
        """Remember what was written; None: the file was removed."""
        self._write({**self._without(digests), **digests})

    def forget(self, paths: Sequence[str]) -> None:
        """What was committed just now needs no remembering."""
        self._write({**self._without({*paths, self._COMMIT}), self._COMMIT: None})

    def later(self) -> list[str]:
        """The paths that were written after the last commit of ours; a person may have committed some of them."""
        paths = [*self._read()]
        return paths[paths.index(self._COMMIT) + 1 :] if self._COMMIT in paths else paths

    def holds(self, path: str, digest: str | None) -> bool:
        """Whether that is what we last wrote to the path."""
        known = self._read()
        return path in known and known[path] == digest

    def _without(self, paths: Collection[str]) -> dict[str, str | None]:
        return {path: digest for path, digest in self._read().items() if path not in paths}

    def _write(self, digests: Mapping[str, str | None]) -> None:
        write_file(self._path, json.dumps(digests).encode())

    def _read(self) -> dict[str, str | None]:
        try:
            data: dict[str, str | None] = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return data
