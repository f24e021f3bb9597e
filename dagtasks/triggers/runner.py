"""The runner of the queue: one a repository, it does what the entries say, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from dagtasks.model.run import RunRecord
from dagtasks.service import dispatch
from dagtasks.service.hooks import program
from dagtasks.service.queue import carry_out, find_waiting, is_done, name_of
from dagtasks.store.cursor import CursorFile
from dagtasks.store.files import LOCK_HELD
from dagtasks.store.git import clean_environment
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.process import DEPTH
from dagtasks.store.project import Project
from dagtasks.store.queue import Entry, Queue

TOLD = 5
"""Of so many runs it is worked out at once whether they have to wait for an approval."""


def work(project: Project) -> Iterator[RunRecord]:
    """Do what is in the queue until it is empty, and give the record of each run. It looks for changes first.

    Nothing is done while another runner of the repository does it: that one sees what came meanwhile, too.
    """
    with _delivering(project):
        yield from _work(project)


def _work(project: Project) -> Iterator[RunRecord]:
    queue = Queue(project.get_git())
    seen: set[str] = set()
    while True:
        with queue.hold() as is_ours:
            if not is_ours:
                return
            if not dispatch.is_busy(project):
                dispatch.catch_up(project)
            while entry := _take(project, queue, seen):
                record = carry_out(entry, project)
                _put_down(project, queue, entry, record)
                yield record
        # Who added an entry while we let go of the queue did not get to be the runner.
        if not any(_find_wanted(queue, seen)):
            return


@contextmanager
def _delivering(project: Project) -> Iterator[None]:
    """Send what is due of webhooks beside the runs, and at the end what those gave."""
    if not os.path.lexists(project.root / WEBHOOKS):
        yield
        return
    from dagtasks.service.postman import Postman

    postman = Postman(project, lambda text: print(text, file=sys.stderr))  # noqa: T201 - it goes into the log
    thread = threading.Thread(target=postman.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        postman.finish()
        thread.join()


def settle_waiting(project: Project, entries: list[Entry]) -> list[RunRecord]:
    """Record those of the entries that have to wait for an approval, and take them out of the queue.

    A runner that is at work does so itself: then there are none.
    """
    queue = Queue(project.get_git())
    found = []
    with queue.hold() as is_ours:
        for entry in entries if is_ours else ():
            if record := find_waiting(entry, project):
                _put_down(project, queue, entry, record)
                found.append(record)
    return found


def describe_queued(project: Project, queued: list[Entry]) -> str:
    """What a person is to know about what a look queued, in one line. What has to wait for an approval is settled."""
    waiting = settle_waiting(project, queued[:TOLD])
    count = len(queued) - len(waiting)
    parts = [f"{count} run{'s' * (count > 1)} queued, see: dagtasks queue list"] if count else []
    if waiting:
        names = ", ".join(map(name_of, waiting))
        parts.append(f"waiting for an approval: {names}, see: dagtasks runs list --status awaiting_approval")
    return "; ".join(parts)


def _take(project: Project, queue: Queue, seen: set[str]) -> Entry | None:
    """The next entry, marked as begun. `seen` are those that were taken before."""
    for entry in _find_wanted(queue, seen):
        seen.add(entry.id)
        _end_its_look(entry)
        with project.lock("queue work"):
            if there := queue.find(entry.id):
                begun = there._replace(tries=there.tries + 1)
                queue.replace(begun)
                return begun
    return None


def _find_wanted(queue: Queue, seen: Container[str]) -> Iterator[Entry]:
    entries = (queue.find(name) for name in queue.names() if name not in seen)
    return (entry for entry in entries if entry and entry.kind == "run")


def _end_its_look(entry: Entry) -> None:
    """Look once more where a look died between writing the entry and moving the cursor: it would queue it again."""
    there = Project(Path(entry.root))
    if not there.root.is_dir() or there.git is None or dispatch.is_busy(there):
        return
    mark = CursorFile(there).find_mark()
    if mark and mark.id == entry.cursor:
        dispatch.look(there)


def _put_down(project: Project, queue: Queue, entry: Entry, record: RunRecord) -> None:
    if is_done(record):
        with project.lock("queue work"):
            queue.remove(entry.id)


def start_if_idle(project: Project) -> None:
    """Start a runner when something is in the queue and nobody works on it."""
    queue = Queue(project.get_git())
    if not queue.entries():
        return
    with queue.hold() as is_ours:
        pass
    if is_ours:
        start(project)


def start(project: Project) -> None:
    """Start a runner that outlives us and says nothing here: what it prints goes into a log."""
    depth = str(int(os.environ.get(DEPTH) or 0) + 1)
    environment = {name: value for name, value in clean_environment().items() if name != LOCK_HELD}
    with Queue(project.get_git()).open_log() as log:
        subprocess.Popen(
            [*program(), "-C", str(project.root), "queue", "work"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=project.root,
            env={**environment, DEPTH: depth},
        )
