"""What our hooks add to `git commit`, and how soon the watcher queues what a save starts: `python benchmarks/triggers.py [COUNT]`.

Prints tables of Markdown in about three minutes. Commits are made in turns with and without hooks, and the medians
compared. The saves come while nothing else happens; "queued" is when the entry is in the queue.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tasks import make_repository

TOOL = str(Path(sys.executable).parent / "dagtasks")
TURNS = 15
SAVES = 50
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
FLOW = """workflows:
  check:
    template: basic_task
    parameters: {task_name: x, task_command: 'true'}
    run_on: [updated]
"""


def call(root: Path, *words: str) -> float:
    """Seconds that the command took."""
    begun = time.perf_counter()
    subprocess.run(words, cwd=root, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def commit(root: Path, *, hooks: bool) -> float:
    off = [] if hooks else ["-c", "core.hooksPath=/dev/null"]
    return call(root, "git", *off, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "x")


def compare(root: Path, change: Callable[[int], object]) -> tuple[float, float, float]:
    """Medians of a commit without hooks, with them, and of the ratios of neighbours."""
    plain, ours = [], []
    for turn in range(TURNS):
        change(2 * turn)
        plain.append(commit(root, hooks=False))
        call(root, TOOL, "queue", "work")  # what was not seen is looked at now
        change(2 * turn + 1)
        ours.append(commit(root, hooks=True))
    ratios = [one / other for one, other in zip(ours, plain, strict=True)]
    return statistics.median(plain), statistics.median(ours), statistics.median(ratios)


def show_commits(root: Path, ids: list[str]) -> None:
    """Print what the hooks add."""
    files = [path_of(root, name) for name in ids[:2]]
    readme = root / "README.md"
    cases = {
        "nothing of tasks": (lambda turn: readme.write_text(f"{turn}\n"), 1.3),
        "the status of one task": (lambda turn: flip(files[0], turn), 2.0),
    }
    print("| a commit of | without hooks | with them | times | at most | |\n|---|---|---|---|---|---|")
    for label, (change, limit) in cases.items():
        plain, ours, ratio = compare(root, change)
        verdict = "reached" if ratio <= limit else "**missed**"
        print(
            f"| {label} | {plain * 1000:.0f} ms | {ours * 1000:.0f} ms | {ratio:.1f} | {limit} | {verdict} |",
            flush=True,
        )


def flip(path: Path, turn: int) -> None:
    word = b"planned" if turn % 2 else b"in_progress"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(b"status: " + word + b"\n" if line.startswith(b"status:") else line for line in lines))


def path_of(root: Path, name: str) -> Path:
    return next(root.glob(f"tasks/{name.partition('-')[0]}/**/{name}.yaml"))


def show_saves(root: Path, name: str) -> None:
    """Print how soon a save is queued, and what the watcher takes while nothing happens."""
    path, queue = path_of(root, name), root / ".git/dagtasks/queue"
    text = "\n".join(line for line in path.read_text().splitlines() if line != "workflows:")
    path.write_text(f"{text}\n{FLOW}")
    call(root, TOOL, "queue", "work")
    with subprocess.Popen([TOOL, "watch"], cwd=root, env=ENVIRONMENT, stderr=subprocess.PIPE) as watcher:
        try:
            time.sleep(5)
            used = cpu_of(watcher.pid)
            time.sleep(20)
            idle = (cpu_of(watcher.pid) - used) / 20
            taken = sorted(save(path, queue, turn) for turn in range(SAVES))
        finally:
            watcher.kill()
    print("\n| save to queued | at most | |\n|---|---|---|")
    median = statistics.median(taken)
    print(f"| median {median * 1000:.0f} ms, worst {taken[-1] * 1000:.0f} ms | 400 ms | ", end="")
    print(
        f"{'reached' if taken[-1] <= 0.4 else '**missed**'} |\n\nThe watcher takes {idle:.1%} of a processor when idle."
    )


def save(path: Path, queue: Path, turn: int) -> float:
    """Seconds until an entry is there that was not."""
    before = newest(queue)
    begun = time.perf_counter()
    lines = [line for line in path.read_text().splitlines() if not line.startswith("assignee:")]
    path.write_text("\n".join([f"assignee: turn{turn}", *lines, ""]))
    while newest(queue) == before:
        if time.perf_counter() - begun > 20:
            raise SystemExit("nothing was queued")
        time.sleep(0.002)
    taken = time.perf_counter() - begun
    time.sleep(1.5)
    return taken


def newest(queue: Path) -> tuple[float, int]:
    """Stands for what was put into the queue last."""
    found = queue.stat() if queue.exists() else None
    return (found.st_mtime_ns, found.st_ino) if found else (0, 0)


def cpu_of(pid: int) -> float:
    """Seconds of the processor that the process took so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ids = make_repository(root, count)
        (root / "README.md").write_text("start\n")
        call(root, "git", "add", "README.md")
        commit(root, hooks=False)
        call(root, TOOL, "validate")
        call(root, TOOL, "hooks", "install")
        call(root, TOOL, "queue", "work")
        print(f"{count:,} tasks\n")
        show_commits(root, ids)
        show_saves(root, ids[len(ids) // 2])


if __name__ == "__main__":
    main()
