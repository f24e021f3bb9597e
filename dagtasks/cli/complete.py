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


def _completer(find: Callable[[Path, str], Iterable[str]]) -> Complete:
    """What completes with the names that `find` gives for a root and the beginning of a name."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from dagtasks.store.project import find_project

        start = context.find_root().params.get("path") or Path()
        try:
            names = sorted(find(find_project(Path(start)).root, incomplete))
        except DagtasksError:
            return []
        return _items(names, incomplete)

    return complete


def _task_ids(root: Path, beginning: str) -> Iterator[str]:
    """The ids with that beginning; of 100,000 tasks it is too slow to look at more than one project."""
    from dagtasks.store.layout import TASKS, Kind, place, walk

    project, dash, _ = beginning.partition("-")
    folder = f"{TASKS}/{project}" if dash and project.isalnum() else ""
    found = (place(path) for path, entry in walk(root, folder) if entry.name.startswith(beginning))
    return (one.id for one in found if one and one.kind is Kind.TASK)


def _words(words: Iterable[str]) -> Complete:
    return lambda _context, _parameter, incomplete: _items(words, incomplete)


def _items(words: Iterable[str], beginning: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # when a shell asks, and not before

    return [CompletionItem(word) for word in words if word.startswith(beginning)]


tasks = _completer(_task_ids)
projects = _completer(lambda root, _: (path.parent.name for path in root.glob("tasks/*/project.yaml")))
phases = _completer(
    lambda root, _: (f"{path.parent.parent.name}/{path.stem}" for path in root.glob("tasks/*/phases/*.yaml"))
)
templates = _completer(
    lambda root, _: (path.stem for path in root.glob("templates/**/*.yaml") if not path.stem.endswith(".test"))
)
statuses = _words(Status)
priorities = _words(Priority)


def changes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`status=` and `priority=` with their words; else the fields of a task."""
    from dagtasks.service.fields import TASK_FIELDS

    field, equals, _ = incomplete.partition("=")
    words = {"status": [*Status], "priority": [*Priority]}.get(field, []) if equals else []
    known = [f"{field}={word}" for word in words] or [f"{name}=" for name in TASK_FIELDS]
    return _words(known)(context, parameter, incomplete)
