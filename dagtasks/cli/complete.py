"""What a shell completes: names of files, which are found without reading any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagtasks.errors import DagtasksError
from dagtasks.model.values import Priority, Status

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(find: Callable[[Path], Iterable[str]]) -> Complete:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from dagtasks.store.project import find_project

        start = context.find_root().params.get("path") or Path()
        try:
            names = sorted(find(find_project(Path(start)).root))
        except DagtasksError:
            return []
        return _items(names, incomplete)

    return complete


def _ids(root: Path, kind: str) -> Iterator[str]:
    from dagtasks.store.layout import place, walk

    found = (place(path) for path, _ in walk(root))
    return (one.id if kind != "phase" else f"{one.project}/{one.id}" for one in found if one and one.kind == kind)


def _words(words: Iterable[str]) -> Complete:
    return lambda _context, _parameter, incomplete: _items(words, incomplete)


def _items(words: Iterable[str], beginning: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # when a shell asks, and not before

    return [CompletionItem(word) for word in words if word.startswith(beginning)]


tasks = _completer(lambda root: _ids(root, "task"))
projects = _completer(lambda root: _ids(root, "project"))
phases = _completer(lambda root: _ids(root, "phase"))
templates = _completer(lambda root: _ids(root, "template"))
statuses = _words(Status)
priorities = _words(Priority)


def changes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`status=` and `priority=` with their words; else the fields of a task."""
    from dagtasks.service.fields import TASK_FIELDS

    field, equals, _ = incomplete.partition("=")
    words = {"status": [*Status], "priority": [*Priority]}.get(field, []) if equals else []
    known = [f"{field}={word}" for word in words] or [f"{name}=" for name in TASK_FIELDS]
    return _words(known)(context, parameter, incomplete)
