"""Every write path is killed at every call that changes something: the old or the new state, and all works on.

Each command that changes files is killed at each of its own calls (`one`). What Git does for a commit is the same for all
of them, so the gits are killed in the four commands whose commits differ: a changed file, a new one, a removed one beside
others, and an undo. There the command is killed together with its git (`all`) and alone, while its git goes on (`parent`).
Of the objects of Git, which nobody looks for until a commit names them, one command stands for all (`set --commit`), and
of the thousands of files of a site a sample and all calls round the swap.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conftest import Tell, git, write_files
from tests.crash.scene import (
    FILES,
    ONE,
    THE_CACHE,
    TWO,
    Case,
    Check,
    Choose,
    Interfered,
    check_each_file,
    check_git,
    check_locks,
    check_next_command,
    check_reading,
    expect,
    files_of,
    interfere_everywhere,
    make_repository,
    state_after,
)
from tests.crash.tracer import Call
from tests.crash.zygote import Zygote

pytestmark = pytest.mark.slow

HOW = ["one", "all", "parent"]
SET = ["task", "set", "000001", "status=blocked"]
GREETER = """metadata: {name: greeter}
parameters: {who: {type: string, default: me}}
steps:
  - {name: a, container: {image: alpine, command: "echo {{ parameters.who }}"}}
