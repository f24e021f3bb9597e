"""What the suites of this folder share: a repository with somebody's work in it, and what must always hold of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import git, write_files
from tests.crash.tracer import NEED_NO_ROOM, Call, Interference
from tests.crash.zygote import Outcome, Zygote

ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FILES = {
    "tasks/README.md": "tasks\n",
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/ops/project.yaml": "name: Operations\n",
    ONE: "name: One # kept\n\nstatus: planned\n",
    TWO: "name: Two\n\ndepends_on:\n  - web-000001\n",
    "templates/hello.yaml": "metadata: {name: hello}\nsteps:\n  - {name: a, container: {image: alpine, command: echo hi}}\n",
    "notes.txt": "1\n2\n3\n",
    ".gitignore": ".*.tmp\n",
}
THE_CACHE = "/.git/dagtasks/cache"
LASTING = ", and from then on"
OBJECTS = "/.git/objects/"
NOTES_STAGED = "3a76bfb63f6cad771619a3e478c817ed48c869c0"
"""The blob of what is staged of notes.txt."""


@dataclass(frozen=True)
class Case:
    """A command line, what the repository holds besides `FILES`, and which calls of it are left to other cases."""

    words: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = (THE_CACHE, OBJECTS)
    only: Sequence[str] = ("",)
    is_own_process: bool = False
    earlier: Sequence[str] = ()
    """A command line that was carried out before."""
    again: Sequence[str] = ()
    """A command line that finishes the job whatever became of the first one, and commits it."""

    @property
    def commits(self) -> int:
        """How many commits there are then, besides the first one."""
        return ("--commit" in self.words or self.words[0] == "undo") + bool(self.earlier)


class Interfered(NamedTuple):
    """A copy of the repository in which the command ran, and met with the interference at that call."""

    root: Path
    at: int
    call: Call
    outcome: Outcome


def make_repository(root: Path, files: Mapping[str, str] | None = None) -> Path:
    """A repository of the files, in which a person has staged, unstaged and untracked work of their own."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--template=")
    write_files(root, {**FILES, **(files or {})})
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "start")
    (root / "notes.txt").write_text("1 staged\n2\n3\n")
    git(root, "add", "notes.txt")
    (root / "notes.txt").write_text("1 staged\n2\n3 not staged\n")
    (root / "untracked.txt").write_text("mine\n")
    return root


class Counts(NamedTuple):
    """How many calls were interfered with, and how many different states were left behind."""

    calls: int
    states: int


def prepare(zygote: Zygote, root: Path, case: Case) -> Path:
    """A repository for the case, in which its earlier command was carried out."""
    make_repository(root, case.files)
    if case.earlier:
        done = zygote.run(root, case.earlier)
        assert done.code == 0, done.err
    return root


Choose = Callable[[Sequence[Call]], Iterable[int]]
Check = Callable[[Interfered], None]


def interfere_everywhere(
    zygote: Zygote, source: Path, case: Case, how: str, folder: Path, check: Check, *, choose: Choose | None = None
) -> Counts:
    """Carry out the command in copies of the repository: each time with the interference one call later.

    `choose` may pick fewer of the calls. Left out is where it would do nothing, or what is done already: `parent` and
    `all` at calls that the program makes itself (there it dies alone, which is `one`) and where a git only prints, `short` where nothing is written,
    ENOSPC where no room is needed. A state is looked at once: what is left is often the same as after another call, but for
    what is random or a time. All that went wrong is told at the end.
    """
    count, seen, wrong = 0, set[str](), []
    for found in _interfere(zygote, source, case, how, folder, choose):
        count += 1
        state = _state_of(found)
        if state in seen:
            continue
        seen.add(state)
        try:
            check(found)
        except AssertionError as error:
            where = found.call._replace(path=found.call.path.replace(str(found.root), ""))
            said = f"{found.outcome.code}: {found.outcome.err[:600]}\n{str(error)[:600]}"
            wrong.append(f"{how} at call {found.at}, {where}; then {said}")
    if wrong:
        pytest.fail(f"{len(wrong)} of {count}:\n" + "\n\n".join(wrong[:20]), pytrace=False)
    assert count or how in ("parent", "all")
    return Counts(count, len(seen))


