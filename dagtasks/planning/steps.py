"""How the steps of a template hang together: explicit and implied order, and what each refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Literal, NamedTuple

from dagtasks.errors import Loc
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.shell import DEFAULT_SHELL
from dagtasks.language.syntax import Expr, ExpressionError, Scalar, references
from dagtasks.model.template import Step, Template
from dagtasks.planning.plan import PRINTED, Printed

Role = Literal["text", "shell", "condition", "expression", "fixed"]
"""What a text is: one with `${...}` in it; shell text with them; what `if` holds; a bare expression; or one in which
nothing is ever replaced."""


class Spot(NamedTuple):
    """A text of a step, its place, and what runs it when it is shell text."""

    loc: Loc
    text: str
    role: Role
    shell: tuple[str, ...] = ()


_PROSE = {("name",), ("description",), ("script", "source"), ("workflow", "template"), ("approval", "parameters")}
"""Begins of places whose text is nobody's business here."""
_FIXED = {
    *((key,) for key in ("depends_on", "outputs", "artifacts", "timeout", "retry")),
    *(("script", key) for key in ("file", "interpreter")),
    *(("approval", key) for key in ("approvers", "timeout")),
    ("container", "shell"),
    ("workflow", "secrets"),
    ("api", "timeout"),
}
"""Begins of places in which nothing is replaced."""
_FIXED_INSIDE = {("mounts", "secret"), ("ready", "timeout")}
"""Names of a part and of its key in which nothing is replaced."""


def texts_of(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Every text in the value, with its place."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_of(item, (*loc, key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from texts_of(item, (*loc, place))


def spots_of(step: Mapping[str, Any], loc: Loc = ()) -> Iterator[Spot]:
    """Every text of a step, as it stands in the file, that may hold expressions or looks as if it might."""
    for place, text in texts_of(step, ()):
        if place[:1] in _PROSE or place[:2] in _PROSE:
            continue
        role = _role_of(place)
        yield Spot((*loc, *place), text, role, _shell_of(step, place) if role == "shell" else ())


def _role_of(place: Loc) -> Role:
    if place == ("if",):
        return "condition"
    if place == ("api", "success_condition"):
        return "expression"
    if _is_command(place):
        return "shell"
    if place[:1] in _FIXED or place[:2] in _FIXED:
        return "fixed"
    names = [part for part in place if isinstance(part, str)]
    return "fixed" if tuple(names[-2:]) in _FIXED_INSIDE else "text"


def _is_command(place: Loc) -> bool:
    """Whether a shell runs the text: of the step itself, of a service, or to ask whether that is ready."""
    if place[:2] == ("container", "services"):
        return place[3:] in (("command",), ("ready", "command"))
    return place == ("container", "command")


def _shell_of(step: Mapping[str, Any], place: Loc) -> tuple[str, ...]:
    given = step["container"].get("shell") if len(place) == 2 else None
    return tuple(given or DEFAULT_SHELL)


def parse_spot(spot: Spot) -> Scalar | Expr:
    """What the text says: one expression, or a text with holes. Raises `ExpressionError`."""
    match spot.role:
        case "condition":
            return parse_condition(spot.text)
        case "expression":
            return parse_expression(spot.text)
        case _:
            return parse_scalar(spot.text)


def expressions_in(parsed: Scalar | Expr) -> list[Expr]:
    """The expressions that were parsed."""
    return [hole.expr for hole in parsed.holes] if isinstance(parsed, Scalar) else [parsed]


Uses = Mapping[str, tuple[Expr, ...]]
"""The expressions in each step of a template."""


def find_uses(template: Template) -> Uses:
    """The expressions of each step. What cannot be parsed is left out."""
    return {step.name: tuple(_expressions(step)) for step in template.all_steps}


def find_exposed(template: Template, uses: Uses) -> dict[str, tuple[Printed, ...]]:
    """Which of its output and stderr each step shows: to other steps, to the outputs of the run, or to the task."""
    given = [output.value for output in template.outputs.values()]
    given.append(template.updates.model_dump())
    exprs = [*_holes(text for _, text in texts_of(given, ())), *chain.from_iterable(uses.values())]
    seen = {path[1:3] for expr in exprs for path, _ in references(expr) if path[0] == "steps"}
    return {
        step.name: tuple(
            part for part in PRINTED if seen & {(step.name, part), (step.name, "items"), (step.name,)} or () in seen
        )
        for step in template.all_steps
    }


def steps_in(exprs: Iterable[Expr]) -> tuple[str, ...]:
    """The names of the steps whose results the expressions refer to."""
    paths = (path for expr in exprs for path, _ in references(expr))
    return tuple(dict.fromkeys(path[1] for path in paths if path[0] == "steps" and len(path) > 1))


def _expressions(step: Step) -> Iterator[Expr]:
    # Names of steps hold no expressions, and a step may have hundreds of them.
    dumped = step.model_dump(by_alias=True, exclude_unset=True, exclude_none=True, exclude={"depends_on"})
    for spot in spots_of(dumped):
        with suppress(ExpressionError):
            yield from expressions_in(parse_spot(spot)) if spot.role != "fixed" else ()


def _holes(texts: Iterable[str]) -> Iterator[Expr]:
    for text in texts:
        with suppress(ExpressionError):
            yield from (hole.expr for hole in parse_scalar(text).holes)


def edges(template: Template, uses: Uses) -> dict[str, tuple[str, ...]]:
    """Each step with those that must end before it (03 section 2.5).

    Where no step says `depends_on`, each comes after all before it; else each after what it names and refers to.
    """
    names = [step.name for step in template.steps]
    if all(step.depends_on is None for step in template.steps):
        return {
            step.name: _unique((*names[:place], *steps_in(uses[step.name])))
            for place, step in enumerate(template.steps)
        }
    return {step.name: _unique((*(step.depends_on or ()), *steps_in(uses[step.name]))) for step in template.steps}


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
