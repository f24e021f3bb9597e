"""Where the board's data comes from: the repository as it is now."""

from __future__ import annotations

from datetime import UTC, datetime

from dagtasks.board.data import BoardData, Change, Comment
from dagtasks.board.forge import Forge, make_forge
from dagtasks.model.run import RunRecord
from dagtasks.planning.index import Index
from dagtasks.store.comments import read_threads
from dagtasks.store.history import History
from dagtasks.store.layout import comments_folder
from dagtasks.store.origin import read_origin
from dagtasks.store.problems import find_problems
from dagtasks.store.project import Project

ORDERED = 2000
"""The latest commits, which keep the order in which they were made; those before them go by their time alone."""


def load_board(project: Project, *, is_past: bool = False) -> BoardData:
    """What the files of the repository, its run records and its HEAD say. Broken files are among the problems.

    With `is_past` only the runs are in it that had ended when HEAD was committed.
    """
    index = project.load()
    commits = _read_commits(project)
    as_of = _show(commits[0][0]) if commits else None
    histories = project.histories() if project.git else {}
    store = project.runs if project.git else None
    runs = store.newest() if store else []
    return BoardData(
        index=index,
        problems=find_problems(project, index),
        read_description=lambda task_id: project.load_description(index.tasks[task_id]),
        templates={row.name: project.read_template(row.path) for row in index.templates.values()},
        runs=[run for run in runs if _had_ended(run, as_of)] if is_past else runs,
        run_problems=store.problems if store else (),
        comments=_read_comments(project, index),
        changes={name: _changes(past) for name, past in histories.items()},
        order={commit: place for place, (_, commit) in enumerate(reversed(commits))},
        is_shallow=any(past.is_cut for past in histories.values()),
        commit=commits[0][1] if commits else None,
        as_of=as_of,
        forge=find_forge(project),
        is_past=is_past,
        address=address.rstrip("/") + "/" if (address := project.settings.site_url) else "",
    )


def _read_commits(project: Project) -> list[tuple[str, str]]:
    """The times (seconds) and ids of HEAD and the latest commits before it; none before the first one."""
    command = ("rev-list", f"--max-count={ORDERED}", "--timestamp", "HEAD", "--")
    lines = ((project.git and project.git.find(*command)) or "").splitlines()
    return [(seconds, commit) for seconds, _, commit in (line.partition(" ") for line in lines)]


def _show(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _had_ended(run: RunRecord, as_of: str | None) -> bool:
    """Whether the run was over at that time. Anybody may have pushed the record: its times may be of any form."""
    if not run.status.is_final or not as_of:
        return False
    begun = datetime.fromisoformat(run.started_at)
    lasted = run.duration if isinstance(run.duration, int | float) else 0
    return begun.replace(tzinfo=begun.tzinfo or UTC).timestamp() + lasted <= datetime.fromisoformat(as_of).timestamp()


def find_forge(project: Project) -> Forge:
    """The forge that hosts the repository, by the settings and by what Git knows of `origin`."""
    wanted = project.settings.forge
    if project.git is None:
        return make_forge(wanted)
    origin = read_origin(project.git)
    branch = origin.branch or project.git.head().branch
    return make_forge(wanted, origin=origin.address, branch=branch, folder=origin.folder)


def _read_comments(project: Project, index: Index) -> dict[str, list[Comment]]:
    threads = read_threads(project.root)
    found = ((task.id, threads.get(comments_folder(task.project, task.id))) for task in index.tasks.values())
    return {
        name: [Comment(one.author, one.date, one.text) for one in thread.comments] for name, thread in found if thread
    }


def _changes(past: History) -> list[Change]:
    entries = ((entry.commit, entry) for entry in past.entries)
    return [
        Change(commit.time, commit.author, commit.id, commit.subject, entry.changed, entry.is_broken)
        for commit, entry in entries
        if commit
    ]
