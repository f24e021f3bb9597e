"""What can be known to be wrong with a template before it runs (03 sections 2.1-2.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from dagtasks.errors import Finding, Loc, Severity
from dagtasks.language.checking import Names, check_condition, check_scalar
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.functions import TEXT_HINTS, fits
from dagtasks.language.kinds import describe
from dagtasks.language.parameters import check_specs
from dagtasks.language.shell import bind
from dagtasks.language.syntax import Expr, ExpressionError, Scalar, Splice, references
from dagtasks.model.names import did_you_mean
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.template import Approval, Step, Template, infer_type, with_defaults
from dagtasks.model.values import WorkflowType
from dagtasks.planning import graph
from dagtasks.planning.forms import check_forms
from dagtasks.planning.lint import find_off, find_warnings, switch_off
from dagtasks.planning.names import STATUS_FUNCTIONS as STATUS_FUNCTIONS
from dagtasks.planning.names import Scopes, StepScope, takes_secrets
from dagtasks.planning.names import names_of as names_of
from dagtasks.planning.reading import Reading, in_defaults, read_template
from dagtasks.planning.steps import Role, Spot, edges, expressions_in, find_uses, parse_spot, spots_of, texts_of
from dagtasks.planning.summaries import kind_of_value, places_of, summarise

CODES = {
    "DT322": "The template's `type` does not fit the kinds of its steps. Leave `type` out, or use steps of its kind.",
    "DT323": "Two steps have the same name. Names are unique, because `steps.<name>` reads a step's results.",
    "DT324": "`depends_on` names a step that the template does not have, or that runs after all others.",
    "DT325": "Steps wait for one another in a circle; a reference to `steps.<name>` counts as waiting for it. Or a "
    "step reads one of `finally` that has not run yet.",
    "DT327": "`${...}` stands in a text in which nothing is replaced. Write the value itself, or give it another way.",
}


def check_template(path: str, data: Mapping[str, Any]) -> tuple[TemplateSummary | None, list[Finding]]:
    """The row of the template (None when it cannot be used), and everything that is wrong with it."""
    reading = read_template(data)
    off, findings = find_off(data)
    findings += reading.findings
    if reading.template is not None:
        findings += switch_off(_check_template(reading, reading.template), off)
    if reading.template is None or any(finding.severity is Severity.ERROR for finding in findings):
        return None, findings
    return summarise(path, reading.template, with_defaults(reading.data)), findings


def _check_template(reading: Reading, template: Template) -> Iterator[Finding]:
    found = [*_check_steps(template, reading), *_Checker(reading, template).check(), *check_forms(template)]
    found += find_warnings(template)
    placed = dict.fromkeys(in_defaults(finding, reading.data) for finding in found)
    yield from (finding for finding in placed if finding.loc[:1] != ("defaults",) or finding.code != "DT329")


# -- steps ----------------------------------------------------------------------------------------------------------


def _check_steps(template: Template, reading: Reading) -> Iterator[Finding]:
    if not reading.lost.steps and not reading.lost.unnamed:
        yield from _check_type(template)
    yield from _check_unique(template)
    names = [step.name for step in template.steps]
    later = [step.name for step in template.finally_]
    for place, step in enumerate(template.steps):
        for item, need in enumerate(step.depends_on or ()):
            if need not in names:
                loc: Loc = ("steps", place, "depends_on", item)
                yield Finding(loc, "DT324", *_unknown_step(need, names, later))
    if len({*names}) == len(names):
        yield from _check_cycles(template, names)


def _unknown_step(name: str, names: list[str], later: list[str]) -> tuple[str, str]:
    if name in later:
        return f"{name!r} is a step of `finally`, and those begin when all others have ended", "take it out"
    return f"there is no step {name!r}", did_you_mean(name, names)


def _check_unique(template: Template) -> Iterator[Finding]:
    places: dict[str, list[Loc]] = {}
    for part, steps in (("steps", template.steps), ("finally", template.finally_)):
        for place, step in enumerate(steps):
            places.setdefault(step.name, []).append((part, place, "name"))
    for name, found in places.items():
        if len(found) > 1:
            yield Finding(found[-1], "DT323", f"there are {len(found)} steps called {name!r}", "rename one")


def _check_type(template: Template) -> Iterator[Finding]:
    kinds = {str(step.kind) for step in template.all_steps} - {"approval"}
    inferred = infer_type(kinds)
    if kinds and template.type not in (None, inferred, WorkflowType.COMPOSITE):
        message = f"the steps make it a {inferred}, not a {template.type}"
        yield Finding(("type",), "DT322", message, "leave `type` out, or change the steps")


def _check_cycles(template: Template, names: list[str]) -> Iterator[Finding]:
    for cycle in graph.find_cycles(edges(template, find_uses(template))):
        loc: Loc = ("steps", names.index(cycle[0]))
        path = " -> ".join([*cycle, cycle[0]])
        yield Finding(loc, "DT325", f"steps wait for one another in a circle: {path}", "take one reference out")


# -- expressions ----------------------------------------------------------------------------------------------------


_TEXT = "string|number|boolean"
"""The kinds that can be an argument, a variable, or part of a request."""


class _Use(NamedTuple):
    """What a text is for: what it may name, the kinds that it may give, and who reads it.

    `is_needed`: null is not as if the key were not there.
    """

    names: Names
    wanted: str = "any"
    is_needed: bool = False
    takes_secrets: bool = False
    reader: Step | None = None


class _Checker:
    """Checks every expression of one template."""

    def __init__(self, reading: Reading, template: Template) -> None:
        self.data = with_defaults(reading.data)
        self.template = template
        self.scopes = Scopes(template, reading.lost)

    def check(self) -> Iterator[Finding]:
        yield from self.check_parameters()
        yield from self.check_steps()
        yield from self.check_unused_defaults()
        yield from self.check_around()
        yield from self.check_outputs()
        yield from self.check_updates()

    def check_parameters(self) -> Iterator[Finding]:
        """The parameters of the template, and what approvals ask for."""
        yield from check_specs(self.template.parameters, self.scopes.of_run)
        for loc, step in places_of(self.template):
            if step.approval:
                yield from _check_answers(step.approval, (*loc, "approval"))

    def check_steps(self) -> Iterator[Finding]:
        for loc, step in places_of(self.template):
            part, place = loc
            yield from self.check_step(step, self.data[str(part)][place], loc)

    def check_unused_defaults(self) -> Iterator[Finding]:
        """`defaults` of kinds that no step has; those of others are checked with the steps."""
        used = {step.kind for step in self.template.all_steps}
        defaults = self.data.get("defaults") or {}
        stand_in = Step.model_validate({"name": "step", "approval": {"message": "?"}})
        for kind in ("container", "script", "api"):
            if kind not in used and defaults.get(kind):
                yield from self.check_step(stand_in, {kind: defaults[kind]}, ("defaults",))

    def check_step(self, step: Step, data: Mapping[str, Any], loc: Loc) -> Iterator[Finding]:
        scope = self.scopes.of_step(step)
        for spot in spots_of(data, loc):
            place = spot.loc[len(loc) :]
            if spot.role == "fixed":
                yield from _check_fixed(spot)
            else:
                yield from self.check_spot(spot, _use_in_step(scope, place, spot.role))
        yield from _check_artifact_mounts(data, loc)
        yield from _check_ready(step, loc)
        for place, name in _secrets_named(data, loc):
            if fault := self.scopes.find_secret_fault(name):
                yield Finding(place, "DT302", *fault)

    def check_around(self) -> Iterator[Finding]:
        """What stands at the top, where no step has run yet."""
        names = self.scopes.of_run
        for loc, text in texts_of(self.data.get("env") or {}, ("env",)):
            use = _Use(self.scopes.with_secrets(names), _TEXT, takes_secrets=True)
            yield from self.check_spot(Spot(loc, text, "text"), use)
        if group := self.template.concurrency:
            yield from self.check_spot(
                Spot(("concurrency", "group"), group.group, "text"), _Use(names, _TEXT, is_needed=True)
            )
        if isinstance(timeout := self.template.timeout, str):
            yield from _check_fixed(Spot(("timeout",), timeout, "fixed"))
        if isinstance(condition := self.template.if_, str):
            yield from self.check_spot(Spot(("if",), condition, "condition"), _Use(names))

    def check_outputs(self) -> Iterator[Finding]:
        names = self.scopes.of_all_steps
        for name, output in self.template.outputs.items():
            loc: Loc = ("outputs", name, "value")
            for place, text in texts_of(output.value, loc):
                yield from self.check_spot(Spot(place, text, "text"), _Use(names))
            kind = kind_of_value(output.value, names)
            if output.type and not fits(output.type, kind.name):
                message = f"the output is to be {describe(output.type)}, and its value is {kind}"
                yield Finding(loc, "DT303", message, "convert it, or take `type` out")

    def check_updates(self) -> Iterator[Finding]:
        for loc, text in texts_of(self.data.get("updates") or {}, ("updates",)):
            wanted = "any" if str(loc[2]).startswith("metadata.") else "string"
            yield from self.check_spot(Spot(loc, text, "text"), _Use(self.scopes.of_late_steps, wanted))

    # -- one text -----------------------------------------------------------------------------------------------

    def check_spot(self, spot: Spot, use: _Use) -> Iterator[Finding]:
        """What is wrong with the expressions in a text."""
        try:
            parsed = parse_spot(spot)
        except ExpressionError as error:
            yield error.finding(spot.loc)
            return
        yield from _check_kinds(spot, parsed, use)
        for expr in expressions_in(parsed):
            for misuse in self.scopes.find_misuses(expr, use.reader, takes_secrets=use.takes_secrets):
                yield Finding(spot.loc, misuse.code, misuse.message, misuse.hint, offset=misuse.offset)


def _use_in_step(scope: StepScope, place: Loc, role: Role) -> _Use:
    """What a text at that place of a step is for."""
    begin = place[:2]
    wanted = _TEXT
    if begin in (("api", "json"), ("workflow", "parameters")) or place[0] in ("foreach", "matrix"):
        wanted = "array" if place == ("foreach",) or (place[0] == "matrix" and len(place) == 2) else "any"
    needed = {
        ("container", "command"),
        ("container", "args"),
        ("script", "args"),
        ("container", "image"),
        ("api", "url"),
    }
    secrets = takes_secrets(place) or begin == ("workflow", "parameters")
    return _Use(scope.at(place, role), wanted, begin in needed, secrets, scope.step)


def _check_kinds(spot: Spot, parsed: Scalar | Expr, use: _Use) -> Iterator[Finding]:
    if not isinstance(parsed, Scalar):
        yield from check_condition(parsed, use.names, spot.loc).findings
    elif spot.role == "shell":
        yield from bind(parsed, use.names, loc=spot.loc, shell=spot.shell).findings
    else:
        yield from _check_text(spot, parsed, use)


def _check_text(spot: Spot, scalar: Scalar, use: _Use) -> Iterator[Finding]:
    checked = check_scalar(scalar, use.names, spot.loc)
    yield from checked.findings
    hole = scalar.whole
    if hole is None or isinstance(hole.expr, Splice):
        return
    kind = checked.kind
    if kind.name != "null" and not fits(use.wanted, kind.name):
        message = f"{hole.source} is {kind}, and this takes {'a list' if use.wanted == 'array' else 'a text'}"
        hint = TEXT_HINTS.get(kind.name, "")
        yield Finding(spot.loc, "DT303", message, hint, offset=hole.start)
    elif use.is_needed and kind.nullable:
        message, hint = f"{hole.source} may be null, and this has to be there", "give another value with ??"
        yield Finding(spot.loc, "DT310", message, hint, Severity.WARNING, hole.start)


def _check_fixed(spot: Spot) -> Iterator[Finding]:
    with suppress(ExpressionError):
        if not parse_scalar(spot.text).holes:
            return
    what = next(part for part in reversed(spot.loc) if isinstance(part, str))
    message, hint = f"nothing is replaced in `{what}`", "it is what stands in the file; write $${ for a literal ${"
    yield Finding(spot.loc, "DT327", message, hint, offset=spot.text.index("${"))


def _check_answers(approval: Approval, loc: Loc) -> Iterator[Finding]:
    """The parameters of an approval: their defaults can use one another and nothing else."""
    for finding in check_specs(approval.parameters, Names({})):
        yield finding._replace(loc=(*loc, *finding.loc))
    for name, spec in approval.parameters.items():
        if spec.sensitive:
            message = "an answer is kept in the record of the run, so it cannot be sensitive"
            yield Finding((*loc, "parameters", name, "sensitive"), "DT329", message, "use `secrets`", on_key=True)


def _check_artifact_mounts(step: Mapping[str, Any], loc: Loc) -> Iterator[Finding]:
    """`mounts.artifact` is one whole `${steps.<name>.artifacts.<key>}`."""
    for kind in ("container", "script"):
        for place, mount in enumerate((step.get(kind) or {}).get("mounts") or ()):
            text = mount.get("artifact")
            if text is not None and not _is_artifact(text):
                message, hint = f"{text[:60]!r} is no artifact", "write ${steps.<name>.artifacts.<key>}"
                yield Finding((*loc, kind, "mounts", place, "artifact"), "DT326", message, hint)


def _check_ready(step: Step, loc: Loc) -> Iterator[Finding]:
    """The variables that bring values into shell text are those of the service itself, not of what asks for it."""
    for name, service in (step.container.services if step.container else {}).items():
        command = service.ready.command if service.ready else None
        with suppress(ExpressionError):
            if isinstance(command, str) and parse_scalar(command).holes:
                place = (*loc, "container", "services", name, "ready", "command")
                message = "no value can be brought into the shell text of `ready`"
                yield Finding(place, "DT304", message, "write it as a list", offset=command.index("${"))


def _secrets_named(step: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    """The secrets that are mounted as files, or handed down."""
    for kind in ("container", "script"):
        for place, mount in enumerate((step.get(kind) or {}).get("mounts") or ()):
            if mount.get("secret") is not None:
                yield (*loc, kind, "mounts", place, "secret"), mount["secret"]
    for place, name in enumerate((step.get("workflow") or {}).get("secrets") or ()):
        yield (*loc, "workflow", "secrets", place), name


def _is_artifact(text: str) -> bool:
    try:
        hole = parse_scalar(text).whole
    except ExpressionError:
        return True  # it is told elsewhere
    paths = [path for path, _ in references(hole.expr)] if hole else []
    return any(path[0] == "steps" and path[2:3] == ("artifacts",) for path in paths)
