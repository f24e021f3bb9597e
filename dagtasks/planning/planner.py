"""Makes the plan of a run: all that can be decided before the first step starts is decided here."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from dagtasks.errors import Fault, Finding, InvalidInput, Severity
from dagtasks.language.checking import Names
from dagtasks.language.durations import parse_duration
from dagtasks.language.evaluation import render
from dagtasks.language.expressions import parse_condition, parse_scalar
from dagtasks.language.functions import TEXT_HINTS, EvaluationError
from dagtasks.language.kinds import ANY, INTEGER
from dagtasks.language.parameters import resolve
from dagtasks.language.shell import DEFAULT_SHELL, bind, process_text
from dagtasks.language.syntax import Expr, ExpressionError, Scalar, Splice, find_calls, references
from dagtasks.model.parameter import ParameterType
from dagtasks.model.template import Concurrency, Export, Mount, Output, Retry, Service, Step, Template, with_defaults
from dagtasks.model.values import JSON, StepState
from dagtasks.planning import graph
from dagtasks.planning.forms import find_image_fault
from dagtasks.planning.plan import (
    STEP_FOLDER,
    ArtifactSpec,
    Deferred,
    GroupSpec,
    Input,
    Loop,
    OutputSpec,
    Plan,
    PlannedTemplate,
    PlanStep,
    RetryPolicy,
    RunOutput,
)
from dagtasks.planning.steps import edges, find_exposed, find_uses, steps_in
from dagtasks.planning.template import names_of

DEPTH_LIMIT = 10
STEP_LIMIT = 1000

IMAGES = {"python3": "python:3.12-slim", "python": "python:3.12-slim", "node": "node:22-slim", "bash": "debian:12"}
DEFAULT_IMAGE = "alpine:latest"
"""The image of a script that names none: one that has its interpreter."""

HIDDEN = "***"
"""What stands where the value of a sensitive parameter would."""

_OF_TASK = {"task", "project", "phase"}
_KNOWN_OF_RUN = {"commit", "branch", "dirty", "trigger", "actor"}
_LATER_FUNCTIONS = {"success", "failure", "always", "cancelled", "hash_files"}


@dataclass(frozen=True)
class Surroundings:
    """What a plan needs beside its template. `scope` holds task, project, phase and run as far as they are known.

    `find_template` and `read_file` (a path in the repository) raise `DagtasksError` for what is not there.
    """

    scope: Mapping[str, JSON]
    find_template: Callable[[str], PlannedTemplate]
    read_file: Callable[[str], str]
    task: str | None = None
    workflow: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    notes: tuple[str, ...] = field(default=())
    bound: Mapping[str, str] = field(default_factory=dict)


def make_plan(planned: PlannedTemplate, given: Mapping[str, JSON], around: Surroundings) -> Plan:
    """The plan of the template with these parameters. Raises `InvalidInput` with everything that is wrong with them."""
    template = Template.model_validate(planned.data)
    parameters = _parameters(planned, template, given, around.scope)
    scope: dict[str, JSON] = {**around.scope, "params": dict(parameters)}
    called = find_called_templates(planned, around.find_template)
    # Read once: what is approved has to be what is executed, also when a file changes meanwhile.
    files = {path: around.read_file(path) for path in find_scripts([planned, *called.values()])}
    sensitive = tuple(name for name, spec in template.parameters.items() if spec.sensitive)
    lowering = _Lowering(template, scope, replace(around, read_file=files.__getitem__), called)
    condition, outputs = lowering.around_steps()
    return Plan(
        template=planned,
        steps=tuple(_in_order(template, lowering)),
        finally_=tuple(lowering.lower(step, ()) for step in template.finally_),
        parameters={**parameters, **{name: HIDDEN for name in sensitive if parameters[name] is not None}},
        scope=scope,
        outputs=outputs,
        templates=called,
        files=files,
        task=around.task,
        workflow=around.workflow,
        timeout=parse_duration(template.timeout) if template.timeout else None,
        max_parallel=template.max_parallel,
        fail_fast=template.fail_fast,
        condition=condition,
        commit=around.commit,
        branch=around.branch,
        dirty=around.dirty,
        notes=around.notes,
        secrets=tuple(template.secrets),
        sensitive=sensitive,
        concurrency=lowering.group(template.concurrency),
        updates=_updates(template),
        bound=around.bound,
    )


def _updates(template: Template) -> dict[str, dict[str, Input]]:
    when = template.updates.model_dump(exclude_defaults=True)
    return {moment: {field: _deferred(value) for field, value in fields.items()} for moment, fields in when.items()}


def _parameters(
    planned: PlannedTemplate, template: Template, given: Mapping[str, JSON], scope: Mapping[str, JSON]
) -> Mapping[str, JSON]:
    resolved = resolve(template.parameters, given, scope)
    refuse(resolved.findings, f"parameters of template {planned.name}")
    return resolved.values


def refuse(findings: Iterable[Finding], what: str) -> None:
    """Raise `InvalidInput` that tells all findings of severity error, when there are any."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        lines = [f"{finding.message} ({finding.hint})" if finding.hint else finding.message for finding in errors]
        faults = [Fault(".".join(map(str, finding.loc)), finding.message, finding.hint) for finding in errors]
        raise InvalidInput("\n  ".join([f"{what}:", *lines]), faults=faults)


