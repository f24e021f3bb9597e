"""What answers hold, for the description of the API alone: no answer is made or checked by these.

They say what the `to_json` functions give that the command line shows, too; a test holds every answer against them.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from pydantic import BaseModel, Field, create_model

from dagtasks.errors import Severity
from dagtasks.model import event, run
from dagtasks.model.values import Priority, Status


def _mirror(kind: type, name: str, **others: Any) -> Any:
    """A model with the fields of a type whose answer is just these; `others` stand for names in their types."""
    hints = get_type_hints(kind, localns={"JSON": Any, **others})
    fields: dict[str, Any] = {key: (hint, ...) for key, hint in hints.items()}
    return create_model(name, __doc__=(kind.__doc__ or "").partition("\n")[0], **fields)


# -- errors ---------------------------------------------------------------------------------------------------------


class Problem(BaseModel):
    """Something wrong in a file."""

    path: str
    line: int = Field(description="from 1; 0 where it is not known")
    column: int
    code: str
    message: str
    hint: str
    severity: Severity


class Fault(BaseModel):
    """Something wrong with one field of a request."""

    field: str
    message: str
    hint: str = ""


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it, with the words of the command line."""

    type: str = Field(description="the error of the command line, or `about:blank`")
    title: str
    status: int
    detail: str
    hint: str = Field(default="", description="what to do next")
    field: str = Field(default="", description="what of the request it is about")
    errors: list[Fault] = Field(default=[], description="all that is wrong with the request")
    code: str = Field(default="", description="the code of the first problem of files")
    file: str = ""
    line: int = 0
    column: int = 0
    problems: list[Problem] = Field(default=[], description="all that is wrong in files")
    id: str = Field(default="", description="under which the log of the server has a fault of its own")


# -- lists ----------------------------------------------------------------------------------------------------------


def page_of(item: Any, name: str = "", **more: Any) -> Any:
    """The model of a page of a list of these."""
    cursor = Field(description="the `cursor` of the next page; null on the last one")
    broken: Any = Field(default=[], description="errors in files that keep things out of the list")
    fields: dict[str, Any] = {
        "data": (list[item], ...),
        "next": (str | None, cursor),
        "problems": (list[Problem], broken),
    }
    return create_model(name or f"{item.__name__}Page", __doc__="A page of a list.", **fields, **more)


# -- projects, phases -----------------------------------------------------------------------------------------------


class Project(BaseModel):
    """A project, with its progress."""

    key: str
    name: str
    description: str = Field(description="Markdown")
    metadata: dict[str, Any]
    path: str = Field(description="its file")
    phases: list[str] = Field(description="keys of its phases")
    tasks: int = Field(description="how many it has")
    tasks_completed: int


class Phase(BaseModel):
    """A phase of a project, with its progress."""

    id: str = Field(description="`project/key`")
    project: str
    key: str
    name: str
    description: str = Field(description="Markdown")
    order: int = Field(description="which phase comes first: the smaller")
    path: str = Field(description="its file")
    tasks: int = Field(description="how many are in it")
    tasks_completed: int


# -- tasks ----------------------------------------------------------------------------------------------------------


class TaskRow(BaseModel):
    """A task as lists have it: without description, comments and what its workflows bind."""

    id: str
    project: str
    path: str = Field(description="its file")
    name: str
    status: Status
    priority: Priority
    assignee: str | None
    phase: str | None
    due: str | None = Field(description="a day", json_schema_extra={"format": "date"})
    labels: list[str]
    depends_on: list[str]
    metadata: dict[str, Any]
    workflows: list[str] = Field(description="their names")
    ready: bool = Field(description="whether it can be started now")
    waiting: bool = Field(description="whether it waits for others")
    overdue: bool
    open_dependencies: list[str]


class BrokenTask(BaseModel):
    """A task whose file is wrong: nothing but what its path says."""

    id: str
    project: str
    path: str
    invalid: bool


class ChangedTask(TaskRow):
    """A task after a change."""

    description: str = Field(default="", description="told of a new task")


class Binding(BaseModel):
    """A template bound to a task."""

    template: str
    parameters: dict[str, Any]
    run_on: list[str] = Field(default=[], description="what starts it by itself")


class Comment(BaseModel):
    """What somebody said about a task."""

    author: str
    date: str = Field(description="UTC", json_schema_extra={"format": "date-time"})
    text: str = Field(description="Markdown")
    path: str = Field(description="its file")


class MadeComment(Comment):
    """A comment that was made."""

    task: str


class Stamp(BaseModel):
    """A commit: when, by whom, and its id."""

    time: str
    author: str
    commit: str


class Past(BaseModel):
    """What a commit changed of a task; null where it is not committed."""

    time: str | None
    author: str | None
    commit: str | None
    subject: str | None
    changed: dict[str, list[Any]] = Field(description="by field: the value before and the one after")
    invalid: bool = Field(default=False, description="whether the file was wrong then")


class Task(TaskRow):
    """A task with all that belongs to it."""

    description: str = Field(description="Markdown")
    workflows: dict[str, Binding]  # type: ignore[assignment]
    comments: list[Comment]
    dependents: list[str] = Field(default=[], description="who depends on it, with `?dependents=true`")
    created: Stamp | None = Field(default=None, description="with `?history=true`, as the three below")
    updated: Stamp | None = None
    history: list[Past] = Field(default=[], description="the newest first")
    shallow: bool = Field(default=False, description="whether this clone has not the whole history")


