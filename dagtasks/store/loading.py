"""Loading: from files to the index."""

from __future__ import annotations

import marshal
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Finding, InvalidProject, Problem
from dagtasks.model.names import TASK_ID_PATTERN
from dagtasks.model.summary import TaskSummary
from dagtasks.planning.index import Index, Row, build_index
from dagtasks.store.cache import Cache, Verdict
from dagtasks.store.fork import beside
from dagtasks.store.layout import TASKS, Kind, place, walk
from dagtasks.store.reading import Scan, look_at, read_files, scan
from dagtasks.store.records import Details, Packed, Record, pack, unpack, unpack_problem, unpack_row

if TYPE_CHECKING:
    from dagtasks.model.task import Task
    from dagtasks.store.documents import Document

    ReadDocuments = Callable[[Sequence[str]], Iterable[Document]]
    """Reads the files at these paths again, in this order, to find places in them."""


def load_index(root: Path, cache: Cache) -> Index:
    """The index of the work tree at `root`, with the problems of all files and of the links between them."""
    with beside(lambda: _dump_scan(root)) if cache.is_large() else nullcontext(lambda: _dump_scan(root)) as answer:
        known_keys, snapshot = cache.snapshot() or (b"", None)
        known = _unpack_index(snapshot) if snapshot else None
        keys, problems, begun = marshal.loads(answer())  # noqa: S302 - it comes from a process of our own
    if known and keys == known_keys and not problems:
        return known
    return _load_changed(root, cache, Scan(marshal.loads(keys), [*map(unpack_problem, problems)], begun))  # noqa: S302


def _dump_scan(root: Path) -> bytes:
    found = scan(root)
    return marshal.dumps((_dump_keys(found), pack(found.problems), found.begun))


def _dump_keys(found: Scan) -> bytes:
    return marshal.dumps(found.keys, 2)  # later versions give several answers for equal values


def _load_changed(root: Path, cache: Cache, found: Scan) -> Index:
    records = read_files(root, cache, found, cache.records())
    index = make_index(records, found.problems, cache, partial(_read_documents, root))
    if not found.problems and all(record.key for record in records.values()):
        cache.store_snapshot(_dump_keys(found), _pack_index(index, records))
    return index


def make_index(records: Mapping[str, Record], problems: Iterable[Problem], cache: Cache, read: ReadDocuments) -> Index:
    """The index of what the files gave; `problems` come on top of theirs and of those between them."""
    rows = [unpack_row(record.row) for record in records.values() if record.row]
    index = build_index(rows, [*problems, *_own_problems(records)])
    links = _judge(read, cache, _Tree(index, rows, records))
    return replace(index, problems=tuple(sorted([*index.problems, *map(unpack_problem, links)])))


def _read_documents(root: Path, paths: Iterable[str]) -> Iterator[Document]:
    from dagtasks.store.documents import read_document

    return (read_document(root / path, path) for path in paths)


def _pack_index(index: Index, records: Mapping[str, Record]) -> Packed:
    kinds = (index.projects, index.phases, index.tasks, index.templates)
    groups: list[Iterable[Row]] = [*(kind.values() for kind in kinds), index.broken]
    return *([records[row.path].row for row in group] for group in groups), pack(index.problems)


def _unpack_index(packed: Packed) -> Index:
    """The index that was packed: nothing has to be sorted again."""
    *groups, problems = packed
    projects, phases, tasks, templates, broken = ([unpack_row(row) for row in group] for group in groups)
    return Index(
        projects={row.key: row for row in projects},
        phases={row.id: row for row in phases},
        tasks={row.id: row for row in tasks},
        templates={row.name: row for row in templates},
        broken=tuple(broken),
        problems=tuple([unpack_problem(problem) for problem in problems]),
    )


def _own_problems(records: Mapping[str, Record]) -> Iterator[Problem]:
    return (unpack_problem(problem) for record in records.values() for problem in record.problems)


# -- what is wrong between files ------------------------------------------------------------------------------------


class _Tree(NamedTuple):
    """All that was read. `rows` also has what the index leaves out because its id is taken."""

    whole: Index
    rows: Sequence[Row]
    records: Mapping[str, Record]


def _judge(read: ReadDocuments, cache: Cache, tree: _Tree) -> Sequence[Packed]:
    """The problems between the files, packed: as they were found the last time when no file has changed."""
    fingerprint = _fingerprint(tree.records)
    last = cache.verdict()
    if last and last.fingerprint == fingerprint:
        return last.problems
    placed = _place_findings(read, tree, last.placed if last else {})
    problems = (*map(pack, _missing_projects(tree.whole)), *placed.values())
    cache.store_verdict(Verdict(fingerprint, problems, placed))
    return problems


def _fingerprint(records: Mapping[str, Record]) -> bytes:
    """Stands for all paths and contents. A sum, so that their order does not count and nothing has to be sorted."""
    return b"%d" % sum(int.from_bytes(record.digest) for record in records.values())


def _missing_projects(index: Index) -> Iterator[Problem]:
    """A problem for each folder that has tasks or phases and no `project.yaml`."""
    known = index.projects.keys() | {file.project for file in index.broken if file.kind == Kind.PROJECT}
    used = {task.project for task in index.tasks.values()} | {phase.project for phase in index.phases.values()}
    for key in sorted(used - known):
        hint = f"dagtasks project create {key} --name NAME"
        yield Problem(f"{TASKS}/{key}/project.yaml", 0, 0, "DT201", f"project {key} has no project.yaml", hint)


