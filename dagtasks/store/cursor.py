"""The cursor of a work tree: what its files said at the last look, and where HEAD stood.

One file, replaced at once: a line that says where HEAD stood, and rows in the form of the cache, so that two states are
compared without unpacking what is the same in both. It names the fields of its rows, so that another version of
dagtasks can read it. One that is missing, damaged or of another form is as if nobody had looked yet.
"""

from __future__ import annotations

import json
import marshal
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple

from dagtasks.planning.index import Index, build_index
from dagtasks.store.cache import find_local
from dagtasks.store.files import write_file
from dagtasks.store.project import Project
from dagtasks.store.records import ROW_FIELDS, Record, pack_row, translate, unpack_row
from dagtasks.store.snapshot import Tasks, pack_tasks

FORM = 2
"""Counted up whenever an older version could not read what a newer one writes."""
_MARSHAL = 4
"""The form of `marshal` that every supported Python reads."""
_HEAD_BYTES = 4096


class Mark(NamedTuple):
    """What the first line says. `id` is another one after each look that found something; `head` is a commit.

    `log` is how long the log of HEAD was.
    """

    id: str
    head: str | None
    log: int


class Cursor(NamedTuple):
    """What was there at the last look: projects, phases and tasks."""

    mark: Mark
    content: Index


class CursorFile:
    """The cursor of the project's work tree."""

    def __init__(self, project: Project) -> None:
        self._path = find_local(project.root, project.get_git(), "cursor")

    def find_mark(self) -> Mark | None:
        """The first line, without reading the rest; None when nobody has looked yet."""
        with suppress(OSError, *_DAMAGED), self._path.open("rb") as file:
            return _read_mark(file.readline(_HEAD_BYTES))
        return None

    def read(self) -> Cursor | None:
        """The cursor; None when nobody has looked yet."""
        with suppress(OSError, *_DAMAGED):
            first, _, body = self._path.read_bytes().partition(b"\n")
            if json.loads(first)["sha256"] == sha256(body).hexdigest():
                return Cursor(_read_mark(first), _read_index(body))
        return None

    def write(self, cursor: Cursor) -> None:
        """Put the cursor there; it is on disk then. Raises `WriteError`."""
        body = _dump(cursor.content)
        head = {"form": FORM, **cursor.mark._asdict(), "sha256": sha256(body).hexdigest()}
        write_file(self._path, json.dumps(head).encode() + b"\n" + body)


_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, EOFError)


def _read_mark(line: bytes) -> Mark:
    data = json.loads(line)
    if data["form"] != FORM:
        raise ValueError(f"form {data['form']}")
    return Mark(data["id"], data["head"], data["log"])


def _dump(index: Index) -> bytes:
    others = [*map(pack_row, index.projects.values()), *map(pack_row, index.phases.values())]
    starts, firsts, count, groups = _pack(index).parts()
    parts: Any = (ROW_FIELDS, others, (starts, firsts, count))
    head = marshal.dumps(parts, _MARSHAL)
    return b"".join([len(head).to_bytes(_SIZE), head, groups])


def _pack(index: Index) -> Tasks:
    if isinstance(index.tasks, Tasks):
        return index.tasks
    return pack_tasks({name: Record(None, b"", pack_row(row), ()) for name, row in index.tasks.items()})


_SIZE = 4
"""Bytes that say how long the part before the tasks is."""


def _read_index(body: bytes) -> Index:
    end = _SIZE + int.from_bytes(body[:_SIZE])
    fields, others, (starts, firsts, count) = marshal.loads(memoryview(body)[_SIZE:end])  # noqa: S302 - summed up above
    tasks = Tasks(body, [end + start for start in starts], firsts, count)
    if fields == ROW_FIELDS:
        return build_index(map(unpack_row, others), ())._replace(tasks=tasks)
    return build_index([unpack_row(translate(row, fields)) for row in (*others, *tasks.packed())], ())


def find_identity(index: Index) -> str | None:
    """Stands for what the files say; None where it would take as long as to compare them."""
    if not isinstance(index.tasks, Tasks):
        return None
    others = (index.projects, index.phases, index.broken, [problem.path for problem in index.problems])
    return f"{index.tasks.content_id()} {sha256(repr(others).encode('utf-8', 'replace')).hexdigest()}"