def find_called_templates(
    planned: PlannedTemplate, find: Callable[[str], PlannedTemplate]
) -> dict[str, PlannedTemplate]:
    """All templates that the template calls, directly or through others, each with the file as it is now.

    They are named as the calls name them. Raises `InvalidInput` for calls in a circle, and what `find` raises.
    """
    found: dict[str, PlannedTemplate] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, (planned.name, name)) for name in _calls(planned)]
    while waiting:
        name, path = waiting.pop()
        if name in path[:-1] or len(path) > DEPTH_LIMIT:
            what = "call one another in a circle" if name in path[:-1] else f"are nested deeper than {DEPTH_LIMIT}"
            raise InvalidInput(f"templates {what}: {' -> '.join(path)}")
        if name not in found:
            found[name] = find(name)
        waiting += [(inner, (*path, inner)) for inner in _calls(found[name])]
    return found


def _calls(planned: PlannedTemplate) -> list[str]:
    return [step["workflow"]["template"] for step in steps_of(planned) if step.get("workflow")]


def steps_of(planned: PlannedTemplate) -> list[Any]:
    """The steps of the template and after them those of `finally`, as data, with its defaults."""
    data: Any = with_defaults(dict(planned.data))
    return [*data["steps"], *(data.get("finally") or ())]


def find_scripts(templates: Iterable[PlannedTemplate]) -> Iterator[str]:
    """The paths of the script files that the templates name."""
    for planned in templates:
        steps = steps_of(planned)
        yield from (step["script"]["file"] for step in steps if (step.get("script") or {}).get("file"))


def _in_order(template: Template, lowering: _Lowering) -> Iterator[PlanStep]:
    needs = edges(template, lowering.uses)
    names, stuck = graph.order(needs)
    if stuck:
        raise InvalidInput(f"steps wait for one another in a circle: {', '.join(stuck)}")
    steps = {step.name: step for step in template.steps}
    for name in names:
        yield lowering.lower(steps[name], needs[name])


