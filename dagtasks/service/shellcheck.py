"""What ShellCheck says of the shell text of a template, when it is installed. One process for each text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.syntax import ExpressionError, Hole
from dagtasks.model.template import Template
from dagtasks.planning.steps import Spot, spots_of
from dagtasks.planning.summaries import places_of

SECONDS = 10
_FIRST = "set -e\n"
"""Says to ShellCheck what the arguments of the shell say."""
_DIALECTS = {"sh": "sh", "ash": "sh", "busybox": "sh", "dash": "dash", "bash": "bash", "ksh": "ksh"}
_SEVERITIES = {"error": Severity.WARNING, "warning": Severity.WARNING}


class _Text(NamedTuple):
    """A shell text with nothing of ours in it. `holes` are the ranges where a value stands.

    `stops`: the shell is started so that it ends at the first command that fails.
    """

    loc: Loc
    text: str
    dialect: str
    stops: bool
    holes: tuple[range, ...] = ()


class _Remark(NamedTuple):
    """What it says of a part of the text, from `start` up to `end`."""

    start: int
    end: int
    number: str
    level: str
    message: str


def find_program() -> str | None:
    """Where ShellCheck is; None when it is not installed."""
    return shutil.which("shellcheck")


def check_shell(program: str, template: Template, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What ShellCheck says; nothing when it fails. `data` has the template's `defaults` in its steps."""
    for text in _texts_of(template, data):
        for remark in _ask(program, text):
            if finding := _finding(text, remark):
                yield finding


def _texts_of(template: Template, data: Mapping[str, Any]) -> Iterator[_Text]:
    for (part, place), step in places_of(template):
        for spot in spots_of(data[str(part)][place], (part, place)):
            if spot.role == "shell" and (dialect := _dialect(spot.shell)):
                yield from _bare(spot, dialect)
        if step.script and step.script.source is not None and (dialect := _dialect(step.script.interpreter)):
            loc: Loc = (part, place, "script", "source")
            yield _Text(loc, step.script.source, dialect, _stops(step.script.interpreter))


def _stops(shell: Sequence[str]) -> bool:
    return any(re.fullmatch("-[a-z]*e[a-z]*", word) for word in shell)


def _dialect(shell: Sequence[str]) -> str | None:
    names = [PurePosixPath(word).name for word in shell]
    return _DIALECTS.get(next((name for name in names if name != "env"), ""))


def _bare(spot: Spot, dialect: str) -> Iterator[_Text]:
    """The text with a variable of the same length for each value, so that places stay what they are."""
    text = spot.text
    try:
        scalar = parse_scalar(text)
    except ExpressionError:
        return
    holes = [range(hole.start, hole.end) for hole in scalar.holes]
    if all(isinstance(part, Hole) or part.isspace() for part in scalar.parts):
        return
    for hole in holes:
        text = text[: hole.start] + "${" + "A" * (len(hole) - 3) + "}" + text[hole.stop :]
    yield _Text(spot.loc, text.replace("$${", "${_"), dialect, _stops(spot.shell), tuple(holes))


def _ask(program: str, text: _Text) -> list[_Remark]:
    """The remarks on the text; none when the program fails, or answers in a way that nobody foresaw."""
    first = _FIRST if text.stops else ""
    try:
        done = subprocess.run(
            [program, "--format=json1", f"--shell={text.dialect}", "--norc", "-"],
            input=first + text.text,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
        return [_read(comment, first + text.text, len(first)) for comment in json.loads(done.stdout)["comments"]]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return []


def _read(comment: Mapping[str, Any], text: str, shift: int) -> _Remark:
    start = _offset(text, comment["line"], comment["column"]) - shift
    end = _offset(text, comment["endLine"], comment["endColumn"]) - shift
    return _Remark(start, max(end, start + 1), f"SC{comment['code']}", str(comment["level"]), str(comment["message"]))


def _finding(text: _Text, remark: _Remark) -> Finding | None:
    """The remark at its place; None when it is about a place where we put something."""
    if remark.start < 0 or any(hole.start < remark.end and remark.start < hole.stop for hole in text.holes):
        return None
    severity = _SEVERITIES.get(remark.level, Severity.NOTE)
    hint = f"https://www.shellcheck.net/wiki/{remark.number}"
    return Finding(text.loc, "DT351", f"{remark.number} {remark.message}", hint, severity, remark.start)


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a place; columns count characters, and a tab as going on to the next multiple of eight."""
    lines = text.split("\n")
    before = sum(len(one) + 1 for one in lines[: line - 1])
    shown, place = 1, 0
    for character in lines[line - 1] if line <= len(lines) else "":
        if shown >= column:
            break
        shown += 8 - (shown - 1) % 8 if character == "\t" else 1
        place += 1
    return before + place
