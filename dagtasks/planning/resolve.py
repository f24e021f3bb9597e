"""From a planned step to what an executor gets, and from what it gave to values; both while the run goes on."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

from dagtasks.language.evaluation import (
    NO_FUNCTIONS,
    Functions,
    evaluate,
    evaluate_condition,
    render,
    render_hole,
    render_tree,
)
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.functions import EvaluationError
from dagtasks.language.kinds import describe, kind_name
from dagtasks.language.shell import is_raw, process_text
from dagtasks.language.syntax import ExpressionError, Hole, find_calls, references
from dagtasks.model.values import JSON
from dagtasks.planning.plan import (
    STEP_FOLDER,
    ApiRequest,
    ApprovalRequest,
    CallRequest,
    Deferred,
    ExecRequest,
    GroupSpec,
    Input,
    Loop,
    Mounted,
    OutputSpec,
    Places,
    Plan,
    PlannedTemplate,
    PlanStep,
    Request,
    RunOutput,
    ServiceRequest,
)
from dagtasks.planning.planner import Surroundings, check_image, make_plan, null_in_text
from dagtasks.planning.template import STATUS_FUNCTIONS

OUTPUTS_FOLDER = f"{STEP_FOLDER}/outputs"

Scope = Mapping[str, JSON]


class OutputError(Exception):
    """A declared output is missing, too big, or not of its format."""


class Around(NamedTuple):
    """What a step is resolved in: the names that expressions see (what `Plan.scope` holds, `steps`, `run`, and where
    they are known `secrets`, `item`, `matrix`), the functions that need the disk, and the folders of this machine."""

    scope: Scope
    functions: Functions = NO_FUNCTIONS
    places: Places = Places("", "", "")

    def value(self, value: Input) -> Any:
        """The value with every deferred text rendered. Raises `EvaluationError`."""
        try:
            return self._value(value)
        except ExpressionError as error:
            raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None

    def _value(self, value: Input) -> Any:
        if isinstance(value, Deferred):
            return render_tree(value.source, self.scope, self.functions)
        if isinstance(value, Mapping):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [part for item in value for part in self._items(item)]
        return value

    def _items(self, item: Input) -> list[Any]:
        """The item, or its items when it is a splice."""
        if isinstance(item, Deferred):
            rendered: Any = render_tree([item.source], self.scope, self.functions)
            return list(rendered)
        return [self._value(item)]


def resolve(step: PlanStep, plan: Plan, around: Around, attempt: int) -> Request:
    """What is to be done for the step, all values known. Raises `EvaluationError`."""
    inputs = {name: around.value(value) for name, value in step.inputs.items() if name not in ("url", "env")}
    match step.kind:
        case "api":
            return _api(step, inputs, around, attempt)
        case "workflow":
            template = plan.templates[str(inputs["template"])]
            secrets = tuple(inputs["secrets"])
            return CallRequest(step.name, attempt, template, inputs["parameters"], secrets, step.timeout)
        case "approval":
            return _approval(step, inputs)
        case _:
            return _exec(step, plan, inputs, around, attempt)


def _approval(step: PlanStep, inputs: dict[str, Any]) -> ApprovalRequest:
    return ApprovalRequest(
        step.name,
        to_text(inputs["message"], "message"),
        tuple(inputs["approvers"]),
        inputs["parameters"],
        inputs["timeout"],
        silence_approves=inputs["on_timeout"] == "approve",
    )


def group_name(spec: GroupSpec, around: Around) -> str:
    """What the concurrency group is called. Raises `EvaluationError`."""
    return to_text(around.value(spec.group), "concurrency.group")


ITEM_LIMIT = 256


def loop_scopes(loop: Loop, around: Around) -> list[dict[str, JSON]]:
    """What each item of the loop sees beside all others: `item` and `item_index`, or `matrix`.

    Raises `EvaluationError`, also for more than 256.
    """
    if loop.matrix:
        axes = {axis: _loop_values(around.value(values), f"matrix.{axis}") for axis, values in loop.matrix.items()}
        _check_count(math.prod(len(values) for values in axes.values()))
        return [{"matrix": dict(zip(axes, values, strict=True))} for values in itertools.product(*axes.values())]
    items = _loop_values(around.value(loop.foreach), "foreach")
    _check_count(len(items))
    return [{"item": item, "item_index": place} for place, item in enumerate(items)]


def _loop_values(value: Any, what: str) -> list[JSON]:
    if not isinstance(value, list | tuple):
        raise EvaluationError(f"{what} gives no list", hint="give a list, or an expression that gives one")
    return list(value)


def _check_count(count: int) -> None:
    if count > ITEM_LIMIT:
        raise EvaluationError(f"there are {count} items; at most {ITEM_LIMIT} are done", hint="do them in groups")


def _exec(step: PlanStep, plan: Plan, inputs: dict[str, Any], around: Around, attempt: int) -> ExecRequest:
    scope = around.scope
    argv, files = inputs["argv"], dict(inputs.get("files", {}))
    written = [name for name, spec in step.outputs.items() if spec.source == "file" and spec.path is None]
    read = [path for name, spec in step.outputs.items() if spec.source == "file" for path in [_output_path(name, spec)]]
    run: Any = scope["run"]
    own = {"DT_RUN": run["id"], "DT_STEP": step.name, "DT_ATTEMPT": str(attempt)}
    env, secret_env = _environment(step.inputs["env"], plan, around)
    if written:
        own["DT_OUTPUTS"] = OUTPUTS_FOLDER
        files[f"{OUTPUTS_FOLDER}/.dagtasks"] = ""
    return ExecRequest(
        step=step.name,
        attempt=attempt,
        image=check_image(inputs["image"]),
        argv=None if argv is None else tuple(to_text(item, "an argument") for item in argv),
        use_entrypoint=inputs.get("entrypoint") == "keep",
        env={**env, **own},
        secret_env=secret_env,
        workdir=_optional(inputs.get("workdir"), "workdir"),
        files=files,
        read_files=tuple(read),
        user=_optional(inputs.get("user"), "user"),
        platform=_optional(inputs.get("platform"), "platform"),
        success_exit_codes=tuple(inputs["success_exit_codes"]),
        timeout=step.timeout,
        mounts=tuple(_mounted(mount, around) for mount in inputs.get("mounts", ())),
        services=tuple(_service(name, service) for name, service in inputs.get("services", {}).items()),
        artifacts=step.artifacts,
        exports=tuple(to_text(export["from"], "export.from") for export in inputs.get("exports", ())),
        network=inputs.get("network", "default"),
        pull=inputs.get("pull"),
        privileged=inputs.get("privileged", False),
        on_host=inputs.get("on_host", False),
        cache=step.cache,
    )


def export_targets(step: PlanStep, around: Around) -> list[str]:
    """Where in the repository the exports of the step go, in their order. Raises `EvaluationError`."""
    exports = around.value(step.inputs.get("exports", ()))
    return [to_text(export["to"], "export.to") for export in exports]


def _environment(env: Any, plan: Plan, around: Around) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of a step, and apart from them those whose values are secret."""
    values = {name: around.value(value) for name, value in env.items()}
    for name, value in values.items():
        if value is None and name.startswith("DT_"):
            raise null_in_text(env[name].source)
    texts = {name: to_text(value, f"env.{name}") for name, value in values.items() if value is not None}
    secret = {name for name in texts if _is_secret(env[name], plan)}
    return {n: t for n, t in texts.items() if n not in secret}, {n: t for n, t in texts.items() if n in secret}


