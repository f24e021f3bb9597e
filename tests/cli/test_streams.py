"""Output that cannot be written, and streams that were closed before we began."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject

FILES = {"tasks/web/project.yaml": "name: Web\n", "tasks/web/web-000001.yaml": "name: One\n"}
FULL = "error: cannot read or write the answer: No space left on device"


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


@pytest.mark.parametrize(
    ("words", "streams", "code", "said"),
    [
        ("task list", ">/dev/full", 8, FULL),
        ("task list --json", ">/dev/full", 8, "No space left on device"),
        ("task set 000001 status=blocked", ">/dev/full", 8, FULL),
        ("task show nope", ">/dev/full", 5, "there is no task 'nope'"),
        ("task show nope", "2>/dev/full", 8, ""),
        ("task list", ">&-", 0, ""),
        ("task list", "2>&-", 0, ""),
        ("task show nope", "2>&-", 5, ""),
        ("task set 000001 status=blocked", ">&- 2>&- <&-", 0, ""),
    ],
)
def test_streams_that_take_nothing(words: str, streams: str, code: int, said: str, root: Path) -> None:
    command = f'"{sys.executable}" -m dagtasks -C "{root}" {words} {streams}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "a bug" not in done.stderr
    changed = "status: blocked" in (root / "tasks/web/web-000001.yaml").read_text()
    assert changed == ("set" in words)


def test_nothing_is_printed_into_files_of_ours(root: Path) -> None:
    """With stdout closed, the first file that is opened gets its number."""
    command = f'"{sys.executable}" -m dagtasks -C "{root}" task create web --name New --commit >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    for path in [path for path in root.rglob("*") if path.is_file()]:
        assert b"created: New [" not in path.read_bytes()
