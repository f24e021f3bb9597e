"""A person and dagtasks at work in one repository, at random: what is listed is always what was done, and no more.

A model - tasks as a dict - goes beside the real thing: the command line, and plain git used between its commands.
`DAGTASKS_TEST_MACHINE` says for how many seconds other examples than the fixed ones are looked for.
"""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from dagtasks import cli as main
from tests.conftest import write_files

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("DAGTASKS_TEST_MACHINE", "0"))
END = time.monotonic() + SECONDS
COUNTS: Counter[str] = Counter()

TEXTS = ["Ship it", "no", "012", "a: b", "# x", "é 👩‍👩‍👧", "'", '"q"', " spaced ", "-", "a\tb"]
FIELDS = ("name", "status", "priority", "assignee", "phase", "due", "labels", "depends_on", "metadata")
SINGLE = {
    "name": st.sampled_from(TEXTS).filter(lambda text: text.strip() == text and "\t" not in text),
    "status": st.sampled_from(["planned", "blocked", "cancelled", "in_progress", "completed"]),
    "priority": st.sampled_from(["low", "medium", "high", "critical"]),
    "assignee": st.sampled_from([None, "ann", "agent:bob", "012"]),
    "due": st.sampled_from([None, "2026-12-31", "2027-01-01"]),
    "phase": st.sampled_from([None, "build", "test"]),
}
TASK = """name: Task {}

status: planned

priority: medium

assignee:

phase:

due:

labels:

depends_on:

metadata:
"""
COMMITS = st.sampled_from(["--commit", "--no-commit"])
OPEN = {"planned", "in_progress", "blocked"}

Model = dict[str, dict[str, Any]]


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Done(NamedTuple):
    """A commit of dagtasks, with what HEAD meant before and after it, and the comments that it added."""

    commit: str
    before: Model
    after: Model
    said: list[tuple[str, str]]


def new_task(name: str) -> dict[str, Any]:
    empty = {"assignee": None, "phase": None, "due": None, "labels": [], "depends_on": [], "metadata": {}}
    return {"name": name, "status": "planned", "priority": "medium", **empty, "comments": []}


