"""How long commands take, beside the budgets for them: `python benchmarks/commands.py [COUNT...] [--only WORD]`.

Budgets are in floors that are measured in the same run, in turns with the commands, so that a slow machine or a busy
one changes little: P = `python -c pass`; S = a process that walks and stats all files below tasks/; R = one that reads
them all; L = one that loads them with PyYAML's C loader and checks them with pydantic; C = a bare `git commit -- path`.
Each figure is the minimum of 9 runs (of 3 above 20,000 tasks). "used" is the part of the budget by the clock, "CPU" the
same by the time of all processors, in which a second process costs what it does and other programs nothing. Memory is
the peak of the largest process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
WRITERS, COMMITS = 8, 6
LOCKED = 75
"""The exit code of a command that waited in vain for the lock; a busy machine can bring that about."""
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

Floors = Mapping[str, float]


class Command(NamedTuple):
    """A command line, its budget in seconds, and what happens before each run of it."""

    label: str
    arguments: Sequence[str]
    words: str
    budget: Callable[[Floors], float] | None
    prepare: Callable[[], object] = lambda: None
    megabytes: int | None = None
    environment: Mapping[str, str] = {}


class Figure(NamedTuple):
    seconds: float
    cpu: float
    megabytes: float


def run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    may_be_locked: bool = False,
) -> Figure:
    begun = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, **(environment or {})},
    )
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, LOCKED if may_be_locked else 0):
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Figure(taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


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

    def merge_command(self) -> list[str]:
        """What Git would run for a file whose name both sides changed apart from its status."""
        text = self.path_of(self.ids[0]).read_text()
        sides = {
            "%A": text.replace("phase:", "phase: plan #", 1),
            "%O": text,
            "%B": text.replace("due:", "due: 2026-12-01"),
        }
        driver = subprocess.run(
            ["git", "-C", str(self.root), "config", "merge.dagtasks.driver"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for mark, side in sides.items():
            (self.root.parent / f"side{mark[1]}").write_text(side)
            driver = driver.replace(mark, str(self.root.parent / f"side{mark[1]}"))
        return ["sh", "-c", driver.replace("%L", "7")]


def floors_of(repository: Repository, *, with_loop: bool) -> list[Command]:
    tasks = str(repository.root / "tasks")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "bare", "--"]
    path = str(repository.path_of(repository.ids[0]))
    floors = [
        Command("P", [*PYTHON, "pass"], "", None),
        Command("S", [*PYTHON, WALK.format(visit="entry.stat()"), tasks], "", None),
        Command("R", [*PYTHON, WALK.format(visit="open(entry.path, 'rb').read()"), tasks], "", None),
        Command("C", [*commit, path], "", None, repository.change_for_git),
    ]
    return [*floors, Command("L", [*PYTHON, LOAD, tasks], "", None)] if with_loop else floors


def commands_of(repository: Repository, *, is_large: bool) -> list[Command]:
    """The commands in an order in which the ones before leave the cache warm for the ones after."""
    ids = repository.ids
    p, cold, unchanged = (7, 18, 1.6) if is_large else (6, 16, 2.5)
    some, other = ids[len(ids) // 3], ids[len(ids) // 5]
    shown = ids[len(ids) // 2]
    asked = {"_DAGTASKS_COMPLETE": "bash_complete", "COMP_WORDS": f"dagtasks task show {shown[:-3]}", "COMP_CWORD": "3"}
    by_cold = [Command("  the same", ["validate"], "0.7 L", lambda f: 0.7 * f["L"], repository.forget)]
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
        *([] if is_large else by_cold),
        Command("completion of an id", [], "0.1 s", lambda f: 0.1, environment=asked),
        Command("task show ID", ["task", "show", shown], f"{p} P", lambda f: p * f["P"]),
        Command("task show BEGINNING", ["task", "show", shown[:-1]], f"{p} P + S", lambda f: p * f["P"] + f["S"]),
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
        Command("task next after that", ["task", "next"], "", None),
        Command("task create", ["task", "create", "web", "--name", "New", "--depends-on", shown], "", None),
        Command("task list after that", ["task", "list", "--limit", "50"], "", None),
    ]


def measure(count: int, only: str) -> None:
    is_large = count > 20_000
    with tempfile.TemporaryDirectory() as name:
        repository = Repository(Path(name) / "repository", count)
        driver = Command("merge driver, one file", repository.merge_command(), "5 P", lambda f: 5 * f["P"])
        commands = [one for one in (*commands_of(repository, is_large=is_large), driver) if only in one.label]
        floors = floors_of(repository, with_loop=any("L" in one.words for one in commands))
        figures: dict[str, list[Figure]] = {}
        for _ in range(3 if is_large else 9):
            for command in (*floors, None, *commands):
                if command is None:
                    repository.settle()
                    continue
                command.prepare()
                arguments = list(command.arguments)
                if "set" in arguments:
                    arguments.append(repository.next_value())
                tool = [] if command in floors or command is driver else TOOL
                figure = run([*tool, *arguments], repository.root, command.environment)
                figures.setdefault(command.label, []).append(figure)
        show(count, floors, commands, {label: best(found) for label, found in figures.items()})
        if not is_large and not only:
            measure_writers(repository)


def best(found: Sequence[Figure]) -> Figure:
    return Figure(min(one.seconds for one in found), min(one.cpu for one in found), min(one.megabytes for one in found))


def measure_writers(repository: Repository) -> None:
    """Eight processes that commit six times each, beside one that commits as often."""
    begun = time.perf_counter()
    for number in range(WRITERS * COMMITS):
        commit_one(repository, number)
    alone = time.perf_counter() - begun
    before = count_commits(repository)
    begun = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(
            pool.map(
                lambda writer: [commit_one(repository, writer * COMMITS + n) for n in range(COMMITS)], range(WRITERS)
            )
        )
    taken = time.perf_counter() - begun
    lost = WRITERS * COMMITS - (count_commits(repository) - before)
    print(
        f"{WRITERS} writers x {COMMITS} commits: {taken:.1f} s, one after the other {alone:.1f} s, "
        f"{taken / (2 * alone):.0%} of the budget, {lost} lost or refused"
    )


def commit_one(repository: Repository, number: int) -> None:
    name, value = repository.ids[number], f"labels=writer{time.monotonic_ns()}"
    run([*TOOL, "task", "set", name, value, "--commit"], repository.root, may_be_locked=True)


def count_commits(repository: Repository) -> int:
    counted = subprocess.run(
        ["git", "-C", str(repository.root), "rev-list", "--count", "HEAD"], capture_output=True, check=True
    )
    return int(counted.stdout)


def show(count: int, floors: list[Command], commands: list[Command], figures: Mapping[str, Figure]) -> None:
    unit = {floor.label: figures[floor.label].seconds for floor in floors}
    unit_cpu = {floor.label: figures[floor.label].cpu for floor in floors}
    print(
        f"\n{count} tasks, {os.cpu_count()} processors: "
        + ", ".join(f"{k} = {v * 1000:.1f} ms" for k, v in unit.items())
    )
    print("by the time of processors: " + ", ".join(f"{k} = {v * 1000:.1f} ms" for k, v in unit_cpu.items()))
    print(f"{'command':<22} {'ms':>8} {'/P':>6} {'/S':>6} {'/R':>6}  {'budget':<12} {'used':>6} {'CPU':>6} {'MB':>5}")
    for command in commands:
        seconds, cpu, megabytes = figures[command.label]
        ratios = " ".join(f"{seconds / unit[floor]:6.1f}" for floor in "PSR")
        used = (
            f"{seconds / command.budget(unit):6.0%} {cpu / command.budget(unit_cpu):6.0%}"
            if command.budget
            else " " * 13
        )
        missed = bool(command.budget) and seconds > command.budget(unit)
        missed |= megabytes > (command.megabytes or megabytes)
        limit = f" (of {command.megabytes})" if command.megabytes else ""
        print(
            f"{command.label:<22} {seconds * 1000:8.1f} {ratios}  {command.words:<12} {used} {megabytes:5.0f}{limit}"
            f"{'  missed' if missed else ''}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--only", default="", help="measure only commands with that in their name")
    given = parser.parse_args()
    for wanted in given.counts:
        measure(wanted, given.only)
