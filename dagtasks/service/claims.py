"""Claims: taking a task so that nobody else has it."""

from __future__ import annotations

import random
import time
from datetime import date
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple, cast

from dagtasks.errors import Conflict, DagtasksError, GitError, InvalidInput, NotFound
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import Index
from dagtasks.planning.ready import next_tasks, why_not_ready
from dagtasks.service.documents import edit_document, row_of
from dagtasks.service.fields import Edit
from dagtasks.service.gates import refuse_closed_gates
from dagtasks.service.links import find_task, with_row
from dagtasks.service.people import name_or_me
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import row_to_json
from dagtasks.store.commits import CHANGED, FOLLOWED, find_busy
from dagtasks.store.forwarding import find_overlap
from dagtasks.store.layout import Kind, Place
from dagtasks.store.project import Project
from dagtasks.store.upstream import Upstream, commit_onto, fetch_tip, find_upstream, push_onto, update_tracking
from dagtasks.store.writer import Writer

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

ATTEMPTS = 10
"""How often a claim is made anew because the upstream moved meanwhile."""


def claim(project: Project, text: str, settings: WriteSettings, assignee: str | None = None) -> Saved:
    """Make the task in progress, by the assignee (else by Git's user); nothing when it is that already.

    Raises `NotFound`, and `Conflict` when somebody else has it or it cannot be started.
    """
    name = name_or_me(project, assignee)

    def make() -> Change:
        index = project.load_around(text)
        task = find_task(index, text)
        if reason := _why_not(index, task, name):
            raise Conflict(reason, hint=_next_hint(project.load(), name, _as(assignee)))
        return _change(project, index, task, project.read_document(task.path), name)

    return save(project, f"task claim {text}", make, settings)


def _why_not(index: Index, task: TaskSummary, name: str) -> str:
    """Why the task cannot be claimed; empty when it can, or has been by the same."""
    if task.status is Status.IN_PROGRESS:
        return (
            "" if task.assignee == name else f"{task.id} is in progress, claimed by {task.assignee or 'nobody named'}"
        )
    if reason := why_not_ready(index, task):
        return f"{task.id} cannot be claimed: it {reason}"
    return "" if task.assignee in (None, name) else f"{task.id} is planned for {task.assignee}"


def _next_hint(index: Index, name: str, options: str) -> str:
    """What `name` can claim instead."""
    for task, _ in next_tasks(index, name):
        return f"{task.id} is ready ({task.name}): dagtasks task claim {task.id}{options}"
    return "nothing else can be started now: see `dagtasks task next --explain`"


def _as(assignee: str | None) -> str:
    return f" --as {quote(assignee)}" if assignee else ""


def _change(project: Project, index: Index, task: TaskSummary, document: Document, name: str) -> Change:
    refuse_closed_gates(project, index, task._replace(status=Status.IN_PROGRESS), task.status)
    found = Place(task.path, Kind.TASK, task.id, task.project)
    edits = [Edit("set", ("status",), str(Status.IN_PROGRESS)), Edit("set", ("assignee",), name)]
    content = edit_document(document, found, edits)
    after = cast(TaskSummary, row_of(found, content))
    data = row_to_json(with_row(index, after), after, date.today())  # noqa: DTZ011 - due dates are the user's days
    return Change([FileChange(task.path, content, document.sha256)], f"{task.id}: claimed by {name}", "task", data)


# --- between clones -----------------------------------------------------------------------------------------------


def claim_and_push(project: Project, text: str, settings: WriteSettings, assignee: str | None = None) -> Saved:
    """Claim the task in the upstream of the branch, so that of several clones one wins; then bring the branch there.

    Nothing here changes before the upstream has the claim. Raises as `claim`; `Conflict` also when the branch could not
    follow (commits that are not pushed, edits in the way), and `GitError` when the upstream cannot be had.
    """
    if settings.commit is False:
        raise InvalidInput("--push publishes a commit", hint="leave --no-commit out")
    name = name_or_me(project, assignee)
    claiming = _Claiming(project, find_upstream(project.get_git()), text, name, assignee)
    return claiming.preview() if settings.dry_run else claiming.carry_out()


