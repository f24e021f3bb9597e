"""`fmt`, the canonical form of task, phase and project files; and `validate --fix`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dagtasks.errors import DagtasksError
from dagtasks.service.checks import relative_path
from dagtasks.service.documents import ORDERS
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.store.layout import Kind, Place, check_place, place, walk
from dagtasks.store.project import Project


class Formatted(NamedTuple):
    """What `fmt` did: what was saved, and why each other file that is not canonical was left as it is."""

    saved: Saved
    refused: dict[str, str]


def format_files(project: Project, paths: Sequence[str], settings: WriteSettings) -> Formatted:
    """Bring all files, or those at or below the paths, into canonical form. Raises `NotFound` for a path."""
    from dagtasks.store.formatting import format_document

    refused: dict[str, str] = {}
    wanted = [relative_path(project, path) for path in paths]

    def make() -> Change:
        files = []
        refused.clear()
        for found in _places(project, wanted):
            if found.kind is Kind.TEMPLATE:
                continue
            before = project.read_document(found.path)
            try:
                document = format_document(before, ORDERS[found.kind])
            except DagtasksError as error:
                refused[found.path] = _reason(error)
            else:
                files.append(FileChange(found.path, document.content, before.sha256))
        return Change(files, "canonical form", "files")

    return Formatted(save(project, "fmt", make, settings), refused)


class Fixed(NamedTuple):
    """Something that was mended in a file."""

    path: str
    done: str


def fix_files(project: Project, paths: Sequence[str]) -> list[Fixed]:
    """Mend what has one right answer in all files, or in those at or below the paths. Raises `NotFound` for a path."""
    from dagtasks.store.mending import mend

    fixed: list[Fixed] = []
    wanted = [relative_path(project, path) for path in paths]

    def make() -> Change:
        files = []
        fixed.clear()
        for found in _places(project, wanted):
            before = project.read_document(found.path)
            mended = mend(found, before)
            if mended.done:
                files.append(FileChange(found.path, mended.document.content, before.sha256))
                fixed.extend(Fixed(found.path, done) for done in mended.done)
        return Change(files, "quote what YAML could misread", "files")

    save(project, "validate --fix", make, WriteSettings())
    return fixed


def _reason(error: DagtasksError) -> str:
    return str(error.problems[0]) if error.problems else error.message


def _places(project: Project, wanted: Sequence[str]) -> Iterator[Place]:
    for path, entry in sorted(walk(project.root), key=lambda pair: pair[0]):
        found = None if entry.is_symlink() else place(path)
        if found is None or check_place(found):
            continue
        if not wanted or any(found.path == path or found.path.startswith(f"{path}/") for path in wanted):
            yield found
