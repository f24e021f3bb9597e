"""Comments on tasks: one Markdown file each, so that those of two branches never meet. Front matter says who and when.

A comment as dagtasks writes it is read without YAML: `task show` imports none of it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import Finding, InvalidInput, Problem, Severity
from dagtasks.model.values import NAME_LIMIT, TEXT_LIMIT
from dagtasks.store.files import MAX_BYTES, read_file
from dagtasks.store.layout import COMMENTS, TASKS, check_symlink

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

CODES = {
    "DT131": "A comment is not written as one. It begins with front matter: a line `---`, `author:` (one line of up to "
    "100 characters), `date:` (as `2026-11-23T14:15:00Z`), and a line `---`. The text follows, up to 64 KiB.",
    "DT210": "Comments lie where no task is that they could be about. The folder of a comment is called by the id of "
    "its task: `tasks/<project>/comments/<id>/`.",
}

# What `make_comment` writes for most authors. `_read_slowly` gives the same answer for it.
_USUAL = re.compile(
    r'---\nauthor: ([A-Za-z][\w@.+-]*(?:[ :][\w@.+-]+)*)\ndate: "([-\d]+T[:\d]+(?:\.\d{3})?Z)"\n---\n', re.ASCII
)
_PLAIN_BLANKS = {ord("\n"): None, ord("\t"): None}


class Comment(NamedTuple):
    """What somebody said about a task. `date` is UTC, as `2026-11-23T14:15:00.000Z`; `path` is relative to the root."""

    author: str
    date: str
    text: str
    path: str


class Thread(NamedTuple):
    """Comments, oldest first, and the problems of those that cannot be read."""

    comments: list[Comment]
    problems: list[Problem]


def comment_name(now: datetime, token: str) -> str:
    """What the file of a new comment is called: names sort by time, and the token keeps two of one second apart."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{token}.md"


def make_comment(author: str, now: datetime, text: str) -> bytes:
    """The file of a comment. Raises `InvalidInput` when no file may hold that."""
    from dagtasks.store.emitter import entry_lines

    body = text.replace("\r\n", "\n").strip("\n")
    head = [*entry_lines("author", author, 0), *entry_lines("date", _write_date(now), 0)]
    content = "\n".join(["---", *head, "---", "", body, ""]).encode("utf-8", "surrogatepass")
    problems = parse_comment(content, "comment").problems
    if problems:
        raise InvalidInput(f"this cannot be a comment: {problems[0].message}", hint=problems[0].hint)
    return content


def read_comments(root: Path, folder: str) -> Thread:
    """The comments that lie in the folder of a task."""
    try:
        found = [_read(root, f"{folder}/{entry.name}") for entry in _entries(root, folder) if _is_comment(entry)]
    except OSError as error:
        return Thread([], [_unreadable(folder, error)])
    comments = sorted((one for thread in found for one in thread.comments), key=lambda one: (one.date, one.path))
    return Thread(comments, [problem for thread in found for problem in thread.problems])


def find_comment_files(root: Path, folder: str) -> list[str]:
    """The paths of the files of comments in the folder of a task, also of those that cannot be read."""
    entries = (entry for entry in _entries(root, folder) if _is_comment(entry))
    return [f"{folder}/{entry.name}" for entry in entries if entry.is_file(follow_symlinks=False)]


def read_threads(root: Path) -> dict[str, Thread]:
    """The comments of all tasks that have any, by the folder in which they lie; what cannot be read is left out."""
    threads: dict[str, Thread] = {}
    for project in _entries(root, TASKS):
        if project.is_dir(follow_symlinks=False):
            folder = f"{TASKS}/{project.name}/{COMMENTS}"
            with suppress(OSError):
                names = [entry.name for entry in _entries(root, folder) if entry.is_dir(follow_symlinks=False)]
                threads |= {f"{folder}/{name}": read_comments(root, f"{folder}/{name}") for name in names}
    return threads


def check_comments(root: Path, is_task: Callable[[str], bool]) -> Iterator[Problem]:
    """What is wrong with all comments; `is_task` says whether there is a task of that id."""
    for project in _entries(root, TASKS):
        # Of symlinks and of folders that cannot be read, a walk of the tasks tells.
        if not project.is_dir(follow_symlinks=False) or not os.access(project, os.R_OK | os.X_OK):
            continue
        folder = f"{TASKS}/{project.name}/{COMMENTS}"
        try:
            entries = _entries(root, folder)
        except OSError as error:
            yield _unreadable(folder, error)
        else:
            for entry in entries:
                yield from _check_entry(root, f"{folder}/{entry.name}", entry, is_task)


def _check_entry(root: Path, path: str, entry: os.DirEntry[str], is_task: Callable[[str], bool]) -> Iterator[Problem]:
    if entry.is_symlink():
        yield _symlink(path)
    elif entry.is_dir():
        if not is_task(entry.name):
            hint = "rename the folder if the task has another id; else keep or remove it"
            yield Problem(path, 0, 0, "DT210", f"there is no task {entry.name!r}", hint, Severity.WARNING)
        yield from read_comments(root, path).problems
    elif _is_comment(entry):
        hint = "move it into the folder of its task"
        yield Problem(path, 0, 0, "DT210", "this comment is about no task", hint, Severity.WARNING)