class Machine(RuleBasedStateMachine):
    """The rules are what a person may do; the invariants are what must always be so."""

    tasks = Bundle("tasks")

    @initialize(target=tasks)
    def begin(self) -> MultipleResults[str]:
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name) / "work"
        self.root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        files = {
            "tasks/web/project.yaml": "name: Web\n",
            "tasks/web/phases/build.yaml": "name: Build\n",
            "tasks/web/phases/test.yaml": "name: Test\n",
            **{f"tasks/web/web-00000{number}.yaml": TASK.format(number) for number in (1, 2, 3)},
            "README.md": "one\ntwo\nthree\n",
            "notes.txt": "notes\n",
        }
        write_files(self.root, files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "start")
        self.model: Model = {f"web-00000{number}": new_task(f"Task {number}") for number in (1, 2, 3)}
        self.done: list[Done] = []
        self.undone: set[str] = set()
        self.snapshots: dict[str, Model] = {self.head(): copy.deepcopy(self.model)}
        self.edited: set[str] = set()
        self.number = 0
        return multiple(*self.model)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            assert self.git("fsck", "--no-dangling", "--no-progress") == ""
            assert not list((self.root / ".git").rglob("*.lock"))
            self._folder.cleanup()

    # -- means ---------------------------------------------------------------------------------------------------

    def git(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(["git", "-C", str(self.root), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stdout}{done.stderr}"

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def run(self, *words: str) -> Result:
        """Carry out the command line in this process; the user's own work must be as before."""
        before = self.own_work()
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main.call(["-C", str(self.root), *words])
        result = Result(code, out.getvalue(), err.getvalue())
        COUNTS[f"{words[0]} {words[1]}" if words[0] != "undo" else "undo"] += 1
        assert code != 3, result
        assert self.own_work() == before, (words, result)
        return result

    def own_work(self) -> tuple[object, ...]:
        """What the user has of his own: files that are none of tasks, staged or not; and what he staged of tasks."""
        names = ["README.md", "notes.txt", "scratch.txt"]
        files = [(self.root / name).read_bytes() if (self.root / name).exists() else None for name in names]
        return files, self.git("ls-files", "--stage", "--", *names)

    def is_clean(self) -> bool:
        return self.git("status", "--porcelain", "--", "tasks") == ""

    def path(self, task: str) -> Path:
        return self.root / f"tasks/web/{task}.yaml"

    def has_foreign(self, *tasks: str) -> bool:
        """Whether a file of these holds edits that are the person's, who has not committed them."""
        return any(task in self.foreign() for task in tasks)

    def foreign(self) -> set[str]:
        return {task for task in self.edited if self.git("status", "--porcelain", "--", f"tasks/web/{task}.yaml")}

    def note(self, result: Result, commit: str) -> None:
        """Keep what the command committed: all that its files held, also from commands before that did not commit."""
        if result.code == 0 and commit == "--commit" and self.head() not in self.snapshots:
            before = self.snapshots[self.git("rev-parse", "HEAD^")]
            self.remember()
            self.done.append(Done(self.head(), before, self.snapshots[self.head()], self.read_said()))

    def read_said(self) -> list[tuple[str, str]]:
        """The comments that the last commit added, each with its task; that need not be committed itself."""
        listing = self.git(
            "diff-tree", "-r", "--diff-filter=A", "--name-only", "HEAD^", "HEAD", "--", "tasks/web/comments"
        )
        return [(Path(path).parent.name, text_of(self.root / path)) for path in listing.splitlines()]

    def remember(self) -> None:
        """Keep what HEAD means; of tasks that have edits which are not committed, what HEAD has of them."""
        self.snapshots[self.head()] = self.read_head()

    def read_head(self) -> Model:
        """What HEAD holds; unless all is committed, it is read in a second work tree."""
        if self.is_clean():
            return copy.deepcopy(self.model)
        with tempfile.TemporaryDirectory() as folder:
            self.git("worktree", "add", "--quiet", "--detach", f"{folder}/x", "HEAD")
            try:
                return list_tasks(Path(folder) / "x", "--no-cache")
            finally:
                self.git("worktree", "remove", "--force", f"{folder}/x")

    # -- commands of dagtasks ------------------------------------------------------------------------------------

    @rule(target=tasks, name=SINGLE["name"], commit=COMMITS, data=st.data())
    def create(self, name: str, commit: str, data: st.DataObject) -> str:
        needs = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=2, unique=True)) if self.model else []
        words = ["task", "create", "web", "--name", name, commit, *(f"--depends-on={need}" for need in needs)]
        result = self.run(*words, "--label", "ui")
        assert result.code == 0, result
        task = result.out.strip()
        self.model[task] = {**new_task(name), "labels": ["ui"], "depends_on": sorted(needs)}
        self.note(result, commit)
        return task

    @rule(task=tasks, commit=COMMITS, data=st.data())
    def set(self, task: str, commit: str, data: st.DataObject) -> None:
        if task not in self.model:
            assert self.run("task", "set", task, "name=x").code == 5
            return
        own = self.model[task]
        key = data.draw(st.sampled_from(sorted(SINGLE)))
        value = data.draw(SINGLE[key])
        closed = key == "status" and value in ("in_progress", "completed") and value != own["status"]
        refused = closed and any(self.model[need]["status"] in OPEN for need in own["depends_on"])
        foreign = self.has_foreign(task)
        result = self.run("task", "set", task, f"{key}={value or ''}", commit)
        if refused:
            assert result.code == 6, result
            return
        own[key] = value
        if foreign and commit == "--commit":
            # The change is saved, and not committed with what somebody else wrote.
            assert result.code in (0, 6), result
        else:
            assert result.code == 0, result
        self.note(result, commit)

    @rule(task=tasks, word=st.sampled_from(["ui", "api", "no", "012"]), add=st.booleans(), commit=COMMITS)
    def label(self, task: str, word: str, add: bool, commit: str) -> None:
        if task not in self.model:
            return
        foreign = self.has_foreign(task)
        result = self.run("task", "set", task, f"labels{'+' if add else '-'}={word}", commit)
        assert result.code == 0 or (foreign and commit == "--commit" and result.code == 6), result
        labels = {*self.model[task]["labels"]}
        self.model[task]["labels"] = sorted(labels | {word} if add else labels - {word})
        self.note(result, commit)

    @rule(
        task=tasks,
        key=st.sampled_from(["team", "no", "x-y"]),
        value=st.sampled_from(["core", "012", ""]),
        commit=COMMITS,
    )
    def meta(self, task: str, key: str, value: str, commit: str) -> None:
        if task not in self.model:
            return
        foreign = self.has_foreign(task)
        result = self.run("task", "set", task, f"metadata.{key}={value}", commit)
        assert result.code == 0 or (foreign and commit == "--commit" and result.code == 6), result
        if value:
            self.model[task]["metadata"][key] = value
        else:
            self.model[task]["metadata"].pop(key, None)
        self.note(result, commit)

    @rule(task=tasks, need=tasks, add=st.booleans(), commit=COMMITS)
    def depend(self, task: str, need: str, add: bool, commit: str) -> None:
        if task not in self.model or need not in self.model:
            return
        foreign = self.has_foreign(task)
        needs = {*self.model[task]["depends_on"]}
        result = self.run("task", "set", task, f"depends_on{'+' if add else '-'}={need}", commit)
        if add and self.leads(need, task):
            assert result.code in (2, 6), result
            return
        started = self.model[task]["status"] in ("in_progress", "completed")
        if result.code == 6 and add and started and self.model[need]["status"] in OPEN and need not in needs:
            return  # a task that was begun gets no need that is open
        assert result.code == 0 or (foreign and commit == "--commit" and result.code == 6), result
        self.model[task]["depends_on"] = sorted(needs | {need} if add else needs - {need})
        self.note(result, commit)

    def leads(self, start: str, end: str) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            more = {*self.model[waiting.pop()]["depends_on"]} & self.model.keys() - seen
            seen |= more
            waiting += more
        return end in seen

    @rule(task=tasks, text=st.sampled_from([text for text in TEXTS if text != "-"]), commit=COMMITS)
    def comment(self, task: str, text: str, commit: str) -> None:
        if task not in self.model:
            return
        result = self.run("task", "comment", task, text, commit)
        if text.strip() == "":
            assert result.code == 2
            return
        assert result.code == 0, result
        self.model[task]["comments"] = sorted([*self.model[task]["comments"], text])
        self.note(result, commit)

    @rule(task=consumes(tasks), commit=COMMITS)
    def delete(self, task: str, commit: str) -> None:
        if task not in self.model:
            return
        dependents = [name for name, other in self.model.items() if task in other["depends_on"]]
        foreign = self.has_foreign(task, *dependents)
        result = self.run("task", "delete", task, "--yes", "--detach", commit)
        assert result.code == 0 or (foreign and commit == "--commit" and result.code == 6), result
        for name in dependents:
            self.model[name]["depends_on"].remove(task)
        del self.model[task]
        self.note(result, commit)

    @precondition(lambda self: self.done)
    @rule()
    def undo(self) -> None:
        before = copy.deepcopy(self.model)
        result = self.run("undo", "--json")
        if result.code:
            assert result.code == 6, result
            assert list_tasks(self.root) == before, result
            return
        answer = json.loads(result.out)["data"]
        done = next(one for one in reversed(self.done) if one.commit == answer["undone"])
        ancestors = self.git("rev-list", "HEAD").split()
        candidates = [one.commit for one in self.done if one.commit in ancestors and one.commit not in self.undone]
        assert done.commit == candidates[-1] or "passed over" in result.err, (candidates, result)
        self.undone.add(done.commit)
        COUNTS["undone"] += 1
        self.model = take_back(self.model, done)
        self.remember()

    # -- what a person does --------------------------------------------------------------------------------------

    @rule(task=tasks, status=SINGLE["status"])
    def edit_by_hand(self, task: str, status: str) -> None:
        if task not in self.model or not self.path(task).exists():
            return
        text = self.path(task).read_text()
        lines = [f"status: {status}  # by hand" if line.startswith("status:") else line for line in text.split("\n")]
        self.path(task).write_text("\n".join(lines))
        self.model[task]["status"] = status
        self.edited.add(task)

    @rule(task=tasks)
    def stage(self, task: str) -> None:
        if task in self.model and self.path(task).exists():
            self.git("add", "--", f"tasks/web/{task}.yaml")

    @rule(where=st.sampled_from(["README.md", "notes.txt", "scratch.txt"]), is_staged=st.booleans())
    def work(self, where: str, is_staged: bool) -> None:
        """Something of one's own: staged and not, also one over the other."""
        self.number += 1
        with (self.root / where).open("a") as file:
            file.write(f"{self.number}\n")
        if is_staged and where != "scratch.txt":
            self.git("add", "--", where)

    @rule()
    def commit_all(self) -> None:
        self.git("add", "--", "tasks")
        self.git("commit", "--quiet", "--allow-empty", "--message", "by hand", "--", "tasks")
        self.remember()

    @rule()
    def commit_staged(self) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message", "what is staged")
        self.remember()

    @rule()
    def stash_and_pop(self) -> None:
        """Away and back, as one does to look at something."""
        self.git("add", "--", "tasks")
        if "No local changes" in self.git("stash", "push", "--include-untracked", "--message", "x"):
            return
        assert list_tasks(self.root) == self.snapshots.get(self.head(), self.read_head())
        self.git("stash", "pop", "--quiet")
        assert list_tasks(self.root) == self.model

    def tidy(self) -> None:
        """Commit all that there is, as one does before one goes to another branch."""
        if self.git("status", "--porcelain"):
            self.git("add", "--all")
            self.git("commit", "--quiet", "--message", "all of it")
            self.remember()

    @rule(name=st.sampled_from(["main", "one", "two"]))
    def switch(self, name: str) -> None:
        """To another branch, which may be new."""
        self.tidy()
        exists = not self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", check=False).startswith(
            "failed"
        )
        self.git("switch", "--quiet", *([] if exists else ["--create"]), name)
        self.model = copy.deepcopy(self.snapshots[self.head()])

    @rule(name=st.sampled_from(["main", "one", "two"]), how=st.sampled_from(["merge", "rebase", "cherry-pick"]))
    def bring(self, name: str, how: str) -> None:
        """Merge, rebase onto, or pick the last commit of another branch; given up where there is a conflict."""
        self.tidy()
        if self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", check=False).startswith("failed"):
            return
        ours, theirs = self.snapshots[self.head()], self.snapshots.get(self.git("rev-parse", name))
        base = self.snapshots.get(self.git("merge-base", "HEAD", name))
        words = {"merge": ["--quiet", "--no-edit"], "rebase": ["--quiet"], "cherry-pick": ["--allow-empty"]}[how]
        printed = self.git(how, *words, name, check=False)
        if printed.startswith("failed"):
            assert self.run("task", "list").code in (0, 1)
            self.git(how, "--abort", check=False)
            assert list_tasks(self.root) == self.model
            return
        COUNTS[how] += 1
        self.model = list_tasks(self.root, "--no-cache")
        self.remember()
        if how == "merge" and theirs is not None and base is not None:
            check_merged(base, ours, theirs, self.model)

    # -- what must always be so ----------------------------------------------------------------------------------

    @invariant()
    def is_as_it_was_done(self) -> None:
        if not hasattr(self, "model"):
            return
        COUNTS["steps"] += 1
        listed = list_tasks(self.root)
        assert listed == self.model
        assert listed == list_tasks(self.root, "--no-cache")


