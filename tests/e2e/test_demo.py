"""The main job, end to end: `dagtasks demo` as its own process, and the site that it leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, git

Process = Callable[..., Result]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that ran once for all tests of this file."""
    folder = tmp_path_factory.mktemp("demo") / "shop"
    command = [sys.executable, "-m", "dagtasks", "demo", str(folder), "--engine", "local"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"project: {folder}" in done.stdout
    assert f"board: {folder}/site/index.html" in done.stdout
    return folder


def test_its_files_are_right_and_all_committed(demo: Path, process: Process) -> None:
    assert process(demo, "validate").code == 0
    assert git(demo, "status", "--porcelain") == ""
    tasks = process(demo, "task", "list", "--json").json
    assert len(tasks) == 13
    assert {task["phase"] for task in tasks} == {"design", "build", "launch"}
    assert {template["type"] for template in process(demo, "template", "list", "--json").json} == {
        "containerized_workflow",
        "script_workflow",
        "api_workflow",
        "composite_workflow",
    }


def test_its_runs_went_as_told(demo: Path, process: Process) -> None:
    runs = process(demo, "runs", "list", "--json").json
    assert Counter(run["status"] for run in runs) == {"succeeded": 6, "failed": 1}
    by_workflow = {(run["task"], run["workflow"], run["template"]["name"]): run for run in runs}
    assert by_workflow["web-g8n3p7", "weigh", "page_weight"]["outputs"] == {"kilobytes": 35}
    assert by_workflow["web-j7s2t5", "review", "ask_reviewer"]["outputs"] == {"answer": "web-j7s2t5: yes, it is clear"}
    assert by_workflow["web-d1f7g3", "quality", "quality"]["outputs"] == {
        "summary": "login form - all tests passed, 35 KB"
    }
    failed = by_workflow["web-f2k6m4", "check", "basic_task"]
    assert failed["steps"][0]["exit_code"] == 3
    logs = process(demo, "runs", "logs", failed["id"]).out
    assert "execute_task | no session store configured" in logs


def test_its_site_asks_no_other_host_for_anything(demo: Path) -> None:
    pages = list((demo / "site").rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//([^/"' >]+)""")
    hosts = {match[1] for page in pages for match in loads.finditer(page.read_text())}
    assert hosts == set()


def test_plain_mkdocs_builds_it_strictly(demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=demo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/t/web-d1f7g3.html").exists()


def test_the_board_shows_the_failed_run(demo: Path, process: Process) -> None:
    failed = process(demo, "runs", "list", "--status", "failed", "--json").json[0]
    page = (demo / "site/r" / f"{failed['id']}.html").read_text()
    assert "no session store configured" in page


def test_a_folder_that_holds_anything_is_refused(demo: Path, process: Process) -> None:
    done = process(demo.parent, "demo", str(demo))
    assert (done.code, done.out) == (2, "")
    assert "is not empty" in done.err


def test_every_document_has_the_same_frame(demo: Path, process: Process) -> None:
    commands = (
        ("project", "list"),
        ("project", "show", "web"),
        ("phase", "list", "web"),
        ("phase", "show", "web/build"),
        ("task", "list"),
        ("task", "show", "web-d1f7g3"),
        ("task", "next"),
        ("task", "next", "--explain"),
        ("workflow", "list", "web-d1f7g3"),
        ("workflow", "show", "web-d1f7g3", "check"),
        ("template", "list"),
        ("template", "show", "quality"),
        ("plan", "web-d1f7g3", "quality"),
        ("runs", "list"),
        ("validate",),
        ("config", "show"),
        ("doctor",),
    )
    for command in commands:
        done = process(demo, *command, "--json")
        document = json.loads(done.out)
        assert set(document) == {"schema", "kind", "data"}, command
        assert document["schema"] == 1


def test_a_demo_below_a_repository_leaves_that_alone(tmp_path: Path, process: Process) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "mine").write_text("mine")
    done = process(tmp_path, "demo", "shop", "--engine", "local")
    assert done.code == 0, done.err
    assert git(tmp_path, "status", "--porcelain") == "?? mine\n?? shop/"
    assert git(tmp_path, "for-each-ref") == ""
