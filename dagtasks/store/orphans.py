"""Git commands that take locks, and what they leave behind when they are killed (02 section 5).

Before such a git is started, a note says so. Whoever finds the note, under the lock of ours that its writer held, knows
that this git was cut off: the locks that it left are then ours to clear away, and nothing else is.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import GitError, LockTimeout
from dagtasks.store.files import LOCK_HELD, write_file
from dagtasks.store.git import Git
from dagtasks.store.process import find_git_processes, find_processes_with

MARK = "DAGTASKS_GIT_MARK"
"""An environment variable that marks the git that we started, and all that it starts."""
ENDING_SECONDS = 10.0
"""How long the git of a command that died is waited for."""

Blobs = Mapping[str, str | None]


class Started(NamedTuple):
    """A git that was started: its mark, when, and the blob that each path is to have then (None: removed)."""

    token: str
    since: int
    blobs: Blobs


class GitNote:
    """The note in the file at `path`. `lock` is held by whoever writes or finds it; `locks` gives the locks of git.

    Work with the note as `start`, run git with the environment, `end`; when git fails, `clear` comes before `end`.
    """

    def __init__(self, git: Git, path: Path, lock: Path, locks: Callable[[], Iterable[Path]]) -> None:
        self._git = git
        self._path = path
        self._lock = lock
        self._locks = locks

    def start(self, blobs: Blobs) -> Started:
        """Write the note, on disk when this returns; what an older one tells stays in it. Raises `WriteError`."""
        left = self._read() or Started("", time.time_ns(), {})
        started = Started(secrets.token_hex(8), left.since, {**left.blobs, **blobs})
        write_file(self._path, json.dumps(started._asdict()).encode())
        return started

    def environment(self, started: Started) -> Mapping[str, str]:
        """What the git gets into its environment."""
        return {MARK: started.token, LOCK_HELD: str(self._lock)}

    def find(self) -> Started | None:
        """The note that somebody left, when the git that it tells of has ended. Raises `LockTimeout` when it runs."""
        started = self._read()
        if started:
            _wait_for(started)
        return started

    def _read(self) -> Started | None:
        try:
            data = json.loads(self._path.read_bytes())
            return Started(data["token"], data["since"], data["blobs"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a note that says nothing is none

    def clear(self, started: Started) -> bool:
        """Remove the locks that came after the note. False while any git works here: they could be its own."""
        if find_git_processes(Path(self._git.read("rev-parse", "--show-toplevel"))) != []:
            return False
        for lock in self._locks():
            if lock.exists() and lock.stat().st_mtime_ns >= started.since:
                lock.unlink(missing_ok=True)
        return True

    def end(self) -> None:
        """Remove the note: the git has ended, and nothing of it is left. A note that stays harms nobody."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def run(self, *arguments: str, given: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git under a note and return what it prints. Raises `GitError`; no lock is left then."""
        started = self.start({})
        try:
            printed = self._git.write(*arguments, given=given, env={**(env or {}), **self.environment(started)})
        except GitError:
            if self.clear(started):
                self.end()
            raise
        self.end()
        return printed


def _wait_for(started: Started) -> None:
    mark = f"{MARK}={started.token}"
    end = time.monotonic() + ENDING_SECONDS
    while running := find_processes_with(mark):
        if time.monotonic() >= end:
            raise LockTimeout(f"a git started by dagtasks still runs (process {running[0]})", hint="try again later")
        time.sleep(0.05)
