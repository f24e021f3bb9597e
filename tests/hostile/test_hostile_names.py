"""Files and folders with names that somebody chose to do harm: each command goes on, and shows them escaped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import git
from tests.hostile.bounded import Server

NAMES = {
    "not UTF-8": b"tasks/web/web-0000\xff\xfe.yaml",
    "a line break": b"tasks/web/web-0000\n1.yaml",
    "of 255 bytes": b"tasks/web/web-" + b"x" * 246 + b".yaml",
    "capitals": b"tasks/web/WEB-00000A.yaml",
    "composed": "tasks/web/web-0000é.yaml".encode(),
    "decomposed": "tasks/web/web-0000e\u0301.yaml".encode(),
    "an escape": b"tasks/web/web-\x1b[31m.yaml",
    "text that turns": "tasks/web/web-\u202e.yaml".encode(),
    "an option": b"tasks/web/-rf.yaml",
    "a pattern": b"tasks/web/*.yaml",
    "another ending": b"tasks/web/web-00000b.yml",
    "a folder that is not UTF-8": b"tasks/\xff/\xfe.yaml",
    "a folder with a line break": b"tasks/a\nb/web-00000b.yaml",
    "far below": b"tasks/web/" + b"d/" * 200 + b"web-00000b.yaml",
    "the same id": b"tasks/web/x/web-000001.yaml",
    "a template": b"templates/\xff.yaml",
    "a phase": b"tasks/web/phases/BUILD.yaml",
}
HARMLESS = {"far below"}
COMMANDS = [
    ["validate"],
    ["validate", "--json"],
    ["validate", "--format", "github"],
    ["validate", "--format", "gitlab"],
    ["task", "list"],
    ["task", "list", "is:invalid", "--json"],
    ["task", "create", "web", "--name", "New"],
    ["template", "list", "--json"],
    ["fmt", "--check"],
    ["diff", "HEAD", "--json"],
]
DRIVING = {"\x1b", "\r", "\u202e", "\u2028"}


@pytest.mark.slow
@pytest.mark.parametrize("is_committed", [False, True], ids=["new", "committed"])
@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, is_committed: bool, root: Path, server: Server) -> None:
    path = root / os.fsdecode(NAMES[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"name: Odd\n")
    if is_committed:
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "odd")
    for words in COMMANDS:
        found = server.run(root, *words)
        assert found.code in (0, 1), (words, found.err)
        if "github" in words:
            assert all(line.startswith(("::error ", "::warning ")) for line in found.out.splitlines()), found.out
        if "--json" not in words:
            assert not DRIVING & {*found.out, *found.err}, words
    assert server.run(root, "validate").code == (0 if name in HARMLESS else 1)
    listed = server.run(root, "task", "list", "--json")
    assert {"web-000001", "web-000002"} <= {task["id"] for task in listed.json["data"]}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_the_terminal_has_not(encoding: str, root: Path, server: Server) -> None:
    (root / "tasks/web/web-000003.yaml").write_text("name: Grüße 🎉\n", encoding="utf-8")
    env = {"PYTHONIOENCODING": encoding, "LANG": "C", "PYTHONUTF8": "0"}
    process = subprocess_of(root, env, "task", "list", "--json")
    assert [task["name"] for task in process["data"]][-1] == "Grüße 🎉"


def subprocess_of(root: Path, env: dict[str, str], *words: str) -> dict[str, list[dict[str, str]]]:
    """The document that a process of its own prints: how it writes is settled when Python starts."""
    import json
    import subprocess
    import sys

    command = [sys.executable, "-m", "dagtasks", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, **env})
    found: dict[str, list[dict[str, str]]] = json.loads(done.stdout.decode(env["PYTHONIOENCODING"]))
    return found
