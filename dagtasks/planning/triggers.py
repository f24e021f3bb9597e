"""What events start: workflows of tasks by `run_on`, and templates by the `triggers` of a project. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from dagtasks.errors import Finding, Loc
from dagtasks.language.checking import Names, check_condition, check_scalar
from dagtasks.language.evaluation import evaluate_condition, render_tree
from dagtasks.language.expressions import parse_condition, parse_scalar
from dagtasks.language.functions import EvaluationError
from dagtasks.language.kinds import ANY, STRING, Kind, object_of
from dagtasks.language.syntax import ExpressionError
from dagtasks.model.event import Event
from dagtasks.model.parameter import ROOTS
from dagtasks.model.summary import ProjectSummary, TaskSummary, TemplateSummary, TriggerSummary
from dagtasks.model.values import JSON, Status
from dagtasks.planning.index import Index
from dagtasks.planning.names import PROJECT_KIND, TASK_KIND
from dagtasks.planning.references import find_named
from dagtasks.planning.steps import texts_of
from dagtasks.planning.summaries import read_parameters

_TASK_FIELDS: Mapping[str, Kind] = TASK_KIND.fields or {}
_TASK = object_of({name: kind for name, kind in _TASK_FIELDS.items() if name != "description"})
"""Descriptions are no part of an index."""
_EVENT = object_of({**dict.fromkeys(("type", "subject", "name"), STRING), "changed": ANY})
_KINDS = {"event": _EVENT, "task": _TASK, "project": PROJECT_KIND}


class Start(NamedTuple):
    """Something that an event starts: a workflow of a task, or a template with these parameters.

    `key` says what it is, the same whenever it is worked out. `file` is where a trigger stands, and `written` are the
    parameters as that file has them. `fault` is why it cannot be started ("": it can).
    """

    key: str
    event: Event
    template: str
    task: str | None = None
    workflow: str | None = None
    parameters: Mapping[str, JSON] = {}
    written: Mapping[str, JSON] = {}
    file: str | None = None
    fault: str = ""


def find_starts(events: Iterable[Event], before: Index, after: Index) -> list[Start]:
    """What the events start, each once. `before` and `after` are what they lie between."""
    events = list(events)
    started = (start for event in events for start in _start_templates(event, before, after))
    return list({start.key: start for start in (*_start_workflows(events, after), *started)}.values())


# -- workflows of tasks ---------------------------------------------------------------------------------------------


def _start_workflows(events: Iterable[Event], after: Index) -> Iterator[Start]:
    """Several events of a task start a workflow of it only once."""
    of_tasks: dict[str, list[Event]] = {}
    for event in events:
        if event.type.startswith("task."):
            of_tasks.setdefault(event.subject, []).append(event)
    for name, happened in of_tasks.items():
        task = after.tasks.get(name)
        yield from _start_workflows_of(task, happened) if task else ()


def _start_workflows_of(task: TaskSummary, events: Iterable[Event]) -> Iterator[Start]:
    words = [(event, _words_of(event)) for event in events]
    for binding in task.workflows:
        wanted = set(binding.run_on)
        meant = [(event, found & wanted) for event, found in words if found & wanted]
        if meant:
            key = f"{task.id}/{binding.name} {sorted(set().union(*(found for _, found in meant)))}"
            cause = next((event for event, _ in meant if _word_of(event) in wanted), meant[0][0])
            yield Start(key, cause, binding.template, task.id, binding.name)


def _words_of(event: Event) -> set[str]:
    """The words of `run_on` that the event of a task means."""
    status = event.changed.get("status")
    became = {str(status[1])} & set(Status) if status else set()
    return {_word_of(event), *became}


def _word_of(event: Event) -> str:
    return event.type.partition(".")[2]


# -- triggers of projects -------------------------------------------------------------------------------------------


def _start_templates(event: Event, before: Index, after: Index) -> Iterator[Start]:
    task, owner = _find_task(event, before, after), _find_project(event, before, after)
    for trigger in owner.triggers if owner else ():
        if trigger.on == event.type:
            scope = _scope(event, task, owner)
            # What is gone cannot be run on.
            subject = task.id if task and task.id in after.tasks else None
            start = Start("", event, trigger.template, subject, written=trigger.parameters, file=owner and owner.path)
            yield from _start_template(start, trigger, scope)


def _start_template(start: Start, trigger: TriggerSummary, scope: dict[str, Any]) -> Iterator[Start]:
    start = start._replace(key=f"{trigger.on} {start.event.subject} {json.dumps(trigger, sort_keys=True)}")
    try:
        if trigger.condition and not evaluate_condition(parse_condition(trigger.condition), scope):
            return
        parameters: Any = render_tree({**trigger.parameters}, scope)
        yield start._replace(parameters=parameters)
    except (EvaluationError, ExpressionError) as error:
        yield start._replace(fault=f"the trigger on {trigger.on} cannot be worked out: {error.message}")


def _find_task(event: Event, before: Index, after: Index) -> TaskSummary | None:
    """The task that the event is about; as it was, when it is gone."""
    if not event.type.startswith(("task.", "workflow.")):
        return None
    name = event.subject.partition("/")[0]
    return after.tasks.get(name) or before.tasks.get(name)


def _find_project(event: Event, before: Index, after: Index) -> ProjectSummary | None:
    """The project that the event is in. Triggers of one that is gone are gone, too."""
    task = _find_task(event, before, after)
    return after.projects.get(task.project if task else event.subject.partition("/")[0])


def _scope(event: Event, task: TaskSummary | None, owner: ProjectSummary | None) -> dict[str, Any]:
    scope = {"params": {"event": event.to_json()}, "project": _plain(owner, PROJECT_KIND)}
    return {**scope, "task": _plain(task, _TASK)} if task else scope


def _plain(row: ProjectSummary | TaskSummary | None, kind: Kind) -> Any:
    """What expressions may read of the row."""
    fields = row._asdict() if row else {}
    return json.loads(json.dumps({name: fields[name] for name in kind.fields or () if name in fields}))


# -- checking -------------------------------------------------------------------------------------------------------


def check_trigger(trigger: TriggerSummary, loc: Loc) -> Iterator[Finding]:
    """What is wrong with the expressions of the trigger at that place of its file."""
    names = _names_of(trigger.on)
    if trigger.condition:
        yield from _check(trigger.condition, names, (*loc, "if"), is_condition=True)
    for place, text in texts_of(trigger.parameters, (*loc, "parameters")):
        yield from _check(text, names, place, is_condition=False)


def find_coded(row: TemplateSummary, templates: Mapping[str, TemplateSummary], above: Sequence[str] = ()) -> set[str]:
    """The parameters of the template that are run as code, by itself or by what it calls. `above` are its callers."""
    found = set(row.coded)
    for call in row.calls:
        called = find_named(call.template, templates)
        if called and called.name not in (*above, row.name):
            coded = find_coded(called, templates, (*above, row.name))
            given = [call.given[name] for name in coded if name in call.given]
            found |= {name for _, text in texts_of(given, ()) for name in _parameters_in(text)}
    return found


def _parameters_in(text: str) -> Iterator[str]:
    with suppress(ExpressionError):
        for hole in parse_scalar(text).holes:
            yield from read_parameters(hole.expr)


def _check(text: str, names: Names, loc: Loc, *, is_condition: bool) -> Iterator[Finding]:
    try:
        if is_condition:
            yield from check_condition(parse_condition(text), names, loc).findings
        else:
            yield from check_scalar(parse_scalar(text), names, loc).findings
    except ExpressionError as error:
        yield error.finding(loc)


def _names_of(on: str) -> Names:
    about_task = on.startswith(("task.", "workflow."))
    kinds = _KINDS if about_task else {name: kind for name, kind in _KINDS.items() if name != "task"}
    refused = dict.fromkeys(ROOTS - _KINDS.keys(), "no run has begun where this is looked at")
    return Names(kinds, refused=refused if about_task else {**refused, "task": f"{on} is about no task"})
