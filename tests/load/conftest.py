"""Fixtures: a repository, servers of it as processes, and clients that are light enough for many of them at once.

`DAGTASKS_TEST_LOAD` says how long it is to take, as a multiple of what is usual: 10 is a whole minute of load.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.api.conftest import FILES, make_key
from tests.api.served import SECONDS, Served
from tests.conftest import BASIC_TEMPLATE, git, isolate, write_files

TIMES = float(os.environ.get("DAGTASKS_TEST_LOAD", "1"))
LOAD_SECONDS = 6 * TIMES
API = "/api/v1"
HOT = tuple(f"web-00001{number}" for number in range(8))
"""Tasks that all change at the same time."""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client with one connection that stays open. `seen` are the answers that no client should have to see."""

    def __init__(self, served: Served) -> None:
        self._headers = served.headers
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=SECONDS)
        self.seen: list[Answer] = []

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        given = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, API + path, given, {**self._headers, **kind, **(headers or {})})
        found = self._connection.getresponse()
        answer = Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        if answer.status >= 500 and (answer.status != 503 or "retry-after" not in answer.headers):
            self.seen.append(answer)
        return answer

    def close(self) -> None:
        self._connection.close()


LARGE = "# " + "x" * 900_000 + "\n" + BASIC_TEMPLATE.replace("name: basic_task", "name: large")
"""A template whose text is more than any buffer takes."""


def make_root(folder: Path) -> Path:
    """A repository in the empty folder, with everything committed."""
    hot = {f"tasks/web/{name}.yaml": f"name: {name}\n\nmetadata:\n  count: 0\n" for name in HOT}
    git(folder, "init", "--quiet")
    write_files(folder, {**FILES, **hot, "templates/large.yaml": LARGE, ".gitignore": ".*.tmp\n"})
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return make_root(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for all tests of a module that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home"))
        root = make_root(tmp_path_factory.mktemp("repository"))
        made = Served(root, key=make_key(root, "admin"))
    yield made
    made.end(signal.SIGKILL)


@pytest.fixture
def key(root: Path) -> str:
    return make_key(root, "admin")


@pytest.fixture
def serve(root: Path, key: str) -> Iterator[Callable[[], Served]]:
    """A function that starts one more server of the repository."""
    with ExitStack() as stack:

        def start() -> Served:
            served = Served(root, key=key)
            stack.callback(lambda: served.process.poll() is None and served.end(signal.SIGKILL))
            return served

        yield start


def check_whole(root: Path) -> None:
    """Git and dagtasks find nothing wrong, nothing is left to be committed, and nobody's lock is left."""
    assert git(root, "fsck", "--no-dangling", "--strict") == ""
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "rev-list", "--merges", "HEAD") == ""
    assert [path.name for path in (root / ".git").glob("*.lock")] == []
