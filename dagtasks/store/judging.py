"""From what files gave to the index, with what is wrong between them and where that stands."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Finding, Problem, worst_first
from dagtasks.planning.index import Index, build_index
from dagtasks.planning.links import LinkFinding, check_links, find_duplicates
from dagtasks.store.layout import TASKS, Kind
from dagtasks.store.records import Packed, Record, pack, unpack_problem, unpack_row
from dagtasks.store.scanning import Keys
from dagtasks.store.snapshot import Snapshot, pack_tasks

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

    ReadDocuments = Callable[[Sequence[str]], Iterable[Document]]
    """Reads the files at these paths again, in this order, to find places in them."""


class Judged(NamedTuple):
    """An index, and the problems between its files by what each was made of; packed.

    That is the path and digest of its file, and the finding: so no place has to be looked for twice.
    """

    whole: Index
    placed: dict[Packed, Packed]


def judge(
    records: Mapping[str, Record],
    problems: Iterable[Problem],
    read: ReadDocuments,
    known: Mapping[Packed, Packed] | None = None,
) -> Judged:
    """The index of what the files gave; `problems` come on top of theirs and of those between them.

    `known` is what was placed before.
    """
    rows = [unpack_row(record.row) for record in records.values() if record.row]
    own = (unpack_problem(problem) for record in records.values() for problem in record.problems)
    index = build_index(rows, [*problems, *own])
    placed = locate(check_links(index, find_duplicates(rows)), records, read, known or {})
    links = [*_missing_projects(index), *map(unpack_problem, placed.values())]
    return Judged(index._replace(problems=tuple(sorted([*index.problems, *links]))), placed)


def locate(
    findings: Iterable[LinkFinding],
    records: Mapping[str, Record],
    read: ReadDocuments,
    known: Mapping[Packed, Packed],
) -> dict[Packed, Packed]:
    """The findings with line and column; only where these are not known a file is read for them."""
    of_files: dict[str, list[Finding]] = {}
    for path, finding in findings:
        of_files.setdefault(path, []).append(finding)
    wanted: dict[str, dict[Packed, Finding]] = {
        path: {(path, records[path].digest, pack(finding)): finding for finding in worst_first(of_file)}
        for path, of_file in of_files.items()
    }
    placed = {key: known[key] for of_file in wanted.values() for key in of_file if key in known}
    unknown = [path for path, of_file in wanted.items() if not placed.keys() >= of_file.keys()]
    for path, document in zip(unknown, read(unknown), strict=True):
        placed.update(zip(wanted[path], map(pack, document.problems_for(wanted[path].values())), strict=True))
    return placed


def read_documents(root: Path, paths: Iterable[str]) -> Iterator[Document]:
    """The files at these paths below the root."""
    from dagtasks.store.documents import read_document

    return (read_document(root / path, path) for path in paths)


def _missing_projects(index: Index) -> Iterator[Problem]:
    """A problem for each folder that has tasks or phases and no `project.yaml`."""
    known = index.projects.keys() | {file.project for file in index.broken if file.kind == Kind.PROJECT}
    used = {task.project for task in index.tasks.values()} | {phase.project for phase in index.phases.values()}
    for key in sorted(used - known):
        hint = f"dagtasks project create {key} --name NAME"
        yield Problem(f"{TASKS}/{key}/project.yaml", 0, 0, "DT201", f"project {key} has no project.yaml", hint)


def take_snapshot(keys: Mapping[str, Keys], judged: Judged, records: Mapping[str, Record]) -> Snapshot:
    """What the cache keeps of an index that was made of these records."""
    index = judged.whole
    kinds = (index.projects.values(), index.phases.values(), index.templates.values(), index.broken)
    others = tuple([[records[row.path].row for row in rows] for rows in kinds])
    tasks = {row.id: records[row.path] for row in index.tasks.values()}
    of_tasks = {row.path for row in index.tasks.values()}
    digests = {path: record.digest for path, record in records.items() if path not in of_tasks}
    starts, placed = marshal.dumps([*index.startable]), marshal.dumps(judged.placed)
    return Snapshot(keys, others, digests, pack_tasks(tasks), pack(index.problems), starts, placed)
