"""A canary as a secret, through the command line: in no file, no object of Git, no output, no command line, and not on
the board, on either engine.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import canaries
from tests.canaries import CANARY, ENCODINGS, find_canaries
from tests.conftest import Result, git, write_files

Process = Callable[..., Result]

TEMPLATE = """\
metadata: {name: sing}
secrets: [CANARY]
parameters: {port: {type: integer, required: true}}
fail_fast: false
steps:
  - name: print
    depends_on: []
    script:
      file: scripts/sing.py
      interpreter: [python3]
      image: "python:3.12"
      env: {CANARY: "${secrets.CANARY}", SOURCE: /source/scripts}
      mounts: [{path: /source, repo: ro}]
    outputs: {made: {from: file, sensitive: true}}
  - name: ask
    depends_on: []
    api:
      url: "http://127.0.0.1:${port}/"
      method: POST
      auth: {basic: {user: ann, password: "${secrets.CANARY}"}}
      json: {text: "it is ${secrets.CANARY}"}
    retry: {max_attempts: 2, delay: 1ms, on: [failed]}
  - name: call
    depends_on: [print]
    if: always()
    workflow: {template: child, secrets: [CANARY]}
  - name: reuse
    depends_on: []
    script: {source: 'echo "$MADE"', env: {MADE: "${steps.print.outputs.made}"}}
"""
CHILD = """\
metadata: {name: child}
secrets: [CANARY]
steps:
  - name: mounted
    container:
      image: "alpine:3"
      command: [sh, -c, 'cat "$FILE"; cat "$FILE" >&2; exit 3']
      env: {FILE: /run/canary}
      mounts: [{path: /run/canary, secret: CANARY}]
"""
SCRIPT = """\
import os, pathlib, sys
sys.path.insert(0, os.environ["SOURCE"])
from canaries import ENCODINGS
value = os.environ["CANARY"]
for size, out in ((1, sys.stdout.buffer), (7, sys.stderr.buffer)):
    for name, encode in ENCODINGS.items():
        data = name.encode() + b": " + encode(value) + b"\\n"
        for start in range(0, len(data), size):
            out.write(data[start : start + size])
            out.flush()
pathlib.Path(os.environ["DT_OUTPUTS"], "made").write_text(value)
"""


class Echo(BaseHTTPRequestHandler):
    """Fails, and sends back all that it was asked, in the body and in a header."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.send_header("X-Echo", self.headers["Authorization"])
        self.end_headers()
        self.wfile.write(str(self.headers).encode() + body + json.dumps(body.decode()).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def command_lines() -> Iterator[set[bytes]]:
    """Every command line that is seen on this machine meanwhile, in containers, too."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    with suppress(OSError):
                        seen.add(Path(entry.path, "cmdline").read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    ended.set()
    thread.join()


@pytest.fixture
def root(tmp_path: Path, process: Process, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a task that sings; the canary is in a file elsewhere, and a command prints it."""
    root = tmp_path / "repository"
    assert process(tmp_path, "init", str(root)).code == 0
    (tmp_path / "canary").write_text(CANARY + "\n")
    write_files(
        root,
        {
            "templates/sing.yaml": TEMPLATE,
            "templates/child.yaml": CHILD,
            "scripts/sing.py": SCRIPT,
            "scripts/canaries.py": re.sub("(?m)^CANARY = .*", 'CANARY = ""', Path(canaries.__file__).read_text()),
            "tasks/web/project.yaml": "name: Web\n",
            "tasks/web/web-000001.yaml": "name: Sing\n\nworkflows:\n  sing:\n    template: sing\n",
        },
    )
    settings = f"secrets:\n  CANARY:\n    command: [cat, '{tmp_path}/canary']\n"
    write_files(Path.home(), {".config/dagtasks/config.yaml": settings})
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "start")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("DAGTASKS_ALLOW_HOSTS", "127.0.0.1")
    return root


@pytest.mark.slow
def test_a_canary_is_nowhere(
    root: Path, engine: str, process: Process, port: int, command_lines: set[bytes], tmp_path: Path
) -> None:
    given = ("000001", "--param", f"port={port}")
    commands = [
        ("validate",),
        ("config", "show"),
        ("plan", *given),
        ("run", "--yes", *given),
        ("run", "--yes", *given, "--json"),
    ]
    done = [process(root, *command) for command in commands]
    runs = process(root, "runs", "list", "--json").json
    shown = [(*command, run["id"]) for run in runs for command in (("runs", "show"), ("runs", "logs"))]
    shown += [("runs", "show", run["id"], "--json") for run in runs]
    done += [process(root, *command) for command in [*shown, ("board", "build"), ("doctor",)]]

    steps = {step["name"]: step for step in done[4].json["steps"]}
    assert {name: step["state"] for name, step in steps.items()} == {
        "print": "succeeded",
        "ask": "failed",
        "call": "failed",
        "reuse": "succeeded",
    }
    assert steps["ask"]["attempts"] == 2
    assert (steps["print"]["outputs"], steps["reuse"]["output"]) == ({"made": "***"}, "***")
    log = process(root, "runs", "logs", done[4].json["id"], "print").out
    assert all(log.count(f"| {name}: ") == 2 for name in ENCODINGS)
    assert log.count("***") >= 2 * len(ENCODINGS)
    assert (root / "site").is_dir()
    printed = "".join(one.out + one.err for one in done)
    assert "***" in printed
    assert find_canaries(root, printed.encode()) == []
    assert find_canaries(Path.home(), tmp_path / "tmp") == []
    programs = {line.partition(b"\0")[0].rpartition(b"/")[2] for line in command_lines}  # a shim gives the whole path
    assert b"python3" in programs, "it never looked while the step ran"
    assert find_canaries(*command_lines) == []
