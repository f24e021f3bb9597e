"""How long commands take, beside the budgets for them: `python benchmarks/commands.py [COUNT...]`.

Budgets are in floors that are measured in the same run, in turns with the commands, so that a slow machine or a busy
one changes little: P = `python -c pass`; S = a process that walks and stats all files below tasks/; R = one that reads
them all; L = one that loads them with PyYAML's C loader and checks them with pydantic; C = a bare `git commit -- path`.
Each figure is the minimum of 9 runs (of 3 above 20,000 tasks); memory is the peak of the largest process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from tasks import make_repository

WALK = """
import os, sys
def walk(folder):
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False): walk(entry.path)
        else: {visit}
walk(sys.argv[1])
"""
LOAD = """
import os, sys, yaml
from dagtasks.model.task import Task
from dagtasks.model.project import Phase, Project
def load(path):
    data = yaml.load(open(path, "rb"), yaml.CSafeLoader)
    (Phase if "/phases/" in path else Project if path.endswith("project.yaml") else Task).model_validate(data)
def walk(folder):
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False): walk(entry.path)
        elif entry.name.endswith(".yaml"): load(entry.path)
walk(sys.argv[1])
"""
PYTHON = [sys.executable, "-c"]
TOOL = [str(Path(sys.executable).parent / "dagtasks")]
TRUSTED_AFTER_SECONDS = 2.2
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

Floors = Mapping[str, float]


class Command(NamedTuple):
    """A command line, its budget in seconds, and what happens before each run of it."""

    label: str
    arguments: Sequence[str]
    words: str
    budget: Callable[[Floors], float]
    prepare: Callable[[], object] = lambda: None
    megabytes: int | None = None


class Figure(NamedTuple):
    seconds: float
    megabytes: float


def run(arguments: Sequence[str], folder: Path) -> Figure:
    begun = time.perf_counter()
    process = subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Figure(taken, usage.ru_maxrss / 1024)


class Repository:
    """A generated repository, and the changes between runs."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.ids = make_repository(root, count)
        self.cache = root / ".git/dagtasks/cache"
        self._turn = 0

    def path_of(self, name: str) -> Path:
        return next(path for path in self.root.glob(f"tasks/{name.partition('-')[0]}/**/{name}.yaml"))

    def forget(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)

    def change_one(self) -> None:
        self._turn += 1
        path = self.path_of(self.ids[-self._turn])
        path.write_bytes(path.read_bytes().replace(b"Task number", b"Tusk number"))

    def change_for_git(self) -> None:
        self._turn += 1
        with self.path_of(self.ids[0]).open("ab") as file:
            file.write(b"# %d\n" % self._turn)

    def settle(self) -> None:
        time.sleep(TRUSTED_AFTER_SECONDS)
        run([*TOOL, "validate"], self.root)

    def next_value(self) -> str:
        self._turn += 1
        return f"assignee=turn{self._turn}"


def floors_of(repository: Repository) -> list[Command]:
    tasks = str(repository.root / "tasks")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "bare", "--"]
    path = str(repository.path_of(repository.ids[0]))
    none = ("", lambda _: 0.0)
    return [
        Command("P", [*PYTHON, "pass"], *none),
        Command("S", [*PYTHON, WALK.format(visit="entry.stat()"), tasks], *none),
        Command("R", [*PYTHON, WALK.format(visit="open(entry.path, 'rb').read()"), tasks], *none),
        Command("L", [*PYTHON, LOAD, tasks], *none),
        Command("C", [*commit, path], *none, repository.change_for_git),
    ]


def commands_of(repository: Repository, *, is_large: bool) -> list[Command]:
    """The commands in an order in which the ones before leave the cache warm for the ones after."""
    ids = repository.ids
    p, cold, unchanged = (7, 18, 1.6) if is_large else (6, 16, 2.5)
    some, other = ids[len(ids) // 3], ids[len(ids) // 5]
    return [
        Command("--help", ["--help"], "6 P", lambda f: 6 * f["P"]),
        Command(
            "validate, cold",
            ["validate"],
            f"{cold} R",
            lambda f: cold * f["R"],
            repository.forget,
            400 if is_large else 120,
        ),
        Command("  the same", ["validate"], "0.7 L", lambda f: 0.7 * f["L"], repository.forget),
        Command("task show ID", ["task", "show", ids[len(ids) // 2]], f"{p} P", lambda f: p * f["P"]),
        Command("task list (50)", ["task", "list", "--limit", "50"], f"{p} P + S", lambda f: p * f["P"] + f["S"]),
        Command("task next", ["task", "next"], f"{p} P + S", lambda f: p * f["P"] + f["S"], megabytes=80),
        Command("validate, unchanged", ["validate"], f"{unchanged} S", lambda f: unchanged * f["S"]),
        Command("task set", ["task", "set", some], "17 P", lambda f: 17 * f["P"]),
        Command(
            "task set --commit", ["task", "set", other, "--commit"], "17 P + 2 C", lambda f: 17 * f["P"] + 2 * f["C"]
        ),
        Command(
            "validate, one changed",
            ["validate"],
            "2.2 S" if is_large else "S + 25 P",
            lambda f: 2.2 * f["S"] if is_large else f["S"] + 25 * f["P"],
            repository.change_one,
        ),
    ]


def measure(count: int) -> None:
    is_large = count > 20_000
    with tempfile.TemporaryDirectory() as name:
        repository = Repository(Path(name) / "repository", count)
        floors, commands = floors_of(repository), commands_of(repository, is_large=is_large)
        figures: dict[str, list[Figure]] = {}
        for _ in range(3 if is_large else 9):
            repository.settle()
            for command in (*floors, *commands):
                command.prepare()
                arguments = list(command.arguments)
                if "set" in arguments:
                    arguments.append(repository.next_value())
                tool = [] if command in floors else TOOL
                figures.setdefault(command.label, []).append(run([*tool, *arguments], repository.root))
    show(count, floors, commands, {label: min(found) for label, found in figures.items()})


def show(count: int, floors: list[Command], commands: list[Command], figures: Mapping[str, Figure]) -> None:
    unit = {floor.label: figures[floor.label].seconds for floor in floors}
    print(
        f"\n{count} tasks, {os.cpu_count()} processors: "
        + ", ".join(f"{k} = {v * 1000:.1f} ms" for k, v in unit.items())
    )
    print(f"{'command':<22} {'ms':>8} {'/P':>6} {'/S':>6} {'/R':>6}  {'budget':<12} {'used':>6} {'MB':>5}")
    for command in commands:
        seconds, megabytes = figures[command.label]
        ratios = " ".join(f"{seconds / unit[floor]:6.1f}" for floor in "PSR")
        used = seconds / command.budget(unit)
        missed = "" if used <= 1 and megabytes <= (command.megabytes or megabytes) else "  missed"
        words = f"{command.words:<12} {used:6.0%} {megabytes:5.0f}"
        limit = f" (of {command.megabytes})" if command.megabytes else ""
        print(f"{command.label:<22} {seconds * 1000:8.1f} {ratios}  {words}{limit}{missed}")


if __name__ == "__main__":
    for wanted in [int(text) for text in sys.argv[1:]] or [1000, 10_000]:
        measure(wanted)
