"""How the steps of a template hang together: explicit and implied order, and what each refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dagtasks.errors import Loc
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.syntax import Expr, ExpressionError, references
from dagtasks.model.template import Step, Template
from dagtasks.planning.plan import PRINTED, Printed

PLAIN_KEYS = {"name", "description", "depends_on", "if", "outputs", "artifacts", "timeout", "retry"}
"""Keys of a step whose values are never interpolated as text."""
PLAIN_IN_KIND = {
    "script": {"source", "file"},
    "workflow": {"template", "secrets"},
    "api": {"success_condition"},
    "container": {"command"},
    "approval": {"approvers", "parameters", "timeout"},
}


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


def interpolated(step: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Every text of a step (as it stands in the file) in which `${...}` is replaced, but for a command's text."""
    for key, value in step.items():
        if key in PLAIN_KEYS:
            continue
        plain = PLAIN_IN_KIND.get(key)
        body = {name: part for name, part in value.items() if name not in plain} if plain else value
        yield from texts_of(body, (*loc, key))
    yield from _list_command(step, loc)


def _list_command(step: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    command = (step.get("container") or {}).get("command")
    if isinstance(command, list):
        yield from texts_of(command, (*loc, "container", "command"))


def shell_text(step: Mapping[str, Any]) -> str | None:
    """The command of the step, when it is shell text."""
    command = (step.get("container") or {}).get("command")
    return command if isinstance(command, str) else None


def read_steps(step: Step) -> tuple[str, ...]:
    """The names of the steps whose results the step refers to. What cannot be parsed refers to none."""
    data = step.model_dump(by_alias=True, exclude_none=True)
    names = [name for expr in _expressions(data) for name in _steps_in(expr)]
    return tuple(dict.fromkeys(names))


def find_exposed(template: Template) -> dict[str, tuple[Printed, ...]]:
    """Which of its output and stderr each step shows: to other steps, or to the outputs of the run."""
    outputs = [text for output in template.outputs.values() for _, text in texts_of(output.value, ())]
    exprs = [*_holes(outputs)]
    exprs += [
        expr for step in template.all_steps for expr in _expressions(step.model_dump(by_alias=True, exclude_none=True))
    ]
    seen = {path[1:3] for expr in exprs for path, _ in references(expr) if path[0] == "steps"}
    return {
        step.name: tuple(part for part in PRINTED if (step.name, part) in seen or (step.name,) in seen)
        for step in template.all_steps
    }


def _steps_in(expr: Expr) -> Iterator[str]:
    for path, _ in references(expr):
        if path[0] == "steps" and len(path) > 1:
            yield path[1]


def _expressions(step: Mapping[str, Any]) -> Iterator[Expr]:
    sources = [text for _, text in interpolated(step, ())]
    sources += [text] if (text := shell_text(step)) else []
    yield from _holes(sources)
    for condition, parse in (
        (step.get("if"), parse_condition),
        ((step.get("api") or {}).get("success_condition"), parse_expression),
    ):
        if isinstance(condition, str):
            try:
                yield parse(condition)
            except ExpressionError:
                continue


def _holes(texts: Iterable[str]) -> Iterator[Expr]:
    for text in texts:
        try:
            yield from (hole.expr for hole in parse_scalar(text).holes)
        except ExpressionError:
            continue


def edges(template: Template) -> dict[str, tuple[str, ...]]:
    """Each step with those that must end before it (03 section 2.5).

    Where no step says `depends_on`, each comes after all before it; else each after what it names and refers to.
    """
    names = [step.name for step in template.steps]
    if all(step.depends_on is None for step in template.steps):
        return {step.name: _unique((*names[:place], *read_steps(step))) for place, step in enumerate(template.steps)}
    return {step.name: _unique((*(step.depends_on or ()), *read_steps(step))) for step in template.steps}


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
