"""This repository uses itself: its own tasks, templates, settings and site are right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, git, write_files

Cli = Callable[..., Result]
ROOT = Path(__file__).parents[1]


def test_no_file_has_an_error_or_a_warning(cli: Cli) -> None:
    done = cli(ROOT, "validate", "--json")
    assert done.code == 0
    assert [problem for problem in done.json if problem["severity"] != "note"] == []


def test_its_tasks_lead_from_what_is_there_to_what_is_wanted(cli: Cli) -> None:
    tasks = cli(ROOT, "task", "list", "project:dagtasks", "--json").json
    phases = cli(ROOT, "phase", "list", "dagtasks", "--json").json
    assert {task["phase"] for task in tasks} == {phase["key"] for phase in phases}
    assert {"planned", "completed"} <= {task["status"] for task in tasks}
    ready = cli(ROOT, "task", "next", "--all", "--json").json
    assert ready
    assert all(task["ready"] for task in ready)


def test_its_tasks_bind_its_templates(cli: Cli) -> None:
    templates = {template["name"] for template in cli(ROOT, "template", "list", "--json").json}
    assert {"basic_task", "board", "check"} <= templates
    bound = [task for task in cli(ROOT, "task", "list", "--json").json if "check" in task["workflows"]]
    assert bound


def test_the_example_template_is_the_one_that_init_writes() -> None:
    starter = ROOT / "dagtasks/service/starter"
    for name in ("templates/basic_task.yaml", "config/default.yaml", "config/dagger.yaml", "config/example.env"):
        assert (ROOT / name).read_bytes() == (starter / name).read_bytes(), name


@pytest.mark.parametrize("target", ["test", "check"])
def test_check_is_planned_with_the_commit(target: str, cli: Cli, checkout: Path) -> None:
    done = cli(checkout, *("plan", "--template", "check", "--json"), *_params(repository=str(checkout), target=target))
    assert done.code == 0, done.err
    step = done.json["steps"][0]
    assert step["env"] | {"DT_PARAMS": ""} == {
        "REPOSITORY": str(checkout),
        "COMMIT": git(checkout, "rev-parse", "HEAD"),
        "TARGET": target,
        "DT_PARAMS": "",
    }


@pytest.mark.parametrize(
    ("params", "message"),
    [({}, "`repository` is required"), ({"repository": "x", "target": "clean"}, "`target`")],
)
def test_check_refuses_other_parameters(params: dict[str, str], message: str, cli: Cli, checkout: Path) -> None:
    done = cli(checkout, "plan", "--template", "check", *_params(**params))
    assert done.code == 2
    assert message in done.err


@pytest.mark.slow
def test_board_builds_the_site_of_the_commit(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    given = _params(repository=str(checkout), target=str(target))
    for _ in range(2):  # the second site shows the run that made the first
        _dagtasks(checkout, "run", "--template", "board", "--engine", "local", *given)
    assert (target / "tutorial.html").exists()
    assert "board" in (target / "runs.html").read_text("utf-8")
    assert "succeeded" in (target / "runs.html").read_text("utf-8")
    assert git(checkout, "status", "--short") == ""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that holds the files of this one as they are now, in one commit."""
    folder = tmp_path / "checkout"
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    wanted = ("tasks/", "templates/", "config/", "site_src/", "mkdocs.yml", "README.md")
    files = [name for name in names.split("\0") if name.startswith(wanted) and (ROOT / name).exists()]
    write_files(folder, {name: (ROOT / name).read_bytes() for name in files})
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


def _params(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("--param", f"{name}={value}")]


def _dagtasks(folder: Path, *arguments: str) -> None:
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-m", "dagtasks", "-C", str(folder), *arguments],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