def _is_comment(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".md")


def _entries(root: Path, folder: str) -> list[os.DirEntry[str]]:
    """What lies in the folder, by name; nothing when there is no folder, or a symlink. Raises `OSError`."""
    # Strings: a Path for each of ten thousand folders takes longer than looking into them.
    path = f"{root}/{folder}"
    try:
        if os.path.islink(path):  # noqa: PTH114
            return []
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _unreadable(path: str, error: OSError) -> Problem:
    hint = "check that it exists and that you may read it"
    return Problem(path, 0, 0, "DT101", f"it cannot be read: {error.strerror}", hint)


def _read(root: Path, path: str) -> Thread:
    try:
        content = read_file(f"{root}/{path}")
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Thread([], [_symlink(path)])
        return Thread([], [_unreadable(path, error)])
    if len(content) > MAX_BYTES:
        return _refuse(path, 0, "DT105", "the file is larger than 1 MiB", "split it or move long text elsewhere")
    return parse_comment(content, path)


def _symlink(path: str) -> Problem:
    wrong = check_symlink(path)
    return Problem(path, 0, 0, wrong.code, wrong.message, wrong.hint)


def parse_comment(content: bytes, path: str) -> Thread:
    """The comment that the bytes are, or their problems."""
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _refuse(path, line, "DT101", "the file is not UTF-8", "save it as UTF-8")
    if not text.translate(_PLAIN_BLANKS).isprintable():
        from dagtasks.store.dialect import character_faults

        faults = [Problem(path, *fault) for fault in character_faults(content, content.decode())]
        if faults:
            return Thread([], faults[:1])
    from dagtasks.store.scalars import is_text_everywhere  # most repositories are checked for comments and have none

    usual = _USUAL.match(text)
    if usual and is_text_everywhere(usual[1]) and len(usual[1]) <= NAME_LIMIT and (date := _utc(usual[2])):
        return _with_text(path, usual[1], date, text[usual.end() :], 4)
    return _read_slowly(path, text)


def _read_slowly(path: str, text: str) -> Thread:
    """The comment, with what YAML takes to read its front matter."""
    from dagtasks.store.documents import parse_document

    hint = "begin it with ---, author:, date:, ---"
    first, *lines = text.split("\n")
    if first.rstrip() != "---":
        return _refuse(path, 1, "DT131", "the comment does not begin with front matter", hint)
    end = next((number for number, line in enumerate(lines) if line.rstrip() == "---"), None)
    if end is None:
        return _refuse(path, 1, "DT131", "the front matter of the comment does not end", "end it with a line ---")
    # An empty line stands for the first one, so that lines count as in the file.
    document = parse_document("\n".join(["", *lines[:end], ""]).encode(), path)
    if document.data is None:
        return Thread([], list(document.problems))
    author, date = document.data.get("author"), document.data.get("date")
    problems = [*_check_author(document, author), *_check_date(document, date)]
    if problems:
        return Thread([], problems)
    return _with_text(path, str(author), str(_utc(date)), "\n".join(lines[end + 1 :]), end + 2)


def _check_author(document: Document, author: Any) -> Iterator[Problem]:
    if author is None:
        yield _at(document, "author", "the comment does not say its author", "add author: with a name")
    elif type(author) is not str:
        yield _at(document, "author", "the author is not read as text everywhere", "quote it")
    elif not author.strip() or "\n" in author or len(author) > NAME_LIMIT:
        yield _at(document, "author", f"the author is no line of up to {NAME_LIMIT} characters", "shorten it")


def _check_date(document: Document, date: Any) -> Iterator[Problem]:
    if date is None:
        yield _at(document, "date", "the comment does not say its date", 'add date: "2026-11-23T14:15:00Z"')
    elif _utc(date) is None:
        yield _at(document, "date", "the date of the comment is no date and time", 'as in "2026-11-23T14:15:00Z"')


def _at(document: Document, key: str, message: str, hint: str) -> Problem:
    problem = document.problem(Finding((key,), "DT131", message, hint))
    return problem if problem.line > 1 else problem._replace(line=1, column=1)


def _utc(date: Any) -> str | None:
    """The date as it is shown; None when it is none. Without a zone it is UTC."""
    try:
        read = datetime.fromisoformat(date)
        return _write_date(read.replace(tzinfo=read.tzinfo or UTC))
    except (ValueError, TypeError, OverflowError):
        return None


def _write_date(date: datetime) -> str:
    """Down to milliseconds: programs comment more than once in a second."""
    return date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_text(path: str, author: str, date: str, text: str, line: int) -> Thread:
    text = text.strip("\n")
    if not text.strip():
        return _refuse(path, line, "DT131", "the comment says nothing", "write it below the front matter")
    if len(text) > TEXT_LIMIT:
        return _refuse(path, line, "DT131", "the text is longer than 64 KiB", "shorten it, or split it")
    return Thread([Comment(author, date, text, path)], [])


def _refuse(path: str, line: int, code: str, message: str, hint: str) -> Thread:
    return Thread([], [Problem(path, line, 1 if line else 0, code, message, hint)])
