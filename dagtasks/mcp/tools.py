"""The tools: each takes arguments, calls `service`, and says what came of it. None takes a path to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from dagtasks.errors import InvalidInput, NotFound, Problem
from dagtasks.mcp.answers import Answer, Item
from dagtasks.model.run import RunRecord
from dagtasks.model.values import NAME_LIMIT, TEXT_LIMIT, Priority, Status
from dagtasks.service import checks, claims, comments, queue, records, runs, tasks, trust, views
from dagtasks.service.diff import compare
from dagtasks.service.saving import Saved, WriteSettings
from dagtasks.store.project import Project

Right = Literal["read", "write", "run"]
FACTS = ("id", "project", "status", "priority", "phase", "due", "ready", "waiting", "overdue", "unblocks", "invalid")
"""Of a task: what its file can only choose from our words, or what follows from it."""
RUNS = 100
"""Of so many runs, the newest, a list tells."""


class Caller(NamedTuple):
    """For whom a tool works: the repository, the name under which it writes, and who begins with what is queued."""

    project: Project
    name: str
    start_runner: Callable[[Project], None]


# -- arguments ------------------------------------------------------------------------------------------------------


class Arguments(BaseModel):
    """What every tool takes, and nothing that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Paged(Arguments):
    """What every tool takes that answers with a list."""

    cursor: Annotated[
        str, Field(pattern=r"^(\d{1,9}(\.\d{1,9})?)?$", description="`next_cursor` of the answer before.")
    ] = ""


TaskId = Annotated[str, Field(min_length=1, max_length=64, description="The id of a task.")]
Workflow = Annotated[str, Field(max_length=64, description="A workflow of the task; needless when it has only one.")]
Name = Annotated[str, Field(max_length=NAME_LIMIT)]
STATUSES: dict[str, Any] = {"enum": [str(status) for status in Status]}
PRIORITIES: dict[str, Any] = {"enum": [str(priority) for priority in Priority]}


class ListArguments(Paged):
    """Arguments of `list`."""

    query: Annotated[str, Field(max_length=1000, description="As `status:blocked label:api is:overdue @ann`.")] = ""
    sort: Annotated[str, Field(max_length=64, description="A field; `-field` for the other way round.")] = "id"


class ShowArguments(Paged):
    """Arguments of `show`."""

    task: TaskId


class NextArguments(Paged):
    """Arguments of `next`."""

    assignee: Annotated[Name, Field(description="Tasks of this one, and those of nobody.")] = ""
    explain: Annotated[bool, Field(description="Instead: why each other open task cannot be started.")] = False


class WorkflowArguments(Paged):
    """Arguments of `plan` and `run`."""

    task: TaskId
    workflow: Workflow = ""


class LogsArguments(Paged):
    """Arguments of `logs`."""

    run: Annotated[str, Field(max_length=64, description="The id of a run. Without it: the newest runs.")] = ""
    step: Annotated[str, Field(max_length=100, description="Only what this step printed.")] = ""
    task: Annotated[str, Field(max_length=64, description="Without a run: only runs of this task.")] = ""


class ValidateArguments(Paged):
    """Arguments of `validate`."""

    file: Annotated[str, Field(max_length=1000, description="Only this file or folder, as `tasks/web`.")] = ""


class DiffArguments(Paged):
    """Arguments of `diff`."""

    revisions: Annotated[
        str, Field(min_length=1, max_length=200, description="`A..B`, or `A`: from that commit until now.")
    ] = "HEAD"


class ClaimArguments(Arguments):
    """Arguments of `claim`."""

    task: TaskId


class CommentArguments(Arguments):
    """Arguments of `comment`."""

    task: TaskId
    text: Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT, description="Markdown.")]


class StatusArguments(Arguments):
    """Arguments of `set_status`."""

    task: TaskId
    status: Annotated[str, Field(json_schema_extra=STATUSES)]


class CreateArguments(Arguments):
    """Arguments of `create`."""

    project: Annotated[str, Field(min_length=1, max_length=16, description="The key of a project.")]
    name: Annotated[str, Field(min_length=1, max_length=500, description="What the task is called, on one line.")]
    description: Annotated[str, Field(max_length=TEXT_LIMIT, description="What is to be done, as Markdown.")] = ""
    priority: Annotated[str, Field(json_schema_extra=PRIORITIES)] = "medium"
    assignee: Name = ""
    phase: Annotated[str, Field(max_length=64, description="A phase of the project.")] = ""
    due: Annotated[str, Field(max_length=10, description="As 2026-12-31.")] = ""
    labels: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=50)] = []
    depends_on: Annotated[list[TaskId], Field(max_length=50, description="Tasks that must end before.")] = []


