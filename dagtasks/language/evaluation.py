"""The value of an expression, and of a text with holes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeGuard

from dagtasks.language.expressions import parse_scalar
from dagtasks.language.functions import (
    ALL_FUNCTIONS,
    SIZE_LIMIT,
    EvaluationError,
    check_size,
    contains,
    fits,
    is_equal,
    size_of,
    text_of,
)
from dagtasks.language.kinds import describe, kind_name
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
from dagtasks.model.values import JSON

Functions = Mapping[str, Callable[..., JSON]]
NO_FUNCTIONS: Functions = {}

_FIXED_DEPTH = {"params": 1, "steps": 3, "task": 1, "project": 1, "phase": 1, "run": 1, "matrix": 1, "secrets": 1}
"""How many names after a root are fixed by the language; below them the keys are the user's data."""


class _Absent:
    """Stands for a key that a map does not have."""


_ABSENT: Final = _Absent()


def evaluate(expr: Expr, scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS) -> JSON:
    """The value of the expression, at most 1 MiB; raises `EvaluationError`.

    `scope` holds the roots (`params`, `steps`, `task` ...); `functions` those that need more than their
    arguments: `hash_files`, `success`, `failure`, `always`, `cancelled`.
    """
    try:
        return check_size(_Evaluator(scope, functions).visit(expr))
    except RecursionError:
        raise EvaluationError("a value is nested too deeply", offset=expr.offset) from None


def evaluate_condition(expr: Expr, scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS) -> bool:
    """Whether the condition holds; raises `EvaluationError`, also when its value is no boolean."""
    value = evaluate(expr, scope, functions)
    if isinstance(value, bool):
        return value
    message = f"the condition gives {describe(kind_name(value))}, not true or false"
    raise EvaluationError(message, offset=expr.offset, hint="compare it, as in x == 'yes'")


def render(scalar: Scalar, scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS) -> JSON:
    """The value of the text: that of its hole when it is exactly one, else a string; raises `EvaluationError`."""
    if scalar.whole:
        return evaluate(scalar.whole.expr, scope, functions)
    parts = [part if isinstance(part, str) else render_hole(part, scope, functions) for part in scalar.parts]
    if sum(map(size_of, parts)) > SIZE_LIMIT:
        raise EvaluationError(f"the text is bigger than {SIZE_LIMIT // 1024} KiB", hint="pass values as files")
    return "".join(parts)


def render_hole(hole: Hole, scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS) -> str:
    """The value of a hole as text; raises `EvaluationError`, also when it is null, a list or a map."""
    value = evaluate(hole.expr, scope, functions)
    try:
        return text_of(value)
    except EvaluationError as error:
        message = f"{hole.source} is {describe(kind_name(value))}, which cannot stand in text"
        raise EvaluationError(message, offset=hole.start, hint=error.hint) from None


