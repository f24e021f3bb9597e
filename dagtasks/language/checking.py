"""What can be said of an expression before it runs: unknown names, wrong kinds, the kind of its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.evaluation import CASE_FORM
from dagtasks.language.functions import (
    ALL_FUNCTIONS,
    FUNCTIONS,
    RAW,
    STATUS_FUNCTIONS,
    TEXT_HINTS,
    find_match_fault,
    fits,
)
from dagtasks.language.kinds import ANY, ARRAY, BOOLEAN, INTEGER, STRING, TEXT_KINDS, Kind, common_kind, kind_of
from dagtasks.language.syntax import (
    Call,
    Coalesce,
    Comparison,
    Expr,
    Field,
    Hole,
    Item,
    Listing,
    Literal,
    Logic,
    Name,
    Not,
    Path,
    Scalar,
    Splice,
)
from dagtasks.model.names import did_you_mean
from dagtasks.model.parameter import ROOTS

CODES = {
    "DT301": "An expression cannot be read. The message says what is wrong and where. A literal `${` is written `$${`.",
    "DT302": "An expression names something that is not there: a parameter, a step, a field, a function; or "
    "something that cannot be used at this place. Names are never taken as empty.",
    "DT303": "A value has the wrong type for its place: a condition that is not true or false, a comparison that "
    "can never hold, a list inside a text, a function with other arguments than it takes.",
    "DT304": "A value cannot be brought safely into this place of a shell command. The hint names another way.",
    "DT305": "The value of a parameter is missing or breaks a rule of the template (type, enum, pattern, limits), "
    "or the template has no such parameter.",
    "DT306": "Defaults of parameters need each other in a circle. Give one of them a fixed default.",
    "DT307": "An expression had no value when it was evaluated: a missing key, a text that is no number, a value "
    "over a limit.",
    "DT308": "The whole command is one parameter: whoever sets the parameter decides what runs. That is meant to "
    "be so in templates for a task's own command; it is said so that nobody overlooks it.",
    "DT309": "A value becomes part of a program's text, either by `raw()` or as an argument that another program "
    "reads as code (`sh -c`, `eval`, `awk`). Pass it as an environment variable or an argument instead.",
    "DT310": "A value that may be null stands inside a text; the step fails when it is. Give another value with `??`.",
    "DT311": "A duration is not written as dagtasks reads it: `500ms`, `90s`, `10m`, `1h30m`.",
    "DT312": "A parameter that the template calls deprecated is given.",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What expressions at one place may use.

    `kinds` are the roots with what is known of them (the fields of `params` are the parameters); `functions`
    those allowed here beside the common ones; `refused` roots that exist but not here, with the reason.
    """

    kinds: Mapping[str, Kind]
    functions: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of an expression's value, and what is wrong with the expression."""

    kind: Kind
    findings: tuple[Finding, ...] = ()


def check(expr: Expr, names: Names, loc: Loc = ()) -> Checked:
    """What is wrong with the expression, with offsets into the text that it was parsed from."""
    checker = _Checker(names, loc)
    kind = checker.visit(expr)
    return Checked(kind, tuple(checker.findings))


def check_condition(expr: Expr, names: Names, loc: Loc = ()) -> Checked:
    """As `check`, for a value that must be true or false."""
    checker = _Checker(names, loc)
    checker.visit_boolean(expr)
    return Checked(BOOLEAN, tuple(checker.findings))


def check_scalar(scalar: Scalar, names: Names, loc: Loc = ()) -> Checked:
    """As `check`, for a text with holes: a whole one keeps its kind, any other is a string."""
    if scalar.whole:
        return check_hole(scalar.whole, names, loc)
    checks = [check_text_hole(hole, names, loc) for hole in scalar.holes]
    return Checked(STRING, tuple(finding for checked in checks for finding in checked.findings))


def check_hole(hole: Hole, names: Names, loc: Loc = ()) -> Checked:
    """As `check`, for a whole `${...}`, where `raw(...)` may be the outermost call and `[*]` the end."""
    checker = _Checker(names, loc)
    kind = checker.visit_top(hole.expr)
    return Checked(kind, tuple(checker.findings))


def check_text_hole(hole: Hole, names: Names, loc: Loc = ()) -> Checked:
    """As `check_hole`, for a hole inside other text: only a string, a number or a boolean can stand there."""
    checked = check_hole(hole, names, loc)
    return Checked(checked.kind, (*checked.findings, *_text_findings(hole, checked.kind, loc)))


