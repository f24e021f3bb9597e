"""From a planned step to what an executor gets, and from what it gave to values; both while the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dagtasks.language.evaluation import Functions, evaluate, evaluate_condition, render, render_hole, render_tree
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.functions import EvaluationError
from dagtasks.language.shell import is_raw, process_text
from dagtasks.language.syntax import ExpressionError, find_calls
from dagtasks.model.values import JSON
from dagtasks.planning.plan import (
    STEP_FOLDER,
    ApiRequest,
    CallRequest,
    Deferred,
    ExecRequest,
    Input,
    OutputSpec,
    Plan,
    PlannedTemplate,
    PlanStep,
    Request,
)
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.planning.template import STATUS_FUNCTIONS

OUTPUTS_FOLDER = f"{STEP_FOLDER}/outputs"

Scope = Mapping[str, JSON]


class OutputError(Exception):
    """A declared output is missing, too big, or not of its format."""


def resolve(step: PlanStep, plan: Plan, scope: Scope, attempt: int) -> Request:
    """What the executor is to do, all values known. `scope` holds what `Plan.scope` does, and `steps` and `run`.

    Raises `EvaluationError`.
    """
    try:
        inputs = {name: _value(value, scope) for name, value in step.inputs.items() if name != "url"}
    except ExpressionError as error:
        raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None
    if step.kind == "api":
        return _api(step, inputs, scope, attempt)
    if step.kind == "workflow":
        template = plan.templates[str(inputs["template"])]
        return CallRequest(step.name, attempt, template, inputs["parameters"], timeout=step.timeout)
    return _exec(step, inputs, scope, attempt)


def _value(value: Input, scope: Scope) -> Any:
    if isinstance(value, Deferred):
        return render_tree(value.source, scope)
    if isinstance(value, Mapping):
        return {key: _value(item, scope) for key, item in value.items()}
    if isinstance(value, tuple):
        return [part for item in value for part in _items(item, scope)]
    return value


def _items(item: Input, scope: Scope) -> list[Any]:
    """The item, or its items when it is a splice."""
    if isinstance(item, Deferred):
        rendered: Any = render_tree([item.source], scope)
        return list(rendered)
    return [_value(item, scope)]


def _exec(step: PlanStep, inputs: dict[str, Any], scope: Scope, attempt: int) -> ExecRequest:
    argv, files = inputs["argv"], dict(inputs.get("files", {}))
    written = [name for name, spec in step.outputs.items() if spec.source == "file" and spec.path is None]
    read = [path for name, spec in step.outputs.items() if spec.source == "file" for path in [_output_path(name, spec)]]
    run: Any = scope["run"]
    own = {"DT_RUN": run["id"], "DT_STEP": step.name, "DT_ATTEMPT": str(attempt)}
    if written:
        own["DT_OUTPUTS"] = OUTPUTS_FOLDER
        files[f"{OUTPUTS_FOLDER}/.dagtasks"] = ""
    return ExecRequest(
        step=step.name,
        attempt=attempt,
        image=to_text(inputs["image"], "image"),
        argv=None if argv is None else tuple(to_text(item, "an argument") for item in argv),
        use_entrypoint=inputs.get("entrypoint") == "keep",
        env={**{name: to_text(v, f"env.{name}") for name, v in inputs["env"].items() if v is not None}, **own},
        workdir=_optional(inputs.get("workdir"), "workdir"),
        files=files,
        read_files=tuple(read),
        user=_optional(inputs.get("user"), "user"),
        platform=_optional(inputs.get("platform"), "platform"),
        success_exit_codes=tuple(inputs["success_exit_codes"]),
        timeout=step.timeout,
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


def _api(step: PlanStep, inputs: dict[str, Any], scope: Scope, attempt: int) -> ApiRequest:
    url = step.inputs["url"]
    has_json = bool(inputs["has_json"])
    form = inputs.get("form")
    return ApiRequest(
        step=step.name,
        attempt=attempt,
        url=_url(url.source, scope) if isinstance(url, Deferred) else to_text(inputs.get("url"), "url"),
        method=inputs["method"],
        query={name: to_text(value, f"query.{name}") for name, value in inputs["query"].items() if value is not None},
        headers={name: _header(name, value) for name, value in inputs["headers"].items() if value is not None},
        json=inputs.get("json"),
        has_json=has_json,
        form=None if form is None else {name: to_text(value, f"form.{name}") for name, value in form.items()},
        body=_optional(inputs.get("body"), "body"),
        timeout=min(inputs["timeout"], step.timeout or inputs["timeout"]),
        follow_redirects=inputs["follow_redirects"],
        verify_tls=inputs["verify_tls"],
        success_status=tuple(_status_range(str(status)) for status in inputs["success_status"]),
        success_condition=inputs.get("success_condition"),
        max_response=inputs["max_response"],
    )


def _url(source: str, scope: Scope) -> str:
    """The address: each value in it is one segment, percent-encoded; a whole value or `raw()` goes in as it is."""
    scalar = parse_scalar(source)
    if scalar.whole:
        return to_text(render(scalar, scope), "url")
    parts = [part if isinstance(part, str) else _url_part(part, scope) for part in scalar.parts]
    return to_text("".join(parts), "url")


def _url_part(hole: Any, scope: Scope) -> str:
    text = render_hole(hole, scope)
    return text if is_raw(hole) else quote(text, safe="")


def _header(name: str, value: JSON) -> str:
    text = to_text(value, f"header {name}")
    if "\r" in text or "\n" in text:
        raise EvaluationError(f"header {name} holds a line break")
    return text


def _status_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def is_wanted(condition: str | None, scope: Scope, *, success: bool, failure: bool, cancelled: bool) -> bool:
    """Whether `if` holds. Without a status function it means `success() && (...)`. Raises `EvaluationError`."""
    if condition is None:
        return success
    try:
        expr = parse_condition(condition)
    except ExpressionError as error:
        raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None
    functions: Functions = {
        "success": lambda: success,
        "failure": lambda: failure,
        "cancelled": lambda: cancelled,
        "always": lambda: True,
    }
    asks_for_status = any(call.name in STATUS_FUNCTIONS for call in find_calls(expr))
    if not asks_for_status and not success:
        return False
    return evaluate_condition(expr, scope, functions)


def holds(condition: str, scope: Scope, response: Mapping[str, JSON]) -> bool:
    """Whether the `success_condition` of an api step holds for the response. Raises `EvaluationError`."""
    try:
        return evaluate_condition(parse_expression(condition), {**scope, "response": dict(response)})
    except ExpressionError as error:
        raise EvaluationError(error.message, offset=error.offset, hint=error.hint) from None


def read_outputs(step: PlanStep, stdout: str, stderr: str, files: Mapping[str, bytes]) -> dict[str, JSON]:
    """The declared outputs of a step that succeeded. Raises `OutputError`."""
    printed = {"stdout": stdout, "stderr": stderr}
    outputs: dict[str, JSON] = {}
    for name, spec in step.outputs.items():
        path = _output_path(name, spec)
        if spec.source == "file":
            content = files.get(path)
            text = None if content is None else content.decode("utf-8", "replace")
        else:
            text = printed[spec.source]
        outputs[name] = _read_output(name, spec, text, path)
    return outputs


def _read_output(name: str, spec: OutputSpec, text: str | None, path: str) -> JSON:
    try:
        if text is None:
            raise OutputError(f"output {name}: the step wrote no {path}")
        return _decode(name, spec, text)
    except OutputError:
        if spec.has_default:
            return spec.default
        raise


def _decode(name: str, spec: OutputSpec, text: str) -> JSON:
    if spec.format == "text":
        return text.rstrip("\n")
    try:
        value: JSON = json.loads(text)
    except ValueError as error:
        raise OutputError(f"output {name} is no JSON: {error}") from None
    if spec.select is None:
        return value
    try:
        dot = "" if spec.select.startswith("[") else "."
        return evaluate(parse_expression(f"value{dot}{spec.select}"), {"params": {"value": value}})
    except (ExpressionError, EvaluationError) as error:
        raise OutputError(f"output {name} has no {spec.select}: {error.message}") from None


def run_outputs(plan: Plan, scope: Scope) -> dict[str, JSON]:
    """The outputs of the run, as far as they have a value now."""
    outputs: dict[str, JSON] = {}
    for name, value in plan.outputs.items():
        try:
            outputs[name] = _value(value, scope)
        except (EvaluationError, ExpressionError):
            continue
    return outputs


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
