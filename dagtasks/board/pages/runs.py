"""The pages of runs: the list, and each run with its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from dagtasks.board.overview import Overview
from dagtasks.board.pages.paging import count_pages, cut, turn
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.printable import clean_log, tail
from dagtasks.board.uris import run_uri, runs_uri, template_uri
from dagtasks.model.run import RunRecord, StepRecord
from dagtasks.model.values import RunState, StepState

TAIL = 4096
"""Characters of each stream of a step that a page shows."""
ROOM_FOR_CODES = 8 * TAIL
"""Characters from which the tail is made: terminal codes and lines that were written over take up some."""
PAGE_TAILS = 120_000
"""Characters of all tails of a page together; beyond that a step names the command that shows its log."""
CHILDREN = 100
PROBLEMS = 20
VALUES = 100


class RunRow(NamedTuple):
    """A run in short."""

    uri: str
    title: str
    status: RunState
    engine: str
    started_at: str
    duration: float | None


class Log(NamedTuple):
    """The end of what a step printed on one stream."""

    name: str
    text: str
    is_cut: bool


class StepView(NamedTuple):
    """A step with what it printed. `is_left_out`: it printed something that this page has no room for."""

    step: StepRecord
    logs: tuple[Log, ...]
    is_open: bool
    is_left_out: bool
    is_tolerated: bool
    child_uri: str | None
    outputs: list[tuple[str, Any]]


class Other(NamedTuple):
    """Another run that this one belongs to; `uri` when it is on the board."""

    id: str
    uri: str | None


def run_title(view: Overview, run: RunRecord) -> str:
    """What the run did, in words: the workflow and the task's name, else the template."""
    what = run.workflow or str(run.template.get("name") or "run")
    task = view.data.index.tasks.get(run.task or "")
    where = task.name if task else run.task
    return f"{what}: {where}" if where else what


def run_rows(view: Overview, runs: Sequence[RunRecord]) -> list[RunRow]:
    """The runs in short."""
    return [
        RunRow(run_uri(run.id), run_title(view, run), run.status, run.engine, run.started_at, run.duration)
        for run in runs
    ]


def run_pages(view: Overview) -> Iterator[BoardPage]:
    """The list of runs, and a page for each run, child runs too."""
    last = count_pages(view.runs)
    for number in range(1, last + 1):
        title = "Runs" if last == 1 else f"Runs, page {number} of {last}"
        yield BoardPage(runs_uri(number), title, "runs.html", partial(_list_facts, view, number))
    for run in {run.id: run for run in view.data.runs}.values():
        facts, more = partial(_run_facts, view, run), partial(_more_of_run, view, run)
        yield BoardPage(run_uri(run.id), run_title(view, run), "run.html", facts, more)


def _list_facts(view: Overview, number: int) -> Facts:
    return {
        "total": len(view.runs),
        "found": view.data.run_problems[:PROBLEMS],
        "more_found": max(0, len(view.data.run_problems) - PROBLEMS),
        "runs": run_rows(view, cut(view.runs, number)),
        "pages": turn(number, count_pages(view.runs), runs_uri),
    }


def _run_facts(view: Overview, run: RunRecord) -> Facts:
    name = str(run.template.get("name") or "unknown")
    children = [child for child in view.data.runs if child.parent == run.id] if run.children else []
    return {
        "run": run,
        "title": run_title(view, run),
        "task": run.task,
        "task_uri": view.find_task_uri(run.task) if run.task else None,
        "template_name": name,
        "template_uri": template_uri(name) if name in view.data.index.templates else None,
        "template_version": str(run.template.get("version") or ""),
        "children": run_rows(view, children[:CHILDREN]),
        "related": _related(view, run),
        "child_uris": {step.child: _find_uri(view, step.child) for step in run.steps if step.child},
    }


def _more_of_run(view: Overview, run: RunRecord) -> Facts:
    return {
        "steps": _steps(view, run),
        "outputs": list(run.outputs.items())[:VALUES],
        "parameters": list(run.parameters.items())[:VALUES],
    }


def _related(view: Overview, run: RunRecord) -> list[tuple[str, Other]]:
    others = (("Retry of", run.retry_of), ("Part of", run.parent))
    return [(label, Other(other, _find_uri(view, other))) for label, other in others if other]


def _find_uri(view: Overview, run_id: str) -> str | None:
    return run_uri(run_id) if run_id in view.run_ids else None


def _steps(view: Overview, run: RunRecord) -> list[StepView]:
    """The steps in their order; those that ended badly get room for their logs first."""
    room = PAGE_TAILS
    logs: dict[str, tuple[Log, ...]] = {}
    for step in sorted(run.steps, key=lambda step: not step.state.is_bad):
        found = _logs(step)
        size = sum(len(log.text) for log in found)
        if size <= room:
            logs[step.name] = found
            room -= size
    return [_step_view(view, step, logs.get(step.name)) for step in run.steps]


def _step_view(view: Overview, step: StepRecord, logs: tuple[Log, ...] | None) -> StepView:
    return StepView(
        step=step,
        logs=logs or (),
        is_open=step.state.is_bad,
        is_left_out=logs is None,
        is_tolerated=step.state.is_bad and step.conclusion is StepState.SUCCEEDED,
        child_uri=_find_uri(view, step.child) if step.child else None,
        outputs=list(step.outputs.items())[:VALUES] if logs is not None else [],
    )


def _logs(step: StepRecord) -> tuple[Log, ...]:
    streams = (("Output", step.output), ("Error output", step.stderr))
    return tuple(_log(name, text) for name, text in streams if text and text.strip())


def _log(name: str, text: str) -> Log:
    end = text[-ROOM_FOR_CODES:]
    seen = clean_log(end)
    shown = tail(seen, TAIL)
    return Log(name, shown, is_cut=len(shown) < len(seen) or len(end) < len(text))