def render_tree(value: JSON, scope: Mapping[str, JSON], functions: Functions = NO_FUNCTIONS) -> JSON:
    """The value with every text in it rendered; `${x[*]}` as an item of a list gives all items of `x`.

    Keys stay as they are. Raises `ExpressionError` and `EvaluationError`.
    """
    if isinstance(value, str):
        return render(parse_scalar(value), scope, functions)
    if isinstance(value, Mapping):
        return {key: render_tree(item, scope, functions) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [part for item in value for part in _render_item(item, scope, functions)]
    return value


def _render_item(item: JSON, scope: Mapping[str, JSON], functions: Functions) -> Iterator[JSON]:
    hole = parse_scalar(item).whole if isinstance(item, str) else None
    if hole is None or not isinstance(hole.expr, Splice):
        yield render_tree(item, scope, functions)
        return
    value = evaluate(hole.expr.value, scope, functions)
    if not isinstance(value, list | tuple):
        raise EvaluationError(f"{hole.source} needs a list, not {describe(kind_name(value))}", offset=hole.start)
    yield from value


class _Evaluator:
    def __init__(self, scope: Mapping[str, JSON], functions: Functions) -> None:
        self.scope = scope
        self.functions = functions

    def visit(self, expr: Expr) -> JSON:
        match expr:
            case Literal():
                return expr.value
            case Name():
                return self.visit_name(expr)
            case Path():
                return self.visit_path(expr, keep_missing=False)
            case Call():
                return self.visit_call(expr)
            case Comparison():
                return self.visit_comparison(expr)
            case Logic():
                return self.visit_logic(expr)
            case Not():
                return not self.visit_boolean(expr.value)
            case Coalesce():
                return self.visit_coalesce(expr)
            case Listing():
                return check_size([self.visit(item) for item in expr.items])
            case Splice():
                raise EvaluationError("[*] is only for an item of a list", offset=expr.offset)

    def visit_name(self, expr: Name) -> JSON:
        value: JSON | _Absent = self.scope.get(expr.path[0], _ABSENT)
        if len(expr.path) > 1 and isinstance(value, Mapping):
            value = value.get(expr.name, _ABSENT)
        if isinstance(value, _Absent):
            raise EvaluationError(f"`{expr.name}` is not known here", offset=expr.offset)
        return value

    def visit_path(self, path: Path, *, keep_missing: bool) -> JSON:
        """With `keep_missing`, a key that the user's data does not have gives null."""
        fixed = _FIXED_DEPTH.get(path.base.name, 0) if isinstance(path.base, Name) else 0
        value = self.visit(path.base)
        for depth, step in enumerate(path.steps):
            if value is None and keep_missing:
                return None
            found = self.visit_step(value, step)
            if isinstance(found, _Absent):
                if keep_missing and depth >= fixed:
                    return None
                raise _missing(step, value)
            value = found
        return value

    def visit_step(self, value: JSON, step: Field | Item) -> JSON | _Absent:
        key = step.name if isinstance(step, Field) else self.visit(step.index)
        if isinstance(value, Mapping) and isinstance(key, str):
            return value.get(key, _ABSENT)
        if isinstance(value, list | tuple) and isinstance(key, int) and not isinstance(key, bool):
            return value[key] if 0 <= key < len(value) else _ABSENT
        part = f"key `{step.name}`" if isinstance(step, Field) else f"part that {describe(kind_name(key))} names"
        message = f"{describe(kind_name(value))} has no {part}"
        raise EvaluationError(message, offset=step.offset, hint="give another value with ??" if value is None else "")

    def visit_boolean(self, expr: Expr) -> bool:
        value = self.visit(expr)
        if isinstance(value, bool):
            return value
        message = f"{describe(kind_name(value))} stands where true or false is wanted"
        raise EvaluationError(message, offset=expr.offset, hint="compare it, as in x == 'yes'")

    def visit_logic(self, expr: Logic) -> bool:
        values = (self.visit_boolean(operand) for operand in expr.operands)
        return all(values) if expr.operator == "&&" else any(values)

    def visit_coalesce(self, expr: Coalesce) -> JSON:
        for option in expr.options[:-1]:
            value = self.visit_path(option, keep_missing=True) if isinstance(option, Path) else self.visit(option)
            if value is not None:
                return value
        return self.visit(expr.options[-1])

    def visit_comparison(self, expr: Comparison) -> bool:
        left, right = self.visit(expr.left), self.visit(expr.right)
        try:
            return compare(expr.operator, left, right)
        except EvaluationError as error:
            raise EvaluationError(error.message, offset=expr.offset, hint=error.hint) from None

    def visit_call(self, call: Call) -> JSON:
        if call.name == "case":
            return self.visit_case(call)
        run = self.find_function(call)
        arguments = [self.visit(argument) for argument in call.arguments]
        self.check_arguments(call, arguments)
        try:
            return check_size(run(*arguments))
        except EvaluationError as error:
            raise EvaluationError(error.message, offset=call.offset, hint=error.hint) from None

    def find_function(self, call: Call) -> Callable[..., JSON]:
        known = ALL_FUNCTIONS.get(call.name)
        run = (known.run if known else None) or self.functions.get(call.name)
        if known is None or run is None:
            raise EvaluationError(f"{call.name}() cannot be called here", offset=call.offset)
        return run

    def check_arguments(self, call: Call, arguments: list[JSON]) -> None:
        function = ALL_FUNCTIONS[call.name]
        if fault := function.find_count_fault(len(arguments)):
            raise EvaluationError(f"{call.name}() {fault}", offset=call.offset)
        for position, value in enumerate(arguments):
            wanted = function.wanted(position)
            if not fits(wanted, kind_name(value)):
                message = f"{call.name}() takes {wanted.replace('|', ' or ')}, not {describe(kind_name(value))}"
                raise EvaluationError(message, offset=call.arguments[position].offset)

    def visit_case(self, call: Call) -> JSON:
        *pairs, otherwise = call.arguments or (None,)
        if otherwise is None or not pairs or len(pairs) % 2:
            raise EvaluationError(CASE_FORM, offset=call.offset)
        for condition, value in zip(pairs[::2], pairs[1::2], strict=True):
            if self.visit_boolean(condition):
                return self.visit(value)
        return self.visit(otherwise)


CASE_FORM = "case() takes pairs of a condition and a value, and at the end the value for all else"


def compare(operator: str, left: JSON, right: JSON) -> bool:
    """Whether the comparison holds; raises `EvaluationError` for an order between different kinds."""
    match operator:
        case "==":
            return is_equal(left, right)
        case "!=":
            return not is_equal(left, right)
        case "in":
            return contains(right, left)
        case _:
            return _is_ordered(operator, left, right)


def _is_ordered(operator: str, left: JSON, right: JSON) -> bool:
    order = _order(left, right)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _order(left: JSON, right: JSON) -> int:
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if _is_number(left) and _is_number(right):
        return (left > right) - (left < right)
    message = f"{describe(kind_name(left))} and {describe(kind_name(right))} have no order"
    raise EvaluationError(message, hint="convert one with int(x), number(x) or string(x)")


def _is_number(value: JSON) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _missing(step: Field | Item, value: JSON) -> EvaluationError:
    if isinstance(step, Field):
        return EvaluationError(f"there is no `{step.name}`", offset=step.offset, hint="give another value with ??")
    what = "item" if isinstance(value, list | tuple) else "key"
    return EvaluationError(f"there is no such {what}", offset=step.offset, hint="give another value with ??")