def derived_secrets(step: PlanStep, plan: Plan, around: Around) -> list[JSON]:
    """What the expressions of the step make of secrets. What its own text says, as one of two words, is none.

    Raises `EvaluationError`.
    """
    if not (plan.secrets or plan.sensitive or any(_hidden_outputs(other) for other in plan.all_steps)):
        return []
    holes = [(text.source, hole) for text in _deferred_in(step.inputs) for hole in _secret_holes(text, plan)]
    values = ((source, evaluate(hole.expr, around.scope, around.functions)) for source, hole in holes)
    return [value for source, value in values if not (isinstance(value, str) and value in source)]


def _deferred_in(value: Input) -> Iterator[Deferred]:
    match value:
        case Deferred():
            yield value
        case Mapping():
            for item in value.values():
                yield from _deferred_in(item)
        case tuple():
            for item in value:
                yield from _deferred_in(item)


def _is_secret(value: Input, plan: Plan) -> bool:
    """Whether the value refers to a secret, or to a sensitive parameter or output (or to all, when any is)."""
    return isinstance(value, Deferred) and bool(_secret_holes(value, plan))


def _secret_holes(text: Deferred, plan: Plan) -> list[Hole]:
    """The expressions of the text that refer to something secret."""
    return [
        hole
        for hole in parse_scalar(text.source).holes
        if any(path[0] == "secrets" or _is_sensitive(path, plan) for path, _ in references(hole.expr))
    ]


