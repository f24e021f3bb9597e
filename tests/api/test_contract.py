"""A stranger asks a real server for everything that its description allows, and for much that it does not.

Schemathesis makes the requests. Left out of its checks are: `positive_data_acceptance`, because whether a right request
succeeds depends on what there is (a project of that key, say); `missing_required_header`, because a change without
`If-Match` is answered with 428, which it does not know; `object_level_authorization`, because keys see the whole
repository. `ignored_auth` is asked of a few operations, since wrong keys are slowed down after the tenth of a minute:
`test_gate` asks it of all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api import contract
from tests.api.conftest import make_key
from tests.api.served import Served
from tests.conftest import MakeProject, Result, git

Cli = Callable[..., Result]

EXAMPLES = os.environ.get("DAGTASKS_TEST_EXAMPLES", "12")
"""Requests of each operation that are made up, beside those that follow from its schema."""
SECONDS = 7200
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n\norder: 1\n",
    "tasks/web/web-000001.yaml": "name: One\n\nphase: build\n\nworkflows:\n  check:\n    template: noop\n    parameters:\n      word: a\n",
    "tasks/web/web-000002.yaml": "name: Two\n\ndepends_on:\n  - web-000001\n",
    "templates/noop.yaml": "metadata:\n  name: noop\n\nparameters:\n  word:\n    type: string\n\nsteps:\n  - name: say\n    script:\n      source: 'true'\n",
}
SETTINGS = """\
seed = 7
request-timeout = 60.0
continue-on-failure = true
max-stream-events = 2
hooks = "contract_hooks"

[generation]
database = "none"
with-security-parameters = false

[parameters]
"path.key" = { dictionary = "projects", probability = 0.8 }
"path.phase" = { dictionary = "phases", probability = 0.8 }
"path.id" = { dictionary = "tasks", probability = 0.8 }
"path.name" = { dictionary = "names", probability = 0.9 }
"path.run" = { dictionary = "runs", probability = 0.8 }
"header.If-Match" = { dictionary = "etags", probability = 0.9 }

[dictionaries]
projects.values = ["web", "lab"]
phases.values = ["build", "later"]
tasks.values = ["web-000001", "web-000002", "000001"]
names.values = ["check", "noop", "mine", "chat"]
runs.values = ["%s"]
etags.values = ["*"]

[checks]
positive_data_acceptance.enabled = false
missing_required_header.enabled = false
object_level_authorization.enabled = false
ignored_auth.enabled = false
# Beside what it knows: 412, a refusal like the others.
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429]

[[operations]]
include-operation-id = ["list_tasks", "list_webhooks", "create_task", "show_project"]
checks.ignored_auth.enabled = true
"""
HOOKS = """\
import schemathesis

@schemathesis.hook
def map_body(context, body):
    # Nothing is sent to strangers: that name can never be resolved.
    if isinstance(body, dict) and isinstance(body.get("url"), str) and body["url"].startswith("http"):
        body["url"] = "https://chat.example/hook"
    return body
"""


@pytest.mark.slow
def test_no_request_of_a_stranger_gets_what_is_not_declared(
    project: MakeProject, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(FILES).root
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    run = cli(root, "run", "web-000001", "check", "--json").json["id"]
    make_key(root, "read")  # without any it does not start
    served = Served(root)
    try:
        served.client.post("/webhooks", json={"name": "chat", "url": "https://chat.example/hook"}).raise_for_status()
        report = ask(served, tmp_path, run)
    finally:
        served.end(signal.SIGTERM)
    assert [line for line in served.said if "ERROR" in line] == []
    assert report["operations"]["tested"] == sum(map(len, contract.description()["paths"].values()))
    assert [
        phase for phase in ("coverage", "fuzzing", "stateful") if report["phases"][phase]["status"] != "success"
    ] == []
    assert git(root, "status", "--porcelain") == ""
    assert "0 errors" in cli(root, "validate").out
    git(root, "fsck", "--strict")


def ask(served: Served, folder: Path, run: str) -> Any:
    (folder / "schemathesis.toml").write_text(SETTINGS % run)
    (folder / "contract_hooks.py").write_text(HOOKS)
    address = f"http://127.0.0.1:{served.port}/api/v1/openapi.json"
    key = served.client.headers["authorization"]
    words = ["run", address, "--header", f"Authorization: {key}", "--max-examples", EXAMPLES, "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words, "--report", "json", "--report-json-path", "report.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    return json.loads((folder / "report.json").read_text())
