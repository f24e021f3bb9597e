"""Files that somebody wrote to do harm, or by accident: each is refused in words, cheaply, and hides no other file."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hostile.bounded import Server

MIB = 1024 * 1024
BAD = "tasks/web/web-0000bd.yaml"


class Case(NamedTuple):
    """What a file holds, and the problem that says so (None: it is only odd)."""

    content: bytes
    code: str | None
    place: tuple[int, int]


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


CASES = {
    "no end of [": Case(b"a: " + b"[" * (MIB - 9), "DT105", (1, 1003)),
    "no end of {": Case(b"a: " + b"{a: " * (MIB // 4 - 9), "DT105", (1, 128)),
    "no end of blocks": Case("".join(" " * depth + "a:\n" for depth in range(1400)).encode(), "DT105", (33, 33)),
    "no end of dashes": Case(b"a:\n  " + b"- " * (MIB // 2 - 9), "DT105", (2, 65)),
    "no end of ?": Case(b"? " * (MIB // 2 - 9), "DT103", (1, 3)),
    "keys that are lists": Case(b"a: " + b"{[" * (MIB // 2 - 9), "DT105", (1, 1003)),
    "ten to the ninth": Case(
        lines("a: &a [x, x]", *(f"{one}: &{one} [{', '.join([f'*{chr(ord(one) - 1)}'] * 9)}]" for one in "bcdefghi")),
        "DT103",
        (1, 4),
    ),
    "anchors": Case(lines("a:", *(f"  - &a{number} x" for number in range(70_000))), "DT103", (2, 5)),
    "comments": Case(b"# c\n" * (MIB // 4 - 9), "DT108", (1, 1)),
    "items": Case(b"name: x\nlabels:\n" + b"- a\n" * (MIB // 4 - 9), "DT105", (19999, 3)),
    "keys": Case(lines(*(f"k{number}: 1" for number in range(90_000))), "DT105", (10001, 1)),
    "keys that nobody knows": Case(lines("name: x", *(f"k{number}: 1" for number in range(9900))), None, (2, 1)),
    "labels that are times": Case(lines("name: x", "labels:", *["- 12:30"] * 19_900), "DT124", (3, 3)),
    "tasks that are not": Case(
        lines("name: x", "depends_on:", *(f"- web-1{number:05}" for number in range(19_900))), "DT203", (3, 3)
    ),
    "workflows that are not": Case(
        lines("name: x", "workflows:", *(f"  w{n}: {{template: t{n}, x: 1}}" for n in range(3000))), "DT206", (3, 18)
    ),
    "metadata": Case(lines("name: x", "metadata:", *(f"  k{n}: no" for n in range(9900))), None, (0, 0)),
    "NUL": Case(b"\0" * MIB, "DT107", (1, 1)),
    "Latin-1": Case(b"name: " + b"\xe9" * 1000, "DT101", (1, 7)),
    "UTF-16": Case("name: x\n".encode("utf-16"), "DT101", (1, 1)),
    "UTF-16 without a mark": Case("name: x\n".encode("utf-16-le"), "DT107", (1, 2)),
    "UTF-32": Case("name: x\n".encode("utf-32"), "DT101", (1, 1)),
    "UTF-7": Case(b"+/v8-name: x\n", "DT120", (1, 1)),
    "byte order marks": Case(b"\xef\xbb\xbf" * 100_000 + b"name: x\n", "DT101", (1, 1)),
    "text that turns": Case(b"name: " + "\u202e".encode() * 300_000, "DT107", (1, 7)),
    "carriage returns": Case(b"name: x\rstatus: planned\r" * 20_000, "DT107", (1, 8)),
    "next lines": Case("name: x\u0085status: planned\n".encode(), "DT107", (1, 8)),
    "line separators": Case("name: x\u2028status: planned\n".encode(), "DT107", (1, 8)),
    "an open quote": Case(b'name: "' + b"x\n " * 300_000, "DT102", (1, 7)),
    "an open list": Case(b"name: x\nlabels: [" + b"a, " * 9000, "DT102", (3, 1)),
    "marks of a merge": Case(b"name: x\n" + b"<<<<<<< a\n=======\n>>>>>>> b\n" * 30_000, "DT106", (2, 1)),
    "tabs": Case(b"a:\n" + b"\tb: 1\n" * 100_000, "DT107", (2, 1)),
    "a long key": Case(b"k" * 1_000_000 + b": 1\n", "DT108", (1, 1)),
    "a long name": Case(b"name: " + b"k" * 1_000_000 + b"\n", "DT123", (1, 7)),
    "a long number": Case(b"name: x\nmetadata: {a: " + b"9" * 1_000_000 + b"}\n", "DT109", (2, 15)),
    "a long exponent": Case(b"name: x\nmetadata: {a: 1e" + b"9" * 1_000_000 + b"}\n", "DT109", (2, 15)),
    "a long hexadecimal": Case(b"name: x\nmetadata: {a: 0x" + b"f" * 1_000_000 + b"}\n", "DT109", (2, 15)),
    "a long time": Case(b"name: x\nmetadata: {a: 1" + b":30" * 300_000 + b"}\n", None, (0, 0)),
    "not a number": Case(b"name: x\nmetadata: {a: .nan}\n", "DT109", (2, 15)),
    "octal as text": Case(b"name: 012\n", "DT124", (1, 7)),
    "yes as text": Case(b"name: yes\n", "DT124", (1, 7)),
    "a day as text": Case(b"name: 2026-01-02\n", "DT124", (1, 7)),
    "no such day": Case(b"name: x\ndue: 2026-02-30\n", "DT123", (2, 6)),
    "documents": Case(b"---\nname: x\n" * 50_000, "DT108", (3, 1)),
    "directives": Case(b"%YAML 1.2\n" * 50_000, "DT103", (1, 1)),
    "handles of tags": Case(
        lines(*(f"%TAG !a{n}! tag:x,2000:" for n in range(40_000)), "---", "name: x"), "DT103", (1, 1)
    ),
    "handles of tags, later": Case(
        lines("name: x", "...", *(f"%TAG !a{n}! tag:x,2000:" for n in range(40_000)), "---", "a: b"), "DT103", (3, 1)
    ),
    "a tag that calls": Case(b"name: !!python/object/apply:os.system [x]\n", "DT103", (1, 7)),
    "a tag of our own": Case(b"name: !mine y\n", "DT103", (1, 7)),
    "escapes": Case(b'name: "' + b"\\x1b" * 200_000 + b'"\n', "DT107", (1, 7)),
    "halves of characters": Case(b'name: "' + b"\\ud800" * 100_000 + b'"\n', "DT107", (1, 10)),
    "keys twice": Case(b"name: x\n" * 10_000, "DT104", (2, 1)),
    "keys twice below": Case(b"name: x\nmetadata:\n" + b"  a: 1\n" * 10_000, "DT104", (4, 3)),
    "merge keys": Case(b"name: x\n<<: {a: 1}\n", "DT103", (2, 1)),
    "nothing": Case(b"", "DT108", (1, 1)),
    "empty lines": Case(b"\n" * MIB, "DT108", (1, 1)),
    "a text of 65 KiB": Case(b"name: x\ndescription: |\n  " + b"x" * 66_000 + b"\n", "DT123", (2, 14)),
    "a line break in a name": Case(b'name: "a\\nb"\n', "DT123", (1, 7)),
    "33 levels": Case(b"name: x\nmetadata:\n  a: " + b"[" * 31 + b"]" * 31 + b"\n", "DT105", (3, 36)),
    "colons": Case(b": " * (MIB // 2), "DT102", (1, 1)),
    "quotes": Case(b"'" * (MIB - 1), "DT102", (1, 1)),
}
"""Found by hand and kept; the quick ones of each kind."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of Git that all cases share; each takes its file away again."""
    from tests.conftest import write_files
    from tests.hostile.conftest import FILES

    root = tmp_path_factory.mktemp("hostile")
    write_files(root, FILES)
    return root


