"""The row of a template: what lists show of it, and what is needed to check it against other files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dagtasks.errors import Loc
from dagtasks.language.checking import Names, check_scalar
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.kinds import ANY, Kind, kind_of
from dagtasks.language.shell import bind, is_raw
from dagtasks.language.syntax import Coalesce, Expr, ExpressionError, Name, Path, children, references
from dagtasks.model.parameter import has_expression
from dagtasks.model.summary import CallSummary, ReadSummary, TemplateSummary, TextSummary
from dagtasks.model.template import Call, Step, Template
from dagtasks.planning.names import Scopes, StepScope
from dagtasks.planning.steps import Spot, expressions_in, parse_spot, spots_of, texts_of

Data = Mapping[str, Any]


def summarise(path: str, template: Template, data: Data) -> TemplateSummary:
    """The row of a template that is right. `data` is what its file says, with its `defaults` put into the steps."""
    about = template.metadata
    scopes = Scopes(template)
    spots = [*_spots_of(template, data)]
    return TemplateSummary(
        name=about.name,
        path=path,
        type=template.workflow_type,
        version=about.version,
        description=about.description,
        category=about.category,
        tags=tuple(about.tags),
        parameters={
            name: spec.model_dump(mode="json", exclude_unset=True) for name, spec in template.parameters.items()
        },
        secrets=tuple(template.secrets),
        outputs={
            name: output.type or kind_of_value(output.value, scopes.of_all_steps).name
            for name, output in template.outputs.items()
        },
        steps=tuple(step.name for step in template.all_steps),
        coded=tuple(sorted(_coded_in(spots, scopes.of_all_steps))),
        calls=tuple(_calls_of(template, scopes)),
        texts=tuple(_texts_of_children(template, spots)),
        reads=tuple(_reads_of(template, spots)),
    )


def places_of(template: Template) -> Iterator[tuple[Loc, Step]]:
    """All steps, each with its place."""
    yield from ((("steps", place), step) for place, step in enumerate(template.steps))
    yield from ((("finally", place), step) for place, step in enumerate(template.finally_))


def kind_of_value(value: Any, names: Names) -> Kind:
    """What is known of a value with `${...}` in it."""
    if not isinstance(value, str):
        return kind_of(value)
    with suppress(ExpressionError):
        return check_scalar(parse_scalar(value), names).kind
    return ANY


def _spots_of(template: Template, data: Data) -> Iterator[Spot]:
    """Every text that may hold expressions, in steps and in what a run gives."""
    for (part, place), _ in places_of(template):
        yield from (spot for spot in spots_of(data[str(part)][place], (part, place)) if spot.role != "fixed")
    for part in ("outputs", "updates"):
        yield from (Spot(loc, text, "text") for loc, text in texts_of(data.get(part) or {}, (part,)))


def _coded_in(spots: list[Spot], names: Names) -> set[str]:
    """The parameters that the template runs as code: as a command, a part of a program's text, or an image."""
    exprs = [expr for spot in spots if spot.role == "shell" for expr in _code_in(spot, names)]
    images = (spot for spot in spots if spot.loc[2:] == ("container", "image"))
    exprs += [expr for spot in images for expr in _expressions_of(spot)]
    return {name for expr in exprs for name in read_parameters(expr)}


def _code_in(spot: Spot, names: Names) -> Iterator[Expr]:
    """The expressions of a command that stand for code. Where a program may read one so, all of them are meant."""
    with suppress(ExpressionError):
        scalar = parse_scalar(spot.text)
        findings = bind(scalar, names, shell=spot.shell).findings
        places = {finding.offset for finding in findings if finding.code in ("DT308", "DT309")}
        found = [hole for hole in scalar.holes if hole.start in places]
        yield from (hole.expr for hole in (found if all(map(is_raw, found)) else scalar.holes))


def read_parameters(expr: Expr) -> Iterator[str]:
    """The names of the parameters that the expression reads."""
    return (path[1] for path, _ in references(expr) if path[0] == "params" and len(path) > 1)


# -- calls ----------------------------------------------------------------------------------------------------------


def _calls_of(template: Template, scopes: Scopes) -> Iterator[CallSummary]:
    for (part, place), step in places_of(template):
        if step.workflow:
            yield _call_of(step, step.workflow, scopes.of_step(step), str(part), int(place))


