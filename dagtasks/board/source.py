"""Where the board's data comes from: the repository as it is now."""

from __future__ import annotations

from datetime import UTC, datetime

from dagtasks.board.data import BoardData
from dagtasks.store.project import Project


def load_board(project: Project) -> BoardData:
    """What the files of the repository, its run records and its HEAD say. Broken files are problems of the index."""
    index = project.load()
    commit, as_of = _head(project)
    return BoardData(
        index=index,
        read_task=lambda task_id: project.read_task(index.tasks[task_id].path),
        templates={row.name: project.read_template(row.path) for row in index.templates.values()},
        runs=project.runs.newest() if project.git else (),
        commit=commit,
        as_of=as_of,
    )


def _head(project: Project) -> tuple[str | None, str | None]:
    commit = project.git.head().commit if project.git else None
    if project.git is None or commit is None:
        return None, None
    seconds = int(project.git.read("show", "--no-patch", "--format=%ct", "--end-of-options", commit))
    return commit, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