def _text_findings(hole: Hole, kind: Kind, loc: Loc) -> list[Finding]:
    if kind.name not in TEXT_KINDS | {"any"}:
        message = f"{hole.source} is {kind}, which cannot stand in text"
        return [Finding(loc, "DT303", message, TEXT_HINTS.get(kind.name, ""), offset=hole.start)]
    if kind.nullable:
        message, hint = f"{hole.source} may be null, which cannot stand in text", "give another value with ??"
        return [Finding(loc, "DT310", message, hint, Severity.WARNING, hole.start)]
    return []


class _Checker:
    """Infers kinds bottom up; after a fault the kind is `any`, so that one fault is told once."""

    def __init__(self, names: Names, loc: Loc) -> None:
        self.names = names
        self.loc = loc
        self.findings: list[Finding] = []

    def fault(self, code: str, message: str, offset: int, hint: str = "") -> Kind:
        self.findings.append(Finding(self.loc, code, message, hint, offset=offset))
        return ANY

    def visit_top(self, expr: Expr) -> Kind:
        if isinstance(expr, Splice):
            kind = self.visit(expr.value)
            if not fits("array", kind.name):
                self.fault("DT303", f"[*] needs a list, not {kind}", expr.offset)
            return ARRAY
        if isinstance(expr, Call) and expr.name in RAW and expr.name in self.names.functions:
            return self.visit_function(expr)
        return self.visit(expr)

    def visit(self, expr: Expr) -> Kind:
        match expr:
            case Literal():
                return kind_of(expr.value)
            case Name():
                return self.visit_name(expr)
            case Path():
                return self.visit_path(expr)
            case Call():
                return self.visit_call(expr)
            case Comparison():
                return self.visit_comparison(expr)
            case Logic():
                for operand in expr.operands:
                    self.visit_boolean(operand)
                return BOOLEAN
            case Not():
                return self.visit_boolean(expr.value)
            case Coalesce():
                return self.visit_coalesce(expr)
            case Listing():
                return Kind("array", items=common_kind([self.visit(item) for item in expr.items]))
            case Splice():
                return self.fault("DT303", "[*] is only for an item of a list", expr.offset)

    def visit_name(self, expr: Name) -> Kind:
        # Where there are no parameters, nobody means one.
        if expr.name in ROOTS or expr.name in self.names.kinds or "params" in self.names.refused:
            return self.visit_root(expr)
        parameters = self.names.kinds.get("params", ANY).fields
        if parameters is None:
            return ANY
        if expr.name in parameters:
            return parameters[expr.name]
        near = did_you_mean(expr.name, [*parameters, *self.names.kinds])
        shell = f"for a variable of the shell write ${expr.name} or $${{{expr.name}}}"
        message = f"there is no parameter `{expr.name}`"
        return self.fault("DT302", message, expr.offset, "; ".join(filter(None, [near, shell])))

    def visit_root(self, expr: Name) -> Kind:
        if reason := self.names.refused.get(expr.name):
            return self.fault("DT302", f"`{expr.name}` cannot be used here: {reason}", expr.offset)
        if expr.name not in self.names.kinds:
            here = ", ".join(sorted(self.names.kinds))
            return self.fault("DT302", f"`{expr.name}` is not known here", expr.offset, f"known here: {here}")
        return self.names.kinds[expr.name]

    def visit_path(self, path: Path) -> Kind:
        kind = self.visit(path.base)
        for place, step in enumerate(path.steps):
            where = _written(path, place)
            kind = (
                self.visit_field(kind, step, where) if isinstance(step, Field) else self.visit_item(kind, step, where)
            )
        return kind

    def visit_field(self, kind: Kind, step: Field, where: str) -> Kind:
        if kind.name == "any":
            return ANY
        if kind.name != "object":
            hint = "items of a list are read as x[0]" if kind.name == "array" else ""
            return self.fault("DT303", f"{kind} has no `{step.name}`", step.offset, hint)
        return self.find_field(kind, step.name, step.offset, where)

    def find_field(self, kind: Kind, name: str, offset: int, where: str) -> Kind:
        if kind.fields is None:
            return ANY
        if name in kind.fields:
            return kind.fields[name]
        return self.fault("DT302", f"there is no `{name}`{where}", offset, _known_fields(name, kind.fields))

    def visit_item(self, kind: Kind, step: Item, where: str) -> Kind:
        index = self.visit(step.index)
        if kind.name == "object" and isinstance(step.index, Literal) and isinstance(step.index.value, str):
            return self.find_field(kind, step.index.value, step.index.offset, where)
        wanted = {"array": INTEGER, "object": STRING, "any": ANY}.get(kind.name)
        if wanted is None:
            return self.fault("DT303", f"{kind} has no items", step.offset)
        if not fits(wanted.name, index.name):
            return self.fault("DT303", f"{kind} is read by {wanted}, not by {index}", step.index.offset)
        return kind.items or ANY

    def visit_boolean(self, expr: Expr) -> Kind:
        kind = self.visit(expr)
        if not fits("boolean", kind.name):
            message = f"{kind} stands where true or false is wanted"
            self.fault("DT303", message, expr.offset, "compare it, as in x == 'yes'")
        return BOOLEAN

    def visit_coalesce(self, expr: Coalesce) -> Kind:
        kinds = [self.visit(option) for option in expr.options]
        kind = common_kind(kinds)
        return Kind(kind.name, kinds[-1].nullable, kind.items, kind.fields)

    def visit_comparison(self, expr: Comparison) -> Kind:
        left, right = self.visit(expr.left), self.visit(expr.right)
        if fault := _comparison_fault(expr.operator, left, right):
            self.fault("DT303", fault, expr.offset, "convert one with int(x), number(x) or string(x)")
        return BOOLEAN

    def visit_call(self, call: Call) -> Kind:
        if call.name in RAW:
            message = "raw() is only for a whole ${raw(...)} in a command or an address"
            return self.fault("DT302", message, call.offset)
        if call.name in STATUS_FUNCTIONS and call.name not in self.names.functions:
            return self.fault("DT302", f"{call.name}() can only be called in a condition", call.offset)
        if call.name not in ALL_FUNCTIONS:
            hint = did_you_mean(call.name, [*FUNCTIONS, *self.names.functions])
            return self.fault("DT302", f"there is no function {call.name}()", call.offset, hint)
        return self.visit_case(call) if call.name == "case" else self.visit_function(call)

    def visit_function(self, call: Call) -> Kind:
        function = ALL_FUNCTIONS[call.name]
        kinds = [self.visit(argument) for argument in call.arguments]
        if fault := function.find_count_fault(len(kinds)):
            self.fault("DT303", f"{call.name}() {fault}", call.offset)
            return function.gives
        for position, kind in enumerate(kinds):
            wanted = function.wanted(position)
            if not fits(wanted, kind.name):
                message = f"{call.name}() takes {wanted.replace('|', ' or ')}, not {kind}"
                self.fault("DT303", message, call.arguments[position].offset)
        self.check_pattern(call)
        return function.gives

    def check_pattern(self, call: Call) -> None:
        pattern = call.arguments[-1] if call.name == "matches" else None
        text = pattern.value if isinstance(pattern, Literal) else None
        if isinstance(text, str) and (fault := find_match_fault(text)):
            self.fault("DT303", fault, call.arguments[-1].offset)

    def visit_case(self, call: Call) -> Kind:
        if len(call.arguments) < 3 or len(call.arguments) % 2 == 0:
            return self.fault("DT303", CASE_FORM, call.offset)
        for condition in call.arguments[:-1:2]:
            self.visit_boolean(condition)
        return common_kind([self.visit(value) for value in (*call.arguments[1::2], call.arguments[-1])])


def _written(path: Path, end: int) -> str:
    """How messages call what the path leads to before that part of it; empty when that is no plain name."""
    if not isinstance(path.base, Name) or not all(isinstance(step, Field) for step in path.steps[:end]):
        return ""
    names = [path.base.name, *(step.name for step in path.steps[:end] if isinstance(step, Field))]
    return f" in `{'.'.join(names)}`"


def _known_fields(name: str, fields: Mapping[str, Kind]) -> str:
    if not fields:
        return "it has none"
    return did_you_mean(name, fields) or (f"it has: {', '.join(fields)}" if len(fields) <= 20 else "")


def _comparison_fault(operator: str, left: Kind, right: Kind) -> str:
    kinds = {_comparable(left), _comparable(right)}
    if operator in ("==", "!="):
        differ = len(kinds - {"any"}) > 1 and "null" not in kinds
        return f"{left} is never equal to {right}" if differ else ""
    if operator == "in":
        return "" if fits("array|object|string", right.name) else f"nothing can be in {right}"
    if len(kinds - {"any"}) > 1 or not kinds <= {"any", "number", "string"}:
        return f"{left} and {right} have no order"
    return ""


def _comparable(kind: Kind) -> str:
    return "number" if kind.name == "integer" else kind.name
