"""How long a board takes to build, beside MkDocs building the same tasks as Markdown pages, in the same run.

    python benchmarks/board.py [COUNT ...]

Compare only the ratios: absolute times swing with the machine. "floor" is writing the bytes of our site once more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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


def measure(root: Path) -> tuple[float, int]:
    """Wall seconds and peak memory (MB) of one `mkdocs build` in that folder."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "mkdocs", "build", "-q"], cwd=root, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the build in {root} failed")
    return time.perf_counter() - start, usage.ru_maxrss // 1024


def write_floor(site: Path, target: Path) -> float:
    """Wall seconds that writing the files of the site takes."""
    files = [(path.relative_to(site), path.read_bytes()) for path in site.rglob("*") if path.is_file()]
    start = time.perf_counter()
    for folder in {target / name.parent for name, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        (target / name).write_bytes(content)
    return time.perf_counter() - start


def compare(folder: Path, count: int) -> Iterator[str]:
    """The lines of the report for that many tasks."""
    ours, plain = folder / f"ours{count}", folder / f"plain{count}"
    write_ours(ours, count)
    write_plain(plain, count)
    our_time, our_memory = measure(ours)
    plain_time, plain_memory = measure(plain)
    floor = write_floor(ours / "site", folder / f"floor{count}")
    pages = [path.stat().st_size for path in (ours / "site").rglob("*.html")]
    board = (ours / "site/board.html").stat().st_size
    yield f"{count:6} tasks  ours {our_time:6.2f} s {our_memory:4} MB   plain {plain_time:6.2f} s {plain_memory:4} MB"
    yield f"              plain/ours {plain_time / our_time:5.2f}   ours/floor {our_time / floor:6.1f}"
    yield f"              largest page {max(pages) // 1000} kB, board {board // 1000} kB, mean {sum(pages) // len(pages)} B"


def main() -> None:
    """Measure each size that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[10, 1000])
    counts = parser.parse_args().counts
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            for line in compare(Path(folder), count):
                print(line, flush=True)


if __name__ == "__main__":
    main()
