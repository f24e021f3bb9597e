"""Bringing a snapshot up to date after edits of a few tasks, without looking at all others."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dagtasks.model.summary import TaskSummary
from dagtasks.planning.graph import reachable
from dagtasks.planning.index import Index
from dagtasks.planning.links import HINTED_TASKS, check_tasks
from dagtasks.planning.ready import update_startable
from dagtasks.store.cache import Cache
from dagtasks.store.judging import locate, read_documents
from dagtasks.store.reading import Seen, read_files, read_paths
from dagtasks.store.records import Key, Packed, Record, unpack_row
from dagtasks.store.scanning import Keys, Scan, forget_keys, unpack_keys
from dagtasks.store.snapshot import Snapshot, Tasks

FEW = 50
"""So many tasks are looked at one by one. With more it is quicker to look at all."""


class _Edit(NamedTuple):
    """A task whose file has changed: as it was, and as it is."""

    before: TaskSummary
    after: TaskSummary

    @property
    def is_felt_by_others(self) -> bool:
        """Whether the change can matter to other tasks."""
        return self.before.status is not self.after.status or self.before.depends_on != self.after.depends_on


def update(root: Path, cache: Cache, known: Snapshot, found: Scan) -> Index | None:
    """The index as it is now, which the cache then keeps. None when more has changed than a few intact tasks."""
    changed, gone = _compare(known.keys, found)
    if gone:
        return None
    records = read_files(root, cache, Seen(changed, found.begun), cache.records(changed))
    fresh = {
        path: record
        for path, record in records.items()
        if not known.holds(PurePosixPath(path).stem, path, record.digest)
    }
    after = _apply(root, cache, known, fresh) if fresh else known
    if after is None:
        return None
    folders = {**{folder: known.keys[folder] for folder in found.same}, **found.folders}
    keys = forget_keys(folders, (path for path, record in records.items() if record.key is None))
    if fresh or keys != known.keys:
        cache.store_snapshot(after._replace(keys=keys).dump())
    return after.make_index()


def _compare(known: Mapping[str, Keys], found: Scan) -> tuple[dict[str, Key | None], list[str]]:
    """The files that are new or have other keys, and the paths of those that are gone."""
    vanished = known.keys() - found.folders.keys() - set(found.same)
    looked_at = {folder: known[folder] for folder in (*found.folders, *vanished) if folder in known}
    before, after = dict(unpack_keys(looked_at)), dict(unpack_keys(found.folders))
    changed = {path: key for path, key in after.items() if key is None or before.get(path) != key}
    return changed, [path for path in before if path not in after]


def _apply(root: Path, cache: Cache, known: Snapshot, fresh: Mapping[str, Record]) -> Snapshot | None:
    """The snapshot with these files, if they are tasks that were and are intact. Keys are as they were."""
    edits = _find_edits(known.tasks, fresh)
    if edits is None:
        return None
    tasks = known.tasks.with_records({edit.after.id: fresh[edit.after.path] for edit in edits})
    felt = [edit for edit in edits if edit.is_felt_by_others]
    touched = {task.id: task for edit in felt for task in tasks.find_dependents(edit.after.id)}
    touched |= {edit.after.id: edit.after for edit in edits}
    names = {*touched, *(need for edit in felt for need in (*edit.before.depends_on, *edit.after.depends_on))}
    if len(names) > FEW or any(_is_in_circle(tasks, edit) for edit in edits):
        return None
    after = known._replace(tasks=tasks)
    before = marshal.loads(known.starts)  # noqa: S302 - the cache has looked at the seal
    starts = update_startable(before, after.make_index(), names, tasks.find_dependents)
    return _judge(root, cache, after._replace(starts=marshal.dumps(starts)), touched.values())


def _find_edits(tasks: Tasks, fresh: Mapping[str, Record]) -> list[_Edit] | None:
    """The changes of tasks that the files are; None when they are something else, too."""
    if len(fresh) > FEW:
        return None
    rows = [unpack_row(record.row) if record.row else None for record in fresh.values()]
    edits = [_Edit(tasks[row.id], row) for row in rows if isinstance(row, TaskSummary) and row.id in tasks]
    return edits if len(edits) == len(rows) and all(edit.before.path == edit.after.path for edit in edits) else None


def _is_in_circle(tasks: Tasks, edit: _Edit) -> bool:
    """Whether the task depends on itself, if only through others, by an edge that is new."""
    if {*edit.after.depends_on} <= {*edit.before.depends_on}:
        return False
    return edit.after.id in reachable(_Edges(tasks), [edit.after.id])


class _Edges(Mapping[str, Sequence[str]]):
    """Each task with those that it depends on, looked up when somebody asks."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def __getitem__(self, name: str) -> Sequence[str]:
        return self._tasks[name].depends_on

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _judge(root: Path, cache: Cache, after: Snapshot, touched: Collection[TaskSummary]) -> Snapshot | None:
    """The snapshot with what is wrong now with the tasks that were touched; None where others matter for that."""
    findings = [*check_tasks(after.make_index(), touched)]
    codes = Counter([finding.code for _, finding in findings] + [problem[3] for problem in after.problems])
    if codes["DT204"] or codes["DT205"] or codes["DT203"] >= HINTED_TASKS:
        return None
    paths = {task.path for task in touched}
    records = read_paths(root, cache, paths)
    if records.keys() != paths:
        return None
    known: dict[Packed, Packed] = marshal.loads(after.placed)  # noqa: S302 - as above
    fresh = locate(findings, records, partial(read_documents, root), known)
    placed = {key: problem for key, problem in known.items() if key[0] not in paths} | fresh
    others = (problem for problem in after.problems if problem[0] not in paths)
    own = (problem for record in records.values() for problem in record.problems)
    return after._replace(problems=tuple(sorted([*others, *own, *fresh.values()])), placed=marshal.dumps(placed))
