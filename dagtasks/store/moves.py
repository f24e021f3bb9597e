"""What has moved HEAD since somebody looked: paths that a checkout brought, and paths that runs committed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from dagtasks.planning.index import Index
from dagtasks.store.git import Git
from dagtasks.store.layout import TASKS
from dagtasks.store.trees import Memo, read_commit

TRAILER = "Dagtasks-Run"
"""The trailer of the commits of a run: it says which run wrote, and keeps such a commit from starting others."""
MANY = 1000
"""Commits that are looked at: of more, the newest."""
_CHECKOUT = re.compile(rb"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) [^\t]*\tcheckout: ")


def find_log_size(git: Git) -> int:
    """How long the log of HEAD is."""
    with suppress(OSError):
        return (git.git_dir / "logs/HEAD").stat().st_size
    return 0


class Moved(NamedTuple):
    """Files that something else than an edit has changed: their paths, relative to the root, and where they came from.

    They are then as they are in that commit.
    """

    paths: set[str]
    commit: str
    by_runs: bool = False


def find_moved(git: Git, log_from: int, old: str | None, new: str | None) -> list[Moved]:
    """What checkouts brought since the log of HEAD was so long, and what only runs have committed between the two."""
    checkouts = _find_checkouts(git, log_from)
    by_runs = _find_committed_by_runs(git, old, new) if old and new and old != new else set()
    differing = {path for move in {*checkouts} for path in _diff(git, *move)}
    checked_out = Moved(differing, checkouts[-1][1] if checkouts else "")
    found = (checked_out, Moved(by_runs, new or "", by_runs=True))
    return [moved for moved in found if moved.paths and git.find_commit(moved.commit)]


def _diff(git: Git, old: str, new: str) -> list[str]:
    if not git.find_commit(old) or not git.find_commit(new):
        return []
    listing = git.read("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--relative", old, new, "--", TASKS)
    return listing.split("\0")[:-1]


def _find_checkouts(git: Git, log_from: int) -> list[tuple[str, str]]:
    with suppress(OSError), (git.git_dir / "logs/HEAD").open("rb") as log:
        log.seek(log_from)
        moves = (_CHECKOUT.match(line) for line in log.read().splitlines())
        return [(move[1].decode(), move[2].decode()) for move in moves if move]
    return []


def read_committed(git: Git, moved: Moved) -> Index:
    """What the commit says in these files."""
    return read_commit(git, moved.commit, Memo({}, {})).narrow(moved.paths).load()


class Written(NamedTuple):
    """A commit that changed a file: the address of its author, and the run that made it ("": none did)."""

    author: str
    run: str


def find_writers(git: Git, old: str | None, new: str | None) -> dict[str, Written]:
    """Of each file of tasks the last commit between the two that changed it; none where one of the two is not there."""
    if not old or not new or old == new:
        return {}
    # The newest comes first.
    return {path: written for written, paths in reversed(_read_commits(git, old, new)) for path in paths}


def _find_committed_by_runs(git: Git, old: str, new: str) -> set[str]:
    of_runs: set[str] = set()
    of_others: set[str] = set()
    for written, paths in _read_commits(git, old, new):
        (of_runs if written.run else of_others).update(paths)
    return of_runs - of_others


@lru_cache(maxsize=1)  # a look asks twice: what do commits of runs change, and who is the author of a change
def _read_commits(git: Git, old: str, new: str) -> Sequence[tuple[Written, Sequence[str]]]:
    """What changed files of tasks between the two, the newest first; none when one of the two is not there."""
    form = f"--format=%x02%ae%x01%(trailers:key={TRAILER},valueonly)%x03"
    listing = git.find(
        *("log", "-z", "--name-only", "--no-renames", "--relative"),
        *(f"--max-count={MANY}", form, "--end-of-options", f"{old}..{new}", "--", TASKS),
    )
    found = []
    for commit in (listing or "").split("\x02")[1:]:
        head, _, paths = commit.partition("\x03")
        author, _, trailer = head.partition("\x01")
        run = (trailer.split() or [""])[0]
        found.append((Written(author, run), [path for path in paths.strip("\n\0").split("\0") if path]))
    return found
