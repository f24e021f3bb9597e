"""Bringing a snapshot up to date after edits of a few tasks, without looking at all others."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
from dagtasks.store.snapshot import Snapshot

FEW = 50
"""So many tasks are looked at one by one. With more it is quicker to look at all."""


class _Edit(NamedTuple):
    """A task whose file has changed or is new: as it was, and as it is."""

    before: TaskSummary | None
    after: TaskSummary

    @property
    def old_needs(self) -> Sequence[str]:
        """What it depended on."""
        return self.before.depends_on if self.before else ()

    @property
    def is_felt_by_others(self) -> bool:
        """Whether the change can matter to other tasks."""
        was = (self.before.status, self.before.depends_on) if self.before else None
        return was != (self.after.status, self.after.depends_on)


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
    edits = _find_edits(known, fresh)
    if edits is None:
        return None
    tasks = known.tasks.with_records({edit.after.id: fresh[edit.after.path] for edit in edits})
    felt = [edit for edit in edits if edit.is_felt_by_others]
    touched = {task.id: task for edit in felt for task in tasks.find_dependents(edit.after.id)}
    touched |= {edit.after.id: edit.after for edit in edits}
    names = {*touched, *(need for edit in felt for need in (*edit.old_needs, *edit.after.depends_on))}
    after = known._replace(tasks=tasks)
    index = after.make_index()
    if len(names) > FEW or any(_is_in_circle(index, edit) or _is_awaited(known, index, edit) for edit in edits):
        return None
    before = marshal.loads(known.starts)  # noqa: S302 - the cache has looked at the seal
    starts = update_startable(before, index, names, tasks.find_dependents)
    return _judge(root, cache, after._replace(starts=marshal.dumps(starts)), touched.values())


def _find_edits(known: Snapshot, fresh: Mapping[str, Record]) -> list[_Edit] | None:
    """The changes of tasks that the files are; None when they are something else, too."""
    if len(fresh) > FEW or not known.tasks or not known.digests.keys().isdisjoint(fresh):
        return None
    rows = [unpack_row(record.row) if record.row else None for record in fresh.values()]
    edits = [_Edit(known.tasks.get(row.id), row) for row in rows if isinstance(row, TaskSummary)]
    names = {edit.after.id for edit in edits if edit.before is None or edit.before.path == edit.after.path}
    return edits if len(names) == len(rows) else None


def _is_in_circle(index: Index, edit: _Edit) -> bool:
    """Whether the task depends on itself, if only through others, by an edge that is new."""
    if {*edit.after.depends_on} <= {*edit.old_needs}:
        return False
    return edit.after.id in reachable(index.edges, [edit.after.id])


def _is_awaited(known: Snapshot, index: Index, edit: _Edit) -> bool:
    """Whether the task is new and that alone can matter to others: its name may be what somebody meant."""
    if edit.before is not None:
        return False
    return edit.after.project not in index.projects or any(problem[3] == "DT203" for problem in known.problems)


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
