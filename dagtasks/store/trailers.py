"""What messages of commits say of tasks: trailers, and ids that are named; and how far trailers were looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from dagtasks.model.names import TASK_ID_PATTERN
from dagtasks.store.files import write_file
from dagtasks.store.git import Git

MANY = 1000
"""Commits that are looked at: of more, the newest."""
_NAMED = re.compile(rf"(?<![A-Za-z0-9_-]){TASK_ID_PATTERN}(?![A-Za-z0-9_])")
"""An id in a text; as in the name of a branch, more may follow after a dash."""
_LOG = ("log", "-z", "--encoding=UTF-8", "--no-show-signature")


def read_trailers(git: Git, since: str, until: str) -> list[tuple[str, str]]:
    """The ids and trailers of the commits that `until` has and `since` has not, the oldest first.

    None where one of the two is not there.
    """
    form = "--format=%H%x01%(trailers:only=true,unfold=true)"
    options = ("--reverse", "--topo-order", f"--max-count={MANY}", form)
    listing = git.find(*_LOG, *options, "--end-of-options", f"{since}..{until}") or ""
    parts = (commit.partition("\x01") for commit in listing.split("\0") if commit)
    return [(commit, trailers) for commit, _, trailers in parts]


def find_following(git: Git, commit: str, until: str) -> set[str]:
    """The commits that were made on top of the commit, up to `until`."""
    return set(git.read("rev-list", "--ancestry-path", "--end-of-options", f"{commit}..{until}").split())


def find_mentions(git: Git, names: Iterable[str]) -> dict[str, datetime]:
    """When each of the names stood in the message of a commit of HEAD last; those that never did are left out."""
    wanted = set(names)
    if not wanted or git.head().commit is None:
        return {}
    greps = [f"--grep={name}" for name in sorted(wanted)]
    listing = git.read(*_LOG, "--fixed-strings", *greps, "--format=%ct%x01%B")
    found: dict[str, datetime] = {}
    for seconds, _, message in (part.partition("\x01") for part in listing.split("\0") if part):
        at = datetime.fromtimestamp(int(seconds), UTC)
        for name in wanted.intersection(_NAMED.findall(message)):
            found[name] = max(at, found.get(name, at))
    return found


class TrailerMark(NamedTuple):
    """The last commit whose trailers were looked at, and the status that we gave to tasks because of trailers."""

    commit: str
    given: Mapping[str, str]


def read_mark(git: Git) -> TrailerMark | None:
    """The mark; None when nobody has looked yet, or what is kept cannot be read."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        data = json.loads((git.state_dir / "trailers.json").read_bytes())
        return TrailerMark(str(data["commit"]), {str(name): str(value) for name, value in data["given"].items()})
    return None


def write_mark(git: Git, mark: TrailerMark) -> None:
    """Keep the mark. Raises `WriteError`."""
    text = json.dumps(mark._asdict(), indent=1, sort_keys=True)
    write_file(git.state_dir / "trailers.json", text.encode() + b"\n")