class _Lowering:
    """From the steps of a template to the steps of a plan."""

    def __init__(
        self,
        template: Template,
        scope: Mapping[str, JSON],
        around: Surroundings,
        called: Mapping[str, PlannedTemplate],
    ) -> None:
        self.template = template
        self.called = called
        self.scope = scope
        self.around = around
        self.uses = find_uses(template)
        self.exposed = find_exposed(template, self.uses)
        names = names_of(template)
        loops = {"item": ANY, "item_index": INTEGER, "matrix": ANY}
        self.names = Names({**names.kinds, **loops}, names.functions)
        self.sensitive = {name for name, spec in template.parameters.items() if spec.sensitive}

    def lower(self, step: Step, needs: tuple[str, ...]) -> PlanStep:
        kinds = {
            "container": self.container,
            "script": self.script,
            "api": self.api,
            "workflow": self.workflow,
            "approval": self.approval,
        }
        try:
            inputs, loop, group = kinds[step.kind](step), self.loop(step), self.group(step.concurrency)
            condition = self.condition(step.if_)
        except EvaluationError as error:
            raise InvalidInput(f"step {step.name}: {error.message}", hint=error.hint) from None
        return PlanStep(
            name=step.name,
            kind=step.kind,
            inputs=inputs,
            depends_on=needs,
            description=step.description,
            condition=condition,
            reads=steps_in(self.uses[step.name]),
            exposes=self.exposed[step.name],
            timeout=parse_duration(step.timeout) if step.timeout else None,
            continue_on_error=step.continue_on_error,
            outputs=self.outputs(step),
            retry=_retry_policy(step.retry),
            loop=loop,
            concurrency=group,
            artifacts={name: ArtifactSpec(spec.path, spec.optional) for name, spec in step.artifacts.items()},
            cache=step.cache,
        )

    def outputs(self, step: Step) -> dict[str, OutputSpec]:
        """The outputs that the step declares; of a call, those of the called template that are sensitive."""
        if step.workflow is None:
            return {name: _output_spec(spec) for name, spec in step.outputs.items()}
        declared: Any = self.called[step.workflow.template].data.get("outputs") or {}
        return {name: OutputSpec(sensitive=True) for name, output in declared.items() if output.get("sensitive")}

    def loop(self, step: Step) -> Loop | None:
        if step.foreach is None and not step.matrix:
            return None
        axes = {axis: self.value(values) for axis, values in step.matrix.items()}
        return Loop(self.value(step.foreach), axes, step.max_parallel, step.fail_fast)

    def group(self, spec: Concurrency | None) -> GroupSpec | None:
        if spec is None:
            return None
        return GroupSpec(self.value(spec.group), spec.limit, rejects=spec.on_conflict == "reject")

    def container(self, step: Step) -> dict[str, Input]:
        body = step.container
        assert body is not None  # noqa: S101 - `kind` says so
        argv, bound = self.argv(body.command, body.args, body.shell)
        optional = {name: getattr(body, name) for name in ("workdir", "user", "platform", "pull")}
        return {
            "image": self.image(body.image),
            "argv": argv,
            "entrypoint": body.entrypoint,
            "env": {**self.env(step, body.env), **bound},
            "success_exit_codes": tuple(body.success_exit_codes),
            **{name: self.value(value) for name, value in optional.items() if value is not None},
            **self.files(body.mounts, body.export),
            "services": {name: self.service(service) for name, service in body.services.items()},
            "network": body.network,
            "privileged": body.privileged,
        }

    def image(self, image: str) -> Input:
        value = self.value(image)
        return value if isinstance(value, Deferred) else check_image(value)

    def files(self, mounts: list[Mount], exports: list[Export]) -> dict[str, Input]:
        return {
            "mounts": tuple(self.mount(mount) for mount in mounts),
            "exports": tuple({"from": self.value(e.from_), "to": self.value(e.to)} for e in exports),
        }

    def mount(self, mount: Mount) -> dict[str, Input]:
        kinds = ("repo", "cache", "artifact", "secret")
        kind, value = next((kind, getattr(mount, kind)) for kind in kinds if getattr(mount, kind) is not None)
        return {"path": self.value(mount.path), "kind": kind, "value": self.value(value)}

    def service(self, service: Service) -> dict[str, Input]:
        argv, bound = self.argv(service.command, [], list(DEFAULT_SHELL))
        ready = service.ready
        probe, extra = self.argv(ready.command, [], list(DEFAULT_SHELL)) if ready else (None, {})
        if extra:
            raise EvaluationError("the command of `ready` takes no values in shell text", hint="write it as a list")
        return {
            "image": self.image(service.image),
            "argv": argv,
            "env": {**{name: self.value(value) for name, value in service.env.items()}, **bound},
            "ports": tuple(service.ports),
            "ready": ready.port if ready and ready.port else probe,
            "ready_timeout": parse_duration(ready.timeout) if ready else None,
        }

    def argv(self, command: Any, args: list[Any], shell: list[str]) -> tuple[Input, dict[str, Input]]:
        """The arguments to execute, and the variables that carry values into a shell text."""
        if command is None:
            return None, {}
        if isinstance(command, list):
            return tuple(self.items([*command, *args])), {}
        bound = bind(parse_scalar(command), self.names, shell=shell)
        variables = {name: self.value(source) for name, source in bound.env.items()}
        for name, value in variables.items():
            if value is None:
                raise null_in_text(bound.env[name])
        return (*shell, self.value(bound.source)), variables

    def script(self, step: Step) -> dict[str, Input]:
        body = step.script
        assert body is not None  # noqa: S101 - `kind` says so
        source = body.source if body.source is not None else self.around.read_file(str(body.file))
        path = f"{STEP_FOLDER}/script"
        variables: dict[str, Input] = {
            "DT_PARAMS": json.dumps(self.shown_parameters(), ensure_ascii=False, sort_keys=True)
        }
        return {
            "image": self.image(body.image or IMAGES.get(body.interpreter[0], DEFAULT_IMAGE)),
            "argv": (*body.interpreter, path, *self.items(body.args)),
            "files": {path: source},
            "env": {**self.env(step, body.env), **variables},
            "success_exit_codes": tuple(body.success_exit_codes),
            **({"workdir": self.value(body.workdir)} if body.workdir else {}),
            **self.files(body.mounts, body.export),
            "on_host": body.runtime == "host",
        }

    def shown_parameters(self) -> dict[str, JSON]:
        params: Any = self.scope["params"]
        return {name: value for name, value in params.items() if name not in self.sensitive}

    def api(self, step: Step) -> dict[str, Input]:
        body = step.api
        assert body is not None  # noqa: S101 - `kind` says so
        data = body.model_dump(by_alias=True, exclude_none=True, exclude={"success_condition", "timeout"})
        has_json = body.json_ is not None or "json_" in body.model_fields_set
        return {
            **{name: self.value(value) for name, value in data.items() if name != "url"},
            "url": self.deferred(body.url),
            "has_json": has_json,
            "timeout": parse_duration(body.timeout),
            "success_condition": body.success_condition,
        }

    def workflow(self, step: Step) -> dict[str, Input]:
        body = step.workflow
        assert body is not None  # noqa: S101 - `kind` says so
        return {
            "template": body.template,
            "parameters": self.value(body.parameters),
            "secrets": tuple(body.secrets),
        }

    def approval(self, step: Step) -> dict[str, Input]:
        body = step.approval
        assert body is not None  # noqa: S101 - `kind` says so
        specs = {name: spec.model_dump(mode="json", exclude_unset=True) for name, spec in body.parameters.items()}
        return {
            "message": self.value(body.message),
            "approvers": tuple(body.approvers),
            "parameters": specs,
            "timeout": parse_duration(body.timeout) if body.timeout else None,
            "on_timeout": body.on_timeout,
        }

    def env(self, step: Step, own: Mapping[str, Any]) -> dict[str, Input]:
        merged = {**self.template.env, **step.env, **own}
        return {name: self.value(value) for name, value in merged.items()}

    def items(self, values: list[Any]) -> Iterator[Input]:
        for value in values:
            lowered = self.value(value)
            if isinstance(lowered, tuple) and _is_splice(value):
                yield from lowered
            else:
                yield lowered

    def value(self, value: Any) -> Input:
        """The value with all expressions evaluated that need nothing of the run; the rest is deferred."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return tuple(self.items(list(value)))
        return value  # type: ignore[no-any-return]

    def deferred(self, value: Any) -> Input:
        """The value with all texts deferred. Raises `EvaluationError` when they read something that is not there."""
        for text in _texts(value):
            self.refuse_unknown(hole.expr for hole in parse_scalar(text).holes)
        return _deferred(value)

    def condition(self, condition: Any) -> str | None:
        text = _condition(condition)
        with suppress(ExpressionError):
            self.refuse_unknown([parse_condition(text)] if text else ())
        return text

    def refuse_unknown(self, exprs: Iterable[Expr]) -> None:
        """Raise `EvaluationError` when the expressions read something of a task, and this is no workflow of one."""
        for path, _ in (reference for expr in exprs for reference in references(expr)):
            if path[0] in _OF_TASK and path[0] not in self.scope:
                hint = "the template needs a task: run it as a workflow of one"
                raise EvaluationError(f"`{path[0]}` is not known here", hint=hint)

    def around_steps(self) -> tuple[str | None, dict[str, RunOutput]]:
        """The condition of the run, and its outputs."""
        try:
            outputs = {name: self.output(output) for name, output in self.template.outputs.items()}
            return self.condition(self.template.if_), outputs
        except EvaluationError as error:
            raise InvalidInput(f"template {self.template.metadata.name}: {error.message}", hint=error.hint) from None

    def output(self, output: Output) -> RunOutput:
        kind = ParameterType(output.type) if output.type else None
        return RunOutput(self.deferred(output.value), kind, output.sensitive)

    def text(self, text: str) -> Input:
        scalar = parse_scalar(text)
        self.refuse_unknown(hole.expr for hole in scalar.holes)
        if not all(_is_known(hole.expr, self.sensitive) for hole in scalar.holes):
            return Deferred(text)
        return _frozen(render(_without_splice(scalar), self.scope))


def check_image(value: Any) -> str:
    """The name of an image that an expression gave. Raises `EvaluationError` when no image can be called so."""
    text = process_text(value)
    if fault := find_image_fault(text):
        raise EvaluationError(f"image: {fault}")
    return text


def null_in_text(source: str) -> EvaluationError:
    """What is wrong with a null in the text of a command."""
    return EvaluationError(f"{source} is null, which cannot stand in text", hint=TEXT_HINTS["null"])


def _is_splice(value: object) -> bool:
    whole = parse_scalar(value).whole if isinstance(value, str) else None
    return whole is not None and isinstance(whole.expr, Splice)


def _without_splice(scalar: Scalar) -> Scalar:
    """`${x[*]}` as `${x}`: what it splices into is the caller's business."""
    whole = scalar.whole
    if whole is None or not isinstance(whole.expr, Splice):
        return scalar
    return Scalar(scalar.source, (type(whole)(whole.expr.value, whole.source, whole.start, whole.end),))


