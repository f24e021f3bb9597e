"""Many at once: what was acknowledged is in the final state, and nothing is there that nobody asked for."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dagtasks.store.documents import read_document
from tests.conftest import Tell, git, write_files
from tests.crash.scene import check_locks

pytestmark = pytest.mark.slow

WRITERS = 8
ONE = "tasks/web/web-000001.yaml"
LOCKED = 75
NOT_NOW = {6, 7, 8}
"""Exit codes that say that it was not done: the file was changed or half written by others, or Git was locked."""


class Done(NamedTuple):
    """A command line that was carried out, its exit code and what it printed."""

    words: Sequence[str]
    code: int
    out: str
    err: str


def carry_out(root: Path, lines: Sequence[Sequence[str]]) -> list[Done]:
    """What a writer does: one command line after the other."""
    from dagtasks import cli

    return [_carry_out(cli.call, root, words) for words in lines]


def _carry_out(call: Callable[[Sequence[str]], int], root: Path, words: Sequence[str]) -> Done:
    """Do it, and again while it says that others hold the lock: on a slow machine that can take long."""
    code = LOCKED
    while code == LOCKED:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = call(["-C", str(root), *words])
    return Done(words, code, out.getvalue(), err.getvalue())


def at_once(root: Path, lines: Sequence[Sequence[Sequence[str]]]) -> list[list[Done]]:
    """Each list of command lines in a process of its own, all at the same time."""
    with multiprocessing.get_context("spawn").Pool(len(lines)) as pool:
        return pool.starmap(carry_out, [(root, each) for each in lines])


def refused(done: Sequence[Sequence[Done]]) -> list[Done]:
    """Those that were not done, each with a reason that can be."""
    every = [one for each in done for one in each if one.code]
    assert not [one for one in every if one.code not in NOT_NOW]
    return every


@pytest.fixture
def root(folder: Path) -> Path:
    made = folder / "repository"
    made.mkdir()
    git(made, "init", "--quiet", "--template=")
    tasks = {f"tasks/web/web-00000{number}.yaml": f"name: Task {number}\n\nlabels:\n" for number in range(1, 9)}
    write_files(made, {"tasks/web/project.yaml": "name: Web\n", ".gitignore": ".*.tmp\n", "notes.txt": "1\n", **tasks})
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "start")
    return made


def data_of(root: Path, path: str = ONE) -> Mapping[str, Any]:
    document = read_document(root / path, path)
    assert document.data is not None, document.problems
    return document.data


def test_edits_of_one_task(root: Path, tell: Tell) -> None:
    lines = [
        [["task", "set", "000001", f"labels+=w{writer}-{n}", f"metadata.w{writer}={n}"] for n in range(50)]
        for writer in range(WRITERS)
    ]
    assert refused(at_once(root, lines)) == []
    data = data_of(root)
    asked = {f"w{writer}-{n}" for writer in range(WRITERS) for n in range(50)}
    assert set(data["labels"]) == asked
    assert len(data["labels"]) == len(asked)
    assert data["metadata"] == {f"w{writer}": 49 for writer in range(WRITERS)}
    tell(f"{len(asked)} edits, {len(asked)} kept")


def test_new_tasks(root: Path, tell: Tell) -> None:
    lines = [[["task", "create", "web", "--name", f"w{w}-{n}"] for n in range(50)] for w in range(WRITERS)]
    done = at_once(root, lines)
    assert refused(done) == []
    acknowledged = {one.out.strip(): one.words[-1] for each in done for one in each}
    assert len(acknowledged) == WRITERS * 50
    paths = [path for path in (root / "tasks").rglob("web-*.yaml") if len(path.stem) == len("web-abcdef")]
    found = {path.stem: data_of(root, str(path.relative_to(root)))["name"] for path in paths}
    assert len(found) == len(paths)
    assert {name: title for name, title in found.items() if not title.startswith("Task ")} == acknowledged
    folders = Counter(path.parent for path in paths)
    assert max(folders.values()) <= 256
    tell(
        f"{len(acknowledged)} files with ids of their own, {max(folders.values())} in the fullest of {len(folders)} folders"
    )


def test_commits(root: Path, tell: Tell) -> None:
    lines = [
        [["task", "set", f"00000{writer + 1}", f"labels+=l{n}", "--commit"] for n in range(6)]
        for writer in range(WRITERS)
    ]
    done = at_once(root, lines)
    assert refused(done) == []
    acknowledged = {(f"web-{one.words[2]}", one.words[3][8:]) for each in done for one in each}
    committed = []
    for entry in git(root, "log", "--format=%x00%s", "--name-only").split("\0")[1:-1]:
        subject, _, paths = entry.partition("\n")
        task, _, label = subject.partition(": labels += ")
        assert paths.split() == [f"tasks/web/{task}.yaml"]
        committed.append((task, label.strip()))
    assert len(committed) == WRITERS * 6
    assert set(committed) == acknowledged
    check_sound(root)
    assert git(root, "diff", "--cached", "--name-only") == ""
    assert git(root, "status", "--porcelain") == ""
    tell(f"{len(committed)} commits, the work tree clean")


def check_sound(root: Path) -> None:
    check_locks(root)
    assert git(root, "fsck", "--no-dangling") == ""


PERSON = """
cd "$1"
n=0
while [ ! -e "$2" ]; do
  n=$((n + 1))
  echo "$n" >> notes.txt
  git status --short
  sleep 0.0$((n % 7))
  git commit --quiet --all --message "person $n"
done
"""


def test_beside_a_person_who_commits(root: Path, folder: Path, tell: Tell) -> None:
    """Somebody commits all that there is, again and again; our edits are then in the person's commit or in ours.

    Not `git pull` and `git stash`: they keep the work tree and reset it later, without a lock in between, so Git itself
    overwrites what anybody writes meanwhile.
    """
    stop, log = folder / "stop", (folder / "log").open("w")
    command = ["bash", "-c", PERSON, "bash", str(root), str(stop)]
    person = subprocess.Popen(command, stdout=log, stderr=log)
    lines = [
        [
            ["task", "set", f"00000{1 + (writer + n) % 2}", f"labels+=w{writer}-{n}", *(["--commit"] if n % 2 else [])]
            for n in range(10)
        ]
        for writer in range(4)
    ]
    try:
        done = at_once(root, lines)
    finally:
        stop.touch()
        person.wait()
        log.close()
    labels = {label for number in (1, 2) for label in data_of(root, f"tasks/web/web-00000{number}.yaml")["labels"]}
    asked = {one.words[3][8:]: one for each in done for one in each}
    lost = [one for label, one in asked.items() if one.code == 0 and label not in labels]
    assert not lost
    assert labels <= asked.keys()
    check_sound(root)
    tell(f"{len(asked)} edits, {len(refused(done))} refused, none of the others lost")
