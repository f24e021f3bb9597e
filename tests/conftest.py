"""Fixtures: a real Git repository from a map of files, the command line, and a Git that knows no user's settings."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from dagtasks import cli as main
from dagtasks.store.project import Project

# The same cases in every run, so that a change fails for what it did. Others: pytest --hypothesis-profile=default
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

BASIC_TEMPLATE = (Path(__file__).parents[1] / "dagtasks/service/starter/templates/basic_task.yaml").read_text()


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the user's Git, home or environment reach a test."""
    isolate(monkeypatch, tmp_path_factory.mktemp("home"))


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Give this process an environment that only `home` has a say in."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DAGTASKS_")) and "_TEST_" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".state"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    (home / ".gitconfig").write_text("[user]\n name = Ann\n email = ann@example.org\n[init]\n defaultBranch = main\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests report of themselves, also when they ran in other processes."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = {
        f"{report.nodeid.partition('::')[2]}: {text}"
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == "figures"
    }
    if lines:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(sorted(lines)))


Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """A function that shows a line of figures at the end of all tests."""
    return lambda text: record_property("figures", text)


def git(folder: Path, *arguments: str) -> str:
    """Run git in the folder and return what it prints."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write each file below the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


MakeProject = Callable[..., Project]


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """A function that makes a Git repository of the files (all committed) and gives its `Project`."""

    def make(files: Mapping[str, str | bytes] | None = None, name: str = "repository") -> Project:
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "--quiet")
        write_files(folder, {"tasks/README.md": "tasks\n", **(files or {})})
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "start")
        return Project(folder)

    return make


@dataclass(frozen=True)
class Result:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The `data` of the document on stdout."""
        return json.loads(self.out)["data"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function that carries out `dagtasks -C FOLDER ARGUMENTS...` in this process, with what stdin gives."""

    def run(folder: Path, *arguments: str, given: str = "") -> Result:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8"))
        with redirect_stdout(out), redirect_stderr(err):
            code = main.call(["-C", str(folder), *arguments])
        return Result(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def process() -> Callable[..., Result]:
    """A function that runs `dagtasks -C FOLDER ARGUMENTS...` as its own process."""

    def run(folder: Path, *arguments: str, given: str = "", env: Mapping[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "dagtasks", "-C", str(folder), *arguments],
            input=given,
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run
