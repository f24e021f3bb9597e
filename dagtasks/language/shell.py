"""Brings values into shell text as variables, never as text: a value cannot become code (03 section 2.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.checking import Names, check_hole, check_text_hole
from dagtasks.language.functions import EvaluationError, text_of
from dagtasks.language.kinds import Kind
from dagtasks.language.quoting import MARK, Context, Place, find_places
from dagtasks.language.syntax import Call, Field, Hole, Literal, Name, Path, Scalar
from dagtasks.model.values import JSON

DEFAULT_SHELL = ("sh", "-ec")
SHELLS = frozenset({"sh", "dash", "bash", "ash", "busybox", "ksh", "mksh"})
"""The shells whose quoting is known."""

VALUE_LIMIT = 96 * 1024
"""The most bytes of one value. Linux takes at most 128 KiB in one argument or variable, with its name."""


@dataclass(frozen=True, slots=True)
class BoundCommand:
    """A shell text without values, and the variables that bring them.

    `source` and the values of `env` are scalars like any other: rendered, `source` gives the shell text (only
    `raw()` is still in it) and `env` the variables `DT_0`, `DT_1` ... Of no use when a finding is an error.
    """

    source: str
    env: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def bind(scalar: Scalar, names: Names, *, loc: Loc = (), shell: Sequence[str] = DEFAULT_SHELL) -> BoundCommand:
    """The command with a variable for each `${...}`, written as the quoting around it wants.

    A command that is nothing but one `${parameter}` is that parameter: it is code by contract, and noted.
    """
    if not scalar.holes:
        return BoundCommand(scalar.source)
    names = replace(names, functions=names.functions | {"raw"})
    alone = _find_alone(scalar)
    if alone and not is_raw(alone):
        return _take_as_command(scalar, alone, names, loc)
    return _Binder(scalar, names, loc).bind(shell)


def process_text(value: JSON) -> str:
    """The value as an argument or an environment variable of a process.

    Raises `EvaluationError` for null, lists and maps, a NUL, half a surrogate pair, and more than 96 KiB.
    """
    text = text_of(value)
    if "\0" in text:
        raise EvaluationError("the value holds a NUL, which no argument or variable can", hint="pass it as a file")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise EvaluationError("the value is not valid Unicode") from None
    if size > VALUE_LIMIT:
        message = f"the value has {size} bytes; an argument or variable takes {VALUE_LIMIT}"
        raise EvaluationError(message, hint="use a file")
    return text


def is_raw(hole: Hole) -> bool:
    """Whether the hole is `${raw(...)}`."""
    return isinstance(hole.expr, Call) and hole.expr.name == "raw"


def _shell_name(shell: Sequence[str]) -> str:
    names = (PurePosixPath(word).name for word in shell)
    return next((name for name in names if name != "env"), "")


def _find_alone(scalar: Scalar) -> Hole | None:
    """The only hole, when there is nothing around it but white space, as YAML blocks add it."""
    is_blank = all(part.isspace() for part in scalar.parts if isinstance(part, str))
    return scalar.holes[0] if is_blank and len(scalar.holes) == 1 else None


def _take_as_command(scalar: Scalar, hole: Hole, names: Names, loc: Loc) -> BoundCommand:
    checked = check_hole(hole, names, loc)
    note = Finding(
        loc, "DT308", f"{hole.source} is the whole command: its value is run as code", "", Severity.NOTE, hole.start
    )
    if not _is_parameter(hole):
        message = f"{hole.source} would be the whole command, which only a parameter can be"
        note = Finding(loc, "DT304", message, "write ${raw(...)} to run a value as code", offset=hole.start)
    elif checked.kind.name not in ("string", "any"):
        note = Finding(loc, "DT303", f"a command is text, not {checked.kind}", offset=hole.start)
    return BoundCommand(scalar.source, findings=(*checked.findings, note))


def _is_parameter(hole: Hole) -> bool:
    match hole.expr:
        case Name():
            return hole.expr.path[0] == "params" and len(hole.expr.path) == 2
        case Path(base=Name(name="params"), steps=(Field(),)):
            return True
        case _:
            return False


class _Binder:
    def __init__(self, scalar: Scalar, names: Names, loc: Loc) -> None:
        self.scalar = scalar
        self.names = names
        self.loc = loc
        self.env: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.findings: list[Finding] = []

    def bind(self, shell: Sequence[str]) -> BoundCommand:
        text = "".join(part if isinstance(part, str) else MARK for part in self.scalar.parts)
        if text.count(MARK) > len(self.scalar.holes):
            self.findings.append(Finding(self.loc, "DT304", "a command cannot hold a NUL"))
            return BoundCommand(self.scalar.source, findings=tuple(self.findings))
        written = self.write_all(self.find_places(text, _shell_name(shell)))
        self.warn_of_code(text)
        return BoundCommand("".join(written), self.env, tuple(self.findings))

    def find_places(self, text: str, shell: str) -> list[Place]:
        if shell not in SHELLS:
            reason = f"values can be brought into text for {', '.join(sorted(SHELLS))}, not for {shell or 'nothing'}"
            return [Place(Context.REFUSED, reason)] * len(self.scalar.holes)
        places, fault = find_places(text)
        if fault:
            self.findings.append(Finding(self.loc, "DT304", f"the shell could not read this command: {fault}"))
        return places

    def write_all(self, places: list[Place]) -> list[str]:
        waiting = iter(places)
        return [
            part.replace("${", "$${") if isinstance(part, str) else self.write(part, next(waiting))
            for part in self.scalar.parts
        ]

    def fault(self, hole: Hole, message: str, hint: str = "", severity: Severity = Severity.ERROR) -> None:
        code = "DT304" if severity is Severity.ERROR else "DT309"
        self.findings.append(Finding(self.loc, code, message, hint, severity, hole.start))

    def write(self, hole: Hole, place: Place) -> str:
        """What stands in the command instead of the hole."""
        checked = check_text_hole(hole, self.names, self.loc)
        self.findings += checked.findings
        if place.context is Context.COMMENT:
            return ""
        if is_raw(hole):
            self.fault(hole, f"{hole.source} is pasted: its value is run as code", "", Severity.WARNING)
            return hole.source
        if reason := _find_refusal(hole, place, checked.kind):
            self.fault(hole, f"{hole.source} cannot stand here: {reason}", _refusal_hint(hole, place))
            return ""
        return _write_reference(self.variable_for(hole, place), place.context)

    def variable_for(self, hole: Hole, place: Place) -> str:
        source = f"${{int({hole.source[2:-1]})}}" if place.integers_only else hole.source
        name = self.variables.setdefault(source, f"DT_{len(self.variables)}")
        self.env[name] = source
        return name

    def warn_of_code(self, text: str) -> None:
        holes = iter(self.scalar.holes)
        for line in text.split("\n"):
            here = [next(holes) for _ in range(line.count(MARK))]
            if here and (program := _find_program(line)):
                message = f"a value in a command with `{program}` may be read as code by that program"
                self.fault(here[-1], message, "pass it as an environment variable or an argument", Severity.WARNING)


_READS_CODE = re.compile(r"(?<![\w.-])(?:eval|let|trap|ssh)(?![\w.-])")
_TAKES_CODE = re.compile(
    r"(?<![\w.-])(?:(?:sh|bash|dash|ash|zsh|ksh|su|python[0-9.]*|perl|ruby|node|php)\b[^|;&\0]{0,80}?\s-[A-Za-z]*[ce]"
    r"|awk|sed|jq)(?![\w.-])"
)
_OWN_WORD = re.compile(r"""(?<=\s)(["']?)\0\1(?=\s|$)""")


def _find_program(line: str) -> str:
    """The program in the line that would take a value as code: as its first argument, or inside a longer one."""
    if (found := _READS_CODE.search(line)) and MARK in line[found.end() :]:
        return found[0]
    found = _TAKES_CODE.search(line)
    rest = line[found.end() :] if found else ""
    is_code = re.match(r"""\s*["']?\0""", rest) or MARK in _OWN_WORD.sub("", rest)
    return found[0] if found and is_code else ""


def _find_refusal(hole: Hole, place: Place, kind: Kind) -> str:
    """Why the value cannot stand there; empty when it can."""
    if place.context is Context.REFUSED:
        return place.reason
    if place.integers_only and (kind.name != "integer" or kind.nullable):
        return "the shell computes with it, and only a value of type integer is safe there"
    return "it is a number that never changes" if _shell_argument_hint(hole) else ""


def _refusal_hint(hole: Hole, place: Place) -> str:
    if place.integers_only and place.context is not Context.REFUSED:
        return "declare the parameter as `type: integer`"
    return _shell_argument_hint(hole) or "put it in an environment variable of the step, and use that"


def _shell_argument_hint(hole: Hole) -> str:
    if not isinstance(hole.expr, Literal) or isinstance(hole.expr.value, str):
        return ""
    return f"for an argument of the shell write $1 or ${hole.source}"


def _write_reference(name: str, context: Context) -> str:
    """How the variable is written, as the source of a scalar (`$${` is a literal `${`)."""
    variable = f"$${{{name}}}"
    match context:
        case Context.BARE:
            return f'"{variable}"'
        case Context.SINGLE:
            return f"'\"{variable}\"'"
        case Context.ARITHMETIC:
            return f"({variable})"
        case _:
            return variable