def _place_findings(read: ReadDocuments, tree: _Tree, known: Mapping[Packed, Packed]) -> dict[Packed, Packed]:
    """What is wrong between the files, with line and column; only where these are not known a file is read for them.

    The keys are the finding, with the path and the digest of its file.
    """
    from dagtasks.planning.links import check_links, find_duplicates

    wanted: dict[str, dict[Packed, Finding]] = {}
    for path, finding in check_links(tree.whole, find_duplicates(tree.rows)):
        wanted.setdefault(path, {})[path, tree.records[path].digest, pack(finding)] = finding
    placed = {key: known[key] for findings in wanted.values() for key in findings if key in known}
    unknown = [path for path, findings in wanted.items() if not placed.keys() >= findings.keys()]
    for path, document in zip(unknown, read(unknown), strict=True):
        placed.update(zip(wanted[path], map(pack, document.problems_for(wanted[path].values())), strict=True))
    return placed


# -- one task -------------------------------------------------------------------------------------------------------


def load_around(root: Path, text: str, cache: Cache) -> Index:
    """The part of the index that one task needs: itself, what it depends on, its project and the phases of that.

    No other file is looked at. Where the text does not lead to exactly one file this is the whole index, which knows
    what to say about that.
    """
    paths = _find_task_files(root, text)
    if len(paths) != 1:
        return load_index(root, cache)
    records = _read_paths(root, cache, paths)
    for row in [unpack_row(record.row) for record in records.values() if record.row]:
        if isinstance(row, TaskSummary):
            records |= _read_paths(root, cache, [*_files_of(root, row.depends_on), *_project_files(root, row.project)])
    return build_index([unpack_row(record.row) for record in records.values() if record.row], _own_problems(records))


def _read_paths(root: Path, cache: Cache, paths: Collection[str]) -> dict[str, Record]:
    return read_files(root, cache, look_at(root, paths), cache.records(paths))


def _find_task_files(root: Path, text: str) -> list[str]:
    """The files of tasks whose id the text says: a whole id, the part after the dash, or a beginning of either."""
    if usual := _usual_files(root, text):
        return usual
    found = [path for path, entry in walk(root) if _begins(entry.name, text) and _is_task(path)]
    return [path for path in found if Path(path).stem.partition("-")[2] == text] or found


def _begins(name: str, text: str) -> bool:
    return name.startswith(text) or name.partition("-")[2].startswith(text)


def _is_task(path: str) -> bool:
    found = place(path)
    return found is not None and found.kind is Kind.TASK


def _usual_files(root: Path, text: str) -> list[str]:
    """The files with that whole id where `task create` puts them; those are found without a walk."""
    if not re.fullmatch(TASK_ID_PATTERN, text):
        return []
    folder = f"{TASKS}/{text.partition('-')[0]}"
    deeper = f"{folder}/{text[-2:]}"
    if any((root / path).is_symlink() for path in (TASKS, folder, deeper)):
        return []
    return [path for path in (f"{folder}/{text}.yaml", f"{deeper}/{text}.yaml") if os.path.lexists(root / path)]


def _files_of(root: Path, ids: Collection[str]) -> list[str]:
    """The files of the tasks with these ids."""
    usual = {name: _usual_files(root, name) for name in ids}
    left = {f"{name}.yaml" for name, paths in usual.items() if not paths}
    elsewhere = [path for path, entry in walk(root) if entry.name in left and _is_task(path)] if left else []
    return [*(path for paths in usual.values() for path in paths), *elsewhere]


def _project_files(root: Path, project: str) -> list[str]:
    """The files of the project and its phases."""
    own, folder = f"{TASKS}/{project}/project.yaml", f"{TASKS}/{project}/phases"
    if (root / folder).is_symlink() or not (root / folder).is_dir():
        return [own]
    return [own, *(f"{folder}/{name}" for name in os.listdir(root / folder))]  # noqa: PTH208 - names are wanted


def load_details(root: Path, path: str, cache: Cache) -> Details:
    """What no row holds of the task in that file: `description`, and `workflows` with all that they bind.

    Raises `InvalidProject` when the file is wrong.
    """
    record = _read_paths(root, cache, [path]).get(path)
    packed = cache.detail(path, record.digest) if record else None
    details: Details = unpack(packed or _read_details(root, path))
    return details


def _read_details(root: Path, path: str) -> Details:
    from dagtasks.store.documents import read_document
    from dagtasks.store.rows import details_of

    packed: Details = pack(details_of(read_task(read_document(root / path, path))))
    return packed


def read_task(document: Document) -> Task:
    """The task that the document says. Raises `InvalidProject` with its problems."""
    from pydantic import ValidationError

    from dagtasks.model.fields import findings_of
    from dagtasks.model.task import Task

    if document.data is None:
        raise InvalidProject(f"{document.path} cannot be read", problems=document.problems)
    try:
        return Task.model_validate(document.data)
    except ValidationError as error:
        problems = document.problems_for(findings_of(error))
        raise InvalidProject(f"{document.path} is wrong", problems=problems) from None
