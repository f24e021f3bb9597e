"""The plan of a run: frozen data that says all that will happen, and the requests that executors get.

A plan holds no secret and no open file. With the repository at `commit` and an engine, it is all that a run needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dagtasks.model.values import JSON

STEP_FOLDER = "/dagtasks"
"""A folder of each step: its script lies there, and what it writes to `$DT_OUTPUTS`."""

StepKind = Literal["container", "script", "api", "workflow"]
Printed = Literal["output", "stderr"]
PRINTED: tuple[Printed, ...] = ("output", "stderr")


@dataclass(frozen=True, slots=True)
class Deferred:
    """A scalar with `${...}` that needs what is known only while the run goes on (`steps`, `run`)."""

    source: str


Input = JSON | Deferred | tuple["Input", ...] | Mapping[str, "Input"]
"""A value of a step: known now, or deferred, or a list or map of such."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How one declared output of a step is read after it succeeded (03 section 2.6)."""

    source: Literal["stdout", "stderr", "file"] = "stdout"
    path: str | None = None
    format: Literal["text", "json", "yaml"] = "text"
    select: str | None = None
    default: JSON = None
    has_default: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. `inputs` is its body, lowered: argv instead of shell text, `DT_n` variables for bound values.

    Keys of `inputs`, container and script: image, argv (null: what the image says), entrypoint, workdir, env,
    files ({path: text} put into the container), user, platform, success_exit_codes. api: as in 03 section 2.5.
    workflow: template (a key of `Plan.templates`), parameters. `reads`: the steps whose results it refers to.
    `exposes`: which of its own output and stderr others refer to (only those have to be small enough to be read).
    """

    name: str
    kind: StepKind
    inputs: Mapping[str, Input]
    depends_on: tuple[str, ...] = ()
    description: str = ""
    condition: str | None = None
    reads: tuple[str, ...] = ()
    exposes: tuple[Printed, ...] = ()
    timeout: float | None = None
    continue_on_error: bool = False
    outputs: Mapping[str, OutputSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedTemplate:
    """A template as it was when the plan was made: `blob` is Git's id of its `text`, `data` what that says."""

    name: str
    version: str | None
    path: str
    blob: str
    data: Mapping[str, JSON]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `scope` holds the names that expressions see (params, task, project, phase, run).

    `templates` are those that steps call, by name, and `files` the scripts of the repository, by path.
    """

    template: PlannedTemplate
    steps: tuple[PlanStep, ...]
    parameters: Mapping[str, JSON]
    scope: Mapping[str, JSON]
    outputs: Mapping[str, Input] = field(default_factory=dict)
    templates: Mapping[str, PlannedTemplate] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    workflow: str | None = None
    timeout: float | None = None
    max_parallel: int | None = None
    fail_fast: bool = True
    condition: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    notes: tuple[str, ...] = ()


def needs_engine(plan: Plan) -> bool:
    """Whether any step of the plan, or of a template that it calls, runs as a process; api steps need no engine."""
    called: list[Any] = [template.data for template in plan.templates.values()]
    keys = {key for data in called for step in data["steps"] for key in step}
    return not {"container", "script"}.isdisjoint(keys | {step.kind for step in plan.steps})


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A process to run, all values known. `argv` None means: what the image says.
    `use_entrypoint`: the arguments go to the image's entrypoint.

    `workdir` is created when missing. `files` are put at absolute paths before the process starts.
    `timeout` is in seconds. `read_files` are absolute paths whose text is wanted after it ended.
    """

    step: str
    attempt: int
    image: str
    argv: tuple[str, ...] | None
    use_entrypoint: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    read_files: tuple[str, ...] = ()
    user: str | None = None
    platform: str | None = None
    success_exit_codes: tuple[int, ...] = (0,)
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An HTTP request to make, all values known. `timeout` is in seconds, `max_response` in bytes."""

    step: str
    attempt: int
    url: str
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: JSON = None
    has_json: bool = False
    form: Mapping[str, str] | None = None
    body: str | None = None
    timeout: float = 30.0
    follow_redirects: bool = True
    verify_tls: bool = True
    success_status: tuple[tuple[int, int], ...] = ((200, 299),)
    success_condition: str | None = None
    max_response: int = 1 << 20


@dataclass(frozen=True, slots=True)
class CallRequest:
    """Another template to run as a child run, all values known."""

    step: str
    attempt: int
    template: PlannedTemplate
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    timeout: float | None = None


Request = ExecRequest | ApiRequest | CallRequest
