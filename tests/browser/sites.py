"""Real repositories, and the sites that are built from them, for tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import yaml

from dagtasks.board.scaffold import write_board_files
from dagtasks.model.run import RunRecord
from dagtasks.service import boards
from dagtasks.store.project import Project
from tests.board.sample import BROKEN, many_tasks, sample_files, sample_runs, task_text
from tests.conftest import git, write_files

COMMENT = """\
---
author: ben.okafor
date: "2026-11-20T10:00:00Z"
---

Looks **good**. See [the guide](https://example.org/guide), web-4t9x30 and `login()`.

| case | answer |
|---|---|
| right | 303 |
"""
ODD_FILES = {
    **BROKEN,
    "tasks/web/phases/review.yaml": "name: [\n",
    "tasks/web/web-7w2z6c.yaml": task_text("Waits for the next one", phase="launch", depends_on=["web-8x307d"]),
    "tasks/web/web-8x307d.yaml": task_text("Waits for the one before", phase="launch", depends_on=["web-7w2z6c"]),
    "tasks/web/web-9y418e.yaml": task_text("Needs what is not there", depends_on=["web-zzzzzz", "web-5v0y4a"]),
    "tasks/later/project.yaml": "name: Later\n",
    "templates/half.yaml": "metadata: {name: half\n",
    "tasks/web/comments/web-7k2m9q/20261120T100000Z-k3f9ab.md": COMMENT,
}
"""What a repository that lives has, too: broken files, a circle, a missing task, comments, a project without tasks."""

KINDS = (
    "index.html",
    "board.html",
    "list/all/1.html",
    "list/blocked/1.html",
    "p/web.html",
    "p/web/build.html",
    "p/later.html",
    "t/web-7k2m9q.html",
    "t/web-9y418e.html",
    "t/web-5v0y4a.html",
    "graph.html",
    "timeline.html",
    "runs.html",
    "r/20261123t091500-k3f9ab.html",
    "r/20261122t180000-z0q1cd.html",
    "templates.html",
    "templates/basic_task.html",
    "templates/pytest.html",
    "problems.html",
    "changes.html",
    "statistics.html",
    "404.html",
)
"""Pages of the demo, all of each kind that differ."""


@dataclass(frozen=True)
class Site:
    """A built site: where it lies, where it is served, and its pages."""

    root: Path
    folder: Path
    url: str

    @property
    def pages(self) -> list[str]:
        """The addresses of all its pages."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html"))


def make_repository(root: Path, commits: Sequence[Mapping[str, str]], runs: Sequence[RunRecord] = ()) -> Path:
    """A repository in that folder with a commit for each map of files, a week apart, and these runs."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet")
    write_board_files(root, "Web site")
    for number, files in enumerate(commits):
        write_files(root, files)
        commit(root, f"edit number {number}", f"2026-11-{2 + 7 * number:02}T10:00:00Z")
    Project(root).runs.publish([run for run in runs if run.status.is_final])
    return root


def commit(root: Path, subject: str, when: str) -> None:
    """Commit all files as of that time."""
    with patched_time(when):
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--allow-empty", "--message", subject)


@contextmanager
def patched_time(when: str) -> Iterator[None]:
    """Git takes that time for now."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_AUTHOR_DATE", when)
        patch.setenv("GIT_COMMITTER_DATE", when)
        yield


def demo_repository(root: Path) -> Path:
    """Twelve tasks with a past, runs with logs, comments, and everything that may be wrong with files; a remote, too."""
    files = sample_files()
    planned = {path: _planned(text) if "/web-" in path else text for path, text in files.items()}
    made = make_repository(root, [planned, files, ODD_FILES], sample_runs())
    git(made, "remote", "add", "origin", "git@github.com:team/web.git")
    return made


def _planned(text: str) -> str:
    return yaml.safe_dump({**yaml.safe_load(text), "status": "planned"}, sort_keys=False)


def large_repository(root: Path, count: int) -> Path:
    """So many tasks in two projects of four phases each."""
    index = many_tasks(count).index
    files = {row.path: f"name: {row.name}\n" for row in index.projects.values()}
    files |= {row.path: f"name: {row.name}\norder: {row.order}\n" for row in index.phases.values()}
    for row in index.tasks.values():
        fields = {"status": str(row.status), "priority": str(row.priority), "assignee": row.assignee, "due": row.due}
        lists = {"labels": list(row.labels), "depends_on": list(row.depends_on)}
        given = {key: value for key, value in {**fields, "phase": row.phase, **lists}.items() if value}
        files[row.path] = task_text(row.name, **given)
    return make_repository(root, [files])


@contextmanager
def built_site(root: Path, diff: str | None = None) -> Iterator[Site]:
    """The site of the repository, built (with the page of that difference), and served from a loopback port."""
    folder = boards.build(Project(root), diff=diff).site
    with served(folder) as url:
        yield Site(root, folder, url)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of the folder, served from a loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
