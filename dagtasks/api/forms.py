"""What requests that change something may say: these fields and no others."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dagtasks.model.event import TOLD_TYPES
from dagtasks.model.names import KEY_PATTERN, PROJECT_PATTERN
from dagtasks.model.project import Phase, Project
from dagtasks.model.task import Task
from dagtasks.model.values import TEXT_LIMIT, Priority, Status
from dagtasks.model.webhook import Webhook
from dagtasks.service.templates import TYPES

_KEPT = ("minLength", "maxLength", "pattern", "items", "minItems")


def _as_in(model: type[BaseModel]) -> ConfigDict:
    """Has the description say of fields what is said of those of a file; what reads files refuses what is not so."""

    def add(schema: dict[str, Any]) -> None:
        known = model.model_json_schema()["properties"]
        for name in schema["properties"].keys() & known.keys():
            schema["properties"][name] |= _joined(known[name], schema["properties"][name])

    return ConfigDict(json_schema_extra=add)


def _joined(known: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What is known of a field of a file, for one of a body, which may say more of its items itself."""
    kinds = [each for each in known.get("anyOf", ()) if each != {"type": "null"}]
    kept = {word: value for word, value in (kinds or [known])[0].items() if word in _KEPT}
    if "items" in kept:
        kept["items"] = {**kept["items"], **own.get("items", {})}
    if kinds:  # it need not be there, and an empty text is as none
        kept.pop("minLength", None)
        kept |= {"pattern": f"{kept['pattern']}|^$"} if "pattern" in kept else {}
    return kept


_PROJECT_KEY: dict[str, Any] = {"pattern": f"^{PROJECT_PATTERN}$"}
_KEY: dict[str, Any] = {"pattern": f"^{KEY_PATTERN}$"}
_TEXT: dict[str, Any] = {"minLength": 1, "maxLength": TEXT_LIMIT}
_DAY: dict[str, Any] = {"pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"}
_STATUS: dict[str, Any] = {"enum": [str(status) for status in Status]}
_EVENTS: dict[str, Any] = {"items": {"type": "string", "examples": list(TOLD_TYPES)}}
_PRIORITY: dict[str, Any] = {"enum": [str(priority) for priority in Priority]}


class Form(BaseModel):
    """A body of a request. Nothing is taken for something else, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """The fields that the client gave, null ones too."""
        return self.model_dump(exclude_unset=True)


class ProjectFields(Form):
    """A project, but for its key."""

    model_config = _as_in(Project)

    name: str
    description: str = ""
    metadata: dict[str, Any] = {}


class NewProject(ProjectFields):
    """A project that is to be made."""

    key: str = Field(
        description="the name of its folder, and the beginning of the ids of its tasks", json_schema_extra=_PROJECT_KEY
    )


class ProjectPatch(Form):
    """What is to change of a project; null empties a field."""

    model_config = _as_in(Project)

    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class PhaseFields(Form):
    """A phase, but for its key."""

    model_config = _as_in(Phase)

    name: str
    description: str = ""
    order: int | None = Field(default=None, description="which phase comes first: the smaller; last without")


class NewPhase(PhaseFields):
    """A phase that is to be made."""

    key: str = Field(description="the name of its file", json_schema_extra=_KEY)


class PhasePatch(Form):
    """What is to change of a phase; null empties a field."""

    model_config = _as_in(Phase)

    name: str | None = None
    description: str | None = None
    order: int | None = None


class TaskFields(Form):
    """A task, but for its id and project."""

    model_config = _as_in(Task)

    name: str
    description: str = Field(default="", description="Markdown")
    status: str = Field(default="planned", json_schema_extra=_STATUS)
    priority: str = Field(default="medium", json_schema_extra=_PRIORITY)
    assignee: str | None = Field(default=None, description="a user, or an agent as `agent:NAME`")
    phase: str | None = None
    due: str | None = Field(default=None, description="a day, as 2026-12-31", json_schema_extra=_DAY)
    labels: list[str] = []
    depends_on: list[str] = Field(default=[], description="ids of tasks that must end before")
    metadata: dict[str, Any] = {}


class NewTask(TaskFields):
    """A task that is to be made."""

    project: str = Field(description="the key of its project", json_schema_extra=_PROJECT_KEY)


class TaskPatch(Form):
    """What is to change of a task; null empties a field, and lists are replaced whole."""

    model_config = _as_in(Task)

    name: str | None = None
    description: str | None = None
    status: str | None = Field(default=None, json_schema_extra=_STATUS)
    priority: str | None = Field(default=None, json_schema_extra=_PRIORITY)
    assignee: str | None = None
    phase: str | None = None
    due: str | None = Field(default=None, json_schema_extra=_DAY)
    labels: list[str] | None = None
    depends_on: list[str] | None = None
    metadata: dict[str, Any] | None = None


class NewComment(Form):
    """Something that is to be said of a task."""

    text: str = Field(description="Markdown", json_schema_extra=_TEXT)


class WorkflowFields(Form):
    """A template bound to a task, with values for its parameters."""

    template: str = Field(json_schema_extra={"minLength": 1})
    parameters: dict[str, Any] = {}


class NewWorkflow(WorkflowFields):
    """A workflow that is to be made."""

    name: str = Field(json_schema_extra=_KEY)


class WorkflowPatch(Form):
    """What is to change of a workflow; a parameter that is null is taken out."""

    template: str | None = None
    parameters: dict[str, Any] | None = None


class NewTemplate(Form):
    """A template that is to be made: one that runs as it is, to be changed."""

    name: str = Field(json_schema_extra=_KEY)
    type: str = Field(default=TYPES[0], json_schema_extra={"enum": list(TYPES)})


class TemplateText(Form):
    """The whole text of a template's file."""

    text: str


class NewRun(Form):
    """How a workflow is to be run."""

    parameters: dict[str, Any] = Field(default={}, description="values, stronger than those of the workflow")
    ignore_dependencies: bool = Field(default=False, description="run although a task that it depends on is open")


class RunAgain(Form):
    """What a retry does anew: what did not succeed, all from one step on, or everything."""

    from_step: str | None = None
    everything: bool = False
    parameters: dict[str, Any] = {}
    current: bool = Field(default=False, description="with the template and the files of today")


class Answer(Form):
    """What is said to an approval."""

    step: str
    approved: bool = True
    reason: str = ""
    parameters: dict[str, Any] = {}


class NewWebhook(Form):
    """Somebody who is to be told of events."""

    model_config = _as_in(Webhook)

    name: str = Field(json_schema_extra=_KEY)
    url: str
    events: list[str] = Field(
        default=["*"], description="types of events, in which `*` stands for any part", json_schema_extra=_EVENTS
    )
    project: str | None = Field(default=None, description="only what happens in this project")
    secret: str | None = Field(default=None, description="one that the receiver gave; made without")


class WebhookPatch(Form):
    """What is to change of a webhook; null empties a field."""

    model_config = _as_in(Webhook)

    url: str | None = None
    events: list[str] | None = None
    project: str | None = None
    enabled: bool | None = None


class NewSecret(Form):
    """A secret of a webhook: one that the receiver gave, or one that is made."""

    secret: str | None = None


class Replay(Form):
    """The ids of events that are to be sent again; none: all that are dead."""

    events: list[str] = []
