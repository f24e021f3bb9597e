"""A Git that is broken, hostile or absent: files are listed all the same, and what needs Git is refused in words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import git
from tests.hostile.bounded import Server

Break = Callable[[Path], object]


def write(path: str, content: bytes) -> Break:
    """Something that writes into Git's folder."""

    def change(root: Path) -> None:
        (root / ".git" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / ".git" / path).write_bytes(content)

    return change


def point(content: bytes, size: int = 0) -> Break:
    """Something that puts a file in the place of Git's folder."""

    def change(root: Path) -> None:
        shutil.rmtree(root / ".git")
        with (root / ".git").open("wb") as file:
            file.write(content)
            file.truncate(max(size, len(content)))

    return change


def instead(make: Callable[[Path], object]) -> Break:
    """Something else than a folder or file in the place of Git's folder."""

    def change(root: Path) -> None:
        shutil.rmtree(root / ".git")
        make(root / ".git")

    return change


def empty_objects(root: Path) -> None:
    shutil.rmtree(root / ".git/objects")
    (root / ".git/objects").mkdir()


BROKEN: dict[str, Break] = {
    "no repository": lambda root: shutil.rmtree(root / ".git"),
    "a bare one": instead(lambda path: git(path.parent, "init", "--quiet", "--bare", str(path))),
    "one without a commit": instead(lambda path: git(path.parent, "init", "--quiet")),
    "garbage in HEAD": write("HEAD", b"\xff\xfe garbage\n"),
    "nothing in HEAD": write("HEAD", b""),
    "a branch that is garbage": write("refs/heads/main", b"garbage\n"),
    "a branch that leads nowhere": write("refs/heads/main", b"1" * 40 + b"\n"),
    "garbage as index": write("index", b"garbage" * 100),
    "an empty index": write("index", b""),
    "garbage as settings": write("config", b"[garbage\n\xff"),
    "settings of another age": lambda root: git(root, "config", "core.repositoryformatversion", "99"),
    "no objects": empty_objects,
    "a lock": write("index.lock", b""),
    "a merge of garbage": write("MERGE_HEAD", b"\xff"),
    "a pointer to nothing": point(b"gitdir: nowhere\n"),
    "a pointer with NUL": point(b"gitdir: a\0b\n"),
    "a pointer of 100 MB": point(b"gitdir: ", 100 * 1024 * 1024),
    "garbage as pointer": point(b"\xff" * 1000),
    "a pipe": instead(os.mkfifo),
    "a link to itself": instead(lambda path: path.symlink_to(".git")),
    "garbage as common folder": write("commondir", b"\xff\0x"),
    "garbage as cache": write("dagtasks/cache.db", b"x" * 10_000),
    "a folder as cache": write("dagtasks/cache.db/x", b""),
    "a cache of another form": write("dagtasks/cache.db", b"SQLite format 3\0" + b"\0" * 84),
}
READING = [["task", "list"], ["task", "show", "000001"], ["validate"]]
NEEDING = [
    ["task", "set", "000002", "priority=high", "--commit"],
    ["undo"],
    ["runs", "list"],
    ["validate", "--changed"],
    ["task", "show", "000001", "--history"],
    ["hooks", "status"],
]


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, root: Path, server: Server) -> None:
    BROKEN[name](root)
    for words in READING:
        found = server.run(root, *words)
        assert found.code == 0, (words, found)
        assert words != ["task", "list"] or "web-000002" in found.out
    for words in NEEDING:
        found = server.run(root, *words)
        assert found.code in (0, 1, 2, 4, 5, 6, 7, 8, 75), (words, found)
        assert found.code == 0 or found.err, words
    assert not (root / "nowhere").exists()


RECORDS = {
    "garbage": b"\xff\x00garbage",
    "a list": b"[]",
    "nothing": b"null",
    "an empty map": b"{}",
    "no end of lists": b"[" * 100_000,
    "a state that is none": b'{"id": "r", "status": "zzz", "steps": []}',
    "steps that are none": b'{"id": "r", "status": "succeeded", "steps": 5}',
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_are_none(name: str, root: Path, server: Server) -> None:
    assert server.run(root, "run", "--template", "hello", "--engine", "local").code in (0, 1, 2)
    good = git(root, "rev-parse", "--verify", "--quiet", "refs/dagtasks/runs")
    listed = server.run(root, "runs", "list", "--json").json["data"]
    (root / "r.json").write_bytes(RECORDS[name])
    env = {**os.environ, "GIT_INDEX_FILE": str(root / "other-index")}
    import subprocess

    def run(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("read-tree", good)
    run("update-index", "--add", "--cacheinfo", f"100644,{run('hash-object', '-w', 'r.json')},r.json")
    run("update-ref", "refs/dagtasks/runs", run("commit-tree", run("write-tree"), "-p", good, "-m", "x"))
    found = server.run(root, "runs", "list", "--json")
    assert found.code == 1
    assert found.json["data"] == listed
    assert [problem["code"] for problem in found.json["problems"]] == ["DT404"]
    shown = server.run(root, "runs", "show", "r")
    assert (shown.code, shown.out) == (7, "")


ENVIRONMENT = [
    ("GIT_DIR", "/dev/null/nowhere"),
    ("GIT_WORK_TREE", "/"),
    ("GIT_INDEX_FILE", "/dev/zero"),
    ("GIT_OBJECT_DIRECTORY", "/dev/null/nowhere"),
    ("GIT_CONFIG_COUNT", "x"),
    ("GIT_CONFIG_PARAMETERS", "'x"),
    ("PATH", "/dev/null/nowhere"),
    ("HOME", "/dev/null/nowhere"),
    ("XDG_CONFIG_HOME", "/dev/null"),
    ("TMPDIR", "/dev/null/nowhere"),
    ("COLUMNS", "-1"),
    ("DAGTASKS_COMMIT", "maybe"),
    ("DAGTASKS_MAX_PARALLEL", "9" * 5000),
    ("DAGTASKS_MAX_PARALLEL", "²"),
    ("DAGTASKS_SECRET_A-B", "x"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), ENVIRONMENT)
def test_environment(name: str, value: str, root: Path, server: Server) -> None:
    for words in [*READING, *NEEDING, ["config", "show"]]:
        found = server.run(root, *words, env={name: value})
        assert found.code in (0, 1, 2, 4, 5, 6, 7, 8, 75), (words, found)
