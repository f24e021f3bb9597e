"""What a person sees of a run: a line a step while it goes on, a summary at the end."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from dagtasks.cli.output import fields, printable, table
from dagtasks.model.run import (
    RunChanged,
    RunEvent,
    RunRecord,
    RunStarted,
    StepChanged,
    StepFinished,
    StepOutput,
    StepRecord,
    StepStarted,
    approval_name,
    event_to_json,
)
from dagtasks.model.values import RunState, StepState

if TYPE_CHECKING:
    from dagtasks.planning.plan import Plan
    from dagtasks.store.runs import RunStore

TAIL = 20
"""Lines of a failing step that are shown at the end."""

EXIT_CODES = {
    RunState.SUCCEEDED: 0,
    RunState.SKIPPED: 0,
    RunState.TIMED_OUT: 10,
    RunState.WAITING: 11,
    RunState.AWAITING_APPROVAL: 11,
    RunState.CANCELLED: 130,
}

MARKS = {
    StepState.SUCCEEDED: ("ok", "green"),
    StepState.FAILED: ("failed", "red"),
    StepState.ERRORED: ("errored", "red"),
    StepState.TIMED_OUT: ("timed out", "red"),
    StepState.CANCELLED: ("cancelled", "yellow"),
    StepState.SKIPPED: ("skipped", "yellow"),
    StepState.OMITTED: ("omitted", "yellow"),
}


def exit_code(record: RunRecord) -> int:
    """The exit code of `run` for a run that ended so (03 section 2.7)."""
    return EXIT_CODES.get(record.status, 1)


def seconds(duration: float | None) -> str:
    """A duration for people: `0.4s`, `12s`, `3m05s`."""
    if duration is None:
        return ""
    if duration < 10:
        return f"{duration:.1f}s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """A listener that prints a line to stderr when a step begins or ends, and what steps print, line by line.

    With `as_json` each event is a JSON object on a line of its own.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._quiet = False
        self._rest: dict[tuple[str, str, str], bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rest.clear()

    def __call__(self, event: RunEvent) -> None:
        """Show the event; when nobody reads any more, go on without showing: the run is not the reader's."""
        if self._quiet:
            return
        try:
            lines = [_to_json(event)] if self._as_json else [*self._lines(event)]
            if lines:
                click.echo("\n".join(lines), err=True)
        except OSError:
            self._quiet = True

    def _lines(self, event: RunEvent) -> Iterator[str]:
        match event:
            case RunStarted(record=record):
                yield f"run {record.id}: {printable(what_runs(record))} on {record.engine}"
            case StepStarted(step=step, attempt=attempt):
                yield f"  {step}: started" + (f" (attempt {attempt})" if attempt > 1 else "")
            case RunChanged(status=status) if event.process != {}:
                yield f"run {event.run}: {status}"
            case StepChanged():
                yield from self._flush(event.run, event.step)
                yield f"  {event.step}: {why_it_waits(event)}"
            case StepOutput():
                yield from self._output(event)
            case StepFinished(result=result):
                yield from self._flush(event.run, result.name)
                yield f"  {step_line(result)}"
            case _:
                return

    def _output(self, event: StepOutput) -> Iterator[str]:
        key = (event.run, event.step, event.stream)
        *lines, rest = (self._rest.get(key, b"") + event.data).split(b"\n")
        self._rest[key] = rest
        for line in lines:
            yield f"  {event.step} | {printable(line.decode('utf-8', 'replace'), keep=chr(9))}"

    def _flush(self, run: str, step: str) -> Iterator[str]:
        for key in [key for key in self._rest if key[:2] == (run, step)]:
            if rest := self._rest.pop(key):
                yield f"  {step} | {printable(rest.decode('utf-8', 'replace'), keep=chr(9))}"


def what_runs(record: RunRecord) -> Any:
    """The workflow that the run carries out; of one without, and of a child run, the template."""
    return (not record.parent and record.workflow) or record.template.get("name")


def _to_json(event: RunEvent) -> str:
    return json.dumps(event_to_json(event), ensure_ascii=False, separators=(",", ":"))


def why_it_waits(event: StepChanged) -> str:
    """What a step waits for, and for an approval the command that answers."""
    reason = printable(event.reason.message) if event.reason else ""
    match event.state:
        case StepState.RETRY_WAIT:
            return f"will be tried again: {reason}"
        case StepState.WAITING if event.asks:
            return f"waits for an approval: {reason}; dagtasks runs approve {event.run} {event.step}"
        case StepState.WAITING:
            return f"waits: {reason}"
        case _:
            return "goes on"


def step_line(step: StepRecord, *, in_colour: bool | None = None) -> str:
    """The end of a step in one line, in colour on a terminal unless it is said otherwise."""
    word, colour = MARKS.get(step.state, (str(step.state), "white"))
    code = f"(exit code {step.exit_code})" if step.exit_code else ""
    whence = "(from the engine's cache)" if step.cached else ""
    whence = f"(taken over from {step.reused_from})" if step.reused_from else whence
    reason = f": {printable(step.error.message)}" if step.error and step.state is not StepState.FAILED else ""
    reason += " (\ufffd is in its output, as for bytes that are no UTF-8)" if step.is_mended else ""
    mark = click.style(word, fg=colour) if (sys.stderr.isatty() if in_colour is None else in_colour) else word
    return f"{step.name}: " + " ".join(part for part in (mark, code, seconds(step.duration), whence) if part) + reason


def summary(runs: RunStore, record: RunRecord, *, whole: bool = False) -> str:
    """The record for people: its state, its outputs, the end of what a failing step printed, and where the rest is."""
    head = f"run {record.id} {record.status}" + (f" in {seconds(record.duration)}" if record.duration else "")
    parts = [head + (f", {_count(record.warnings, 'warning')}" if record.warnings else "")]
    if record.error:
        parts.append(f"  {printable(record.error.message)}")
    if whole:
        parts += ["", fields(_about(record)), "", _steps(record)]
    known = {name: value for name, value in record.outputs.items() if value is not None}
    parts += [f"{name} = {printable(value, keep=chr(10))}" for name, value in known.items()]
    parts += list(_failure(runs, record))
    if record.status is RunState.AWAITING_APPROVAL:
        parts.append(f"to run it: dagtasks trust approve {_name(record)}, then: dagtasks runs retry {record.id}")
    parts += [f"to answer: dagtasks runs approve {run} {step}" for run, step in _asked(runs, record)]
    return "\n".join(parts)


def _name(record: RunRecord) -> str:
    """What the run is approved by. The record may be of somebody else, and this is to be copied."""
    import shlex

    name = approval_name(record.task, record.workflow, str(record.template.get("name")), record.trigger)
    return shlex.quote(printable(name))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _asked(runs: RunStore, record: RunRecord) -> Iterator[tuple[str, str]]:
    """The approvals that the run waits for: run and step; a child's are its own."""
    for step in record.parts:
        if step.state is StepState.WAITING and step.child:
            yield from _asked(runs, runs.get(step.child))
        elif step.state is StepState.WAITING and step.approval:
            yield record.id, step.name


def _about(record: RunRecord) -> dict[str, Any]:
    template = f"{record.template.get('name')} {record.template.get('version') or ''}".strip()
    return {
        "task": record.task,
        "workflow": record.workflow,
        "template": template,
        "engine": record.engine,
        "started": record.started_at,
        "started by": f"{record.trigger} of {record.origin.get('subject')}" if record.origin else None,
        "actor": record.actor,
        "commit": f"{record.commit or ''}{' (with changes)' if record.dirty else ''}",
        "parent": record.parent,
        "children": record.children,
        **{f"parameter {key}": value for key, value in record.parameters.items()},
    }


def _steps(record: RunRecord) -> str:
    rows = [
        (
            step.name,
            step.state,
            step.exit_code,
            step.attempts,
            seconds(step.duration),
            step.error and step.error.message,
        )
        for step in record.parts
    ]
    return table(("STEP", "STATE", "EXIT", "TRIES", "TIME", "ERROR"), rows)


def _failure(runs: RunStore, record: RunRecord) -> Iterator[str]:
    """The last lines of the first step that went wrong, and the command that shows all of them."""
    from dagtasks.engine.logs import read_log

    run, bad = _find_bad(runs, record)
    if bad is None:
        return
    yield ""
    yield f"{step_line(bad)}"
    path = runs.log_path(run, bad.name, bad.attempts)
    if not path.exists():
        return
    lines = deque(read_log(path), maxlen=TAIL)
    yield from (f"  {printable(line['text'], keep=chr(9))}" for line in lines)
    yield f"full log: dagtasks runs logs {run} {bad.name}"


def _find_bad(runs: RunStore, record: RunRecord) -> tuple[str, StepRecord | None]:
    """The first step that went wrong, or its item; where it called a template, the one in there. And its run."""
    bad = next(
        (step for step in record.steps if step.state.is_bad and step.conclusion is not StepState.SUCCEEDED), None
    )
    if bad is None:
        return record.id, None
    bad = next((item for item in bad.items if item.state.is_bad), bad)
    inner = _find_bad(runs, runs.get(bad.child)) if bad.child else ("", None)
    return inner if inner[1] else (record.id, bad)


def plan_text(plan: Plan) -> str:
    """The plan for people: each step with its command as it will be executed."""
    from dagtasks.service.runs import plan_to_json

    data = plan_to_json(plan)
    head = fields({"template": plan.template.path, "task": plan.task, "workflow": plan.workflow, **_parameters(plan)})
    return "\n".join([head, *(line for step in data["steps"] for line in _plan_step(step))])


def _parameters(plan: Plan) -> dict[str, Any]:
    return {f"parameter {name}": value for name, value in plan.parameters.items()}


def _plan_step(step: dict[str, Any]) -> Iterator[str]:
    yield ""
    after = f" after {', '.join(step['depends_on'])}" if step["depends_on"] else ""
    yield f"{step['name']} ({step['kind']})" + (" at the end" if step["finally"] else after)
    loop = step["foreach"] if step["foreach"] is not None else step["matrix"] or None
    shown = {
        "if": step["if"],
        "for each": loop,
        "asks": step.get("message"),
        "image": step.get("image"),
        "argv": _argv(step),
        "workdir": step.get("workdir"),
    }
    shown |= {"env": sorted(step.get("env", {})), "request": _request(step), "template": step.get("template")}
    shown |= {"parameters": step.get("parameters") and str(step["parameters"])}
    yield from (f"  {line}" for line in fields(shown).splitlines())


def _argv(step: dict[str, Any]) -> str | None:
    import shlex

    argv = step.get("argv")
    return " ".join(shlex.quote(str(item)) for item in argv) if argv else None


def _request(step: dict[str, Any]) -> str | None:
    return f"{step['method']} {step['url']}" if step["kind"] == "api" else None
