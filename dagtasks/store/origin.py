"""Where the clone comes from, as its Git knows it."""

from __future__ import annotations

from typing import NamedTuple

from dagtasks.store.git import Git


class Origin(NamedTuple):
    """The remote `origin`: its address as Git would use it, and its default branch; None for what is not known.

    `folder` is where the root lies in the repository: empty, or `deeper/` with a slash at its end.
    """

    address: str | None
    branch: str | None
    folder: str


def read_origin(git: Git) -> Origin:
    """What Git knows of the remote `origin`; it is not asked."""
    return Origin(
        address=git.find("remote", "get-url", "origin"),
        branch=_find_branch(git),
        folder=git.read("rev-parse", "--show-prefix"),
    )


def _find_branch(git: Git) -> str | None:
    start = "refs/remotes/origin/"
    head = git.find("symbolic-ref", "--quiet", f"{start}HEAD") or ""
    return head.removeprefix(start) if head.startswith(start) else None


def find_default_branch(git: Git) -> str | None:
    """The branch that counts: that of `origin`, else what Git is set to begin with, else `main` or `master`."""
    known = _find_branch(git)
    if known:
        return known
    names = (git.find("config", "init.defaultBranch"), "main", "master")
    there = (name for name in names if name and git.find_commit(f"refs/heads/{name}"))
    return next(there, None)
