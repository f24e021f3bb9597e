"""Words on the command line that somebody chose to do harm: refused in words, or taken as the text that they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.hostile.bounded import Server

VALUES: dict[str, str | bytes] = {
    "nothing": "",
    "a line break": "a\nb",
    "an escape": "\x1b[31mx",
    "text that turns": "a\u202eb",
    "not UTF-8": b"\xff\xfe",
    "128 KiB": "y" * (128 * 1024 - 10),
    "an option": "-x",
    "the end of options": "--",
    "up and away": "../../etc/passwd",
    "from the top": "/etc/passwd",
    "a pattern": "*",
    "=": "=",
    "a number": "9" * 5000,
    "no day": "0000-00-00",
    "brackets": "[[[[",
    "a format": "{0.__class__}%s",
    "an option of Git": "--upload-pack=touch pwned",
    "a commit of Git": ":/x",
    "too large": "1e999",
}
COMMANDS = {
    "list": ["task", "list", "{}"],
    "list by label": ["task", "list", "--label", "{}"],
    "sort": ["task", "list", "--sort", "{}"],
    "show": ["task", "show", "{}"],
    "create": ["task", "create", "{}", "--name", "x"],
    "name": ["task", "create", "web", "--name", "{}", "--dry-run"],
    "need": ["task", "create", "web", "--name", "x", "--depends-on", "{}", "--dry-run"],
    "metadata": ["task", "create", "web", "--name", "x", "--meta", "{}=x", "--dry-run"],
    "change": ["task", "set", "--dry-run", "000002", "{}"],
    "field": ["task", "set", "000002", "metadata.{}=x", "--dry-run"],
    "due": ["task", "set", "000002", "due={}", "--dry-run"],
    "labels": ["task", "set", "000002", "labels+={}", "--dry-run"],
    "comment": ["task", "comment", "--dry-run", "000001", "{}"],
    "claim": ["task", "claim", "000001", "--as", "{}", "--dry-run"],
    "project": ["project", "create", "{}", "--name", "x", "--dry-run"],
    "phase": ["phase", "show", "web/{}"],
    "workflow": ["workflow", "add", "000001", "{}", "--template", "hello", "--dry-run"],
    "template": ["template", "show", "{}"],
    "template path": ["template", "validate", "{}"],
    "plan": ["plan", "--template", "{}"],
    "parameter": ["plan", "--template", "hello", "--param", "{}"],
    "parameters": ["plan", "--template", "hello", "--param-file", "{}"],
    "run": ["runs", "show", "{}"],
    "diff": ["diff", "{}"],
    "validate": ["validate", "{}"],
    "changed": ["validate", "--changed", "{}"],
    "fmt": ["fmt", "--check", "{}"],
    "resolve": ["resolve", "{}"],
    "schema": ["schema", "{}"],
    "no command": ["{}"],
}
DRIVING = {"\x1b", "\r", "\u202e"}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_words(command: str, root: Path, server: Server) -> None:
    before = files_of(root)
    for value in VALUES.values():
        words = [put(word, value) for word in COMMANDS[command]]
        found = server.run(root, *words)
        assert found.code in (0, 1, 2, 4, 5, 6, 7, 8), (value, found)
        assert found.code in (0, 1) or found.out == "", (value, found)
        assert not DRIVING & {*found.out, *found.err}, (value, found)
    assert files_of(root) == before
    assert not (root / "pwned").exists()


def put(word: str, value: str | bytes) -> bytes:
    return word.encode().replace(b"{}", value if isinstance(value, bytes) else value.encode())


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


TEXTS = ["no", "012", "a: b # c", "'", '"', "\\", "- x", "é", " x", "{a", "%x", "&x", "*x", "!x", "|", ">", "@x", "`x"]


def test_texts_are_kept_as_they_are(root: Path, server: Server) -> None:
    for text in TEXTS:
        assert server.run(root, "task", "set", "000002", f"name={text}", f"metadata.k={text}").code == 0
        shown = server.run(root, "task", "show", "000002", "--json").json["data"]
        assert shown["name"] == text
    assert server.run(root, "validate").code == 0


@pytest.mark.parametrize("value", ["nothing", "not UTF-8", "an escape", "128 KiB", "from the top"])
def test_folders(value: str, tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    found = server.run(folder, "init", put("{}", VALUES[value]))
    assert found.code in (0, 2, 8), found
    shutil.rmtree(folder)
