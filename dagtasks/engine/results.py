"""What a step's process, request or child run gave, as the step's record and as what expressions see of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dagtasks.engine.executor import OUTPUT_LIMIT, ExecResult
from dagtasks.engine.http import ApiResult, parse_json
from dagtasks.model.run import Failure, RunRecord, StepRecord, Stream
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.planning.plan import ExecRequest, PlanStep
from dagtasks.planning.resolve import OutputError, read_outputs


def of_process(step: PlanStep, record: StepRecord, request: ExecRequest, result: ExecResult) -> StepRecord:
    """The record after the process ended by itself."""
    record = replace(
        with_output(record, {"stdout": result.stdout, "stderr": result.stderr}),
        exit_code=result.exit_code,
        image=result.image,
    )
    if result.exit_code not in request.success_exit_codes:
        hint = " (command not found)" if result.exit_code == 127 else ""
        return _failed(record, "exit_code", f"the command ended with exit code {result.exit_code}{hint}")
    if too_big := _find_too_big(step, result):
        message = f"{too_big} is read as an output and larger than {OUTPUT_LIMIT} bytes; write less, or to a file"
        return replace(record, state=StepState.ERRORED, error=Failure("output_too_big", message))
    return _with_outputs(step, record, result)


def of_answer(step: PlanStep, record: StepRecord, result: ApiResult) -> StepRecord:
    """The record after an HTTP answer."""
    response: Mapping[str, JSON] = {"status_code": result.status_code, "headers": dict(result.headers)}
    record = replace(record, output=result.body, response=response)
    if result.failure:
        return replace(record, state=StepState.FAILED, error=result.failure)
    return _with_outputs(step, record, ExecResult(0, stdout=result.body.encode()))


def of_child(record: StepRecord, child: RunRecord) -> StepRecord:
    """The record after a child run."""
    output = json.dumps(dict(child.outputs), ensure_ascii=False)
    record = replace(record, outputs=child.outputs, output=output)
    if child.status in (RunState.SUCCEEDED, RunState.SKIPPED):
        return replace(record, state=StepState.SUCCEEDED)
    error = child.error or Failure("child_failed", f"it is {child.status}")
    message = f"run {child.id}: {error.message}"
    return replace(record, state=StepState(child.status), error=Failure(error.code, message))


def with_output(record: StepRecord, printed: Mapping[Stream, bytes]) -> StepRecord:
    """The record with its output and stderr, or with None for what is too big to be read."""
    kept = {stream: _text(data).rstrip("\n") if len(data) <= OUTPUT_LIMIT else None for stream, data in printed.items()}
    return replace(record, output=kept["stdout"], stderr=kept["stderr"])


def not_run(step: PlanStep, state: StepState, error: Failure) -> StepRecord:
    """The record of a step that never began."""
    return StepRecord(step.name, state=state, error=error)


def scope_of(step: PlanStep, result: StepRecord) -> JSON:
    """What expressions see as `steps.<name>`; of a step that did not run, all outputs are null."""
    error = result.error
    values: dict[str, Any] = {
        "output": result.output,
        "stderr": result.stderr,
        "exit_code": result.exit_code,
        "state": str(result.state),
        "outcome": str(result.state),
        "conclusion": str(result.conclusion),
        "attempts": result.attempts,
        "duration": result.duration,
        "outputs": {**dict.fromkeys(step.outputs), **result.outputs},
        "artifacts": {},
        "error": {"code": error.code if error else None, "message": error.message if error else None},
    }
    if step.kind == "api":
        values |= result.response or {"status_code": None, "headers": {}}
        values["json"] = parse_json(result.output or "")
    return values


def _with_outputs(step: PlanStep, record: StepRecord, result: ExecResult) -> StepRecord:
    try:
        outputs = read_outputs(step, _text(result.stdout), _text(result.stderr), result.files)
    except OutputError as error:
        return replace(record, state=StepState.ERRORED, error=Failure("output_error", str(error)))
    return replace(record, state=StepState.SUCCEEDED, outputs=outputs)


def _find_too_big(step: PlanStep, result: ExecResult) -> str | None:
    declared = {spec.source for spec in step.outputs.values()}
    sizes = {path: len(data) for path, data in result.files.items()}
    if "stdout" in declared or "output" in step.exposes:
        sizes["stdout"] = len(result.stdout)
    if "stderr" in declared or "stderr" in step.exposes:
        sizes["stderr"] = len(result.stderr)
    return next((name for name, size in sizes.items() if size > OUTPUT_LIMIT), None)


def _failed(record: StepRecord, code: str, message: str) -> StepRecord:
    return replace(record, state=StepState.FAILED, error=Failure(code, message))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