DATE = re.compile(r'date: "[0-9T:.-]+Z"')
RANDOM = re.compile(
    rb"\.[0-9]+\.[0-9a-z]+\.tmp|\"token\": \"[0-9a-f]+\"|[0-9]{8}t[0-9]{6}-[0-9a-z]{6}|[0-9]{4,}|web-[a-z0-9]{6}"
)


def _state_of(found: Interfered) -> str:
    """A digest of all files and of how the command ended, without names of temp files, process numbers and times."""
    root = str(found.root).encode()

    def plain(content: bytes) -> bytes:
        return RANDOM.sub(b"*", content.replace(root, b""))

    paths = sorted(path for path in found.root.rglob("*") if path.is_symlink() or not path.is_dir())
    digest = sha256(plain(f"{found.outcome.code} {found.outcome.err}".encode()))
    for path in paths:
        digest.update(plain(bytes(path.relative_to(found.root))) + b"\0")
        digest.update(plain(_content_of(path)) + b"\0")
    folders = sorted(path.relative_to(found.root).as_posix() for path in found.root.rglob("*") if path.is_dir())
    digest.update(plain("\n".join(folders).encode()))
    return digest.hexdigest()


def _content_of(path: Path) -> bytes:
    if path.is_symlink():
        return bytes(path.readlink())
    content = path.read_bytes()
    return _without_times(content) if content[:4] == b"DIRC" else content


def _without_times(index: bytes) -> bytes:
    """An index of Git without what it knows of times and inodes; as it is when it is not whole."""
    at, parts = 12, []
    try:
        for _ in range(int.from_bytes(index[8:12])):
            is_extended = index[at + 60] & 0x40
            end = index.index(b"\0", at + (64 if is_extended else 62))
            parts.append(index[at + 24 : end])
            at += (end - at) // 8 * 8 + 8
    except (IndexError, ValueError):
        return index
    return b"".join(parts) + index[at:-20]


def _interfere(
    zygote: Zygote, source: Path, case: Case, how: str, folder: Path, choose: Choose | None
) -> Iterator[Interfered]:
    usual = _run(zygote, source, case, folder / "usual", Interference())
    assert usual.outcome.code == 0, usual.outcome.err
    shutil.rmtree(usual.root)
    calls = usual.outcome.calls
    lasting = how.endswith(LASTING)
    for at in choose(calls) if choose else range(1, len(calls) + 1):
        if not _makes_a_difference(calls[at - 1], how):
            continue
        found = _run(zygote, source, case, folder / f"{at}", Interference(at, how.removesuffix(LASTING), lasting))
        if len(found.outcome.calls) >= at:
            yield found
        shutil.rmtree(found.root)


def _makes_a_difference(call: Call, how: str) -> bool:
    match how:
        case "parent" | "all":
            return call.process != 0 and not call.path.startswith("pipe:")
        case "short":
            return call.name in ("write", "pwrite64")
        case "ENOSPC":
            return call.name not in NEED_NO_ROOM
        case _:
            return True


def _run(zygote: Zygote, source: Path, case: Case, root: Path, interference: Interference) -> Interfered:
    shutil.copytree(source, root, symlinks=True)
    outcome = zygote.run(
        root, case.words, interference, without=case.without, only=case.only, is_own_process=case.is_own_process
    )
    reached = 0 < interference.at <= len(outcome.calls)
    call = outcome.calls[interference.at - 1] if reached else Call(0, "", "")
    return Interfered(root, interference.at, call, outcome)


