"""Notes of pushes that are under way: a push that was killed leaves the lock of a ref, which would block every fetch.

Nobody holds our lock while git talks to a remote, so each push has a note of its own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dagtasks.store.files import write_file
from dagtasks.store.git import Git
from dagtasks.store.orphans import MARK
from dagtasks.store.process import find_git_processes, find_processes_with


@contextmanager
def note_push(git: Git) -> Iterator[Mapping[str, str]]:
    """Note a push while it runs; gives what its git gets into its environment."""
    token, since = secrets.token_hex(8), time.time_ns()
    note = _folder(git) / f"push-{token}.json"
    write_file(note, json.dumps({"token": token, "since": since}).encode())
    yield {MARK: token}
    # Not after an error: a push that fails leaves no lock, and one that was killed may have.
    note.unlink(missing_ok=True)


def clear_pushes(git: Git) -> None:
    """Remove the locks that pushes of ours left when they died. The caller holds our lock."""
    for note in _folder(git).glob("push-*.json"):
        data = json.loads(note.read_bytes())
        if find_processes_with(f"{MARK}={data['token']}") or find_git_processes(git.common_dir.parent) != []:
            continue  # it works still, or another git does, whose locks these could be
        for lock in (git.common_dir / "refs" / "remotes").rglob("*.lock"):
            if lock.stat().st_mtime_ns >= data["since"]:
                lock.unlink(missing_ok=True)
        note.unlink(missing_ok=True)


def _folder(git: Git) -> Path:
    return git.state_dir
