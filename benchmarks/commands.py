"""How long commands take, as ratios to floors measured in the same run: `python benchmarks/commands.py [COUNT...]`.

P = `python -c pass`; S = a process that walks and stats all files below tasks/; R = one that reads them all.
Each figure is the minimum of 9 runs; the machine's own noise is larger than most differences, ratios are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tasks import make_repository

RUNS = 9
WALK = """
import os, sys
def walk(folder):
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False): walk(entry.path)
        else: {visit}
walk(sys.argv[1])
"""


def best_of(arguments: list[str], folder: Path) -> float:
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        done = subprocess.run(arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        times.append(time.perf_counter() - begun)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{arguments} ended with {done.returncode}")
    return min(times)


def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "repository"
        ids = make_repository(root, count)
        python = [sys.executable, "-c"]
        tasks = str(root / "tasks")
        floors = {
            "P": best_of([*python, "pass"], root),
            "S": best_of([*python, WALK.format(visit="entry.stat()"), tasks], root),
            "R": best_of([*python, WALK.format(visit="open(entry.path, 'rb').read()"), tasks], root),
        }
        tool = [str(Path(sys.executable).parent / "dagtasks")]
        commands = {
            "--help": ["--help"],
            "task show ID": ["task", "show", ids[count // 2]],
            "task list (50)": ["task", "list", "--limit", "50"],
            "task next": ["task", "next"],
            "validate": ["validate"],
            "task set": ["task", "set", ids[count // 3], "priority=low"],
        }
        print(
            f"\n{count} tasks, {os.cpu_count()} processors: "
            + ", ".join(f"{k} = {v * 1000:.1f} ms" for k, v in floors.items())
        )
        print(f"{'command':<16} {'ms':>8} {'/P':>7} {'/S':>7} {'/R':>7}")
        for label, arguments in commands.items():
            taken = best_of([*tool, *arguments], root)
            ratios = " ".join(f"{taken / floor:7.1f}" for floor in floors.values())
            print(f"{label:<16} {taken * 1000:8.1f} {ratios}")


if __name__ == "__main__":
    for wanted in [int(text) for text in sys.argv[1:]] or [1000, 10_000]:
        measure(wanted)