def list_tasks(root: Path, *options: str) -> Model:
    """The tasks as the command line lists them, with the texts of their comments."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main.call(["-C", str(root), *options, "task", "list", "--json"])
    assert code in (0, 1), err.getvalue()
    answer = json.loads(out.getvalue())
    found = {row["id"]: {key: row[key] for key in FIELDS} for row in answer["data"] if not row.get("invalid")}
    assert all(problem["code"].startswith("DT2") for problem in answer.get("problems", ())), answer
    return {task: {**row, "comments": comments_of(root, task)} for task, row in found.items()}


def comments_of(root: Path, task: str) -> list[str]:
    folder = root / "tasks/web/comments" / task
    return sorted(map(text_of, folder.glob("*.md"))) if folder.is_dir() else []


def text_of(comment: Path) -> str:
    return comment.read_text().split("\n---\n", 1)[1].strip("\n")


def take_back(now: Model, done: Done) -> Model:
    """What is left when the fields that the commit changed are as before it."""
    after = copy.deepcopy(now)
    for task in done.before.keys() | done.after.keys():
        old, new = done.before.get(task), done.after.get(task)
        if old == new:
            continue
        if old is None:
            after.pop(task, None)
        elif new is None:
            after[task] = copy.deepcopy(old)
        else:
            changed = [key for key in FIELDS if old[key] != new[key]]
            after[task].update({key: merge_field(new[key], after[task][key], old[key]) for key in changed})
    for task, text in done.said:
        if task in after:
            after[task]["comments"].remove(text)
    return after


def merge_field(base: Any, ours: Any, theirs: Any) -> Any:
    """Both changes of a field; lists and maps by what they hold."""
    if isinstance(base, list):
        return sorted([one for one in {*ours, *theirs} if (one in ours) + (one in theirs) + (one not in base) >= 2])
    if isinstance(base, dict):
        keys = base.keys() | ours.keys() | theirs.keys()
        merged = {key: merge_field(base.get(key), ours.get(key), theirs.get(key)) for key in keys}
        return {key: value for key, value in merged.items() if value is not None}
    return ours if theirs == base else theirs


def check_merged(base: Model, ours: Model, theirs: Model, merged: Model) -> None:
    """A merge without a conflict has the changes of both sides, field by field."""
    for task in ours.keys() & theirs.keys() & base.keys():
        for key in FIELDS:
            expected = merge_field(base[task][key], ours[task][key], theirs[task][key])
            assert merged[task][key] == expected, (task, key)
    for task in (ours.keys() | theirs.keys()) - base.keys():
        assert task in merged


def profiles() -> Iterator[settings]:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    common = {"deadline": None, "suppress_health_check": quiet, "database": None, "print_blob": True}
    yield settings(max_examples=20, stateful_step_count=30, derandomize=True, phases=[Phase.generate], **common)  # type: ignore[arg-type]
    while time.monotonic() < END:
        yield settings(max_examples=15, stateful_step_count=60, phases=[Phase.generate], **common)  # type: ignore[arg-type]


def test_a_person_and_dagtasks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("GIT_EDITOR", "true")
    begun = time.monotonic()
    for profile in profiles():
        run_state_machine_as_test(Machine, settings=profile)
    with capsys.disabled():
        listing = ", ".join(f"{what} {count}" for what, count in sorted(COUNTS.items()))
        print(f"\nmachine: {listing} in {time.monotonic() - begun:.0f} s")
