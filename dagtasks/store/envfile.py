"""`config/.env`: the variables of one machine, which may be secrets. No line of it is ever shown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import MAX_PROBLEMS, Problem, Severity
from dagtasks.model.names import did_you_mean
from dagtasks.settings import SECRET_VARIABLE, SETTINGS, is_known_variable
from dagtasks.store.documents import read_plain
from dagtasks.store.files import is_readable_by_all
from dagtasks.store.git import Git
from dagtasks.store.layout import ENV_FILE


class _Line(NamedTuple):
    """A line that says something, counted from 1; without a value it is no `NAME=value`."""

    number: int
    name: str
    value: str | None


def read_env_file(root: Path, git: Git | None = None) -> tuple[dict[str, str], list[Problem]]:
    """The variables, and what is wrong with the file; no variable when it cannot be read.

    A line is `NAME=value`; `#` begins a comment, and quotes round a value go. `git` says whether it tracks the file.
    """
    path = root / ENV_FILE
    if not os.path.lexists(path):
        return {}, []
    text, problems = read_plain(Path(os.path.realpath(path)), ENV_FILE)
    lines = list(_read_lines(text))
    variables = {line.name: line.value for line in lines if line.value is not None}
    return variables, [*problems, *_check(path, lines, git)]


def _read_lines(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), 1):
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if (name or sign) and not name.startswith("#"):
            yield _Line(number, name.strip(), _unquote(value.strip()) if sign else None)


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _check(path: Path, lines: Sequence[_Line], git: Git | None) -> Iterator[Problem]:
    yield from [problem for line in lines if (problem := _check_line(line))][:MAX_PROBLEMS]
    if any(line.name.startswith(SECRET_VARIABLE) for line in lines) and is_readable_by_all(path):
        hint = "take that right away: chmod 600 config/.env"
        message = "every user of this machine may read config/.env, which holds a secret"
        yield Problem(ENV_FILE, 0, 0, "DT144", message, hint, Severity.WARNING)
    if git and git.tracks(ENV_FILE):
        hint = "take it out of Git: git rm --cached config/.env"
        yield Problem(ENV_FILE, 0, 0, "DT143", "Git tracks config/.env, so its secrets go to everybody", hint)


def _check_line(line: _Line) -> Problem | None:
    if line.value is None:
        message, hint = "the line is no NAME=value, and does nothing", "write NAME=value, or # before it"
        return Problem(ENV_FILE, line.number, 1, "DT145", message, hint, Severity.WARNING)
    if is_known_variable(line.name):
        return None
    known = [setting.env for setting in SETTINGS if setting.env]
    message = f"there is no setting {line.name}; the line does nothing"
    return Problem(ENV_FILE, line.number, 1, "DT140", message, did_you_mean(line.name, known), Severity.WARNING)