class Expected(NamedTuple):
    """A repository in which a command is to run, and the texts of its files before and after that."""

    source: Path
    before: dict[str, str]
    after: dict[str, str]
    changed: set[str]


def expect(zygote: Zygote, case: Case, folder: Path) -> Expected:
    """What the command does when nothing goes wrong."""
    source = prepare(zygote, folder / "source", case)
    before, after = files_of(source), state_after(zygote, source, case.words, folder)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return Expected(source, before, after, changed)


def state_after(zygote: Zygote, source: Path, words: Sequence[str], folder: Path) -> dict[str, str]:
    """What the files are when nothing goes wrong."""
    root = folder / "after"
    shutil.copytree(source, root, symlinks=True)
    done = zygote.run(root, words)
    assert done.code == 0, done.err
    return files_of(root)


def files_of(root: Path) -> dict[str, str]:
    """The text of all files of tasks, without that of `check_next_command`.

    The id of a created task and the time of a comment are not known before, so they count as `new` and `now`.
    """
    paths = [path for end in ("yaml", "md") for path in (root / "tasks").rglob(f"*.{end}")]
    found = {path.relative_to(root).as_posix(): DATE.sub('date: "now"', path.read_text()) for path in paths}
    return {_known(path): text for path, text in found.items() if not text.startswith("name: Next\n")}


def _known(path: str) -> str:
    return path if path in FILES or "/web-" not in path else "new"


def check_each_file(root: Path, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """R1: at any instant each file is the old or the new one."""
    now = files_of(root)
    for path in now.keys() | before.keys() | after.keys():
        assert now.get(path) in (before.get(path), after.get(path)), path


def check_reading(zygote: Zygote, root: Path) -> None:
    """R3: what died left nothing that a command which only reads takes for a task, or stops at."""
    listed = zygote.run(root, ["task", "list", "--json"])
    assert listed.code == 0, listed.err
    stems = {path.stem for path in (root / "tasks").rglob("web-*.yaml") if not path.name.startswith(".")}
    assert {task["id"] for task in json.loads(listed.out)["data"]} == stems


def check_next_command(zygote: Zygote, root: Path) -> None:
    """R2, R6: the next command works and commits its own file alone (see `check_git`)."""
    made = zygote.run(root, ["task", "create", "web", "--name", "Next", "--commit"])
    assert made.code == 0, made.err
    assert made.err.strip().endswith("]"), made.err


def check_locks(root: Path) -> None:
    """R2: no lock of Git is left. (Files of our own locks stay: the kernel frees what is held by nobody.)"""
    left = [path.relative_to(root / ".git").as_posix() for path in (root / ".git").rglob("*.lock")]
    # A maintenance that somebody killed leaves a lock that stops no command, and is not ours to remove.
    harmless = ("dagtasks/runs.lock", "dagtasks/queue.lock", "objects/maintenance.lock")
    assert [path for path in left if path not in harmless] == []


def check_git(root: Path, commits: int, paths: set[str]) -> None:
    """R2, R6: no lock, a sound repository, only our paths in our commit, and the person's work as it was."""
    check_locks(root)
    assert git(root, "fsck", "--no-dangling") == ""
    log = git(root, "log", "--format=%x00%s", "--name-only", "--no-renames").split("\0")[1:]
    ours = [entry.partition("\n") for entry in log if not entry.startswith("start\n")]
    for subject, _, changed in ours:
        expected = {"new"} if subject.endswith("created: Next") else paths
        assert set(map(_known, changed.split())) == expected, subject
    assert sum(not subject.endswith("created: Next") for subject, _, _ in ours) <= commits
    staged = git(root, "diff", "--cached", "--raw", "--abbrev=40")
    assert staged.split()[3:] == [NOTES_STAGED, "M", "notes.txt"], staged
    assert (root / "notes.txt").read_text() == "1 staged\n2\n3 not staged\n"
    assert (root / "untracked.txt").read_text() == "mine\n"
