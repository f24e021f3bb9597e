"""What commands may import: start-up is what everybody waits for (02 section 8)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "dagger",
    "pydantic",
    "yaml",
    "git",
    "rich",
    "watchdog",
    "mkdocs",
    "asyncio",
    "httpx",
    "re2",
    "importlib.metadata",
}

PROBE = """
import sys
from dagtasks import cli
code = cli.call(sys.argv[1:])
print("\\n".join(["", "modules:", *sys.modules]))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["task", "--help"], ["task", "set", "--help"], ["completion", "bash"]]
)
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    imported = set(done.stdout.partition("modules:\n")[2].split())
    assert "dagtasks.cli" in imported
    assert not HEAVY & imported


def test_a_list_starts_no_engine_and_no_board(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "task", "list"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    imported = set(done.stdout.partition("modules:\n")[2].split())
    assert not {"dagger", "git", "rich", "watchdog", "mkdocs", "asyncio", "httpx"} & imported
