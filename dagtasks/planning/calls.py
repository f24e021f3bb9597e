"""What is wrong between templates that call one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.model.names import did_you_mean
from dagtasks.model.summary import CallSummary, TemplateSummary
from dagtasks.model.values import JSON
from dagtasks.planning import graph
from dagtasks.planning.index import Index
from dagtasks.planning.references import ReferenceFault, find_called

CODES = {
    "DT209": "Templates call one another in a circle, so none of them could ever end. Take one of the calls out.",
    "DT214": "A secret does not reach the template that needs it, or goes where it would not be kept secret: what is "
    "handed down has to be declared on both sides, and a sensitive value needs a sensitive parameter.",
    "DT213": "Templates call one another more than ten deep, or one run would have more than a thousand steps. No "
    "such run could be planned.",
}

DEPTH_LIMIT = 10
STEP_LIMIT = 1000

PathFinding = tuple[str, Finding]
"""The path of a file, and what is wrong in it."""


class _Called(NamedTuple):
    """A call and the template that it leads to."""

    call: CallSummary
    row: TemplateSummary


def call_loc(call: CallSummary, *inside: str | int) -> Loc:
    """The place of a call in its file."""
    return (call.part, call.place, "workflow", *inside)


def check_calls(index: Index, broken: set[str]) -> Iterator[PathFinding]:
    """Everything that is wrong with calls; `broken` are names and paths of files that cannot be read."""
    for template in index.templates.values():
        for call in template.calls:
            for finding in _check_call(index, call, broken):
                yield template.path, finding
    found = Calls(index)
    yield from found.check_cycles()
    yield from found.check_sizes()
    yield from found.check_texts()


# -- one call -------------------------------------------------------------------------------------------------------


def _check_call(index: Index, call: CallSummary, broken: set[str]) -> Iterator[Finding]:
    try:
        row = find_called(call.template, index.templates)
    except ReferenceFault as fault:
        if not {call.template, call.template.partition("@")[0]} & broken:
            yield Finding(call_loc(call, "template"), "DT206", fault.message, fault.hint)
        return
    for name, value in call.given.items():
        yield from _check_given(call, row, name, value)
    yield from _check_required(call, row)
    yield from _check_secrets(call, row)


def _check_given(call: CallSummary, row: TemplateSummary, name: str, value: JSON) -> Iterator[Finding]:
    loc = call_loc(call, "parameters", name)
    spec = row.parameters.get(name)
    if spec is None:
        hint = did_you_mean(name, row.parameters) or f"it has: {', '.join(row.parameters) or 'none'}"
        yield Finding(loc, "DT208", f"template {row.name} has no parameter {name!r}", hint, on_key=True)
    elif name in call.kinds:
        yield from _check_kind(spec, call.kinds[name], loc, name)
    else:
        yield from check_value(spec, value, loc, name)
    if spec is not None and name in call.sensitive and not spec.get("sensitive"):
        message = f"the value is sensitive, and the parameter {name!r} of template {row.name} is not"
        yield Finding(loc, "DT214", message, f"write `sensitive: true` there, in {row.path}")


def _check_kind(spec: Mapping[str, JSON], kind: str, loc: Loc, name: str) -> Iterator[Finding]:
    from dagtasks.language.functions import fits
    from dagtasks.language.kinds import KindName, describe

    wanted: KindName = spec["type"]  # type: ignore[assignment]
    given: KindName = kind  # type: ignore[assignment]
    if kind != "null" and not fits(wanted, kind):
        yield Finding(loc, "DT208", f"`{name}` must be {describe(wanted)}, not {describe(given)}")


def check_value(spec: Mapping[str, JSON], value: JSON, loc: Loc, name: str) -> Iterator[Finding]:
    """What is wrong with the value that a file gives to a parameter of a template."""
    # A large import for the few that give parameters, at the start of every command that follows an edit.
    from dagtasks.language.parameters import check_value
    from dagtasks.model.parameter import ParameterSpec

    if value is None:
        return
    yield from (
        finding._replace(code="DT208")
        for finding in check_value(ParameterSpec.model_validate(spec), value, loc, f"`{name}`")
    )
    if spec.get("sensitive"):
        message = f"`{name}` is sensitive, and its value stands in a file that everybody gets"
        yield Finding(loc, "DT214", message, "give it when you run it, or use a secret", Severity.WARNING)


def _check_required(call: CallSummary, row: TemplateSummary) -> Iterator[Finding]:
    missing = [name for name in required_of(row) if name not in call.given]
    if missing:
        message = f"template {row.name} needs {', '.join(missing)}"
        yield Finding(call_loc(call, "template"), "DT208", message, "give it in `parameters`")


def required_of(row: TemplateSummary) -> list[str]:
    """The parameters that have to be given."""
    return [name for name, spec in row.parameters.items() if spec.get("required") and spec.get("default") is None]


def _check_secrets(call: CallSummary, row: TemplateSummary) -> Iterator[Finding]:
    for place, name in enumerate(call.secrets):
        if name not in row.secrets:
            hint = did_you_mean(name, row.secrets) or "take it out"
            yield Finding(
                call_loc(call, "secrets", place), "DT214", f"template {row.name} takes no secret {name}", hint
            )
    missing = [name for name in row.secrets if name not in call.secrets]
    if missing:
        hint = f"hand down what it may have: `secrets: [{', '.join(row.secrets)}]`"
        message = f"template {row.name} needs the secret{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        yield Finding(call_loc(call, "template"), "DT214", message, hint)


# -- all calls together ---------------------------------------------------------------------------------------------


class Calls:
    """All calls that lead somewhere, by the name of the template that has them."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.called = {name: [*_called(index, template)] for name, template in index.templates.items()}

    @cached_property
    def edges(self) -> Mapping[str, list[str]]:
        """Each template with those that it calls."""
        return {name: [*dict.fromkeys(each.row.name for each in called)] for name, called in self.called.items()}

    @cached_property
    def cycles(self) -> list[list[str]]:
        """Circles of templates."""
        return graph.find_cycles(self.edges)

    def first_call(self, name: str, other: str) -> CallSummary:
        """The first call in the template that leads to the other."""
        return next(each.call for each in self.called[name] if each.row.name == other)

    def check_cycles(self) -> Iterator[PathFinding]:
        """Each circle, told of one of its templates."""
        for cycle in self.cycles:
            path = [*cycle, cycle[0]]
            message = f"templates call one another in a circle: {' -> '.join(path)}"
            loc = call_loc(self.first_call(path[0], path[1]), "template")
            yield self.index.templates[path[0]].path, Finding(loc, "DT209", message, "take one of these calls out")

    def check_sizes(self) -> Iterator[PathFinding]:
        """Chains that are too deep, and runs that would have too many steps, told of the innermost that is so."""
        if self.cycles:
            return
        chains: dict[str, list[str]] = {}
        sizes: dict[str, int] = {}
        for name in graph.order(self.edges)[0]:
            below = max((chains[other] for other in self.edges[name]), key=len, default=[])
            chains[name] = [name, *below]
            sizes[name] = len(self.index.templates[name].steps)
            sizes[name] += sum(each.call.times * sizes[each.row.name] for each in self.called[name])
            yield from self.check_size(name, chains, sizes)

    def check_size(self, name: str, chains: Mapping[str, list[str]], sizes: Mapping[str, int]) -> Iterator[PathFinding]:
        """What is too much of one template, and not of those that it calls."""
        path = self.index.templates[name].path
        if len(chains[name]) == DEPTH_LIMIT + 1:
            message = f"templates are nested deeper than {DEPTH_LIMIT}: {' -> '.join(chains[name])}"
            loc = call_loc(self.first_call(name, chains[name][1]), "template")
            yield path, Finding(loc, "DT213", message, "take a level out")
        if sizes[name] > STEP_LIMIT and all(sizes[other] <= STEP_LIMIT for other in self.edges[name]):
            message = f"a run would have at least {sizes[name]} steps; at most {STEP_LIMIT} are done"
            yield path, Finding(("steps",), "DT213", message, "do it in several runs", on_key=True)

    def check_texts(self) -> Iterator[PathFinding]:
        """What reads the outputs of called templates, now that their kinds are known."""
        for name, template in self.index.templates.items():
            if template.texts and self.called[name]:
                from dagtasks.planning.children import check_texts

                called = {each.call.step: each.row for each in self.called[name]}
                yield from ((template.path, finding) for finding in check_texts(template, called))


def _called(index: Index, template: TemplateSummary) -> Iterator[_Called]:
    for call in template.calls:
        with suppress(ReferenceFault):
            yield _Called(call, find_called(call.template, index.templates))
