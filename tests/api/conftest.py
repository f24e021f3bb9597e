"""Fixtures: a client of the API, with a real repository behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dagtasks.api.app import make_app
from dagtasks.api.desk import Server
from dagtasks.service import keys
from dagtasks.store.project import Project
from tests.api import contract
from tests.conftest import BASIC_TEMPLATE, MakeProject

FILES = {
    "tasks/web/project.yaml": "name: Web\n\nmetadata:\n  team: core\n",
    "tasks/web/phases/build.yaml": "name: Build\n\norder: 1\n",
    "tasks/web/web-000001.yaml": "# kept\nname: One\n\nstatus: planned\n\nphase: build\n\nlabels:\n  - api\n",
    "tasks/web/web-000002.yaml": "name: Two\n\ndepends_on:\n  - web-000001\n\nworkflows:\n  check:\n    template: basic_task\n"
    "    parameters:\n      task_name: two\n      task_command: echo two\n",
    "tasks/web/web-000003.yaml": "name: Three\n\nassignee: ann\n",
    "templates/basic_task.yaml": BASIC_TEMPLATE,
    "config/default.yaml": "commit: false\n",
}


def make_key(root: Path, scope: str, user: str = "Bo <bo@example.org>") -> str:
    name = f"{scope} of {user}"
    return keys.create(Project(root), name, [scope], datetime.now(UTC), user=user, expires="9d").secret


@dataclass
class Client:
    """Sends requests to the application, all of them in one event loop; each answer has to be as it is declared."""

    portal: BlockingPortal
    app: Any

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321") as client:
                return await client.request(method, path, **options)

        answer = self.portal.call(send)
        contract.check(method, answer.request.url.path, answer)
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)


@dataclass
class Api:
    """The API of a repository. Requests carry a key that may do everything unless they say another one (None: none)."""

    root: Path
    client: Client
    runners: list[Path] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)

    def key(self, scope: str = "admin") -> str:
        if scope not in self.made:
            self.made[scope] = make_key(self.root, scope)
        return self.made[scope]

    def ask(self, method: str, path: str, *, scope: str | None = "admin", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key(scope)}"} if scope else {}
        headers |= options.pop("headers", {})
        return self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def change(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Change something as it is now: with the ETag that it has."""
        tag = self.get(path).headers["etag"]
        more = {} if body is None else {"json": body}
        return self.ask(method, path, headers={"If-Match": tag}, **more, **options)


MakeApi = Callable[..., Api]


@pytest.fixture
def make_api(project: MakeProject) -> Iterator[MakeApi]:
    """A function that gives the API of a repository with these files, beside the usual ones."""
    with ExitStack() as stack:

        def make(files: dict[str, str] | None = None, hosts: tuple[str, ...] = ()) -> Api:
            root = project({**FILES, **(files or {})}).root
            runners: list[Path] = []
            app = make_app(Server(Project(root).sharing(), lambda one: runners.append(one.root)), hosts)
            return Api(root, Client(stack.enter_context(start_blocking_portal()), app), runners)

        yield make


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """The API of a small repository."""
    return make_api()
