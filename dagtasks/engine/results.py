"""What a step's process, request or child run gave, as the step's record and as what expressions see of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from dagtasks.engine.desk import Answer
from dagtasks.engine.executor import OUTPUT_LIMIT, ExecResult
from dagtasks.engine.http import ApiResult, parse_json
from dagtasks.model.run import Failure, RunRecord, StepRecord, Stream
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.planning.plan import ApprovalRequest, CallRequest, ExecRequest, PlanStep, Request
from dagtasks.planning.resolve import OutputError, Printed, read_outputs


def of_process(step: PlanStep, record: StepRecord, request: ExecRequest, result: ExecResult) -> StepRecord:
    """The record after the process ended by itself."""
    record = replace(
        with_output(record, {"stdout": result.stdout, "stderr": result.stderr}),
        exit_code=result.exit_code,
        image=result.image,
        cached=result.cached,
    )
    if result.exit_code not in request.success_exit_codes:
        hint = " (command not found)" if result.exit_code == 127 else ""
        return _failed(record, "exit_code", f"the command ended with exit code {result.exit_code}{hint}")
    if too_big := _find_too_big(step, result):
        message = f"{too_big} is read as an output and larger than {OUTPUT_LIMIT} bytes; write less, or use artifacts"
        return replace(record, state=StepState.ERRORED, error=Failure("output_too_big", message))
    if missing := [name for name in result.missing if not step.artifacts[name].optional]:
        message = f"the step left no artifact {missing[0]} at {step.artifacts[missing[0]].path}"
        return replace(record, state=StepState.ERRORED, error=Failure("artifact_missing", message))
    return _with_outputs(step, record, result)


def of_answer(step: PlanStep, record: StepRecord, result: ApiResult) -> StepRecord:
    """The record after an HTTP answer."""
    response: dict[str, JSON] = {"status_code": result.status_code, "headers": dict(result.headers)}
    if result.retry_after is not None:
        response["retry_after"] = result.retry_after
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


def of_items(record: StepRecord, step: PlanStep, items: Sequence[StepRecord]) -> StepRecord:
    """The record of a step that loops, after its items; what failed gives null."""
    outputs: dict[str, JSON] = {key: [item.outputs.get(key) for item in items] for key in step.outputs}
    done = replace(
        record,
        items=tuple(items),
        outputs=outputs,
        attempts=max((item.attempts for item in items), default=1),
        inputs=digest_of_items([item.inputs or "" for item in items]),
    )
    worst = min((item for item in items if item.state in _WORST_FIRST), key=_badness, default=None)
    if worst is None:
        return replace(done, state=StepState.SUCCEEDED)
    error = worst.error or Failure("item_failed", f"it is {worst.state}")
    return replace(done, state=worst.state, error=Failure(error.code, f"{worst.name}: {error.message}"))


_WORST_FIRST = (StepState.CANCELLED, StepState.TIMED_OUT, StepState.ERRORED, StepState.FAILED, StepState.OMITTED)


def _badness(item: StepRecord) -> int:
    return _WORST_FIRST.index(item.state)


def digest_of(request: Request, mask: Callable[[str], str]) -> str:
    """Stands for what a step is asked to do: the same digest, the same work. What differs between tries is left out.

    Secrets are masked before: a weak one could be guessed from its digest.
    """
    match request:
        case ExecRequest():
            env = {name: value for name, value in request.env.items() if name not in ("DT_RUN", "DT_ATTEMPT")}
            same: Any = replace(request, attempt=0, env=env, collect_to=None), sorted(request.secret_env)
        case CallRequest():
            same = request.template.blob, request.parameters, request.secrets
        case ApprovalRequest():
            same = request
        case _:
            same = replace(request, attempt=0)
    return sha256(mask(repr(same)).encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_items(digests: Sequence[str]) -> str:
    """Stands for what all items of a step are asked to do."""
    return sha256(" ".join(digests).encode()).hexdigest()


def with_output(record: StepRecord, printed: Mapping[Stream, bytes]) -> StepRecord:
    """The record with its output and stderr, or with None for what is too big to be read."""
    kept = {stream: _text(data).rstrip("\n") if len(data) <= OUTPUT_LIMIT else None for stream, data in printed.items()}
    is_mended = any("\ufffd" in text for text in kept.values() if text)  # Dagger gives texts that are mended already
    return replace(record, output=kept["stdout"], stderr=kept["stderr"], is_mended=is_mended)


def of_decision(record: StepRecord, asks: Mapping[str, JSON], answer: Answer) -> StepRecord:
    """The record after somebody decided on an approval."""
    record = replace(record, approval={**asks, **answer.to_json()}, outputs=dict(answer.parameters))
    if answer.approved:
        return replace(record, state=StepState.SUCCEEDED)
    by = f"rejected by {answer.by}" if answer.by else "rejected"
    return _failed(record, "rejected", f"{by}: {answer.reason}" if answer.reason else by)


def not_run(record: StepRecord, state: StepState, error: Failure) -> StepRecord:
    """The record of a step that never began."""
    return StepRecord(record.name, state=state, error=error, item=record.item)


def scope_of(step: PlanStep, result: StepRecord) -> JSON:
    """What expressions see as `steps.<name>`; of a step that did not run, all outputs are null.

    Of a step that loops, what its items gave are lists in their order.
    """
    if step.loop and result.attempts:
        return _scope_of_items(step, result)
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
        "artifacts": {**dict.fromkeys(step.artifacts), **_digests(result)},
        "error": {"code": error.code if error else None, "message": error.message if error else None},
    }
    if step.kind == "api":
        values |= result.response or {"status_code": None, "headers": {}}
        values["json"] = parse_json(result.output or "")
    return values


def _digests(result: StepRecord) -> dict[str, JSON]:
    artifacts: Mapping[str, Any] = result.artifacts
    return {key: artifact["digest"] for key, artifact in artifacts.items()}


def _scope_of_items(step: PlanStep, result: StepRecord) -> JSON:
    single = replace(step, loop=None)
    items: list[Any] = [scope_of(single, item) for item in result.items]
    whole: dict[str, Any] = {**items[0]} if items else {"outputs": dict.fromkeys(step.outputs), "artifacts": {}}
    return {
        **{key: [item[key] for item in items] for key in whole},
        "outputs": {key: [item["outputs"].get(key) for item in items] for key in whole["outputs"]},
        "artifacts": {key: [item["artifacts"].get(key) for item in items] for key in step.artifacts},
        "output": [item["output"] for item in items],
        "state": str(result.state),
        "outcome": str(result.state),
        "conclusion": str(result.conclusion),
        "attempts": result.attempts,
        "duration": result.duration,
        "error": {
            "code": result.error.code if result.error else None,
            "message": result.error.message if result.error else None,
        },
        "items": items,
    }


def _with_outputs(step: PlanStep, record: StepRecord, result: ExecResult) -> StepRecord:
    try:
        outputs = read_outputs(step, Printed(_text(result.stdout), _text(result.stderr), result.files), PARSERS)
    except OutputError as error:
        return replace(record, state=StepState.ERRORED, error=Failure("output_error", str(error)))
    return replace(record, state=StepState.SUCCEEDED, outputs=outputs)


def _parse_json(text: str) -> JSON:
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse_yaml(text: str) -> JSON:
    """The value that the text says in the dialect of task files. As the value of a key it may be of any kind."""
    from dagtasks.store.documents import parse_document

    inside = "".join(f"  {line}\n" for line in text.splitlines())
    document = parse_document(f"value:\n{inside}".encode(), "output")
    if document.data is None:
        raise ValueError("; ".join(problem.message for problem in document.problems))
    value: JSON = document.data["value"]
    return value


PARSERS = {"json": _parse_json, "yaml": _parse_yaml}


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
