"""Loading one task and what belongs to it, without looking at other files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagtasks.errors import InvalidProject
from dagtasks.model.names import PROJECT_PATTERN, TASK_ID_PATTERN
from dagtasks.model.summary import TaskSummary, digest_description
from dagtasks.planning.index import Index, build_index
from dagtasks.store.cache import Cache
from dagtasks.store.layout import TASKS, Kind, place, walk
from dagtasks.store.reading import read_paths
from dagtasks.store.records import Details, Record, pack, unpack, unpack_problem, unpack_row

if TYPE_CHECKING:
    from dagtasks.model.task import Task
    from dagtasks.store.documents import Document


def load_around(root: Path, text: str, cache: Cache) -> Index:
    """The part of the index that one task needs: itself, what it depends on, its project and the phases of that.

    No other file is looked at. Where the text does not lead to exactly one file this is the whole index, which knows
    what to say about that.
    """
    paths = _find_task_files(root, text)
    if len(paths) != 1:
        from dagtasks.store.loading import load_index

        return load_index(root, cache)
    records = read_paths(root, cache, paths)
    for row in [unpack_row(record.row) for record in records.values() if record.row]:
        if isinstance(row, TaskSummary):
            records |= read_paths(root, cache, [*_files_of(root, row.depends_on), *_project_files(root, row.project)])
    return _make_index(records)


def load_project(root: Path, key: str, needs: Iterable[str], cache: Cache) -> Index:
    """The part of the index that a new task of the project needs: its phases, and the tasks that are named.

    No other file is looked at. Where a name does not lead to exactly one file, or there is no such project, this is the
    whole index, which knows what to say about that.
    """
    found = [_find_task_files(root, need) for need in needs]
    if _is_project(root, key) and all(len(paths) == 1 for paths in found):
        paths = {*_project_files(root, key), *(path for [path] in found)}
        index = _make_index(read_paths(root, cache, paths))
        if key in index.projects:
            return index
    from dagtasks.store.loading import load_index

    return load_index(root, cache)


def _is_project(root: Path, key: str) -> bool:
    """Whether that can be the folder of a project; symlinks are not followed."""
    folders = (root / TASKS, root / TASKS / key)
    return re.fullmatch(PROJECT_PATTERN, key) is not None and not any(folder.is_symlink() for folder in folders)


def _make_index(records: Mapping[str, Record]) -> Index:
    problems = (unpack_problem(problem) for record in records.values() for problem in record.problems)
    return build_index([unpack_row(record.row) for record in records.values() if record.row], problems)


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
    record = read_paths(root, cache, [path]).get(path)
    packed = cache.detail(path, record.digest) if record else None
    details: Details = unpack(packed or _read_details(root, path))
    return details


def load_description(root: Path, row: TaskSummary, cache: Cache) -> str:
    """The description of the task with that row. Raises `InvalidProject` when its file is wrong by now."""
    if not row.description_digest:
        return ""
    known: str = unpack(cache.last_detail(row.path) or {}).get("description", "")
    if digest_description(known) == row.description_digest:
        return known
    found: str = load_details(root, row.path, cache)["description"]
    return found


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
