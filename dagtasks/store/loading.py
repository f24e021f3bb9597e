"""Loading: from files to the index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from dagtasks.errors import Finding, InvalidProject, Problem
from dagtasks.model.fields import findings_of
from dagtasks.model.summary import BrokenFile, PhaseSummary, ProjectSummary, TaskSummary
from dagtasks.model.task import Task
from dagtasks.planning.index import Index, Row, build_index
from dagtasks.planning.links import check_links, find_duplicates
from dagtasks.store.documents import Document, read_document
from dagtasks.store.layout import TASKS, Entry, Kind, Place, check_place, check_symlink, place, walk
from dagtasks.store.rows import Reading, read_row


def load_index(root: Path) -> Index:
    """The index of the work tree at `root`, with the problems of all files and of the links between them."""
    readings = [reading for entry in sorted(walk(root)) if (reading := _read_entry(root, entry))]
    rows = [reading.row for reading in readings]
    problems = [problem for reading in readings for problem in reading.problems]
    return link(root, rows, problems)


def link(root: Path, rows: list[Row], problems: list[Problem]) -> Index:
    """The index of the rows; what is wrong between files is added, with its line and column."""
    problems = [*problems, *_missing_projects(rows)]
    index = build_index(rows, problems)
    duplicates = find_duplicates(rows)
    by_path: dict[str, list[Finding]] = {}
    for path, finding in check_links(index, duplicates):
        by_path.setdefault(path, []).append(finding)
    found = [p for path, findings in by_path.items() for p in read_document(root / path, path).problems_for(findings)]
    return build_index(rows, [*problems, *found]) if found else index


def _read_entry(root: Path, entry: Entry) -> Reading | None:
    found = place(entry.path)
    if entry.is_symlink:
        return _refused(found, entry.path, check_symlink(entry.path))
    if found is None:
        return None
    wrong = check_place(found)
    if wrong:
        return _refused(found, entry.path, wrong)
    return read_row(found, read_document(root / entry.path, entry.path))


def _refused(found: Place | None, path: str, finding: Finding) -> Reading:
    """A file that is refused for where or what it is; its content is not looked at."""
    problem = Problem(path, 0, 0, finding.code, finding.message, finding.hint, finding.severity)
    kind = found.kind if found else "other"
    return Reading(BrokenFile(path, kind, Path(path).stem, found.project if found else None), [problem])


def _missing_projects(rows: Iterable[Row]) -> Iterator[Problem]:
    """A problem for each folder that has tasks or phases and no `project.yaml`."""
    rows = list(rows)
    known = {row.key for row in rows if isinstance(row, ProjectSummary)}
    known |= {row.project for row in rows if isinstance(row, BrokenFile) and row.kind == Kind.PROJECT and row.project}
    used = {row.project for row in rows if isinstance(row, TaskSummary | PhaseSummary)}
    for key in sorted(used - known):
        hint = f"dagtasks project create {key} --name NAME"
        yield Problem(f"{TASKS}/{key}/project.yaml", 0, 0, "DT201", f"project {key} has no project.yaml", hint)


def read_task(document: Document) -> Task:
    """The task that the document says. Raises `InvalidProject` with its problems."""
    if document.data is None:
        raise InvalidProject(f"{document.path} cannot be read", problems=document.problems)
    try:
        return Task.model_validate(document.data)
    except ValidationError as error:
        problems = document.problems_for(findings_of(error))
        raise InvalidProject(f"{document.path} is wrong", problems=problems) from None
