"""What importing the Dagger executor costs, does, and needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject

LOOK = """
import beartype
before = beartype.beartype
import dagtasks.engine.dagger, dagger
print("beartype" in dagger.Container.from_.__code__.co_filename, beartype.beartype is before)
"""
WITHOUT_SDK = """
import sys
sys.modules["dagger"] = None
from dagtasks.cli import call
sys.exit(call(sys.argv[1:]))
"""


def test_the_sdk_does_without_checks_of_types_and_nothing_else_does() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


class TestWithoutTheSdk:
    @pytest.fixture
    def root(self, project: MakeProject) -> Path:
        container = 'metadata: {name: box}\nsteps: [{name: a, container: {image: "alpine:3", command: [echo, a]}}]\n'
        api = 'metadata: {name: ask}\nsteps: [{name: a, api: {url: "http://127.0.0.1/"}}]\n'
        return project({"templates/box.yaml": container, "templates/ask.yaml": api}).root

    def call(self, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_SDK, "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_a_run_says_what_to_install(self, root: Path) -> None:
        done = self.call(root, "run", "--template", "box")
        assert (done.returncode, done.stdout) == (9, "")
        assert "the engine dagger is not installed" in done.stderr
        assert "pip install 'dagtasks[dagger]'" in done.stderr

    def test_doctor_says_so(self, root: Path) -> None:
        assert "the engine dagger is not installed" in self.call(root, "doctor").stdout

    def test_api_steps_need_none(self, root: Path) -> None:
        done = self.call(root, "run", "--template", "ask")
        assert done.returncode == 1
        assert "is not on the public internet" in done.stderr + done.stdout
