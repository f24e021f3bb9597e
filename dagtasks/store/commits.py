"""Committing exactly our paths, and finishing a commit that was cut off (02 section 5)."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import CommitRefused, Conflict, GitError
from dagtasks.store.files import WriteError, write_file
from dagtasks.store.git import Git
from dagtasks.store.hooks import SPEAKER
from dagtasks.store.orphans import GitNote, Started

CHANGED = "dagtasks"
UNDONE = "dagtasks undo"
FOLLOWED = "dagtasks pull"
"""What Git's log of a branch in this clone (the reflog) says of a commit that dagtasks made, or brought here."""
RETRY_SECONDS = 5.0
"""How long a lock of another git is waited for."""

BUSY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "BISECT_LOG": "a bisect",
}
"""Files in Git's folder that say that something is under way, in which a commit of ours has no place."""


class Made(NamedTuple):
    """A commit that was made: its id, and the lines that hooks of ours said."""

    commit: str
    said: list[str]


def _note_of(git: Git, lock: Path) -> GitNote:
    return GitNote(git, git.git_dir / "dagtasks" / "commit.json", lock, lambda: _lock_files(git))


def commit(
    git: Git,
    paths: Sequence[str],
    message: str,
    *,
    lock: Path,
    action: str = CHANGED,
    author: str = "",
    tracked: Collection[str] = (),
) -> Made:
    """Commit exactly these paths as they are on disk. The caller holds `lock`.

    `action` goes into Git's log of the branch; `author` is as `Name <email>`, "" for Git's user. Git need not be asked
    whether it tracks those of the paths that are in `tracked`. The user's other changes, staged or not, stay as they
    are. Raises `Conflict`, `GitError` or `CommitRefused`; the files stay.
    """
    if what := find_busy(git):
        hint = "finish it first; what dagtasks wrote can be part of it"
        raise Conflict(f"{what} is under way, so nothing was committed; the files are saved", hint=hint)
    note = _note_of(git, lock)
    started = note.start(_blobs(git, paths))
    environment = {**note.environment(started), "GIT_REFLOG_ACTION": action}
    by = (f"--author={author}",) if author else ()
    words = ("commit", "--quiet", *by, "--message", message, "--", *paths)
    said: list[str] = []
    untold = [path for path in paths if path not in tracked]
    try:
        _retry(git, lambda: _announce(git, untold, environment))
        _retry(git, lambda: said.extend(git.hear(*words, env=environment).splitlines()))
    except GitError as error:
        # Where that fails, too, the note stays, and the next command tries again.
        with suppress(GitError, OSError):
            _finish(git, note, started)
        _raise_unless_committed(git, started, _as_refusal(error))
    note.end()
    ours = [line.removeprefix(SPEAKER) for line in said if line.startswith(SPEAKER)]
    return Made(git.head().commit or git.read("rev-parse", "HEAD"), ours)


def run_alone(git: Git, *arguments: str, lock: Path, given: bytes | None = None, action: str = FOLLOWED) -> None:
    """Run a git that changes the index, the branch or the configuration; what it leaves when it is killed goes.

    The caller holds `lock`. Raises `GitError`.
    """
    note = _note_of(git, lock)
    environment = {"GIT_REFLOG_ACTION": action}
    _retry(git, lambda: note.run(*arguments, given=given, env=environment))


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


_LOCKED = (".lock': File exists", "cannot lock ref", "could not lock config file")
"""How Git says that another one holds a lock: of the index, a branch, the configuration."""


def _is_about_a_lock(error: GitError) -> bool:
    return any(words in error.message for words in _LOCKED)


def _held(git: Git, error: GitError) -> GitError:
    locks = [path for path in _lock_files(git) if path.exists()]
    ages = ", ".join(f"{path} ({time.time() - path.stat().st_mtime:.0f} s old)" for path in locks)
    hint = "the files are saved; another git command holds the lock: commit them when it has ended"
    return GitError(f"{error.message.splitlines()[0]}; locks: {ages or 'gone by now'}", hint=hint)


def finish_commit(git: Git, *, lock: Path) -> None:
    """Finish a commit that a command of ours left when it died; nothing when there is none. The caller holds `lock`.

    Raises `LockTimeout` when the git that it started still runs.
    """
    note = _note_of(git, lock)
    if started := note.find():
        with suppress(GitError, OSError):
            _finish(git, note, started)


