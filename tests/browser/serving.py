"""A real `dagtasks serve`, and a browser that is signed in with it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from dagtasks.board.scaffold import write_board_files
from tests.browser.watching import Watcher
from tests.conftest import BASIC_TEMPLATE, git, isolate, write_files

if TYPE_CHECKING:
    import pytest
    from playwright.sync_api import Browser, Page

PATIENCE = 30.0
ASK = """\
metadata: {name: ask, description: Says something and asks}
parameters:
  word: {type: string, default: hello, description: What is said}
  times: {type: integer, required: true, minimum: 1, maximum: 5}
  how: {type: string, enum: [loud, low]}
  hosts: {type: array, items: {type: string}}
  more: {type: object}
  fast: {type: boolean, default: false}
steps:
  - {name: say, script: {source: 'echo "$WORD $TIMES"', env: {WORD: "${params.word}", TIMES: "${params.times}"}}}
  - name: sure
    depends_on: [say]
    approval: {message: Are you sure?, approvers: [ann@example.org], parameters: {where: {type: string, required: true}}}
  - {name: done, depends_on: [sure], script: {source: 'echo done'}}
"""
LONG = """\
metadata: {name: long}
steps: [{name: wait, script: {source: 'echo waiting; exec sleep 60'}}]
"""
FAIL = """\
metadata: {name: fail}
steps: [{name: fall, script: {source: 'echo falling; exit 3'}}]
"""
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n\norder: 1\n",
    "tasks/web/phases/launch.yaml": "name: Launch\n\norder: 2\n",
    "tasks/api/project.yaml": "name: Interfaces\n",
    "tasks/api/phases/first.yaml": "name: First\n",
    "templates/basic_task.yaml": BASIC_TEMPLATE,
    "tasks/web/web-000001.yaml": "# kept\nname: Draw the page\n\npriority: high\n\nphase: build\n\nlabels:\n  - ui\n",
    "tasks/web/web-000002.yaml": "name: Build the page\n\ndepends_on:\n  - web-000001\n",
    "tasks/web/web-000003.yaml": "name: Two hands\n\nmetadata:\n  team: core\n  size: 3\n  version: '1'\n",
    "tasks/web/web-000004.yaml": "name: Quick one\n",
    "tasks/web/web-000005.yaml": "name: Say wrong things\n",
    "tasks/web/web-000006.yaml": "name: Kept text\n",
    "tasks/web/web-000007.yaml": "name: Too early\n\ndepends_on:\n  - web-000003\n",
    "tasks/web/web-000008.yaml": "name: Talk about it\n",
    **{f"tasks/web/web-m0000{n}.yaml": f"name: Move {n}\n" for n in range(1, 5)},
    "tasks/web/web-m00005.yaml": "name: Move 5\n\ndepends_on:\n  - web-m00004\n",
    "tasks/web/web-t00001.yaml": "name: Uses one\n\nworkflows:\n  used:\n    template: used\n",
    "templates/used.yaml": FAIL.replace("fail", "used"),
    "templates/edited.yaml": f"# kept\n{FAIL.replace('fail', 'edited')}",
    "tasks/web/web-p00001.yaml": "name: One\n\nphase: build\n",
    "tasks/web/web-p00002.yaml": "name: Two\n\ndepends_on:\n  - web-p00001\n",
    "templates/ask.yaml": ASK,
    "templates/long.yaml": LONG,
    "templates/fail.yaml": FAIL,
    "tasks/web/web-r00001.yaml": "name: Bind\n",
    "tasks/web/web-r00002.yaml": "name: Run\n\nworkflows:\n  ask:\n    template: ask\n    parameters:\n      times: 2\n"
    "  long:\n    template: long\n  fail:\n    template: fail\n",
}
"""Each task is the business of one test alone: all of them look at the same server."""


def live_repository(root: Path, files: Mapping[str, str]) -> Path:
    """A repository with a board and these files, all of it committed."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet")
    write_board_files(root, "Web site")
    write_files(root, files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "begin")
    return root


@dataclass
class Served:
    """A server of the repository: the address that it is reached at, and everything that it has said."""

    root: Path
    environ: Mapping[str, str]
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def find(self, pattern: str) -> str:
        """The last thing that it has said so; waits until it has said anything of that kind."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.findall(pattern, "".join(self.said))):  # it has not said so yet
            assert time.monotonic() < deadline, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.02)
        return str(found[-1])

    @property
    def url(self) -> str:
        """Its address."""
        return self.find(r"serving at (http://[^;\s]+);")

    @property
    def link(self) -> str:
        """The link that signs in next."""
        return self.find(r"sign in once: (\S+)\n")

    def task(self, name: str) -> dict[str, Any]:
        """The one task of that name, as the command line shows it."""
        found = [task for task in self.run("task", "list") if task["name"] == name]
        assert len(found) == 1, found
        return dict(self.run("task", "show", found[0]["id"]))

    def run(self, *words: str) -> Any:
        """What a command answers."""
        command = [sys.executable, "-m", "dagtasks", *words, "--json"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True, env=self.environ)
        return json.loads(done.stdout)["data"]

    def end(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)


@contextmanager
def serving(root: Path, port: int = 0) -> Iterator[Served]:
    """The repository, served; commands see what the server sees, whatever tests do to the environment later."""
    environ = {**os.environ, "DAGTASKS_ENGINE": "local", "DAGTASKS_ALLOW_HOSTS": "127.0.0.1"}
    make_key = [sys.executable, "-m", "dagtasks", "keys", "create", "--scope", "read", "--name", "reader"]
    if not port:
        subprocess.run(make_key, cwd=root, check=True, capture_output=True)
    command = [sys.executable, "-m", "dagtasks", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=root, env=environ, stderr=subprocess.PIPE, text=True)
    served = Served(root, environ, process)
    reading = Thread(target=_listen, args=(served,), daemon=True)
    reading.start()
    try:
        yield served
    finally:
        if process.poll() is None:
            served.end()
        reading.join()


def _listen(served: Served) -> None:
    assert served.process.stderr
    with served.process.stderr as stream:
        for line in stream:
            served.said.append(line)


Cookies = list[dict[str, str]]


@contextmanager
def served_alone(factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A repository with all of `FILES`, served; nothing of the user's reaches it."""
    import pytest

    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            isolate(patch, factory.mktemp("home"))
            served = stack.enter_context(serving(live_repository(factory.mktemp("live"), FILES)))
        yield served


def sign_in(browser: Browser, served: Served) -> Cookies:
    """The cookies of somebody who has opened the link."""
    context = browser.new_context()
    context.new_page().goto(served.link)
    cookies: Any = context.cookies()
    context.close()
    return list(cookies)


def opened(watcher: Watcher, cookies: Cookies, **options: object) -> Page:
    """A page in a browser that is signed in."""
    page = watcher.open("about:blank", **options)
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    return page


def says(page: Page, text: str) -> None:
    """Wait until the page says so."""
    page.wait_for_selector(f".dt-live-said >> text={text}")


def fill(page: Page, field: str, text: str) -> None:
    """Type that into a field of the form."""
    page.fill(f'[data-field="{field}"] :is(input, textarea)', text)


def wrong(page: Page, field: str) -> str:
    """What stands beside the field."""
    return page.inner_text(f'[data-field="{field}"] .dt-live-wrong')


def go(page: Page, served: Served, uri: str) -> Page:
    """The page at that address, when the script has begun on it."""
    page.goto(f"{served.url}/{uri}")
    return ready(page)


def ready(page: Page) -> Page:
    """The page when the script has begun on it."""
    page.wait_for_selector(".dt-live-actions", state="attached")
    return page