class _Claiming:
    """A claim of one task in the upstream of the branch."""

    def __init__(self, project: Project, upstream: Upstream, text: str, name: str, assignee: str | None) -> None:
        self._project = project
        self._git = project.get_git()
        self._upstream = upstream
        self._text = text
        self._name = name
        self._assignee = assignee

    def preview(self) -> Saved:
        """What would be done, by what is known here of the upstream."""
        tip = self._git.find_commit("@{upstream}")
        if tip is None:
            raise GitError(f"{self._upstream.name} is not known here yet", hint="git fetch brings it here")
        change, before = self._make(tip)
        self._refuse_obstacles(tip, "HEAD")
        changed = [file.path for file in change.files if file.content != before]
        return Saved(change, tuple(changed), dry_run=True)

    def carry_out(self) -> Saved:
        with self._writing():
            pass  # what a command that died has left is finished
        for attempt in range(ATTEMPTS):
            if attempt:
                # Jitter, so that many who claim at once do not do so in step.
                time.sleep(random.uniform(0.05, 0.3) * attempt)  # noqa: S311
            if saved := self._try():
                return saved
        message = f"others kept pushing to {self._upstream.name} at the same time"
        raise Conflict(message, hint="nothing was changed; try again")

    def _writing(self) -> Writer:
        return Writer(self._project, f"task claim {self._text}")

    def _try(self) -> Saved | None:
        """One attempt; None when the upstream moved meanwhile."""
        # As it is before the look at the upstream: what another claim here adds to the branch later is published, too.
        head = self._git.read("rev-parse", "HEAD")
        tip = fetch_tip(self._git, self._upstream)
        change, before = self._make(tip)
        [file] = change.files
        if file.content == before:
            update_tracking(self._git, self._upstream)
            return Saved(change._replace(notes=self._follow(tip, FOLLOWED)), ())
        commit = commit_onto(self._git, tip, file.path, file.content or b"", change.message)
        with self._writing():  # so that none is bringing the branch forward just now
            self._refuse_obstacles(commit, head)
        if not push_onto(self._git, self._upstream, commit, tip):
            return None
        notes = [f"pushed to {self._upstream.name}", *self._follow(commit, CHANGED)]
        return Saved(change._replace(notes=notes), (file.path,), commit)

    def _make(self, tip: str) -> tuple[Change, bytes]:
        """The claim on top of the tip, and what the file holds there."""
        tree = self._project.at(tip)
        index = tree.load()
        task = self._find(index)
        if reason := _why_not(index, task, self._name):
            hint = _next_hint(index, self._name, f"{_as(self._assignee)} --push")
            raise Conflict(f"{reason} (on {self._upstream.name})", hint=hint)
        [document] = tree.read_documents([task.path])
        return _change(self._project, index, task, document, self._name), document.content

    def _find(self, index: Index) -> TaskSummary:
        try:
            return find_task(index, self._text)
        except NotFound:
            known = find_task(self._project.load_around(self._text), self._text)
            message = f"{known.id} is not on {self._upstream.name}"
            raise Conflict(message, hint="push the commit that made it, or pull, first") from None

    def _refuse_obstacles(self, commit: str, head: str) -> None:
        if obstacle := self._find_obstacle(commit, head):
            raise Conflict(f"nothing was claimed: {obstacle.what}", hint=obstacle.hint)

    def _find_obstacle(self, commit: str, head: str) -> _Obstacle | None:
        """Why the branch, which was at `head`, could not follow to the commit."""
        name = self._upstream.name
        if what := find_busy(self._git):
            return _Obstacle(f"{what} is under way", "finish it first")
        if self._git.head().branch != self._upstream.branch:
            return _Obstacle(f"the branch is not {self._upstream.branch} any more", "try again")
        ahead = self._git.read("rev-list", "--count", f"{commit}..{head}")
        if ahead != "0":
            # They are the user's to publish, and a claim cannot be pushed without what it stands on.
            hint = "push them first: git push, after git pull if the other side moved"
            return _Obstacle(f"commits of this branch that are not on {name}: {ahead}", hint)
        if paths := find_overlap(self._git, commit):
            message = f"edits that are not committed are in the way of what {name} brings: {', '.join(paths[:20])}"
            return _Obstacle(message, "commit or stash them first")
        return None

    def _follow(self, commit: str, action: str) -> list[str]:
        """Bring the branch to the commit, which is published; remarks when that cannot be done."""
        try:
            with self._writing() as writer:
                if self._git.read("rev-list", "--count", f"HEAD..{commit}") == "0":
                    return []
                if obstacle := self._find_obstacle(commit, "HEAD"):
                    raise Conflict(obstacle.what)
                writer.fast_forward(commit, action)
        except DagtasksError as error:
            return [f"your branch is not at {self._upstream.name} yet ({error.message}): git pull brings it there"]
        return []


class _Obstacle(NamedTuple):
    what: str
    hint: str
