"""The two shapes of trouble: `Problem` for wrong files, `DagtasksError` for commands that cannot go on.

Nothing here prints. A face (cli, api, board, hooks) is the only place that turns either into text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

Loc = tuple[str | int, ...]
"""A place inside a document: the keys and list positions that lead to it, e.g. ("steps", 0, "if")."""


MAX_PROBLEMS = 50
"""A file shows at most this many problems of its own, and as many with other files; the rest when those are mended."""


class Severity(StrEnum):
    """How bad a problem is: an `error` fails `validate`; `warning` and `note` do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(NamedTuple):
    """Something wrong at a place of one document, before line and column are known.

    Pure code (model, language, planning) returns findings; `Document.problem` gives them a position.
    `offset` counts characters into the scalar at `loc`, for a fault inside an expression or a text.
    """

    loc: Loc
    code: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    offset: int | None = None
    on_key: bool = False


class Problem(NamedTuple):
    """Something wrong in a file, shown as `path:line:column: CODE message`.

    `path` is relative to the root of the repository with `/`; `line` and `column` count from 1 (0: not known).
    """

    path: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])
        text = f"{where}: {self.code} {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_json(self) -> dict[str, object]:
        """The problem as the keys that `--json` and the API show."""
        return {**self._asdict(), "severity": str(self.severity)}


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether any of the problems is of severity error."""
    return any(p.severity is Severity.ERROR for p in problems)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """As many of the findings in one file as are shown, errors first, otherwise in their order."""
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)[:MAX_PROBLEMS]


class Fault(NamedTuple):
    """Something wrong with one field of what the caller gave."""

    field: str
    message: str
    hint: str = ""


class DagtasksError(Exception):
    """What stops a command: one message, a hint that says what to do next, and an exit code.

    `field` is what of the caller's input it is about, as `due` or `metadata.team`; "" where that is not known. `faults`
    are there where several things are wrong: then the message tells all of them.
    """

    exit_code = 3
    status = 500

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        problems: Sequence[Problem] = (),
        field: str = "",
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)
        self.faults = tuple(faults)
        self.field = field or (faults[0].field if faults else "")


@contextmanager
def about(field: str) -> Iterator[None]:
    """Errors from within are about that field of what the caller gave, where they do not say another."""
    try:
        yield
    except DagtasksError as error:
        error.field = error.field or field
        raise


class RunFailed(DagtasksError):
    """A run ended as failed, errored or interrupted."""

    exit_code = 1
    status = 200


class InvalidInput(DagtasksError):
    """A value given by the caller is not allowed: a field, a parameter, an option, a query."""

    exit_code = 2
    status = 400


class ProjectNotFound(DagtasksError):
    """No repository that uses dagtasks was found from the current folder upwards."""

    exit_code = 4
    status = 404


class NotFound(DagtasksError):
    """There is no task, phase, project, template or run of that name; the hint lists near names."""

    exit_code = 5
    status = 404


class Conflict(DagtasksError):
    """The file changed since it was read, or its state forbids the change."""

    exit_code = 6
    status = 409


class InvalidProject(DagtasksError):
    """The files that the command needs are wrong; `problems` says how."""

    exit_code = 7
    status = 422


class GitError(DagtasksError):
    """A git command failed; the message names the command, its status and what it printed."""

    exit_code = 8
    status = 500


class CommitRefused(GitError):
    """A hook of the repository did not let a commit be made; the message has what it said."""

    status = 409


class EngineUnavailable(DagtasksError):
    """The engine that should run the steps cannot be reached; the hint says how to start one."""

    exit_code = 9
    status = 503


class RunTimedOut(DagtasksError):
    """A run was stopped because its time was over."""

    exit_code = 10
    status = 200


class RunWaiting(DagtasksError):
    """A run waits for an approval."""

    exit_code = 11
    status = 202


class LockTimeout(DagtasksError):
    """Another process holds the lock of the repository; the message names it."""

    exit_code = 75
    status = 503


class Interrupted(DagtasksError):
    """The user stopped the command."""

    exit_code = 130
    status = 503