def _is_known(expr: Expr, sensitive: Collection[str]) -> bool:
    """Whether the expression needs nothing that only the run gives; sensitive values come into no plan either."""
    if any(call.name in _LATER_FUNCTIONS for call in find_calls(expr)):
        return False
    return all(_is_known_path(path, sensitive) for path, _ in references(expr))


def _is_known_path(path: tuple[str, ...], sensitive: Collection[str]) -> bool:
    if path[0] == "run":
        return len(path) > 1 and path[1] in _KNOWN_OF_RUN
    if path[0] == "params" and sensitive:
        return len(path) > 1 and path[1] not in sensitive
    return path[0] in ("params", "task", "project", "phase")


def _retry_policy(retry: Retry | None) -> RetryPolicy:
    if retry is None:
        return RetryPolicy()
    return RetryPolicy(
        max_attempts=retry.max_attempts,
        delay=parse_duration(retry.delay),
        factor=retry.factor if retry.backoff == "exponential" else 1.0,
        max_delay=parse_duration(retry.max_delay) if retry.max_delay else None,
        jitter=retry.jitter,
        max_duration=parse_duration(retry.max_duration) if retry.max_duration else None,
        on=tuple(StepState(state) for state in retry.on) if retry.on is not None else None,
        exit_codes=tuple(retry.exit_codes),
    )


def _deferred(value: Any) -> Input:
    """The value with every text deferred: outputs are evaluated when the run has ended."""
    if isinstance(value, str):
        return Deferred(value)
    if isinstance(value, Mapping):
        return {key: _deferred(item) for key, item in value.items()}
    return tuple(map(_deferred, value)) if isinstance(value, list) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _frozen(value: Any) -> Input:
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return value  # type: ignore[no-any-return]


def _condition(condition: Any) -> str | None:
    if condition is None:
        return None
    return str(condition).lower() if isinstance(condition, bool) else str(condition)


def _output_spec(spec: Any) -> OutputSpec:
    return OutputSpec(
        source=spec.from_,
        path=spec.path,
        format=spec.format,
        select=spec.select,
        default=spec.default,
        has_default="default" in spec.model_fields_set,
        sensitive=spec.sensitive,
    )
