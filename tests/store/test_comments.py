"""Comments: what is one, and what is said of everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.errors import InvalidInput
from dagtasks.store.comments import (
    check_comments,
    comment_name,
    find_comment_files,
    make_comment,
    parse_comment,
    read_comments,
)
from tests.conftest import write_files

NOW = datetime(2026, 11, 23, 14, 15, 0, 123456, tzinfo=UTC)
FOLDER = "tasks/web/comments/web-000001"
HEAD = "---\nauthor: ann\ndate: 2026-11-23T14:15:00Z\n---\n"


def test_what_is_written() -> None:
    assert make_comment("agent:x", NOW, "\nOne\r\n\nTwo\n\n").decode() == (
        '---\nauthor: agent:x\ndate: "2026-11-23T14:15:00.123Z"\n---\n\nOne\n\nTwo\n'
    )
    later = NOW.astimezone(timezone(timedelta(hours=9)))
    assert comment_name(later, "k3f9") == "20261123T141500Z-k3f9.md"
    assert parse_comment(make_comment("a", later, "x"), "p").comments[0].date == "2026-11-23T14:15:00.123Z"


names = st.text(min_size=1, max_size=100) | st.from_regex(r"[a-z~<=][a-z0-9 :.,@#&*!|>'\"%`-]{0,20}", fullmatch=True)
words = st.sampled_from(["no", "true", "null", "yes", "~", "Y", "on", "agent:on", "e12", "x"])


@given(author=names | words, text=st.text(min_size=1, max_size=50))
def test_what_is_written_is_read_alike_with_and_without_yaml(author: str, text: str) -> None:
    try:
        content = make_comment(author, NOW, text)
    except InvalidInput:
        return
    read = parse_comment(content, "p")
    assert [(one.author, one.text) for one in read.comments] == [(author, text.replace("\r\n", "\n").strip("\n"))]
    # A blank behind the first line is nothing that dagtasks writes: YAML reads this.
    assert parse_comment(content.replace(b"---", b"--- ", 1), "p") == read


@pytest.mark.parametrize(
    "author", ["ann", "Ann B", "agent:x", "a.b-c+d@e", "no", "agent:", "Ann  B", "a: b", "12", "é"]
)
def test_authors(author: str) -> None:
    content = make_comment(author, NOW, "x")
    assert parse_comment(content, "p").comments[0].author == author
    assert parse_comment(content.replace(b"---", b"--- ", 1), "p") == parse_comment(content, "p")


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("2026-11-23T14:15:00Z", "2026-11-23T14:15:00.000Z"),
        ('"2026-11-23T14:15:00.5+02:00"', "2026-11-23T12:15:00.500Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000Z"),
        ("2026-11-23 14:15:00", "2026-11-23T14:15:00.000Z"),
    ],
)
def test_dates_that_people_write(date: str, shown: str) -> None:
    content = f"---\ndate: {date} # remark\n\nmine: kept\nauthor: 'ann'\n---\nHi\n".encode()
    for text in (content, content.replace(b"\n", b"\r\n")):
        assert [tuple(one) for one in parse_comment(text, "p").comments] == [("ann", shown, "Hi", "p")]


@pytest.mark.parametrize(
    ("content", "line", "code"),
    [
        (b"", 1, "DT131"),
        (b"Hello\n", 1, "DT131"),
        (b"---\nauthor: ann\n", 1, "DT131"),
        (b"---\ndate: 2026-11-23T14:15:00Z\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: ann\n---\nHi\n", 2, "DT131"),
        (b"---\n---\nHi\n", 1, "DT108"),
        (b"---\nauthor: no\ndate: 2026-11-23\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: 12\ndate: 2026-11-23\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: [a]\ndate: 2026-11-23\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: ''\ndate: 2026-11-23\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: " + b"a" * 101 + b"\ndate: 2026-11-23\n---\nHi\n", 2, "DT131"),
        (b"---\nauthor: " + b"a" * 101 + b'\ndate: "2026-11-23T14:15:00.000Z"\n---\nHi\n', 2, "DT131"),
        (b"---\nauthor: ann\ndate: soon\n---\nHi\n", 3, "DT131"),
        (b'---\nauthor: ann\ndate: "2026-13-23T14:15:00.000Z"\n---\nHi\n', 3, "DT131"),
        (b"---\nauthor: ann\ndate: 0001-01-01T00:00:00+23:00\n---\nHi\n", 3, "DT131"),
        (b"---\nauthor: ann\nauthor: bo\ndate: 2026-11-23\n---\nHi\n", 3, "DT104"),
        (b"---\nauthor: &a ann\ndate: 2026-11-23\n---\nHi\n", 2, "DT103"),
        (b"---\nauthor: ann\ndate: 2026-11-23\n---\n\n  \n", 4, "DT131"),
        (b"---\nauthor: ann\ndate: 2026-11-23\n---\n" + b"x" * 65537, 4, "DT131"),
        (HEAD.encode() + b"\nf\xfcnf\n", 6, "DT101"),
        (HEAD.encode() + b"\nab\x07\n", 6, "DT107"),
        (HEAD.encode() + "\nab\u202e\n".encode(), 6, "DT107"),
        (b"\xef\xbb\xbf" + HEAD.encode() + b"Hi\n", 1, "DT107"),
    ],
)
def test_what_is_no_comment_is_told_with_its_line(content: bytes, line: int, code: str) -> None:
    read = parse_comment(content, "tasks/x.md")
    assert read.comments == []
    assert [(problem.path, problem.line, problem.code) for problem in read.problems] == [("tasks/x.md", line, code)]


def test_texts_that_a_comment_may_have() -> None:
    for text in ("x" * 65536, "a\tb", "\u00e9 \u65e5\u672c \U0001f600 a\u00a0b", "---\nauthor: x\n---", "<<<<<<< ours"):
        assert parse_comment(f"{HEAD}\n{text}\n".encode(), "p").comments[0].text == text


@pytest.mark.parametrize(
    ("author", "text"), [("", "x"), ("a\nb", "x"), ("a" * 101, "x"), ("a", "x\x00"), ("a", "\udcff")]
)
def test_what_cannot_be_a_comment_is_not_written(author: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        make_comment(author, NOW, text)


def test_a_folder_is_read_oldest_first_and_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    def at(time: str) -> str:
        return f"---\nauthor: ann\ndate: {time}\n---\n{time}\n"

    write_files(
        tmp_path,
        {
            f"{FOLDER}/b.md": at("2026-11-23T14:00:00+02:00"),
            f"{FOLDER}/a.md": at("2026-11-23T13:00:00Z"),
            f"{FOLDER}/c.md": at("2026-11-23T12:00:00.001Z"),
            f"{FOLDER}/d.md": "broken\n",
            f"{FOLDER}/picture.png": b"\x00",
            f"{FOLDER}/large.md": b"x" * (1024 * 1024 + 1),
            "elsewhere.md": at("2026-11-23T15:00:00Z"),
        },
    )
    (tmp_path / FOLDER / "e.md").symlink_to(tmp_path / "elsewhere.md")
    read = read_comments(tmp_path, FOLDER)
    assert [one.path[-4:] for one in read.comments] == ["b.md", "c.md", "a.md"]
    found = {problem.path.rpartition("/")[2]: problem.code for problem in read.problems}
    assert found == {"d.md": "DT131", "e.md": "DT128", "large.md": "DT105"}
    files = [path.rpartition("/")[2] for path in find_comment_files(tmp_path, FOLDER)]
    assert files == ["a.md", "b.md", "c.md", "d.md", "large.md"]
    assert read_comments(tmp_path, "tasks/web/comments/none") == ([], [])


def test_all_comments_are_checked(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "tasks/README.md": "no comment\n",
            f"{FOLDER}/a.md": HEAD + "Hi\n",
            f"{FOLDER}/b.md": "broken\n",
            "tasks/web/comments/web-000009/a.md": HEAD + "Hi\n",
            "tasks/web/comments/lost.md": HEAD + "Hi\n",
            "tasks/web/comments/notes.txt": "mine\n",
            "tasks/ops/comments/ops-000001/c.md": b"\xff",
        },
    )
    (tmp_path / "tasks/web/comments/web-000002").symlink_to(tmp_path / FOLDER)
    problems = list(check_comments(tmp_path, {"web-000001", "ops-000001"}.__contains__))
    assert [(p.path.removeprefix("tasks/"), p.code, p.severity) for p in problems] == [
        ("ops/comments/ops-000001/c.md", "DT101", "error"),
        ("web/comments/lost.md", "DT210", "warning"),
        ("web/comments/web-000001/b.md", "DT131", "error"),
        ("web/comments/web-000002", "DT128", "error"),
        ("web/comments/web-000009", "DT210", "warning"),
    ]
