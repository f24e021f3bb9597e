"""What can be mended in a file without asking anybody: quotes round what YAML could misread, and a byte order mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import ValidationError

from dagtasks.errors import Conflict, Finding, Loc, Problem
from dagtasks.model.fields import FileModel, findings_of
from dagtasks.model.project import Phase, Project
from dagtasks.model.task import Task
from dagtasks.planning.template import check_template
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.edits import quote_value
from dagtasks.store.emitter import scalar_text
from dagtasks.store.layout import Kind, Place

_MODELS: dict[Kind, type[FileModel]] = {Kind.PROJECT: Project, Kind.PHASE: Phase, Kind.TASK: Task}
_BOM = b"\xef\xbb\xbf"
_PLAIN_KEY = re.compile(r"[^\s:#\[\]{},'\"]+(?=[ ]*:(?:\s|$))")


class Mended(NamedTuple):
    """A file after mending, and what was done to it, in words."""

    document: Document
    done: tuple[str, ...]


def mend(found: Place, document: Document) -> Mended:
    """The document with everything mended that has exactly one right answer; the same object when there is nothing."""
    done: list[str] = []
    for step in (_drop_mark, _quote_keys, _quote_values):
        document = step(found, document, done)
    return Mended(document, tuple(done))


def _drop_mark(_: Place, document: Document, done: list[str]) -> Document:
    if not document.content.startswith(_BOM):
        return document
    done.append("removed the byte order mark")
    return parse_document(document.content.removeprefix(_BOM), document.path)


def _quote_keys(_: Place, document: Document, done: list[str]) -> Document:
    while problem := next((p for p in document.problems if p.code == "DT110"), None):
        changed = _quote_key(document, problem)
        if changed is None:
            break
        document, key = changed
        done.append(f"quoted the key {key}")
    return document


def _quote_key(document: Document, problem: Problem) -> tuple[Document, str] | None:
    """The document with the key in quotes, if that mends this problem and brings no other."""
    lines = document.text.split("\n")
    line = lines[problem.line - 1]
    key = _PLAIN_KEY.match(line, problem.column - 1)
    if not key:
        return None
    lines[problem.line - 1] = line[: key.start()] + scalar_text(key[0], style='"') + line[key.end() :]
    result = parse_document("\n".join(lines).encode(), document.path)
    left = {(p.line, p.code, p.message) for p in document.problems if p is not problem}
    is_better = {(p.line, p.code, p.message) for p in result.problems} <= left
    return (result, key[0]) if is_better else None


def _quote_values(found: Place, document: Document, done: list[str]) -> Document:
    """The document with quotes where that leaves less to complain of: a status `1e3` is wrong in quotes, too."""
    for loc in _misread(found, document):
        try:
            changed = quote_value(document, loc)
        except Conflict:
            continue
        if len(_findings(found, changed)) < len(_findings(found, document)):
            done.append(f"quoted {'.'.join(map(str, loc))}: {changed.source_of(loc)}")
            document = changed
    return document


def _misread(found: Place, document: Document) -> Iterator[Loc]:
    if document.data is not None:
        yield from (f.loc for f in _findings(found, document) if f.code == "DT124")


def _findings(found: Place, document: Document) -> list[Finding]:
    if found.kind is Kind.TEMPLATE:
        return list(check_template(found.path, document.data or {})[1])
    try:
        _MODELS[found.kind].model_validate(document.data)
    except ValidationError as error:
        return findings_of(error)
    return []
