"""The records of runs in other clones: fetched and sent as the union of both sides, never overwritten."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from dagtasks.errors import Conflict, GitError
from dagtasks.store.git import Git

ATTEMPTS = 10
IMPORT = ("fast-import", "--quiet", "--done", "--date-format=raw")
"""A git that moves a ref only forwards, and fails when another moved it meanwhile."""


class Synced(NamedTuple):
    """How many records were sent to the remote and how many were new here."""

    sent: int
    received: int


class WriteRef(Protocol):
    """Runs a git that moves the ref, as `Git.write`."""

    def __call__(self, *arguments: str, given: bytes | None = None) -> str:
        """What it prints. Raises `GitError`."""


def pull(git: Git, remote: str, ref: str, write: WriteRef) -> Synced:
    """Add the records of the remote to those of this clone. Raises `GitError` when it cannot be asked."""
    theirs = _fetch(git, remote, ref)
    return Synced(0, _take_in(git, ref, theirs, write) if theirs else 0)


def push(git: Git, remote: str, ref: str, write: WriteRef) -> Synced:
    """Add what each side lacks. Raises `GitError`, and `Conflict` when others were quicker several times."""
    for _ in range(ATTEMPTS):
        theirs = _fetch(git, remote, ref)
        received = _take_in(git, ref, theirs, write) if theirs else 0
        ours = _tip(git, ref)
        if ours is None or ours == theirs:
            return Synced(0, received)
        sent = _count(_files(git, ours).keys() - (_files(git, theirs).keys() if theirs else set()))
        try:
            # No force: the remote takes it only when nobody was there since the fetch.
            git.write("push", "--quiet", "--end-of-options", remote, f"{ours}:{ref}")
        except GitError as error:
            if "rejected" not in error.message and "cannot lock ref" not in error.message:
                raise
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311
            continue
        return Synced(sent, received)
    raise Conflict(f"others kept sending records to {remote} at the same time", hint="try again")


def _fetch(git: Git, remote: str, ref: str) -> str | None:
    """The tip of the remote's records; None when it has none yet."""
    if not git.read("ls-remote", "--end-of-options", remote, ref):
        return None
    kept = f"refs/dagtasks/remote/{_word(remote)}"
    git.write("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options", remote, f"+{ref}:{kept}")
    return _tip(git, kept)


def _word(remote: str) -> str:
    """A name for the remote that a ref can have; an address gets a digest."""
    from hashlib import sha256

    return remote if remote.replace("-", "").replace("_", "").isalnum() else sha256(remote.encode()).hexdigest()[:16]


def _take_in(git: Git, ref: str, theirs: str, write: WriteRef) -> int:
    """Move our records to the union of both; how many were new."""
    ours = _tip(git, ref)
    if ours is None:
        write("update-ref", ref, theirs, "")
        return _count(_files(git, theirs))
    if ours == theirs or git.find("merge-base", "--is-ancestor", theirs, ours) is not None:
        return 0
    new = {path: blob for path, blob in _files(git, theirs).items() if path not in _files(git, ours)}
    if git.find("merge-base", "--is-ancestor", ours, theirs) is not None:
        write("update-ref", ref, theirs, ours)
    else:
        write(*IMPORT, given=_merged(git, ref, (ours, theirs), new))
    return _count(new)


def _merged(git: Git, ref: str, parents: tuple[str, str], new: dict[str, str]) -> bytes:
    """The commit of the union, for `git fast-import`."""
    who = git.find("var", "GIT_COMMITTER_IDENT") or f"dagtasks <dagtasks@localhost> {int(time.time())} +0000"
    message = b"runs: records of another clone"
    lines = [f"commit {ref}", f"committer {who}", f"data {len(message)}", message.decode()]
    lines += [f"from {parents[0]}", f"merge {parents[1]}"]
    lines += [f"M 100644 {blob} {path}" for path, blob in new.items()]
    return "\n".join([*lines, "", "done", ""]).encode()


def _tip(git: Git, ref: str) -> str | None:
    return git.find("rev-parse", "--verify", "--quiet", "--end-of-options", ref)


def _files(git: Git, commit: str) -> dict[str, str]:
    """The paths of a commit with their blobs."""
    listing = git.read("ls-tree", "-r", "-z", "--end-of-options", commit)
    entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
    return {path: facts.split(" ")[2] for facts, _, path in entries}


def _count(paths: Iterable[str]) -> int:
    """How many of the paths are records of runs."""
    return sum(path.endswith(".json") for path in paths)