@pytest.mark.parametrize("name", CASES)
def test_content(name: str, kept: Path, server: Server) -> None:
    content, code, place = CASES[name]
    with put(kept, BAD, lambda file: file.write_bytes(content)):
        found = server.run(kept, "validate", "--json")
        listed = server.run(kept, "task", "list", "--json")
    problems = [problem for problem in found.json["data"] if problem["path"] == BAD]
    assert {"web-000001", "web-000002"} <= {task["id"] for task in listed.json["data"]}
    assert len(problems) <= 100
    if code is None:
        assert (found.code, listed.code) == (0, 0)
        assert [(problem["line"], problem["column"]) for problem in problems[:1]] == [place] * bool(problems)
        return
    assert (found.code, listed.code) == (1, 1)
    assert (problems[0]["code"], problems[0]["line"], problems[0]["column"]) == (code, *place), problems[0]
    assert problems[0]["message"]
    assert problems[0]["hint"] or code in ("DT123", "DT203", "DT206")


LARGE: dict[str, bytes] = {
    "one line": b"x" * MIB,
    "comments": b"# c\n" * (MIB // 4),
    "items": b"- a\n" * (MIB // 4),
    "brackets": b"[" * MIB,
    "tabs": b"\t" * MIB,
    "NUL": b"\0" * MIB,
    "not UTF-8": b"\xff" * MIB,
}
EVERYWHERE = [
    BAD,
    "tasks/web/project.yaml",
    "tasks/web/phases/evil.yaml",
    "templates/evil.yaml",
    "config/default.yaml",
    "config/dagger.yaml",
    "config/.env",
    "tasks/web/comments/web-000001/20261123T141501Z-aaaa.md",
]


@pytest.mark.slow
@pytest.mark.parametrize("content", LARGE)
def test_100_mb(content: str, kept: Path, server: Server) -> None:
    source = kept / "source"
    with source.open("wb") as file:
        file.writelines([LARGE[content]] * 100)
    for path in EVERYWHERE:
        refused = "DT105"
        with put(kept, path, lambda file: os.link(source, file)):
            check_refused(kept, server, path, refused)
    source.unlink()


def make_socket(path: Path) -> None:
    """Its address may be 108 bytes long, so it is made in its folder."""
    with socket.socket(socket.AF_UNIX) as one:
        name = f"/proc/self/fd/{os.open(path.parent, os.O_RDONLY)}/{path.name}"
        one.bind(name)


def make_device(path: Path) -> None:
    """A `/dev/zero` of its own."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": make_device,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file(kind: str, path: str, kept: Path, server: Server) -> None:
    if kind == "folder" and path.startswith(("tasks", "templates")):
        pytest.skip("folders are the user's to choose, whatever they are called")
    with put(kept, path, NO_FILES[kind]):
        check_refused(kept, server, path, "DT128" if "link" in kind and not path.startswith("config") else "DT101")


class put:  # noqa: N801 - it is used like a function
    """Something at a path for a while; what was there comes back."""

    def __init__(self, root: Path, path: str, make: Callable[[Path], object]) -> None:
        self._file, self._make = root / path, make
        self._old = self._file.read_bytes() if self._file.is_file() else None

    def __enter__(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.unlink(missing_ok=True)
        self._make(self._file)

    def __exit__(self, *_: object) -> None:
        if self._file.is_dir() and not self._file.is_symlink():
            shutil.rmtree(self._file)
        self._file.unlink(missing_ok=True)
        if self._old is not None:
            self._file.write_bytes(self._old)


def check_refused(root: Path, server: Server, path: str, code: str) -> None:
    found = server.run(root, "validate", "--json")
    assert found.code == 1
    assert [problem["code"] for problem in found.json["data"] if problem["path"] == path] == [code]
    assert all(problem["hint"] for problem in found.json["data"])
    listed = server.run(root, "task", "list", "--json")
    assert {"web-000001", "web-000002"} <= {task["id"] for task in listed.json["data"]}
