"""`dagtasks run --ready`: every task that can be started and has a workflow, in dependency order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, write_files

Cli = Callable[..., Result]
TEMPLATE = """\
metadata:
  name: t
parameters:
  code:
    type: integer
    default: 0
steps:
  - name: a
    container: {image: 'alpine:3', command: 'exit ${code}'}
updates:
  on_success:
    status: completed
"""
FLOW = "\nworkflows:\n  w:\n    template: t\n"


def task(needs: str = "", more: str = FLOW) -> str:
    return f"name: A\n\nstatus: planned\n\npriority: {'high' if needs else 'low'}\n\ndepends_on: [{needs}]\n{more}"


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    files = {"tasks/web/project.yaml": "name: Web\n", "templates/t.yaml": TEMPLATE}
    tasks = {"1": task(), "2": task("web-000001"), "3": task("web-000002"), "4": task(more=""), "5": task("web-000004")}
    return project({**files, **{f"tasks/web/web-00000{n}.yaml": text for n, text in tasks.items()}}).root


def run(root: Path, cli: Cli, *options: str) -> tuple[int, list[tuple[str, str]]]:
    done = cli(root, "run", "--ready", "--json", *options)
    return done.code, [(record["task"][-1], record["status"]) for record in done.json]


def test_what_a_run_makes_ready_is_run_after_it(root: Path, cli: Cli) -> None:
    assert run(root, cli) == (0, [("1", "succeeded"), ("2", "succeeded"), ("3", "succeeded")])
    assert run(root, cli) == (0, [])
    assert cli(root, "run", "--ready").out == "nothing was run\n"


def test_a_failure_keeps_back_what_depends_on_it_alone(root: Path, cli: Cli) -> None:
    write_files(root, {"tasks/web/web-000002.yaml": task("web-000001", f"{FLOW}    parameters: {{code: 3}}\n")})
    write_files(root, {"tasks/web/web-000006.yaml": task("web-000001")})
    assert run(root, cli) == (1, [("1", "succeeded"), ("2", "failed"), ("6", "succeeded")])


def test_what_cannot_be_run_is_told_and_keeps_no_other_back(root: Path, cli: Cli) -> None:
    two = f"{FLOW}  v:\n    template: t\n"
    write_files(root, {"tasks/web/web-000000.yaml": task(more=two), "tasks/web/web-000007.yaml": task(more=two)})
    done = cli(root, "run", "--ready")
    assert done.code == 1
    assert [line.split()[1:] for line in done.out.splitlines()] == [[f"web-00000{n}/w", "succeeded"] for n in "123"]
    assert (
        "not run: web-000000: web-000000 has several workflows: w, v (say which: dagtasks run web-000000 NAME)"
        in done.err
    )
    assert "not run: web-000007" in done.err


def test_a_dry_run_shows_what_would_begin_now(root: Path, cli: Cli) -> None:
    done = cli(root, "run", "--ready", "--dry-run", "--json")
    assert (done.code, [plan["task"] for plan in done.json]) == (0, ["web-000001"])
    assert cli(root, "runs", "list", "--json").json == []


@pytest.mark.parametrize(
    "options", [["web-000001"], ["--template", "t"], ["--param", "code=1"], ["--ignore-dependencies"]]
)
def test_nothing_else_can_be_chosen(options: list[str], root: Path, cli: Cli) -> None:
    done = cli(root, "run", "--ready", *options)
    assert (done.code, "--ready takes what the tasks say" in done.err) == (2, True)