def _is_sensitive(path: tuple[str, ...], plan: Plan) -> bool:
    if path[0] == "params":
        return not set(path[1:2] or plan.sensitive).isdisjoint(plan.sensitive)
    if path[0] != "steps":
        return False
    steps = [step for step in plan.all_steps if step.name in (path[1:2] or (step.name,))]
    hidden = {name for step in steps for name in _hidden_outputs(step)}
    if path[2:3] == ("outputs",) and len(path) > 3:
        return path[3] in hidden
    return bool(hidden) and path[2:3] in ((), ("items",), ("outputs",))


def _hidden_outputs(step: PlanStep) -> list[str]:
    return [name for name, spec in step.outputs.items() if spec.sensitive]


def _mounted(mount: Mapping[str, Any], around: Around) -> Mounted:
    path, kind = to_text(mount["path"], "mounts.path"), mount["kind"]
    value = to_text(mount["value"], f"mounts.{kind}")
    match kind:
        case "repo":
            return Mounted(path, "repo", around.places.root)
        case "cache":
            return Mounted(path, "cache", f"{around.places.caches}/{sha256(value.encode()).hexdigest()}", value)
        case "artifact":
            if not re.fullmatch(r"[0-9a-f]{64}", value):
                raise EvaluationError("mounts.artifact is no artifact", hint="write ${steps.NAME.artifacts.KEY}")
            return Mounted(path, "artifact", f"{around.places.artifacts}/{value}")
        case _:
            secrets: Any = around.scope.get("secrets") or {}
            return Mounted(path, "secret", value=secrets[value])


def _service(name: str, service: Mapping[str, Any]) -> ServiceRequest:
    argv, ready = service["argv"], service["ready"]
    what = f"services.{name}"
    return ServiceRequest(
        name,
        check_image(service["image"]),
        None if argv is None else tuple(to_text(item, f"{what}.command") for item in argv),
        {key: to_text(value, f"{what}.env.{key}") for key, value in service["env"].items() if value is not None},
        tuple(service["ports"]),
        tuple(map(str, ready)) if isinstance(ready, list) else ready,
        service["ready_timeout"] or 60.0,
    )


def _output_path(name: str, spec: OutputSpec) -> str:
    return spec.path or f"{OUTPUTS_FOLDER}/{name}"


def _optional(value: JSON, what: str) -> str | None:
    """A whole-value null in an optional field means that the field is not given."""
    return None if value is None else to_text(value, what)


def to_text(value: JSON, what: str) -> str:
    """The value as an argument or variable of a process. Raises `EvaluationError` that names it."""
    try:
        return process_text(value)
    except EvaluationError as error:
        raise EvaluationError(f"{what}: {error.message}", hint=error.hint) from None


def _api(step: PlanStep, inputs: dict[str, Any], around: Around, attempt: int) -> ApiRequest:
    url = step.inputs["url"]
    has_json = bool(inputs["has_json"])
    form = inputs.get("form")
    return ApiRequest(
        step=step.name,
        attempt=attempt,
        url=_url(url.source, around) if isinstance(url, Deferred) else str(url),
        method=inputs["method"],
        query={name: to_text(value, f"query.{name}") for name, value in inputs["query"].items() if value is not None},
        headers={name: _header(name, value) for name, value in inputs["headers"].items() if value is not None},
        json=inputs.get("json"),
        has_json=has_json,
        form=None if form is None else {name: to_text(value, f"form.{name}") for name, value in form.items()},
        body=_optional(inputs.get("body"), "body"),
        timeout=inputs["timeout"],
        follow_redirects=inputs["follow_redirects"],
        verify_tls=inputs["verify_tls"],
        success_status=tuple(_status_range(str(status)) for status in inputs["success_status"]),
        success_condition=inputs.get("success_condition"),
        max_response=inputs["max_response"],
        auth=inputs.get("auth"),
    )


def _url(source: str, around: Around) -> str:
    """The address: each value in it is one segment, percent-encoded; a whole value or `raw()` goes in as it is."""
    scalar = parse_scalar(source)
    if scalar.whole:
        return to_text(render(scalar, around.scope, around.functions), "url")
    parts = [part if isinstance(part, str) else _url_part(part, around) for part in scalar.parts]
    return to_text("".join(parts), "url")


def _url_part(hole: Any, around: Around) -> str:
    text = render_hole(hole, around.scope, around.functions)
    return text if is_raw(hole) else quote(text, safe="")


def _header(name: str, value: JSON) -> str:
    text = to_text(value, f"header {name}")
    if "\r" in text or "\n" in text:
        raise EvaluationError(f"header {name} holds a line break")
    return text


