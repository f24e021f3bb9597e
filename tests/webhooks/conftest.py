"""A repository with a webhook, and who it is sent to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result
from tests.webhooks.receiver import Receiver, receiving

ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
TEMPLATE = """\
metadata:
  name: t
updates:
  on_success: {status: completed}
steps:
  - name: a
    container: {image: 'alpine:3', command: 'true'}
"""
TASK = "name: One\n\nstatus: planned\n"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/ops/project.yaml": "name: Operations\n",
    "tasks/ops/ops-000001.yaml": TASK,
    ONE: TASK + "\nworkflows:\n  w:\n    template: t\n",
    TWO: TASK.replace("One", "Two"),
    "templates/t.yaml": TEMPLATE,
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    monkeypatch.setenv("DAGTASKS_ALLOW_HOSTS", "127.0.0.1")
    return project(FILES).root


Create = Callable[..., str]


@pytest.fixture
def create(root: Path, receiver: Receiver, cli: Callable[..., Result]) -> Create:
    """A function that makes a webhook of that name, which sends to the path of the same name; gives its secret."""

    def make(name: str, *options: str) -> str:
        done = cli(root, "webhooks", "create", name, f"{receiver.url}/{name}", *options, "--json")
        assert done.code == 0, done.err
        return str(done.json["secret"])

    return make