def _finish(git: Git, note: GitNote, started: Started) -> None:
    """Clear away what the git of the note left: its locks, and entries of the index that are neither old nor new."""
    is_clear = note.clear(started)
    stale = [path for path, blob in started.blobs.items() if _is_half_done(git, path, blob)]
    if stale:
        git.write("reset", "--quiet", "--", *stale)
    if is_clear:
        note.end()


def _lock_files(git: Git) -> Iterator[Path]:
    yield from (git.git_dir / f"{name}.lock" for name in ("index", "HEAD", "ORIG_HEAD"))
    yield git.common_dir / "config.lock"
    # `git commit` ends with `git maintenance`, which never runs again while this is there.
    yield git.common_dir / "objects" / "maintenance.lock"
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


def _raise_unless_committed(git: Git, started: Started, error: GitError) -> None:
    """Git may fail after it moved the branch: then HEAD has everything that was to be committed."""
    if any(_in_head(git, path) != blob for path, blob in started.blobs.items()):
        raise error
    if git.changed_paths(*started.blobs):
        hint = f"when the cause is gone: git reset -q -- {' '.join(started.blobs)}"
        raise GitError(f"the commit is made, but not all of Git knows: {error.message}", hint=hint) from error


_REFUSED = "git commit ended with 1: "
"""How a hook says no; with 128 it ends where something is broken, but for the hook that watches branches."""
_WATCHED = "fatal: ref updates aborted by hook"
_BROKEN = ("error: Error building trees", "Aborting commit due to empty commit message.")
"""After these Git ends with 1, too. They come of a full disk: our messages are not empty."""


def _as_refusal(error: GitError) -> GitError:
    """The same as `CommitRefused` where a hook is what `git commit` failed at.

    With nothing to commit it ends with 1, too: then others have committed what we wrote, and all is in HEAD.
    """
    ended = error.message.startswith(_REFUSED) and not error.message.endswith(_BROKEN)
    if not ended and _WATCHED not in error.message:
        return error
    said = error.message.partition(": ")[2].replace(_WATCHED, "").strip()
    return CommitRefused(f"a hook refused the commit: {said or 'it printed nothing'}")


def _in_head(git: Git, path: str) -> str | None:
    return git.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"HEAD:./{path}")


class Written:
    """Which files hold what dagtasks wrote and nobody committed: their digests, kept in Git's folder.

    A file whose bytes are as we last wrote them holds no edit of anybody else, so it may be committed. They are in the
    order in which they were written, and `_COMMIT` stands where the last commit was made.

    When they cannot be kept, no command fails for it: such files are then somebody else's, to be committed by hand.
    """

    _COMMIT = ""

    def __init__(self, git: Git) -> None:
        self._path = git.git_dir / "dagtasks" / "written.json"

    def expect(self, old: Mapping[str, str | None], new: Mapping[str, str | None]) -> None:
        """Remember what is about to be written; None: the file will be removed.

        What is there until then (`old`) stays ours if it was: we may die in between.
        """
        mine = {path: [digest for digest in self._read().get(path, []) if digest == old[path]] for path in new}
        self._write({**self._without(new), **{path: [digest, *mine[path]] for path, digest in new.items()}})

    def forget(self, paths: Sequence[str]) -> None:
        """What was committed just now needs no remembering."""
        self._write({**self._without({*paths, self._COMMIT}), self._COMMIT: []})

    def later(self) -> list[str]:
        """The paths that were written after the last commit of ours; a person may have committed some of them."""
        paths = [*self._read()]
        return paths[paths.index(self._COMMIT) + 1 :] if self._COMMIT in paths else paths

    def holds(self, path: str, digest: str | None) -> bool:
        """Whether that is what we last wrote to the path."""
        return digest in self._read().get(path, [])

    def _without(self, paths: Collection[str]) -> dict[str, list[str | None]]:
        return {path: digests for path, digests in self._read().items() if path not in paths}

    def _write(self, known: Mapping[str, list[str | None]]) -> None:
        with suppress(WriteError):
            write_file(self._path, json.dumps(known).encode())

    def _read(self) -> dict[str, list[str | None]]:
        try:
            data = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {path: known if isinstance(known, list) else [known] for path, known in data.items()}