def _status_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def is_wanted(condition: str | None, around: Around, *, success: bool, failure: bool, cancelled: bool) -> bool:
    """Whether `if` holds. Without a status function it means `success() && (...)`. Raises `EvaluationError`."""
    if condition is None:
        return success
    try:
        expr = parse_condition(condition)
    except ExpressionError as error:
        raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None
    functions: Functions = {
        **around.functions,
        "success": lambda: success,
        "failure": lambda: failure,
        "cancelled": lambda: cancelled,
        "always": lambda: True,
    }
    asks_for_status = any(call.name in STATUS_FUNCTIONS for call in find_calls(expr))
    if not asks_for_status and not success:
        return False
    return evaluate_condition(expr, around.scope, functions)


def is_about_item(condition: str | None) -> bool:
    """Whether the condition can differ between the items of a loop."""
    if condition is None:
        return False
    try:
        return any(path[0] in ("item", "item_index", "matrix") for path, _ in references(parse_condition(condition)))
    except ExpressionError:
        return False


def holds(condition: str, around: Around, response: Mapping[str, JSON]) -> bool:
    """Whether the `success_condition` of an api step holds for the response. Raises `EvaluationError`."""
    scope = {**around.scope, "response": dict(response)}
    try:
        return evaluate_condition(parse_expression(condition), scope, around.functions)
    except ExpressionError as error:
        raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None


class Printed(NamedTuple):
    """What a step gave that outputs are read from; `files` by path."""

    stdout: str
    stderr: str
    files: Mapping[str, bytes]


def read_outputs(step: PlanStep, given: Printed, parsers: Mapping[str, Callable[[str], JSON]]) -> dict[str, JSON]:
    """The declared outputs of a step that succeeded; `parsers` raise `ValueError`. Raises `OutputError`."""
    outputs: dict[str, JSON] = {}
    for name, spec in step.outputs.items():
        if spec.source == "file":
            content = given.files.get(_output_path(name, spec))
            text = None if content is None else content.decode("utf-8", "replace")
        else:
            text = given.stdout if spec.source == "stdout" else given.stderr
        outputs[name] = _read_output(name, spec, text, parsers)
    return outputs


def _read_output(name: str, spec: OutputSpec, text: str | None, parsers: Mapping[str, Callable[[str], JSON]]) -> JSON:
    try:
        if text is None:
            raise OutputError(f"output {name}: the step wrote no {_output_path(name, spec)}")
        return text.rstrip("\n") if spec.format == "text" else _decode(name, spec, text, parsers[spec.format])
    except OutputError:
        if spec.has_default:
            return spec.default
        raise


def _decode(name: str, spec: OutputSpec, text: str, parse: Callable[[str], JSON]) -> JSON:
    try:
        value = parse(text)
    except ValueError as error:
        raise OutputError(f"output {name} is no {spec.format.upper()}: {error}") from None
    if spec.select is None:
        return value
    try:
        dot = "" if spec.select.startswith("[") else "."
        return evaluate(parse_expression(f"value{dot}{spec.select}"), {"params": {"value": value}})
    except (ExpressionError, EvaluationError) as error:
        raise OutputError(f"output {name} has no {spec.select}: {error.message}") from None


def run_outputs(plan: Plan, around: Around) -> tuple[dict[str, JSON], list[str]]:
    """The outputs of the run that have a value now, and why others have none."""
    outputs: dict[str, JSON] = {}
    faults: list[str] = []
    for name, output in plan.outputs.items():
        try:
            outputs[name] = _run_output(output, around)
        except EvaluationError as error:
            faults.append(f"output {name}: {error.told}")
    return outputs, faults


def _run_output(output: RunOutput, around: Around) -> JSON:
    value: JSON = around.value(output.value)
    if output.type and value is not None and not output.type.holds(value):
        raise EvaluationError(f"it is to be {describe(output.type.value)}, and is {describe(kind_name(value))}")
    return value


def child_plan(plan: Plan, request: CallRequest) -> Plan:
    """The plan of a child run, made from what the parent's plan holds. Raises `InvalidInput`, `EvaluationError`."""

    def find_template(name: str) -> PlannedTemplate:
        return plan.templates[name]

    def read_file(path: str) -> str:
        return plan.files[path]

    around = Surroundings(
        scope={name: value for name, value in plan.scope.items() if name != "params"},
        find_template=find_template,
        read_file=read_file,
        task=plan.task,
        workflow=plan.workflow,
        commit=plan.commit,
        branch=plan.branch,
        dirty=plan.dirty,
    )
    return make_plan(request.template, request.parameters, around)
