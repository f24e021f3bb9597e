"""Making and editing one file: edits are spliced in, and the result is read again before it is kept.

YAML and the models are imported when a file is changed, not before: reading commands share the modules above.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, Problem, Severity
from dagtasks.model.summary import PHASE_KEYS, PROJECT_KEYS, TASK_KEYS
from dagtasks.planning.index import Row
from dagtasks.service.fields import Edit
from dagtasks.store.layout import Kind, Place
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

ORDERS: Mapping[Kind, Sequence[str]] = {
    Kind.PROJECT: PROJECT_KEYS,
    Kind.PHASE: PHASE_KEYS,
    Kind.TASK: TASK_KEYS,
}


def make_file(found: Place, data: Mapping[str, Any]) -> bytes:
    """A new file that says the data, in the canonical form. Raises `InvalidInput` when it would be wrong."""
    from dagtasks.store.documents import parse_document
    from dagtasks.store.emitter import make_document

    given = {key: value for key, value in data.items() if value != ""}
    content = make_document(given, ORDERS[found.kind])
    _check(found, parse_document(content, found.path))
    return content


class Edited(NamedTuple):
    """The content that a file gets, and the digest of what it was made from."""

    path: str
    content: bytes
    base: str


def edit_file(project: Project, found: Place, changes: Iterable[Edit]) -> Edited:
    """The file with the edits spliced in. Raises `InvalidProject`, `InvalidInput` or `Conflict`."""
    document = project.read_document(found.path)
    return Edited(found.path, edit_document(document, found, changes), document.sha256)


def edit_document(document: Document, found: Place, changes: Iterable[Edit]) -> bytes:
    """The content of the document with the edits spliced in. Raises as `edit_file`."""
    if document.data is None:
        raise InvalidProject(f"{found.path} cannot be read, so it is not changed", problems=document.problems)
    before = {str(problem) for problem in _errors(found, document)}
    for change in changes:
        document = apply_edit(document, change, ORDERS[found.kind])
    _check(found, document, known=before)
    return document.content


def apply_edit(document: Document, change: Edit, order: Sequence[str]) -> Document:
    """The document with the edit spliced in; `order` is that of keys. What it says then is not looked at."""
    from dagtasks.store import edits
    from dagtasks.store.emitter import SORTED_LISTS

    if change.op == "add":
        return edits.add_item(document, change.loc, change.value, order=order)
    if change.op == "remove":
        return edits.remove_item(document, change.loc, change.value)
    if change.op == "drop":
        return edits.remove_key(document, change.loc)
    if change.loc[0] in SORTED_LISTS and isinstance(change.value, list):
        return edits.set_items(document, change.loc, change.value, order=order)
    return edits.set_value(document, change.loc, change.value, order=order)


def _check(found: Place, document: Document, known: Iterable[str] = ()) -> None:
    """Refuse a content that has errors which the file did not have before."""
    new = [problem for problem in _errors(found, document) if str(problem) not in known]
    if new:
        raise InvalidInput(new[0].message, hint=new[0].hint, field=field_of(new[0]))


def field_of(problem: Problem) -> str:
    """The field that the problem is about: its first word, where that stands in backticks."""
    before, _, rest = problem.message.partition("`")
    return "" if before else rest.partition("`")[0]


def _errors(found: Place, document: Document) -> list[Problem]:
    from dagtasks.store.rows import read_row

    problems = read_row(found, document).problems
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def row_of(found: Place, content: bytes) -> Row:
    """The row that the content will be in the index."""
    from dagtasks.store.documents import parse_document
    from dagtasks.store.rows import read_row

    return read_row(found, parse_document(content, found.path)).row


def undo_hint(project: Project, path: str, others: Collection[str] = ()) -> str:
    """How to get the file back after it and `others` were removed (the writer puts their bytes into Git first)."""
    if project.git is None:
        return "this folder is in no Git repository, so it cannot be undone"
    from shlex import quote

    folder = path.rpartition("/")[0]
    left = {f"{folder}/{name}" for name in os.listdir(project.root / folder)} - {path, *others}  # noqa: PTH208 - names
    make = "" if left else f"mkdir -p {quote(folder)} && "
    blob = project.blob_id((project.root / path).read_bytes())
    return f"undo with: {make}git cat-file blob {blob} > {quote(path)}"


def refuse_existing(project: Project, path: str) -> None:
    """Raise `Conflict` when the file is there already."""
    if (project.root / path).exists():
        raise Conflict(f"{path} is there already", hint="choose another name")
