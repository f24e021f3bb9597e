"""The watcher: an event of the file system says that something changed, and a look says what.

Under bursts most events are lost, and an editor saves one file in several steps. So an event only rings a bell, and the
files are looked at after a moment of quiet. What no event told is found by a look every now and then.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from dagtasks.errors import DagtasksError, Problem
from dagtasks.model.event import Event
from dagtasks.service import dispatch
from dagtasks.service.postman import Postman
from dagtasks.store.layout import TASKS, TEMPLATES
from dagtasks.store.project import Project
from dagtasks.store.watching import CHANGES
from dagtasks.triggers import runner

QUIET = 0.1
LATEST = 1.0
"""Seconds without an event until a look, and until one although events go on."""
RESCAN = 30.0
RESCAN_BLIND = 2.0
"""Seconds until a look that no event asks for: usually, and where the system tells of no events."""
PATIENCE = 30.0
"""Seconds to wait for a command of Git that is under way."""
POLL = 0.1


class Seen(NamedTuple):
    """What happened, what is to be said of commits and of started runs, and what is wrong now and was not before."""

    events: list[Event]
    notes: list[str]
    problems: list[Problem]


class Watcher:
    """Looks whenever files of the project have changed, and has done what that starts.

    `tell` is called with what a look found, when it found anything; `warn` with what keeps us from looking, from being
    told of changes, or from telling others; `ring` before each look. Beside `run` a thread sends webhooks, and sees to
    it that runs are told of.
    """

    def __init__(
        self,
        project: Project,
        tell: Callable[[Seen], None],
        warn: Callable[[str], None],
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self._project = project
        self._tell = tell
        self._warn = warn
        self._ring = ring
        self._bell = Bell()
        self._wrong: set[Problem] = set()
        self._postman = Postman(project, warn)
        self._is_stopped = False

    def run(self) -> None:
        """Watch until `stop` is called. Raises `ProjectNotFound` outside of Git."""
        gc.enable()  # a command that ends soon needs none
        git_dir = self._project.get_git().git_dir
        watches = Watches(self._bell, self._project.root, git_dir, self._warn)
        sending = threading.Thread(target=self._postman.run, daemon=True)
        sending.start()
        try:
            while not self._is_stopped:
                watches.renew()
                self._bell.clear()
                self._ring()
                self._look()
                self._bell.wait(RESCAN_BLIND if watches.is_blind else RESCAN)
        finally:
            watches.close()
            self._postman.stop()
            sending.join()

    def stop(self) -> None:
        """Have `run` end soon; from another thread."""
        self._is_stopped = True
        self._bell.ring()

    def _look(self) -> None:
        project = self._project.with_settings()  # nothing that it remembers may be old
        if self._waits_for_git(project):
            return
        try:
            seen = self._see(project)
            runner.start_if_idle(project)
        except DagtasksError as error:
            self._warn(f"{error.message}; it is tried again later")
            return
        except Exception as error:  # noqa: BLE001 - whoever watches for days does not see it end
            self._warn(f"a fault of dagtasks, please report it: {error!r}")
            return
        if any(seen):
            self._tell(seen)

    def _see(self, project: Project) -> Seen:
        found = dispatch.catch_up(project)
        notes = [*found.said, *([runner.describe_queued(project, found.queued)] if found.queued else ())]
        fresh = sorted({*found.wrong} - self._wrong)
        self._wrong = {*found.wrong}
        return Seen(found.events, notes, fresh)

    def _waits_for_git(self, project: Project) -> bool:
        """Wait for Git to end what it does. Whether files are still those of the middle of a merge or a rebase."""
        deadline, lock = time.monotonic() + PATIENCE, project.get_git().git_dir / "index.lock"
        while (is_busy := dispatch.is_busy(project)) or lock.exists():
            if self._is_stopped or time.monotonic() > deadline:
                return is_busy
            time.sleep(POLL)
        return False


class Bell(FileSystemEventHandler):
    """Rings at every event, in the thread of the observer."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._last = 0.0

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Ring."""
        self.ring()

    def ring(self) -> None:
        """Let who waits go on, soon."""
        self._last = time.monotonic()
        self._rung.set()

    def clear(self) -> None:
        """Forget what has rung: whatever changed is looked at now."""
        self._rung.clear()

    def wait(self, seconds: float) -> None:
        """Wait until it has rung and is quiet again, or for so many seconds."""
        if not self._rung.wait(seconds):
            return
        latest = time.monotonic() + LATEST
        while (left := min(self._last + QUIET, latest) - time.monotonic()) > 0:
            time.sleep(left)


class _Named(FileSystemEventHandler):
    """Rings for files of some names only."""

    def __init__(self, bell: Bell, names: Collection[str]) -> None:
        self._bell = bell
        self._names = names

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Ring when it is one of them."""
        if {Path(os.fsdecode(path)).name for path in (event.src_path, event.dest_path)} & {*self._names}:
            self._bell.ring()


class Watches:
    """The folders that are watched. They can go and come again, so who watches renews them.

    `is_blind`: the system has no watches left; `warn` was told so.
    """

    def __init__(self, bell: Bell, root: Path, git_dir: Path, warn: Callable[[str], None]) -> None:
        self._wanted: dict[Path, FileSystemEventHandler] = {
            root: _Named(bell, (TASKS, TEMPLATES)),
            root / TASKS: bell,
            root / TEMPLATES: bell,
            git_dir: _Named(bell, ("HEAD",)),
            git_dir / "logs": _Named(bell, ("HEAD",)),
        }
        self._deep = {root / TASKS, root / TEMPLATES}
        self._warn = warn
        self._watched: dict[Path, tuple[tuple[int, int], ObservedWatch]] = {}
        self._observer = Observer()
        self._observer.start()
        self.is_blind = False

    def renew(self) -> None:
        """Watch the folders that are there now."""
        for path in self._wanted:
            known, now = self._watched.get(path), _identity(path)
            if known and known[0] != now:
                del self._watched[path]
                with suppress(KeyError):
                    self._observer.unschedule(known[1])
            if now and path not in self._watched:
                self._watch(path, now)

    def _watch(self, path: Path, identity: tuple[int, int]) -> None:
        handler, is_deep = self._wanted[path], path in self._deep
        try:
            watch = self._observer.schedule(handler, str(path), recursive=is_deep, event_filter=CHANGES)
        except OSError as error:
            self._say_blind(error)
        else:
            self._watched[path] = identity, watch

    def _say_blind(self, error: OSError) -> None:
        if not self.is_blind:
            self._warn(
                f"the system does not tell of changes ({error.strerror or error}), so the files are looked at every "
                f"{RESCAN_BLIND:g} seconds; more watches: sysctl fs.inotify.max_user_watches"
            )
        self.is_blind = True

    def close(self) -> None:
        """Watch nothing any more."""
        self._observer.stop()
        self._observer.join()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which folder it is; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
