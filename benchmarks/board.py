"""How long a board takes to build, beside MkDocs building the same tasks as Markdown pages, in the same run.

    python benchmarks/board.py [COUNT ...]

Compare only the ratios: absolute times swing with the machine. "floor" is writing the bytes of our site once more.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
STATUSES = ("planned", "in_progress", "completed", "blocked", "cancelled")
PRIORITIES = ("low", "medium", "high", "critical")
TEXT = """\
What has to be done is described here in a few words, with `code` and **weight** where they help the reader.

- [ ] look at the numbers
- [ ] change the part that is slow
- [x] tell the others

1. measure
2. change
3. measure again

```yaml
steps:
  - name: run
    container: {image: alpine}
```

See [the guide](https://example.org/guide) for more, and [the report](https://example.org/report) for the rest.
"""
PLAIN = """\
site_name: plain
theme: {name: material, font: false}
nav: [{Home: index.md}]
not_in_nav: /t/
plugins: []
markdown_extensions: [tables, attr_list, admonition, toc, pymdownx.superfences, pymdownx.highlight, pymdownx.tasklist]
"""


def task_id(number: int) -> str:
    """The id of a numbered task."""
    return "web-" + "".join(ALPHABET[number // 32**place % 32] for place in range(5, -1, -1))


def needs(number: int) -> list[str]:
    """The ids that a task depends on: up to three of those before it."""
    return [task_id(other) for other in range(max(0, number - number % 4), number)]


def write_ours(root: Path, count: int) -> None:
    """A repository of `count` tasks with a board."""
    from dagtasks.board.scaffold import write_board_files

    body = TEXT.replace("\n", "\n  ")
    (root / "tasks/web/phases").mkdir(parents=True)
    (root / "tasks/web/project.yaml").write_text("name: Web\n")
    for phase in range(10):
        (root / f"tasks/web/phases/part{phase}.yaml").write_text(f"name: Part {phase}\norder: {phase}\n")
    for n in range(count):
        depends = "".join(f"\n  - {need}" for need in needs(n))
        folder = root / f"tasks/web/{task_id(n)[-2:]}"
        folder.mkdir(exist_ok=True)
        (folder / f"{task_id(n)}.yaml").write_text(
            f"name: Do the thing number {n} and look\nstatus: {STATUSES[n % 5]}\npriority: {PRIORITIES[n % 4]}\n"
            f"assignee: ann\nphase: part{n % 10}\nlabels:\n  - ui\n  - q4\ndepends_on:{depends}\n"
            f"description: |\n  {body}\nmetadata:\n  points: 3\n"
        )
    write_board_files(root, "Benchmark")


def write_plain(root: Path, count: int) -> None:
    """The same tasks as Markdown pages for MkDocs alone."""
    (root / "docs/t").mkdir(parents=True)
    (root / "mkdocs.yml").write_text(PLAIN)
    (root / "docs/index.md").write_text("# Plain\n")
    for n in range(count):
        links = ", ".join(f"[{need}]({need}.md)" for need in needs(n))
        (root / f"docs/t/{task_id(n)}.md").write_text(
            f"# Do the thing number {n} and look\n\n| field | value |\n|---|---|\n| status | {STATUSES[n % 5]} |\n"
            f"| priority | {PRIORITIES[n % 4]} |\n| assignee | ann |\n| phase | part{n % 10} |\n\n"
            f"Depends on: {links}\n\n{TEXT}"
        )


class Build(NamedTuple):
    """One build as a whole process: wall seconds, seconds of processors, peak memory in MB."""

    wall: float
    cpu: float
    memory: int


def run(root: Path, *command: str) -> Build:
    """The command, in that folder, to its end."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=root, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} in {root} failed")
    return Build(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)


def edit(root: Path) -> None:
    """Change one task."""
    path = next(root.glob("tasks/web/00/*.yaml"))
    path.write_text(path.read_text().replace("name: ", "name: Now "))


def make(root: Path) -> dict[str, Build]:
    """Builds of the board, from nothing and on."""
    board = ("dagtasks", "board", "build")
    cold, warm = run(root, *board), run(root, *board)
    edit(root)
    return {"cold": cold, "warm": warm, "edited": run(root, *board)}


def write_floor(site: Path, target: Path) -> float:
    """Wall seconds that writing the files of the site takes."""
    files = [(path.relative_to(site), path.read_bytes()) for path in site.rglob("*") if path.is_file()]
    start = time.perf_counter()
    for folder in {target / name.parent for name, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        (target / name).write_bytes(content)
    return time.perf_counter() - start


def weigh(*paths: Path) -> tuple[int, int]:
    """Bytes of the files, and of each compressed."""
    texts = [path.read_bytes() for path in paths]
    return sum(map(len, texts)), sum(len(gzip.compress(text)) for text in texts)


def show_times(builds: dict[str, Build], plain: Build, floor: float) -> None:
    """A line for each build, beside plain MkDocs and beside writing the same bytes."""
    print("| build | s | of the processors | MB | plain / it | by processor | it / floor |")
    print("|---|---|---|---|---|---|---|")
    for name, build in {"plain MkDocs": plain, **builds}.items():
        ratios = f"{plain.wall / build.wall:.1f} | {plain.cpu / build.cpu:.1f} | {build.wall / floor:.0f}"
        print(f"| {name} | {build.wall:.2f} | {build.cpu:.2f} | {build.memory} | {ratios} |", flush=True)


def show_weights(site: Path, count: int) -> None:
    """What readers have to load."""
    assets = site / "assets/dagtasks"
    index = list(assets.glob("tasks*.js"))
    others = [*index, *assets.glob("pages.*.css")]
    own = [path for path in assets.iterdir() if path.suffix in (".js", ".css") and path not in others]
    tasks = weigh(*(site / "t").glob("*.html"))
    nodes = (site / "board.html").read_text().count("<") - (site / "board.html").read_text().count("</")
    rows = {
        "a task page, mean": (tasks[0] // count, tasks[1] // count),
        "the board page": weigh(site / "board.html"),
        "the task index, a task": tuple(size // count for size in weigh(*index)),
        "own scripts and styles of the board page": weigh(*own),
    }
    print("\n| | bytes | compressed |\n|---|---|---|")
    for name, (raw, compressed) in rows.items():
        print(f"| {name} | {raw:,} | {compressed:,} |")
    largest = max((path.stat().st_size, path.name) for path in site.rglob("*.html"))
    print(f"\nThe board page has some {nodes:,} elements; the largest page is {largest[1]} with {largest[0]:,} bytes.")


def compare(folder: Path, count: int) -> None:
    """Print the tables for that many tasks."""
    ours, plain = folder / f"ours{count}", folder / f"plain{count}"
    write_ours(ours, count)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "tasks"]):
        subprocess.run(["git", "-C", ours, "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True)
    write_plain(plain, count)
    without = run(plain, "mkdocs", "build", "-q")
    builds = make(ours)
    print(f"\n{count:,} tasks\n")
    show_times(builds, without, write_floor(ours / "site", folder / f"floor{count}"))
    show_weights(ours / "site", count)


def main() -> None:
    """Measure each size that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[10, 1000])
    counts = parser.parse_args().counts
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            compare(Path(folder), count)


if __name__ == "__main__":
    main()
