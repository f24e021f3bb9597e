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
    start = "refs/remotes/origin/"
    head = git.find("symbolic-ref", "--quiet", f"{start}HEAD") or ""
    return Origin(
        address=git.find("remote", "get-url", "origin"),
        branch=head.removeprefix(start) if head.startswith(start) else None,
        folder=git.read("rev-parse", "--show-prefix"),
    )