def _call_of(step: Step, call: Call, scope: StepScope, part: str, place: int) -> CallSummary:
    given = {name: value for name, value in call.parameters.items() if value is not None}
    names = scope.at(("workflow", "parameters"))
    return CallSummary(
        part=part,
        place=place,
        step=step.name,
        template=call.template,
        given=given,
        kinds={name: kind_of_value(value, names).name for name, value in given.items() if has_expression(value)},
        sensitive=tuple(name for name, value in given.items() if _is_sensitive(value, scope.scopes)),
        secrets=tuple(call.secrets),
        times=_times_of(step),
        is_looped=step.foreach is not None or bool(step.matrix),
    )


def _is_sensitive(value: Any, scopes: Scopes) -> bool:
    for _, text in texts_of(value, ()):
        with suppress(ExpressionError):
            paths = [path for hole in parse_scalar(text).holes for path, _ in references(hole.expr)]
            if any(_reads_sensitive(path, scopes) for path in paths):
                return True
    return False


def _reads_sensitive(path: tuple[str, ...], scopes: Scopes) -> bool:
    """Whether the path leads to a sensitive parameter or output, or to all of them."""
    if path[0] == "params":
        return not scopes.sensitive.isdisjoint(path[1:2] or scopes.sensitive)
    if path[0] != "steps" or path[2:3] != ("outputs",):
        return False
    steps = [step for step in scopes.template.all_steps if step.name == path[1]]
    hidden = {name for step in steps for name, spec in step.outputs.items() if spec.sensitive}
    return not hidden.isdisjoint(path[3:4] or hidden)


def _times_of(step: Step) -> int:
    """How often the step is done at least."""
    if step.if_ is not None:
        return 0
    loops = [*step.matrix.values(), *([step.foreach] if step.foreach is not None else [])]
    return math.prod(len(items) if isinstance(items, list) else 0 for items in loops)


def _texts_of_children(template: Template, spots: list[Spot]) -> Iterator[TextSummary]:
    """The texts that read what called templates give."""
    calling = {step.name for step in template.all_steps if step.workflow}
    for spot in spots if calling else ():
        paths = [path for expr in _expressions_of(spot) for path, _ in references(expr)]
        if any(path[0] == "steps" and path[1:2] and path[1] in calling and path[2:3] == ("outputs",) for path in paths):
            yield TextSummary(spot.loc, spot.text, spot.role in ("condition", "expression"))


def _expressions_of(spot: Spot) -> list[Expr]:
    try:
        return expressions_in(parse_spot(spot))
    except ExpressionError:
        return []


# -- the task -------------------------------------------------------------------------------------------------------


def _reads_of(template: Template, spots: list[Spot]) -> Iterator[ReadSummary]:
    """What of the task, its project and its phase has to be there, each once."""
    found = dict[tuple[tuple[str, ...], str | None], ReadSummary]()
    for read in (*_reads_in(spots), *_reads_of_defaults(template)):
        found.setdefault((read.path, read.parameter), read)
    yield from found.values()


def _reads_in(spots: list[Spot], parameter: str | None = None) -> Iterator[ReadSummary]:
    for spot in spots:
        for expr in _expressions_of(spot):
            for path, offset in _needed_paths(expr):
                yield ReadSummary(path, spot.loc, offset, parameter)


def _reads_of_defaults(template: Template) -> Iterator[ReadSummary]:
    for name, spec in template.parameters.items():
        texts = texts_of(spec.default, ("parameters", name, "default"))
        yield from _reads_in([Spot(loc, text, "text") for loc, text in texts], name)


def _needed_paths(expr: Expr) -> Iterator[tuple[tuple[str, ...], int]]:
    """Paths below the task, its project and its phase that have no other value to stand for them."""
    if isinstance(expr, Coalesce):
        yield from _needed_paths(expr.options[-1])
        return
    if isinstance(expr, Path) and isinstance(expr.base, Name):
        yield from ((path, offset) for path, offset in references(expr) if _may_be_missing(path))
        return
    for child in children(expr):
        yield from _needed_paths(child)


def _may_be_missing(path: tuple[str, ...]) -> bool:
    if path[0] in ("task", "project"):
        return path[1:2] == ("metadata",) and len(path) > 2
    return path[0] == "phase" and len(path) > 1