# -- reading --------------------------------------------------------------------------------------------------------


def _list(caller: Caller, given: ListArguments) -> Answer:
    found = views.list_matching(caller.project, given.query, _today(), sort=given.sort)
    return Answer("tasks", _wrong(found.problems), [_row(task) for task in found.data])


def _show(caller: Caller, given: ShowArguments) -> Answer:
    data, problems = views.show(caller.project, given.task, _today())
    said = [Item({"field": "comment"}, comment) for comment in data.pop("comments")]
    fields = [Item({"field": name}, value) for name, value in data.items() if name not in FACTS and value]
    return Answer("task", {**_facts(data), **_wrong(problems)}, [*fields, *said])


def _next(caller: Caller, given: NextArguments) -> Answer:
    if given.explain:
        found = views.explain_next(caller.project)
        return Answer("reasons", _wrong(found.problems), [_row(task) for task in found.data])
    found = views.list_next(caller.project, _today(), given.assignee or caller.name or None)
    return Answer("tasks", _wrong(found.problems), [_row(task) for task in found.data])


def _plan(caller: Caller, given: WorkflowArguments) -> Answer:
    plan = runs.make_plan(caller.project, runs.Selection(given.task, given.workflow or None))
    shown = runs.plan_to_json(plan)
    steps = [Item({"field": "step"}, step) for step in shown.pop("steps")]
    rest = [Item({"field": name}, value) for name, value in shown.items() if value and name not in ("task", "workflow")]
    facts = {"task": plan.task, "workflow": plan.workflow, "approved": not trust.find_refusal(caller.project, plan)}
    return Answer("plan", facts, [*steps, *rest])


def _logs(caller: Caller, given: LogsArguments) -> Answer:
    if not given.run:
        found = records.list_runs(caller.project, task=given.task or None, limit=RUNS)
        return Answer("runs", _wrong(found.problems), [_run_item(record) for record in found.records])
    try:
        record = caller.project.runs.get(given.run)
    except NotFound:
        return _queued(caller.project, given.run)
    return _run_answer(caller.project, record, given.step or None)


def _queued(project: Project, run: str) -> Answer:
    """What is known of a run that has not begun. Raises `NotFound`."""
    for entry in queue.list_entries(project):
        if entry["run"] == run:
            return Answer("run", {"run": run, "status": "queued", "has_ended": False})
    raise NotFound(f"there is no run {run!r}")


def _run_item(record: RunRecord) -> Item:
    facts = {"run": record.id, "status": str(record.status), "has_ended": record.status.is_final}
    names = {"task": record.task, "workflow": record.workflow, "template": record.template.get("name")}
    return Item(facts, {**names, "started_at": record.started_at, "error": _failure(record.error)})


def _run_answer(project: Project, record: RunRecord, step: str | None) -> Answer:
    logs = records.read_logs(project, record.id, step)
    facts, untrusted = _run_item(record)
    run = [Item({"field": "run"}, {**untrusted, "outputs": dict(record.outputs)})]
    steps = [Item({"field": "step", "state": str(part.state)}, _step(part)) for part in record.parts]
    return Answer("run", facts, [*run, *steps, *_log_items(logs)])


def _step(part: Any) -> dict[str, Any]:
    told = {"name": part.name, "exit_code": part.exit_code, "attempts": part.attempts, "seconds": part.duration}
    return {**told, "error": _failure(part.error), "approval": part.approval, "outputs": dict(part.outputs)}


def _failure(error: Any) -> str | None:
    return error.message if error else None


def _log_items(lines: Iterable[Mapping[str, Any]]) -> Iterator[Item]:
    """What each try of each step printed, as one text."""
    texts: dict[tuple[str, int], list[str]] = {}
    for line in lines:
        texts.setdefault((line["step"], line["attempt"]), []).append(str(line["text"]))
    for (step, attempt), printed in texts.items():
        yield Item({"field": "log", "step": step, "attempt": attempt}, "\n".join(printed))


def _validate(caller: Caller, given: ValidateArguments) -> Answer:
    problems = checks.validate(caller.project)
    if wanted := given.file.strip("/"):
        problems = [problem for problem in problems if checks.is_among(problem.path, [wanted])]
    return Answer("problems", _wrong(problems), [_problem(problem) for problem in problems])