class Workflow(BaseModel):
    """A workflow of a task."""

    task: str
    name: str
    template: str
    parameters: dict[str, Any]


class WorkflowName(BaseModel):
    """A workflow that was removed."""

    task: str
    name: str


# -- templates ------------------------------------------------------------------------------------------------------


class TemplateRow(BaseModel):
    """A template as lists have it."""

    name: str
    type: str
    version: str | None
    description: str
    category: str | None
    tags: list[str]
    parameters: list[str] = Field(description="their names")
    path: str = Field(description="its file")


class TemplateStep(BaseModel):
    """A step of a template."""

    name: str
    kind: str
    depends_on: list[str]
    description: str


class Template(TemplateRow):
    """A template."""

    parameters: dict[str, dict[str, Any]] = Field(  # type: ignore[assignment]
        description="what each has to be, as the file says"
    )
    steps: list[TemplateStep]
    outputs: dict[str, dict[str, Any]]


class TemplatePlace(BaseModel):
    """The name of a template, and its file."""

    name: str
    path: str


class TemplateWhole(TemplatePlace):
    """The text of a template's file."""

    text: str


# -- what is gone ---------------------------------------------------------------------------------------------------


class Gone(BaseModel):
    """What was deleted, by its name, and how to get it back."""

    notes: list[str]
    key: str = Field(default="", description="of a project")
    id: str = Field(default="", description="of a phase or a task")
    name: str = Field(default="", description="of a template or a webhook")
    path: str = Field(default="", description="the file that is gone")


# -- runs -----------------------------------------------------------------------------------------------------------


class Failure(BaseModel):
    """Why a step or a run did not succeed."""

    code: str
    message: str


StepItem = _mirror(run.StepRecord, "StepItem", Failure=Failure, StepRecord=Any)
"""An item of a step that loops has no items itself."""
Step = _mirror(run.StepRecord, "Step", Failure=Failure, StepRecord=StepItem)
Run = _mirror(run.RunRecord, "Run", Failure=Failure, StepRecord=Step)


class QueueEntry(BaseModel):
    """Something that waits to be run."""

    id: str
    kind: str
    what: str
    event: str | None
    subject: str | None
    task: str | None
    workflow: str | None
    template: str | None
    run: str | None = Field(description="the id that the run will have")
    queued_at: str
    root: str = Field(description="the folder of the repository")


class LogLine(BaseModel):
    """A line that a step printed."""

    step: str
    attempt: int
    at: str
    stream: str = Field(description="stdout, stderr, or log for a remark of dagtasks")
    text: str


# -- what happened --------------------------------------------------------------------------------------------------

_CHANGED = Field(description="by field: the value before and the one after")


class Change(BaseModel):
    """Something that is different."""

    type: event.EventType
    subject: str
    name: str
    changed: dict[str, list[Any]] = _CHANGED


class Commits(BaseModel):
    """The commits that HEAD was at."""

    before: str | None
    after: str | None


class Event(BaseModel):
    """Something that happened."""

    id: str
    type: str
    time: str
    project: str | None
    subject: str
    name: str
    actor: str | None
    origin: str | None
    commit: Commits
    changed: dict[str, list[Any]] = _CHANGED
    run: dict[str, Any] = Field(default={}, description="told of runs alone")


# -- webhooks -------------------------------------------------------------------------------------------------------


class Webhook(BaseModel):
    """A webhook, and how its deliveries stand."""

    name: str
    url: str
    events: list[str]
    project: str | None
    enabled: bool
    state: str = Field(description="ready, failing, or why nothing is sent")
    secrets: int = Field(description="how many this machine has for it")
    waiting: int = Field(description="how many events wait to be sent")
    last: str | None = Field(description="what the receiver answered at last")


class WebhookWithSecret(Webhook):
    """A webhook with its new secret, which is shown this once."""

    secret: str


class Sent(BaseModel):
    """A try, and what came of it."""

    webhook: str
    id: str
    type: str
    subject: str
    result: str
    delivered: bool


class Delivery(BaseModel):
    """An event for a webhook, and what became of it."""

    webhook: str
    id: str
    type: str
    subject: str
    event: Event
    state: str = Field(description="waiting, delivered or dead")
    tries: int
    at: str | None
    result: str


# -- pages ----------------------------------------------------------------------------------------------------------

ProjectPage = page_of(Project)
PhasePage = page_of(Phase)
TaskPage = page_of(TaskRow | BrokenTask, "TaskPage")
WorkflowPage = page_of(Workflow)
TemplatePage = page_of(TemplateRow, "TemplatePage")
RunPage = page_of(Run)
ProblemPage = page_of(Problem)
ChangePage = page_of(
    Change,
    before=(str, Field(description="the commit before")),
    after=(str | None, Field(description="the commit after; null for the files as they are")),
)
QueuePage = page_of(QueueEntry, "QueuePage")
LogPage = page_of(LogLine, "LogPage")
EventPage = page_of(Event)
WebhookPage = page_of(Webhook)
DeliveryPage = page_of(Delivery)
