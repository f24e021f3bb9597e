"""One server for the command lines of these tests, and a small project in Git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeProject
from tests.hostile.bounded import Server, serve

ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    ONE: "name: One\n\nstatus: planned\n\nphase: build\n",
    TWO: "name: Two\n\ndepends_on:\n  - web-000001\n",
    "templates/hello.yaml": (
        "metadata: {name: hello}\nsteps:\n  - {name: a, container: {image: alpine@sha256:"
        + "0" * 64
        + ", command: echo hi}}\n"
    ),
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Carries out command lines; at the end it says what the worst of them took."""
    with serve(tmp_path_factory.mktemp("served")) as found:
        yield found
    print(f"\nhostile: at most {found.worst_seconds:.2f} s of the processor and {found.worst_megabytes:.0f} MB")


@pytest.fixture
def root(project: MakeProject) -> Path:
    """The root of a project with two tasks, one of which depends on the other."""
    root: Path = project(FILES).root
    return root