def _problem(problem: Problem) -> Item:
    data = problem.to_json()
    facts = {name: data[name] for name in ("severity", "code", "line", "column")}
    return Item(facts, {name: data[name] for name in ("path", "message", "hint")})


def _diff(caller: Caller, given: DiffArguments) -> Answer:
    found = compare(caller.project, given.revisions)
    facts = {"before": found.before, "after": found.after, **_wrong(found.problems)}
    return Answer("events", facts, [Item({"type": str(event.type)}, event.to_json()) for event in found.events])


def _row(task: Mapping[str, Any]) -> Item:
    return Item(_facts(task), {name: value for name, value in task.items() if name not in FACTS and value})


def _facts(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: task[name] for name in FACTS if name in task}


def _wrong(problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each severity; `validate` tells which."""
    counts = Counter(str(problem.severity) for problem in problems)
    return {f"{severity}s": counts[severity] for severity in ("error", "warning") if counts[severity]}


# -- writing and running --------------------------------------------------------------------------------------------


def _claim(caller: Caller, given: ClaimArguments) -> Answer:
    return _saved(claims.claim(caller.project, given.task, WriteSettings(), caller.name))


def _comment(caller: Caller, given: CommentArguments) -> Answer:
    now = datetime.now(UTC)
    return _saved(comments.add(caller.project, given.task, given.text, now, WriteSettings(), caller.name))


def _set_status(caller: Caller, given: StatusArguments) -> Answer:
    if not given.status:
        raise InvalidInput("a status is needed", hint=f"there is: {', '.join(Status)}")
    return _saved(tasks.change(caller.project, given.task, [f"status={given.status}"], WriteSettings()))


def _create(caller: Caller, given: CreateArguments) -> Answer:
    data = {name: value or None for name, value in given.model_dump(exclude={"project"}).items()}
    return _saved(tasks.create(caller.project, given.project, data, WriteSettings()))


def _saved(saved: Saved) -> Answer:
    data: Any = saved.change.data
    facts = {"task": data.get("task") or data.get("id"), "changed": bool(saved.paths), "commit": saved.commit}
    notes = [Item({"field": "note"}, note) for note in saved.change.notes]
    return Answer(saved.change.kind, facts, [_row(data), *notes])


def _run(caller: Caller, given: WorkflowArguments) -> Answer:
    entry = queue.ask(caller.project, given.task, given.workflow or None)
    caller.start_runner(caller.project)
    facts = {name: entry[name] for name in ("run", "task", "workflow")}
    return Answer("run", {**facts, "status": "queued", "has_ended": False})


def _today() -> date:
    """The day where the user is, as due dates are meant."""
    return date.today()  # noqa: DTZ011


# -- the table ------------------------------------------------------------------------------------------------------


class Tool(NamedTuple):
    """A tool: what may be done with it, what an agent is told of it, and what it does."""

    right: Right
    about: str
    arguments: type[Arguments]
    call: Callable[[Caller, Any], Answer]


TOOLS: Mapping[str, Tool] = {
    "list": Tool("read", "List tasks: all, or those that a query asks for.", ListArguments, _list),
    "show": Tool("read", "Show one task with its description and comments.", ShowArguments, _show),
    "next": Tool("read", "List the tasks that can be started now, best first.", NextArguments, _next),
    "plan": Tool(
        "read", "Show what a workflow of a task would execute, and whether it is approved.", WorkflowArguments, _plan
    ),
    "logs": Tool("read", "Show a run: its state, its steps and what they printed.", LogsArguments, _logs),
    "validate": Tool("read", "List what is wrong in the files of tasks and templates.", ValidateArguments, _validate),
    "diff": Tool("read", "List what changed in tasks between two commits.", DiffArguments, _diff),
    "claim": Tool("write", "Take a task: it becomes in progress, by you.", ClaimArguments, _claim),
    "comment": Tool("write", "Comment on a task, in your name.", CommentArguments, _comment),
    "set_status": Tool("write", "Give a task another status.", StatusArguments, _set_status),
    "create": Tool("write", "Create a task.", CreateArguments, _create),
    "run": Tool(
        "run",
        "Have a workflow of a task run, which goes on without you; `logs` tells how. Only what a person has approved.",
        WorkflowArguments,
        _run,
    ),
}
