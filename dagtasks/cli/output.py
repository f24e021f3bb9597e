"""Showing answers and errors: tables, one JSON document, messages. Data is escaped: it cannot drive a terminal.

What only some answers need is imported when they need it: every command imports this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from dagtasks import __version__
from dagtasks.errors import DagtasksError, Problem, Severity
from dagtasks.model.printable import printable as printable


def show_json(kind: str, data: object, problems: Sequence[Problem] = (), **more: object) -> None:
    """Print the one document that `--json` promises."""
    document: dict[str, object] = {"schema": 1, "kind": kind, "data": data, **more}
    if problems:
        document["problems"] = [problem.to_json() for problem in problems]
    click.echo(_dump(document, indent=2))


def _dump(document: object, indent: int | None = None) -> str:
    import json

    text = json.dumps(document, ensure_ascii=False, indent=indent, default=str)
    # A file name that is no UTF-8, or any letter where the terminal has ASCII only: escaped as JSON has it.
    return text if _fits(text) else json.dumps(document, indent=indent, default=str)


def _fits(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def show(kind: str, data: object, text: str, *, as_json: bool, problems: Sequence[Problem] = (), **more: object) -> int:
    """Print the answer, as a document or as text; errors in files go to stderr. Returns the exit code.

    Warnings and notes are left to `validate`: nobody wants them beside every list.
    """
    problems = [problem for problem in problems if problem.severity is Severity.ERROR]
    if as_json:
        show_json(kind, data, problems, **more)
    else:
        if text:
            click.echo(text)
        show_problems(problems)
    return 1 if problems else 0


def show_problems(problems: Iterable[Problem]) -> None:
    """Print each problem on a line of stderr."""
    for problem in problems:
        click.echo(problem_line(problem), err=True)


def problem_line(problem: Problem) -> str:
    """The problem in one line; what is no error is said to be none."""
    level = "" if problem.severity is Severity.ERROR else f"{problem.severity}: "
    return level + printable(problem)


def note(text: str) -> None:
    """Print a remark on stderr."""
    click.echo(printable(text), err=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The rows in columns; on a terminal the last column is cut so that each row stays on one line."""
    cells = [[printable("" if value is None else value) for value in row] for row in rows]
    every = [list(head), *cells]
    widths = [max(_width(row[place]) for row in every) for place in range(len(head))]
    lines = ["  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]
    return "\n".join(_fit(line) for line in lines)


def fields(pairs: Mapping[str, object]) -> str:
    """Names and values, one pair a line, the values aligned; empty values are left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", [], (), {})}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name:<{width}}  {_value(value)}" for name, value in shown.items())


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(printable(item) for item in value)
    return printable(value)


def _fit(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    import shutil  # for terminals only

    columns = shutil.get_terminal_size().columns
    if _width(line) <= columns:
        return line
    kept = line
    while _width(kept) > columns - 1:
        kept = kept[:-1]
    return kept + "…"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    wide = sum(east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(combining(character) != 0 for character in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def show_error(error: DagtasksError, *, as_json: bool) -> int:
    """Show the error on stderr and return its exit code."""
    if as_json:
        click.echo(_dump(problem_document(error)), err=True)
        return error.exit_code
    show_problems(error.problems)
    click.echo(f"error: {printable(error.message, keep=chr(10))}", err=True)
    if error.hint:
        click.echo(f"  {printable(error.hint)}", err=True)
    return error.exit_code


def show_usage(error: click.ClickException, arguments: Sequence[str], *, as_json: bool) -> int:
    """Show what is wrong with the command line itself, and return Click's exit code for it."""
    import re
    from io import StringIO

    queries = [word for word in arguments if re.match(r"-\w+:", word)]
    hint = f"write -- before a query that begins with -, as in: -- {queries[0]!r}" if queries else ""
    if as_json:
        document = {"type": "InvalidInput", "title": error.format_message(), "status": 400, "exit": error.exit_code}
        click.echo(_dump({**document, **({"hint": hint} if hint else {})}), err=True)
        return error.exit_code
    shown = StringIO()
    error.show(shown)
    click.echo(printable(shown.getvalue().rstrip("\n"), keep="\n"), err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return error.exit_code


def problem_document(error: DagtasksError) -> dict[str, Any]:
    """The error as the document that `--json` shows on stderr (RFC 9457 member names)."""
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "title": error.message,
        "status": error.status,
        "exit": error.exit_code,
    }
    if error.hint:
        document["hint"] = error.hint
    if error.problems:
        document["problems"] = [problem.to_json() for problem in error.problems]
    return document


def show_bug(error: Exception) -> int:
    """Show an error that nobody foresaw in one line, and keep the traceback in a file. Returns the exit code 3."""
    click.echo(f"error: this is a bug in dagtasks: {type(error).__name__}: {printable(error)}", err=True)
    try:
        what = _keep_traceback(error)
    except OSError:
        what = "what it says with `dagtasks --debug`"
    click.echo(f"  please report it with {what}", err=True)
    return 3


def _keep_traceback(error: Exception) -> str:
    """The path of a new file that says where the error comes from."""
    import platform
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="dagtasks-", suffix=".log", text=True)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"dagtasks {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
        file.write("".join(traceback.format_exception(error)))
    return path
