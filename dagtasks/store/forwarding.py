"""Bringing the branch, the index and the work tree to a later commit, also when the git that does it is killed.

A note says from where to where. Whoever finds it, under our lock, knows that a fast-forward was cut off, and finishes
it: each file that it was about is then as it was before or as it is to be, or what git had written of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from dagtasks.errors import GitError
from dagtasks.planning.merges import BlobChange
from dagtasks.store.commits import run_alone
from dagtasks.store.files import write_file
from dagtasks.store.git import Git
from dagtasks.store.merges import read_changes

_MERGE = ("merge", "--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-overwrite-ignore", "--end-of-options")


def find_overlap(git: Git, commit: str) -> list[str]:
    """The files with edits that are not committed, or that are new, in the way of a fast-forward to the commit."""
    top = _top(git)
    changed = read_changes(top, "HEAD", commit, ".")
    folders = {folder for path in changed for folder in _parents(path)}
    ways = changed.keys() | folders
    return [path for path in top.changed_paths() if path in ways or changed.keys() & _parents(path)]


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}


def fast_forward(git: Git, commit: str, *, lock: Path, action: str) -> None:
    """Bring everything to the commit, which comes after HEAD, as `git merge --ff-only` does. The caller holds `lock`.

    `action` goes into Git's log of the branch. Raises `GitError` when edits that are not committed are in the way; all
    is as it was then.
    """
    note = _note(git)
    write_file(note, json.dumps({"from": git.head().commit, "to": commit, "action": action}).encode())
    try:
        run_alone(git, *_MERGE, commit, lock=lock, action=action)
    except GitError:
        finish_forwarding(git, lock=lock)
        if git.head().commit != commit:
            raise
    note.unlink(missing_ok=True)


def finish_forwarding(git: Git, *, lock: Path) -> None:
    """Finish a fast-forward that was cut off; nothing when there is none. The caller holds `lock`.

    Where a person has moved the branch or edited one of the files since, it is left to that person.
    """
    try:
        data = json.loads(_note(git).read_bytes())
    except (FileNotFoundError, ValueError):
        return
    if git.head().commit == data["from"]:
        _finish(_top(git), data["from"], data["to"], lock)
        with suppress(GitError):
            run_alone(git, *_MERGE, data["to"], lock=lock, action=data["action"])
    _note(git).unlink(missing_ok=True)


def _finish(top: Git, old: str, new: str, lock: Path) -> None:
    """Complete the files that are new already, or half, and tell the index of them."""
    changes = read_changes(top, old, new, ".")
    ids = _ids(top, changes)
    done = [path for path, blobs in changes.items() if path in ids and ids[path] == blobs.after]
    torn = [path for path, blobs in changes.items() if path in ids and _is_torn(top, path, ids[path], blobs)]
    with suppress(GitError):
        if done:
            given = "\0".join([*done, ""]).encode("utf-8", "surrogateescape")
            run_alone(top, "update-index", "--add", "--remove", "-z", "--stdin", lock=lock, given=given)
        if torn:
            run_alone(top, "checkout", "--quiet", new, "--", *torn, lock=lock)


def _ids(top: Git, paths: Iterable[str]) -> Mapping[str, str | None]:
    """What blob each file is now, None: it is not there. What is no regular file is left out."""
    plain = [path for path in paths if not (top.root / path).is_symlink() and "\n" not in path]
    files = [path for path in plain if (top.root / path).is_file()]
    given = "".join(f"{path}\n" for path in files).encode("utf-8", "surrogateescape")
    ids = top.read("hash-object", "--stdin-paths", given=given).split() if files else []
    missing = [path for path in plain if not (top.root / path).exists()]
    return {**dict.fromkeys(missing), **dict(zip(files, ids, strict=True))}


def _is_torn(top: Git, path: str, now: str | None, blobs: BlobChange) -> bool:
    """Whether the file is what git leaves when it is killed while it writes: nothing, or a beginning."""
    if blobs.after is None or now in blobs:
        return False
    whole = top.read_bytes("cat-file", "--filters", f"--path={path}", blobs.after)
    return now is None or whole.startswith((top.root / path).read_bytes())


def _top(git: Git) -> Git:
    return Git(Path(git.read("rev-parse", "--show-toplevel")), git.git_dir)


def _note(git: Git) -> Path:
    return git.git_dir / "dagtasks" / "forward.json"