"""
CASES = {
    "set": Case(SET, again=[*SET, "--commit"]),
    "set, as a process of its own": Case(SET, is_own_process=True),
    "set --commit": Case([*SET, "--commit"], without=[THE_CACHE], again=[*SET, "--commit"]),
    "create": Case(["task", "create", "web", "--name", "New"]),
    "create --commit": Case(["task", "create", "web", "--name", "New", "--commit"]),
    "delete --detach": Case(["task", "delete", "000001", "--detach", "--yes"]),
    "delete --detach --commit": Case(["task", "delete", "000001", "--detach", "--yes", "--commit"]),
    "claim": Case(["task", "claim", "000001", "--as", "agent:x"]),
    "comment": Case(["task", "comment", "000001", "Hello"]),
    "undo": Case(["undo"], earlier=["task", "set", "000001", "name=Renamed", "--commit"]),
    "workflow add": Case(["workflow", "add", "000001", "greet", "--template", "hello"]),
    "workflow set": Case(
        ["workflow", "set", "000001", "greet", "who=you"],
        earlier=["workflow", "add", "000001", "greet", "--template", "greeter", "--commit"],
        files={"templates/greeter.yaml": GREETER},
    ),
    "phase delete": Case(["phase", "delete", "web/build", "--yes"]),
    "project delete": Case(["project", "delete", "ops", "--yes"]),
    "fmt": Case(["fmt"], again=["fmt", "--commit"]),
    "validate --fix": Case(
        ["validate", "--fix"], {ONE: "name: One\n\nassignee: no\n", TWO: "name: Two\n\nassignee: on\n"}
    ),
}


def kill_everywhere(
    zygote: Zygote, source: Path, case: Case, how: str, folder: Path, check: Check, *, choose: Choose | None = None
) -> str:
    """Kill the command at each of its calls and check what is left; how many there were."""
    calls, states = interfere_everywhere(zygote, source, case, how, folder, check, choose=choose)
    return f"killed at {calls} calls, {states} different states left, all whole"


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (name, how)
        for name, case in CASES.items()
        for how in HOW
        if how == "one" or set(case.words) & {"--commit", "undo"}
    ],
)
def test_commands_that_change_files(name: str, how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    case = CASES[name]
    source, before, after, changed = expect(zygote, case, folder)

    def check(found: Interfered) -> None:
        check_each_file(found.root, before, after)
        if not case.files:
            check_reading(zygote, found.root)
        if found.outcome.code >= 0:  # it lived to tell: nothing is left for others to finish
            check_git(found.root, case.commits, changed)
        check_next_command(zygote, found.root)
        check_git(found.root, case.commits, changed)
        now = files_of(found.root)
        assert now == after if found.outcome.code == 0 else now in (before, after)
        if case.again:
            again = zygote.run(found.root, case.again)
            assert again.code == 0, again.err
            assert git(found.root, "status", "--porcelain", "--", "tasks/web") == ""
            check_git(found.root, max(case.commits, 1), changed)

    tell(kill_everywhere(zygote, source, case, how, folder, check))


# -- runs -----------------------------------------------------------------------------------------------------------

RUN = ["run", "000001", "greet", "--engine", "local"]


@pytest.mark.parametrize("how", HOW)
def test_runs(how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    mark = folder / "mark"
    template = f"metadata: {{name: mark}}\nsteps:\n  - {{name: a, container: {{image: x, command: echo >> {mark}}}}}\n"
    bound = FILES[ONE] + "\nworkflows:\n  greet:\n    template: mark\n"
    source = make_repository(folder / "source", {"templates/mark.yaml": template, ONE: bound})
    before = files_of(source)
    begun = [1]  # by the run that nothing interferes with

    def check(found: Interfered) -> None:
        begun.append(len(mark.read_text()))
        listed = zygote.run(found.root, ["runs", "list", "--json"])
        assert listed.code == 0, listed.err
        runs = json.loads(listed.out)["data"]
        is_sure = begun[-1] > begun[-2] or found.outcome.code == 0
        assert len(runs) == 1 if is_sure else len(runs) <= 1
        for run in runs:
            _check_run(found, run)
        check_next_command(zygote, found.root)
        check_git(found.root, 0, set())
        assert files_of(found.root) == before

    tell(kill_everywhere(zygote, source, Case(RUN, without=[THE_CACHE]), how, folder, check))


def _check_run(found: Interfered, run: Mapping[str, str]) -> None:
    """R7, R8, R9: it has an end, and is where other clones find it, with the template that it was made from."""
    ends = {"succeeded"} if found.outcome.code == 0 else {"succeeded", "failed", "errored", "interrupted", "cancelled"}
    assert run["status"] in ends
    kept = git(found.root, "ls-tree", "-r", "--name-only", "refs/dagtasks/runs").splitlines()
    blob = git(found.root, "rev-parse", "HEAD:templates/mark.yaml")
    name = f"{run['id'][:4]}/{run['id'][4:6]}/{run['id']}"
    assert sorted(kept) == [f"{name}.json", f"{name}.plan", f"sources/{blob}"]


# -- merges that stopped, and setting up ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_resolve(how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    source = _stopped_merge(folder / "source")
    after = state_after(zygote, source, ["resolve"], folder)
    assert "ui, ux" in after[ONE].replace("\n  - ", ", ")

    def check(found: Interfered) -> None:
        for path in (ONE, TWO):
            assert (found.root / path).read_text() in (files_of(source)[path], after[path])
        again = zygote.run(found.root, ["resolve"])
        assert again.code == 0, again.err
        assert files_of(found.root) == after
        assert git(found.root, "ls-files", "--unmerged") == ""
        check_locks(found.root)
        git(found.root, "commit", "--quiet", "--no-edit")

    tell(kill_everywhere(zygote, source, Case(["resolve"]), how, folder, check))


def _stopped_merge(root: Path) -> Path:
    """A repository in which Git, line by line, could not merge two files that field by field merge clean."""
    root.mkdir()
    git(root, "init", "--quiet", "--template=")
    _label(root, "")
    git(root, "switch", "--quiet", "--create", "other")
    _label(root, "ui")
    git(root, "switch", "--quiet", "main")
    _label(root, "ux")
    done = subprocess.run(["git", "-C", str(root), "merge", "--quiet", "other"], capture_output=True, check=False)
    assert done.returncode == 1
    return root


def _label(root: Path, label: str) -> None:
    labels = f"labels:\n  - {label}\n" if label else "labels:\n"
    write_files(root, {**FILES, ONE: f"name: One\n\n{labels}", TWO: f"name: Two\n\n{labels}"})
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", label or "start")


@pytest.mark.parametrize("how", HOW)
def test_init(how: str, zygote: Zygote, folder: Path, tell: Tell) -> None:
    source = folder / "source"
    write_files(source, {"README.md": "mine\n", ".gitignore": "mine\n", "mkdocs.yml": "site_name: x\n"})
    done = folder / "done"
    shutil.copytree(source, done)
    assert zygote.run(done, ["init"]).code == 0

    def check(found: Interfered) -> None:
        again = zygote.run(found.root, ["init"])
        assert again.code == 0, again.err
        assert _texts(found.root) == _texts(done)
        assert not list(found.root.glob(".git.tmp/*"))
        check_locks(found.root)
        assert zygote.run(found.root, ["project", "create", "web", "--name", "Web", "--commit"]).code == 0

    tell(kill_everywhere(zygote, source, Case(["init"]), how, folder, check))


def _texts(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".tmp")]
    files = [path for path in files if not path.is_relative_to(root / ".git")]
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in [*files, root / ".git/config"]}
    return {path: text.replace(f"# {root.name}\n", "# name of the folder\n") for path, text in texts.items()}


# -- what is derived ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["task", "list"], ["task", "set", "000001", "status=blocked"]], ids=["list", "set"])
def test_the_cache(words: list[str], zygote: Zygote, folder: Path, tell: Tell) -> None:
    source = make_repository(folder / "source")

    def check(found: Interfered) -> None:
        cached = zygote.run(found.root, ["task", "list", "--json"])
        assert cached.code == 0
        assert cached.out == zygote.run(found.root, ["--no-cache", "task", "list", "--json"]).out

    tell(kill_everywhere(zygote, source, Case(words, without=[]), "one", folder, check))


def test_the_board(board_zygote: Zygote, folder: Path, tell: Tell) -> None:
    """R13: there is always a whole site, the old one or the new one, and the next build takes away what was left."""
    source = make_repository(folder / "source")
    assert board_zygote.run(source, ["init"]).code == 0
    assert board_zygote.run(source, ["board", "build"]).code == 0
    (source / ONE).write_text("name: Renamed\n")
    old, new = _digests(source / "site"), {}
    shutil.copytree(source, folder / "new")
    assert board_zygote.run(folder / "new", ["board", "build"]).code == 0
    new = _digests(folder / "new/site")
    assert old != new

    def check(found: Interfered) -> None:
        assert _digests(found.root / "site") in (old, new)
        assert board_zygote.run(found.root, ["board", "build"]).code == 0
        assert _digests(found.root / "site") == new
        assert not list(found.root.glob(".site*"))

    case = Case(["board", "build"])
    tell(kill_everywhere(board_zygote, source, case, "one", folder, check, choose=_round_the_swap))


def _round_the_swap(calls: Sequence[Call]) -> list[int]:
    """The calls near the swap of the two sites, and a sample of the thousands of others."""
    swap = next(
        at for at, call in enumerate(calls, 1) if call.name.startswith("rename") and call.path.endswith("/site")
    )
    return sorted({*range(1, 4), *range(4, len(calls), len(calls) // 16), *range(swap - 4, swap + 5), len(calls)})


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
