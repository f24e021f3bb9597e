"""The rows that an index holds: enough of a file for lists, filters and graphs.

No pydantic, and tuples instead of dataclasses: some commands make one row for each task of the repository. Annotations
are evaluated here: `NamedTuple` would compile each one that is a string, at the start of every command.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dagtasks.model.values import JSON, Priority, Status

PROJECT_KEYS = ("name", "description", "metadata", "triggers", "gates")
PHASE_KEYS = ("name", "description", "order")
TASK_KEYS = (
    "name",
    "status",
    "priority",
    "assignee",
    "phase",
    "due",
    "labels",
    "depends_on",
    "description",
    "metadata",
    "workflows",
)
"""The top-level keys of each kind of file, in the order in which they are written."""


class TriggerSummary(NamedTuple):
    """An event that starts a template: `condition` is an expression that has to be true as well ("" for none)."""

    on: str
    template: str
    condition: str = ""
    parameters: Mapping[str, JSON] = {}

    def to_json(self) -> dict[str, JSON]:
        """The trigger as the file has it, without keys that are empty."""
        written: dict[str, JSON] = {"on": self.on, "if": self.condition, "template": self.template}
        written["parameters"] = {**self.parameters}
        return {key: value for key, value in written.items() if value}


class ProjectSummary(NamedTuple):
    """A project: `key` is its folder's name, `path` its `project.yaml`; `gates` are workflows that a status needs."""

    key: str
    name: str
    path: str
    description: str = ""
    metadata: Mapping[str, JSON] = {}
    gates: Mapping[str, Sequence[str]] = {}
    triggers: tuple[TriggerSummary, ...] = ()


class PhaseSummary(NamedTuple):
    """A phase of a project: `key` is the file's stem, `order` says which comes first."""

    project: str
    key: str
    name: str
    path: str
    description: str = ""
    order: int = 0

    @property
    def id(self) -> str:
        """The phase as commands call it: `project/key`."""
        return f"{self.project}/{self.key}"


class BindingSummary(NamedTuple):
    """A workflow of a task: which template it binds, with which parameters, and which events start it."""

    name: str
    template: str
    parameters: Mapping[str, JSON] = {}
    run_on: tuple[str, ...] = ()


def digest_description(text: str) -> str:
    """What stands in the row of a task for its description."""
    from hashlib import sha256  # commands that only show rows do without

    return sha256(text.encode()).hexdigest()[:16] if text else ""


class TaskSummary(NamedTuple):
    """A task without its description, for which a digest stands ("" for none). `due` is an ISO date."""

    id: str
    project: str
    path: str
    name: str
    status: Status = Status.PLANNED
    priority: Priority = Priority.MEDIUM
    assignee: str | None = None
    phase: str | None = None
    due: str | None = None
    labels: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    metadata: Mapping[str, JSON] = {}
    workflows: tuple[BindingSummary, ...] = ()
    description_digest: str = ""


class CallSummary(NamedTuple):
    """A step that calls another template. `template` is the reference as it is written, `place` the step's position.

    `given` are values for its parameters as the file has them; `kinds` those of values that hold expressions;
    `sensitive` the parameters that get something secret; `secrets` what is handed down. `times` says how often it is
    called at least. `is_looped`: its outputs are lists.
    """

    part: str
    place: int
    step: str
    template: str
    given: Mapping[str, JSON] = {}
    kinds: Mapping[str, str] = {}
    sensitive: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    times: int = 1
    is_looped: bool = False


class TextSummary(NamedTuple):
    """A text of a template that needs something of another file: its place, and whether it is a condition."""

    loc: tuple[str | int, ...]
    text: str
    is_condition: bool = False


class ReadSummary(NamedTuple):
    """Something of the task, its project or its phase that a template needs to be there, and where it reads it.

    `parameter`: it is needed only where that parameter is not given.
    """

    path: tuple[str, ...]
    loc: tuple[str | int, ...]
    offset: int
    parameter: str | None = None


class TemplateSummary(NamedTuple):
    """A workflow template: `name` is what bindings call it; `parameters` are the specs of its file, by name.

    `outputs` are the kinds of what it gives. `coded` are the parameters that it runs as code. `calls` are the steps
    that call others, and `texts` those that read what such steps give.
    """

    name: str
    path: str
    type: str
    version: str | None = None
    description: str = ""
    category: str | None = None
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, JSON]] = {}
    secrets: tuple[str, ...] = ()
    outputs: Mapping[str, str] = {}
    steps: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()
    calls: tuple[CallSummary, ...] = ()
    texts: tuple[TextSummary, ...] = ()
    reads: tuple[ReadSummary, ...] = ()


class BrokenFile(NamedTuple):
    """A file that could not be read as what it should be; `id` is its stem, `project` its folder below tasks/."""

    path: str
    kind: str
    id: str
    project: str | None = None
