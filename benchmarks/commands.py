"""How long commands take, beside the budgets for them: `python benchmarks/commands.py [COUNT...] [--only WORD]`.

Prints a table of Markdown for each number of tasks; `10000 100000` takes about six minutes on a machine that does
nothing else. Budgets are in floors that are measured in the same run, in turns with the commands, so that a slow
machine or a busy one changes little: P = `python -c pass`; S = a process that walks and stats all files below tasks/;
R = one that reads them all; L = one that loads them with PyYAML's C loader and checks them with pydantic; C = a bare
`git commit -- path`. Each figure is the minimum of 9 runs (of 3 above 20,000 tasks). "of the budget" is by the clock,
"by processor" by the time of all processors, in which a second process costs what it does and other programs nothing.
MB is the peak of the largest process.
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
TURN = "a value that is new each time"
WRITERS, COMMITS = 8, 6
LOCKED = 75
"""The exit code of a command that waited in vain for the lock; a busy machine can bring that about."""
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.startswith(("PYTHONDONTWRITEBYTECODE", "GIT_"))
}

Budget = Mapping[str, float]
"""How many there may be of each floor. "s" are seconds."""


class Command(NamedTuple):
    """A command line, its budgets, and what happens before each run of it."""

    label: str
    arguments: Sequence[str]
    budgets: Sequence[Budget] = ()
    megabytes: int | None = None
    prepare: Callable[[], object] = lambda: None
    environment: Mapping[str, str] = {}


class Figure(NamedTuple):
    code: int
    seconds: float
    cpu: float
    megabytes: float


def run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
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
    if process.returncode not in allowed:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Figure(process.returncode, taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


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


def floors_of(repository: Repository, *, is_large: bool) -> list[Command]:
    tasks = str(repository.root / "tasks")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "bare", "--"]
    path = str(repository.path_of(repository.ids[0]))
    floors = [
        Command("P", [*PYTHON, "pass"]),
        Command("S", [*PYTHON, WALK.format(visit="entry.stat()"), tasks]),
        Command("R", [*PYTHON, WALK.format(visit="open(entry.path, 'rb').read()"), tasks]),
        Command("C", [*commit, path], prepare=repository.change_for_git),
    ]
    return floors if is_large else [*floors, Command("L", [*PYTHON, LOAD, tasks])]


def commands_of(repository: Repository, *, is_large: bool) -> list[Command]:
    """The commands in an order in which the ones before leave the cache warm for the ones after."""
    ids = repository.ids
    some, other, shown = ids[len(ids) // 3], ids[len(ids) // 5], ids[len(ids) // 2]
    asked = {"_DAGTASKS_COMPLETE": "bash_complete", "COMP_WORDS": f"dagtasks task show {shown[:-3]}", "COMP_CWORD": "3"}
    show = {"P": 7 if is_large else 6}
    listed = {**show, "S": 1}
    cold: list[Budget] = [{"R": 18}] if is_large else [{"R": 16}, {"L": 0.7}]
    memory = 400 if is_large else 120
    set_ = {"P": 17}
    after_edit = {"S": 2.2} if is_large else {"S": 1, "P": 25}
    return [
        Command("`--help`", [*TOOL, "--help"], [{"P": 6}]),
        Command("`validate`, cold", [*TOOL, "validate"], cold, memory, repository.forget),
        Command("completion of an id", TOOL, [{"s": 0.1}], environment=asked),
        Command("`task show ID`", [*TOOL, "task", "show", shown], [show]),
        Command("`task show BEGINNING`", [*TOOL, "task", "show", shown[:-1]], [listed]),
        Command("`task list --limit 50`", [*TOOL, "task", "list", "--limit", "50"], [listed], 80),
        Command("`task next`", [*TOOL, "task", "next"], [listed], 80),
        Command("`validate`, nothing changed", [*TOOL, "validate"], [{"S": 1.6 if is_large else 2.5}], 80),
        Command("`task set`", [*TOOL, "task", "set", some, TURN], [set_]),
        Command("`task set --commit`", [*TOOL, "task", "set", other, TURN, "--commit"], [{**set_, "C": 2}]),
        Command("`validate`, one changed", [*TOOL, "validate"], [after_edit], prepare=repository.change_one),
        Command("`task next` after that", [*TOOL, "task", "next"]),
        Command("`task create`", [*TOOL, "task", "create", "web", "--name", "New", "--depends-on", shown]),
        Command("`task list` after that", [*TOOL, "task", "list", "--limit", "50"]),
        Command("merge driver, one file", repository.merge_command(), [{"P": 5}]),
    ]


def measure(count: int, only: str) -> None:
    is_large = count > 20_000
    with tempfile.TemporaryDirectory() as name:
        repository = Repository(Path(name) / "repository", count)
        floors = floors_of(repository, is_large=is_large)
        commands = [one for one in commands_of(repository, is_large=is_large) if only in one.label]
        figures: dict[str, list[Figure]] = {}
        for _ in range(3 if is_large else 9):
            measure_each(floors, repository, figures)
            repository.settle()
            measure_each(commands, repository, figures)
        show(count, floors, commands, {label: best(found) for label, found in figures.items()})
        if not is_large and not only:
            measure_writers(repository)


def measure_each(commands: Sequence[Command], repository: Repository, figures: dict[str, list[Figure]]) -> None:
    for command in commands:
        command.prepare()
        arguments = [repository.next_value() if one == TURN else one for one in command.arguments]
        figures.setdefault(command.label, []).append(run(arguments, repository.root, command.environment))


def best(found: Sequence[Figure]) -> Figure:
    return Figure(0, *(min(part) for part in zip(*(one[1:] for one in found), strict=True)))


def measure_writers(repository: Repository) -> None:
    """Eight processes that commit six times each, beside one that commits as often."""
    count = WRITERS * COMMITS
    begun = time.perf_counter()
    for number in range(count):
        commit_one(repository, number)
    alone = time.perf_counter() - begun
    before = count_commits(repository)
    begun = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        refused = sum(pool.map(lambda writer: commit_some(repository, writer * COMMITS), range(WRITERS)))
    taken = time.perf_counter() - begun
    lost = count - refused - (count_commits(repository) - before)
    print(
        f"| {WRITERS} writers x {COMMITS} commits | 2 x {count} one after the other, 0 lost | {taken * 1000:.0f} "
        f"| {taken / (2 * alone):.0%} | | | {verdict(is_reached=taken <= 2 * alone and not lost)}, {lost} lost, "
        f"{refused} refused after waiting for the lock |"
    )


def commit_some(repository: Repository, start: int) -> int:
    """How many of the commits were refused because others held the lock for too long."""
    return [commit_one(repository, start + number) for number in range(COMMITS)].count(LOCKED)


def commit_one(repository: Repository, number: int) -> int:
    """The exit code."""
    name, value = repository.ids[number], f"labels=writer{time.monotonic_ns()}"
    command = [*TOOL, "task", "set", name, value, "--commit"]
    return run(command, repository.root, allowed=(0, LOCKED)).code


def count_commits(repository: Repository) -> int:
    counted = subprocess.run(
        ["git", "-C", str(repository.root), "rev-list", "--count", "HEAD"], capture_output=True, check=True
    )
    return int(counted.stdout)


def show(count: int, floors: Sequence[Command], commands: Sequence[Command], figures: Mapping[str, Figure]) -> None:
    seconds = {"s": 1.0} | {floor.label: figures[floor.label].seconds for floor in floors}
    cpu = {"s": 1.0} | {floor.label: figures[floor.label].cpu for floor in floors}
    units = ", ".join(f"{floor.label} = {seconds[floor.label] * 1000:.0f} ms" for floor in floors)
    print(f"\n{count:,} tasks, {os.cpu_count()} processors: {units}.\n")
    print("| command | at most | ms | of the budget | by processor | MB | |\n|---|---|---|---|---|---|---|")
    for command in commands:
        figure = figures[command.label]
        used = [figure.seconds / total(budget, seconds) for budget in command.budgets]
        used_cpu = [figure.cpu / total(budget, cpu) for budget in command.budgets]
        limits = [*map(words, command.budgets), *([f"{command.megabytes} MB"] if command.megabytes else [])]
        is_reached = max(used, default=0) <= 1 and figure.megabytes <= (command.megabytes or figure.megabytes)
        cells = [
            command.label,
            "; ".join(limits),
            f"{figure.seconds * 1000:.0f}",
            ", ".join(f"{one:.0%}" for one in used),
            ", ".join(f"{one:.0%}" for one in used_cpu),
            f"{figure.megabytes:.0f}",
            verdict(is_reached=is_reached) if limits else "",
        ]
        print(f"| {' | '.join(cells)} |")


def total(budget: Budget, unit: Mapping[str, float]) -> float:
    return sum(number * unit[floor] for floor, number in budget.items())


def words(budget: Budget) -> str:
    return " + ".join(floor if number == 1 else f"{number:g} {floor}" for floor, number in budget.items())


def verdict(*, is_reached: bool) -> str:
    return "reached" if is_reached else "**missed**"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--only", default="", help="measure only commands with that in their name")
    given = parser.parse_args()
    for wanted in given.counts:
        measure(wanted, given.only)
