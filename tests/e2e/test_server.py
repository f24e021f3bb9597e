"""The server of the guide: its hooks, as they stand there, refuse broken files and run what a push to main starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BASIC_TEMPLATE, Result, git, write_files

Cli = Callable[..., Result]
GUIDE = Path(__file__).parents[2] / "site_src/guides/server.md"
PATIENCE = 60.0
TASK = """\
name: One

status: planned

workflows:
  check:
    template: basic_task
    parameters: {task_name: x, task_command: echo hello}
    run_on: [in_progress]
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Path:
    """A bare repository with the hooks of the guide, a clone beside it that looks, and one in which somebody works."""
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    git(tmp_path, "init", "-q", "--bare", "--initial-branch", "main", "hub.git")
    git(tmp_path, "clone", "-q", "hub.git", "ann")
    write_files(
        tmp_path / "ann",
        {
            "tasks/web/project.yaml": "name: Web\n",
            "tasks/web/web-000001.yaml": TASK,
            "templates/basic_task.yaml": BASIC_TEMPLATE,
        },
    )
    git(tmp_path / "ann", "checkout", "-qb", "main")
    git(tmp_path / "ann", "add", ".")
    git(tmp_path / "ann", "commit", "-qm", "start")
    git(tmp_path / "ann", "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "hub.git", "work")
    for name, text in re.findall(r'```sh title="hub.git/hooks/(.+?)"\n(.*?)```', GUIDE.read_text(), re.DOTALL):
        write_files(tmp_path / "hub.git/hooks", {name: text})
        (tmp_path / "hub.git/hooks" / name).chmod(0o755)
    assert cli(tmp_path / "work", "hooks", "install").code == 0
    return tmp_path


def push(server: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    write_files(server / "ann", {"tasks/web/web-000001.yaml": text})
    git(server / "ann", "commit", "-qam", "change")
    return subprocess.run(
        ["git", "-C", str(server / "ann"), "push", "-q", "origin", *words], capture_output=True, text=True, check=False
    )


def runs(server: Path, cli: Cli) -> list[str]:
    return [run["status"] for run in cli(server / "work", "runs", "list", "--json").json]


def test_what_has_errors_is_refused_and_the_branch_stays(server: Path) -> None:
    before = git(server / "hub.git", "rev-parse", "main")
    done = push(server, TASK + "bad: [\n", "main")
    assert done.returncode == 1
    assert re.search(r"tasks/web/web-000001\.yaml:\d+:\d+: DT102", done.stderr)
    assert git(server / "hub.git", "rev-parse", "main") == before


def test_a_push_to_main_runs_what_is_approved_here(server: Path, cli: Cli) -> None:
    assert cli(server / "work", "trust", "approve", "web-000001/check", "--yes").code == 0
    begun = TASK.replace("planned", "in_progress")
    done = push(server, begun, "main")
    assert done.returncode == 0, done.stderr
    assert "1 run queued" in done.stderr
    deadline = time.monotonic() + PATIENCE
    while runs(server, cli) != ["succeeded"]:
        assert time.monotonic() < deadline, runs(server, cli)
        time.sleep(0.1)


def test_a_push_of_what_nobody_approved_is_told_and_waits(server: Path, cli: Cli) -> None:
    done = push(server, TASK.replace("planned", "in_progress"), "main")
    assert "waiting for an approval: web-000001/check" in done.stderr
    assert runs(server, cli) == ["awaiting_approval"]


def test_other_branches_start_nothing_and_can_be_deleted(server: Path, cli: Cli) -> None:
    assert push(server, TASK.replace("planned", "in_progress"), "HEAD:other").returncode == 0
    git(server / "ann", "push", "-q", "origin", "--delete", "other")
    assert runs(server, cli) == []
    assert cli(server / "work", "queue", "list", "--json").json == []
