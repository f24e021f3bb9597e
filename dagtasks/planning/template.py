"""What can be known to be wrong with a template before it runs (03 sections 2.1-2.7)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from dagtasks.errors import Finding, Loc
from dagtasks.language.checking import Names, check_condition, check_scalar
from dagtasks.language.durations import DurationError, parse_duration
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.kinds import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    STRINGS,
    Kind,
    object_of,
    parameter_kind,
)
from dagtasks.language.parameters import check_specs
from dagtasks.language.shell import DEFAULT_SHELL, bind
from dagtasks.language.syntax import ExpressionError
from dagtasks.model import template as model
from dagtasks.model.fields import findings_of
from dagtasks.model.names import did_you_mean
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.template import NOT_YET, STEP_KINDS, TRANSLATIONS, Step, Template, infer_type
from dagtasks.model.values import WorkflowType
from dagtasks.planning import graph
from dagtasks.planning.references import ReferenceFault, parse_reference
from dagtasks.planning.steps import edges, interpolated, shell_text, texts_of

CODES = {
    "DT320": "A key that templates do not have. Other engines may call it so: the message then names the right word.",
    "DT321": "A part of the template language that this version does not carry out yet. It is refused, so that no "
    "template runs without what it asks for.",
    "DT322": "The template's `type` does not fit the kinds of its steps. Leave `type` out, or use steps of its kind.",
    "DT323": "Two steps have the same name. Names are unique, because `steps.<name>` reads a step's results.",
    "DT324": "`depends_on` names a step that the template does not have.",
    "DT325": "Steps wait for one another in a circle; a reference to `steps.<name>` counts as waiting for it.",
    "DT326": "A value has a form that cannot work: a range of status codes, a folder outside of the repository, the "
    "name or version of a template that is called.",
}

STATUS_FUNCTIONS = frozenset({"success", "failure", "always", "cancelled"})

TASK_KIND = object_of(
    {
        **dict.fromkeys(("id", "name", "status", "priority", "description", "path"), STRING),
        **dict.fromkeys(("assignee", "phase", "due"), STRING.or_null()),
        **dict.fromkeys(("labels", "depends_on"), STRINGS),
        "metadata": ANY,
    }
)
PROJECT_KIND = object_of({**dict.fromkeys(("key", "name", "description"), STRING), "metadata": ANY})
PHASE_KIND = object_of({**dict.fromkeys(("key", "name", "description"), STRING), "order": INTEGER}).or_null()
RUN_KIND = object_of(
    {
        **dict.fromkeys(("id", "trigger", "started_at", "status"), STRING),
        **dict.fromkeys(("actor", "commit", "branch"), STRING.or_null()),
        "dirty": BOOLEAN,
        "attempt": INTEGER,
        "failed_steps": STRINGS,
    }
)
RESPONSE_KIND = object_of({"status": INTEGER, "headers": OBJECT, "body": STRING, "json": ANY})


def check_template(path: str, data: Mapping[str, Any]) -> tuple[TemplateSummary | None, list[Finding]]:
    """The row of the template (None when it cannot be used), and everything that is wrong with it."""
    try:
        template = Template.model_validate(data)
    except ValidationError as error:
        return None, _check_the_rest(path, data, findings_of(error))
    findings = [*_check_steps(template), *_check_expressions(template, data), *_check_forms(template)]
    findings += [*_find_not_yet(data), *_find_sensitive(template)]
    broken = any(finding.severity == "error" for finding in findings)
    return None if broken else summarise(path, template), findings


def summarise(path: str, template: Template) -> TemplateSummary:
    """The row of a template."""
    about = template.metadata
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
        calls={
            step.workflow.template: place for place, step in reversed([*enumerate(template.steps)]) if step.workflow
        },
    )


def _check_the_rest(path: str, data: Mapping[str, Any], findings: list[Finding]) -> list[Finding]:
    """The findings; where only keys are unknown, also what is wrong without those keys: nothing hides anything else."""
    explained = [_explain(finding) for finding in findings]
    if any(finding.code != "DT125" for finding in findings):
        return explained
    known = copy.deepcopy(data)
    for finding in findings:
        inside: Any = known
        for step in finding.loc[:-1]:
            inside = inside[step]
        del inside[finding.loc[-1]]
    return [*explained, *check_template(path, known)[1]]


def _explain(finding: Finding) -> Finding:
    """An unknown key in the words of templates."""
    if finding.code != "DT125":
        return finding
    name = str(finding.loc[-1])
    if name in TRANSLATIONS:
        return finding._replace(code="DT320", hint=f"write `{TRANSLATIONS[name]}`")
    return finding._replace(code="DT320", hint=did_you_mean(name, _KNOWN_KEYS))


def _not_yet(loc: Loc) -> Finding:
    return Finding(loc, "DT321", f"`{loc[-1]}` is not carried out by this version", "take it out for now", on_key=True)


def _find_not_yet(data: Mapping[str, Any]) -> Iterator[Finding]:
    """The keys of the language that are given and not carried out."""
    yield from (_not_yet((key,)) for key in data if key in NOT_YET)
    for part in ("steps", "finally"):
        for place, step in enumerate(data.get(part) or ()):
            loc: Loc = (part, place)
            yield from (_not_yet((*loc, key)) for key in step if key in NOT_YET)
            for kind in STEP_KINDS:
                yield from (_not_yet((*loc, kind, key)) for key in step.get(kind) or () if key in NOT_YET)


def _find_sensitive(template: Template) -> Iterator[Finding]:
    for name, spec in template.parameters.items():
        if spec.sensitive:
            yield _not_yet(("parameters", name, "sensitive"))


_MODELS = [value for value in vars(model).values() if isinstance(value, type) and issubclass(value, BaseModel)]
_KNOWN_KEYS = sorted({field.alias or name for part in _MODELS for name, field in part.model_fields.items()})


# -- steps ----------------------------------------------------------------------------------------------------------


def _check_steps(template: Template) -> Iterator[Finding]:
    yield from _check_type(template)
    yield from _check_unique(template)
    names = [step.name for step in template.steps]
    for place, step in enumerate(template.finally_):
        if step.depends_on:
            message = "steps of `finally` run in the order of the list, after all others"
            yield Finding(("finally", place, "depends_on"), "DT324", message, "remove `depends_on`", on_key=True)
    for place, step in enumerate(template.steps):
        for item, need in enumerate(step.depends_on or ()):
            if need not in names:
                hint = did_you_mean(need, names)
                yield Finding(("steps", place, "depends_on", item), "DT324", f"there is no step {need!r}", hint)
    yield from _check_cycles(template, names)


def _check_unique(template: Template) -> Iterator[Finding]:
    places: dict[str, list[Loc]] = {}
    for part, steps in (("steps", template.steps), ("finally", template.finally_)):
        for place, step in enumerate(steps):
            places.setdefault(step.name, []).append((part, place, "name"))
    for name, found in places.items():
        if len(found) > 1:
            yield Finding(found[-1], "DT323", f"there are {len(found)} steps called {name!r}", "rename one")


def _check_type(template: Template) -> Iterator[Finding]:
    inferred = infer_type({step.kind for step in template.steps})
    if template.type not in (None, inferred, WorkflowType.COMPOSITE):
        message = f"the steps make it a {inferred}, not a {template.type}"
        yield Finding(("type",), "DT322", message, "leave `type` out, or change the steps")


def _check_cycles(template: Template, names: list[str]) -> Iterator[Finding]:
    for cycle in graph.find_cycles(edges(template)):
        loc: Loc = ("steps", names.index(cycle[0]))
        path = " -> ".join([*cycle, cycle[0]])
        yield Finding(loc, "DT325", f"steps wait for one another in a circle: {path}", "take one reference out")


# -- expressions ----------------------------------------------------------------------------------------------------


def names_of(template: Template) -> Names:
    """What expressions in the steps of the template may use."""
    return Names(
        {
            "params": object_of({name: parameter_kind(spec) for name, spec in template.parameters.items()}),
            "task": TASK_KIND,
            "project": PROJECT_KIND,
            "phase": PHASE_KIND,
            "run": RUN_KIND,
            "steps": object_of({step.name: _step_kind(step) for step in template.all_steps}),
        },
        refused={
            **dict.fromkeys(("item", "item_index", "matrix"), "the step has no `foreach` or `matrix`"),
            "secrets": "a secret can stand in `env`, in `auth`, headers and bodies of api steps, and nowhere else",
            "trigger": "this version does not have it",
        },
    )


def names_in(names: Names, step: Mapping[str, Any], template: Template, place: Loc = ()) -> Names:
    """What expressions at a place of a step may use: those of its loop, too, and where they are allowed secrets."""
    looped = {"item": ANY, "item_index": INTEGER} if step.get("foreach") is not None else {}
    if matrix := step.get("matrix"):
        looped = {"matrix": object_of(dict.fromkeys(matrix, ANY))}
    if _may_hold_secret(place):
        looped = {**looped, "secrets": object_of(dict.fromkeys(template.secrets, STRING))}
    refused = {name: reason for name, reason in names.refused.items() if name not in looped}
    return Names({**names.kinds, **looped}, names.functions, refused)


def _may_hold_secret(place: Loc) -> bool:
    """Whether the place (counted from the step) may hold a secret (03 section 2.9)."""
    if place[:1] == ("env",) or place[1:2] == ("env",):
        return True
    return place[:1] == ("api",) and place[1:2] in (("auth",), ("headers",), ("json",), ("form",), ("body",))


def _step_kind(step: Step) -> Kind:
    if step.foreach is not None or step.matrix:
        return ANY
    text = STRING.or_null() if step.if_ is not None else STRING
    api = {"status_code": INTEGER, "headers": OBJECT, "json": ANY} if step.api else {}
    outputs = ANY if step.workflow or step.approval else object_of(dict.fromkeys(step.outputs, ANY))
    return object_of(
        {
            **dict.fromkeys(("output", "stderr"), text),
            **dict.fromkeys(("state", "outcome", "conclusion"), STRING),
            "exit_code": INTEGER.or_null(),
            "attempts": INTEGER,
            "duration": NUMBER,
            "outputs": outputs,
            "artifacts": object_of(dict.fromkeys(step.artifacts, STRING.or_null())),
            "error": object_of({"code": STRING, "message": STRING}).or_null(),
            **api,
        }
    )


def _check_expressions(template: Template, data: Mapping[str, Any]) -> Iterator[Finding]:
    names = names_of(template)
    yield from check_specs(template.parameters, Names({**names.kinds, "steps": ANY}))
    for part in ("steps", "finally"):
        for place, step in enumerate(data.get(part) or ()):
            yield from _check_step(step, (part, place), names, template)
    for loc, text in texts_of({key: data.get(key) or {} for key in ("env", "defaults", "concurrency")}, ()):
        yield from _check_text(text, names_in(names, {}, template, loc[loc[0] == "defaults" :]), loc)
    for name, output in (data.get("outputs") or {}).items():
        for loc, text in texts_of(output["value"], ("outputs", name, "value")):
            yield from _check_text(text, names, loc)
    yield from _check_condition(data.get("if"), names, ("if",))


def _check_step(step: Mapping[str, Any], loc: Loc, names: Names, template: Template) -> Iterator[Finding]:
    for place, text in interpolated(step, loc):
        is_loop = place[len(loc)] in ("foreach", "matrix")
        inside = names if is_loop else names_in(names, step, template, place[len(loc) :])
        if place[-2:] == ("api", "url"):
            inside = replace(inside, functions=inside.functions | {"raw"})
        yield from _check_text(text, inside, place)
    names = names_in(names, step, template)
    yield from _check_shell(step, (*loc, "container", "command"), names)
    yield from _check_condition(step.get("if"), names, (*loc, "if"))
    condition = (step.get("api") or {}).get("success_condition")
    if isinstance(condition, str):
        inside = Names({**names.kinds, "response": RESPONSE_KIND})
        yield from _checked_condition(condition, inside, (*loc, "api", "success_condition"), parse_expression)


def _check_shell(step: Mapping[str, Any], loc: Loc, names: Names) -> Iterator[Finding]:
    text = shell_text(step)
    if text is None:
        return
    shell = step["container"].get("shell") or DEFAULT_SHELL
    try:
        yield from bind(parse_scalar(text), names, loc=loc, shell=shell).findings
    except ExpressionError as error:
        yield error.finding(loc)


def _check_text(text: str, names: Names, loc: Loc) -> Iterator[Finding]:
    try:
        yield from check_scalar(parse_scalar(text), names, loc).findings
    except ExpressionError as error:
        yield error.finding(loc)


def _check_condition(condition: object, names: Names, loc: Loc) -> Iterator[Finding]:
    if isinstance(condition, str):
        inside = Names(names.kinds, names.functions | STATUS_FUNCTIONS, names.refused)
        yield from _checked_condition(condition, inside, loc, parse_condition)


def _checked_condition(text: str, names: Names, loc: Loc, parse: Any) -> Iterator[Finding]:
    try:
        yield from check_condition(parse(text), names, loc).findings
    except ExpressionError as error:
        yield error.finding(loc)


# -- forms ----------------------------------------------------------------------------------------------------------


def _check_forms(template: Template) -> Iterator[Finding]:
    yield from _check_duration(template.timeout, ("timeout",))
    places = [(("steps", place), step) for place, step in enumerate(template.steps)]
    places += [(("finally", place), step) for place, step in enumerate(template.finally_)]
    for loc, step in places:
        yield from _check_duration(step.timeout, (*loc, "timeout"))
        if step.retry:
            for key in ("delay", "max_delay", "max_duration"):
                yield from _check_duration(getattr(step.retry, key), (*loc, "retry", key))
        if step.approval:
            yield from _check_duration(step.approval.timeout, (*loc, "approval", "timeout"))
        if step.api:
            yield from _check_duration(step.api.timeout, (*loc, "api", "timeout"))
            yield from _check_statuses(step.api.success_status, (*loc, "api", "success_status"))
        if step.workflow:
            yield from _check_reference(step.workflow.template, (*loc, "workflow", "template"))
        if step.script and step.script.file:
            yield from _check_path(step.script.file, (*loc, "script", "file"))


def _check_duration(text: str | None, loc: Loc) -> Iterator[Finding]:
    if text is None or "${" in text:
        return
    try:
        parse_duration(text)
    except DurationError as error:
        yield Finding(loc, "DT311", error.message, error.hint)


def _check_statuses(statuses: list[Any], loc: Loc) -> Iterator[Finding]:
    for place, status in enumerate(statuses):
        if not re.fullmatch(r"[1-5]\d\d(-[1-5]\d\d)?", str(status)):
            hint = 'write 204, or "200-299"'
            yield Finding((*loc, place), "DT326", f"{status!r} is no status code and no range of them", hint)


def _check_reference(text: str, loc: Loc) -> Iterator[Finding]:
    try:
        parse_reference(text)
    except ReferenceFault as fault:
        yield Finding(loc, "DT326", fault.message, fault.hint)


def _check_path(path: str, loc: Loc) -> Iterator[Finding]:
    if path.startswith("/") or ".." in path.split("/"):
        yield Finding(loc, "DT326", f"{path!r} does not lie in the repository", "give a path from the root, without ..")
