"""The plan of a run: frozen data that says all that will happen, and the requests that executors get.

A plan holds no secret and no open file. With the repository at `commit` and an engine, it is all that a run needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dagtasks.model.parameter import ParameterType
from dagtasks.model.template import StepKind, with_defaults
from dagtasks.model.values import JSON, StepState

STEP_FOLDER = "/dagtasks"
"""A folder of each step: its script lies there, and what it writes to `$DT_OUTPUTS`."""

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
class RunOutput:
    """An output of the run. `type` is what its value has to be, unless that is null; a sensitive one is never shown."""

    value: Input
    type: ParameterType | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a step is tried again (03 section 2.8); `max_attempts` counts the first try, times are in seconds.

    `on` None: what is usual for the kind of step. `exit_codes` empty: after any.
    """

    max_attempts: int = 1
    delay: float = 1.0
    factor: float = 1.0
    max_delay: float | None = None
    jitter: bool = True
    max_duration: float | None = None
    on: tuple[StepState, ...] | None = None
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A concurrency group: at most `limit` of those that name it go on at once; others wait in line, or fail."""

    group: Input
    limit: int = 1
    rejects: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    """Once for each item of a list (`foreach`), or for each combination of the axes (`matrix`)."""

    foreach: Input = None
    matrix: Mapping[str, Input] = field(default_factory=dict)
    max_parallel: int | None = None
    fail_fast: bool = True


@dataclass(frozen=True, slots=True)
class ArtifactSpec:
    """Files of a step that are kept: a file, a folder, or a pattern."""

    path: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. `inputs` is its body, lowered: argv instead of shell text, `DT_n` variables for bound values.

    Keys of `inputs`, container and script: image, argv (null: what the image says), entrypoint, workdir, env,
    files ({path: text} put into the container), user, platform, mounts, exports, services, network, pull, privileged,
    success_exit_codes. api: as in 03 section 2.5. workflow: template (a key of `Plan.templates`), parameters, secrets.
    approval: message, approvers, parameters (specs), timeout, on_timeout.
    `reads`: the steps whose results it refers to. `exposes`: which of its own output and stderr others refer to (only
    those have to be small enough to be read).
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
    retry: RetryPolicy = RetryPolicy()
    loop: Loop | None = None
    concurrency: GroupSpec | None = None
    artifacts: Mapping[str, ArtifactSpec] = field(default_factory=dict)
    cache: bool = False


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

    `templates` are those that steps call, by name, and `files` the scripts of the repository, by path. `secrets` are
    names; `sensitive` are the parameters whose values are treated as secrets. `bound` are the parameters that files of
    the repository give, each as JSON text of what stands there; what came with a command is not among them.
    """

    template: PlannedTemplate
    steps: tuple[PlanStep, ...]
    parameters: Mapping[str, JSON]
    scope: Mapping[str, JSON]
    finally_: tuple[PlanStep, ...] = ()
    outputs: Mapping[str, RunOutput] = field(default_factory=dict)
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
    secrets: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    concurrency: GroupSpec | None = None
    updates: Mapping[str, Mapping[str, Input]] = field(default_factory=dict)
    bound: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_steps(self) -> tuple[PlanStep, ...]:
        """The steps, and after them those of `finally`."""
        return (*self.steps, *self.finally_)


def needs_engine(plan: Plan) -> bool:
    """Whether any step of the plan, or of a template that it calls, runs as a process; api steps need no engine."""
    called: list[Any] = [template.data for template in plan.templates.values()]
    keys = {key for data in called for step in (*data["steps"], *(data.get("finally") or ())) for key in step}
    return not {"container", "script"}.isdisjoint(keys | {step.kind for step in plan.all_steps})


def find_privileged(plan: Plan) -> list[str]:
    """The steps of the plan, and of templates that it calls, that want the rights of the machine they run on."""
    own = [step.name for step in plan.all_steps if step.inputs.get("privileged") or step.inputs.get("on_host")]
    called: list[Any] = [with_defaults(dict(template.data)) for template in plan.templates.values()]
    inner = [step for data in called for step in (*data["steps"], *(data.get("finally") or ()))]
    return own + [step["name"] for step in inner if _is_privileged(step)]


def _is_privileged(step: Mapping[str, Any]) -> bool:
    runtime = (step.get("script") or {}).get("runtime")
    return bool((step.get("container") or {}).get("privileged")) or runtime == "host"


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of the machine that runs steps: the repository's root, one that holds a folder for each kept artifact
    (named by its digest), and one that holds a folder for each `mounts.cache` of the local engine."""

    root: str
    artifacts: str
    caches: str


@dataclass(frozen=True, slots=True)
class Mounted:
    """Something that a step finds at an absolute path.

    `source` is the folder of this machine that holds it (repo, artifact, cache on the local engine); `value` the key
    of a cache, or a secret's value.
    """

    path: str
    kind: Literal["repo", "cache", "artifact", "secret"]
    source: str = ""
    value: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A container to run beside a step, reached by its name. `ready` is a command that succeeds, or a port."""

    name: str
    image: str
    argv: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    ready: tuple[str, ...] | int | None = None
    ready_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A process to run, all values known. `argv` None means: what the image says.
    `use_entrypoint`: the arguments go to the image's entrypoint.

    `workdir` is created when missing. `files` are put at absolute paths before the process starts. `secret_env` are
    variables whose values are secrets. `timeout` is in seconds. `read_files` are absolute paths whose text is wanted
    after it ended. After success, `artifacts` (by key) and `exports` (paths of the step) are put below `collect_to`, as
    `artifacts/<key>/...` and `exports/<number>/...`; a folder with what it holds, anything else by its name.
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
    secret_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mounted, ...] = ()
    services: tuple[ServiceRequest, ...] = ()
    artifacts: Mapping[str, ArtifactSpec] = field(default_factory=dict)
    exports: tuple[str, ...] = ()
    collect_to: str | None = None
    network: Literal["default", "none"] = "default"
    pull: Literal["always", "missing", "never"] | None = None
    privileged: bool = False
    on_host: bool = False
    cache: bool = False


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An HTTP request to make, all values known. `timeout` is in seconds, `max_response` in bytes.

    `auth`: {bearer: token}, {basic: {user, password}} or {header: {name, value}}.
    """

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
    auth: Mapping[str, JSON] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """Another template to run as a child run, all values known."""

    step: str
    attempt: int
    template: PlannedTemplate
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A decision to wait for. `parameters` are the specs of what has to be answered; `timeout` is in seconds."""

    step: str
    message: str
    approvers: tuple[str, ...] = ()
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    timeout: float | None = None
    silence_approves: bool = False


Request = ExecRequest | ApiRequest | CallRequest | ApprovalRequest
