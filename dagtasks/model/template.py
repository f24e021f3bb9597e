"""What a template file says (03). Form only: names, types and expressions are checked in `planning.template`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from dagtasks.model.fields import Key, Line, Text, as_schema, refuse_misread
from dagtasks.model.names import VERSION_PATTERN
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.values import Priority, Status, WorkflowType

IDENT = r"[A-Za-z_][A-Za-z0-9_-]*"
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
Ident = Annotated[Text, Field(pattern=rf"^{IDENT}$", max_length=63), as_schema(IDENT, maxLength=63)]
EnvName = Annotated[Text, Field(pattern=rf"^{ENV_NAME}$"), as_schema(ENV_NAME)]
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[int, Field(strict=True)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]


def _check_scalar(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise PydanticCustomError("scalar", "must be text, a number, true or false")
    return refuse_misread(value)


def _check_command(value: Any) -> Any:
    if isinstance(value, list):
        return [_check_scalar(item) for item in value]
    if not isinstance(value, str):
        raise PydanticCustomError("command", "must be shell text or a list of arguments")
    return refuse_misread(value)


def _check_condition(value: Any) -> Any:
    if not isinstance(value, str | bool):
        raise PydanticCustomError("condition", "must be an expression")
    return value


def _check_duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("duration", "must be a duration, as 90s, 10m or 1h30m")
    return value


def _check_version(value: str) -> str:
    if not re.fullmatch(VERSION_PATTERN, value):
        raise PydanticCustomError("version", "{value} is no version; write it as 1.2.3", {"value": repr(value)})
    return value


Scalar = Annotated[Any, BeforeValidator(_check_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Command = Annotated[
    Any,
    BeforeValidator(_check_command),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": ["string", "number", "boolean"]}}),
]
Condition = Annotated[Any, BeforeValidator(_check_condition), WithJsonSchema({"type": ["string", "boolean"]})]
Version = Annotated[Text, AfterValidator(_check_version), as_schema(VERSION_PATTERN.replace("?P<pre>", "?:"))]
Duration = Annotated[
    Any,
    BeforeValidator(_check_duration),
    as_schema("".join(f"(?:[0-9]{{1,9}}{u})?" for u in ("h", "m", "s", "ms")), minLength=2),
]
"""A duration. A bare number is let in, so that the message about it can show the right form."""
Env = dict[EnvName, Scalar]

StepKind = Literal["container", "script", "api", "workflow", "approval"]
STEP_KINDS: tuple[StepKind, ...] = ("container", "script", "api", "workflow", "approval")
DEFAULT_SHELL = ("sh", "-ec")
DEFAULT_INTERPRETER = ("sh", "-e")

TRANSLATIONS = {
    **dict.fromkeys(("needs", "depends", "dependencies", "runAfter"), "depends_on"),
    **dict.fromkeys(("when", "runIf", "preconditions"), "if"),
    **dict.fromkeys(("run", "cmd", "cmds", "commands"), "command"),
    **dict.fromkeys(("uses", "call", "templateRef"), "workflow.template"),
    **dict.fromkeys(("with", "inputs", "params"), "parameters"),
    **dict.fromkeys(("withItems", "withParam", "for", "loop", "across"), "foreach"),
    **dict.fromkeys(("strategy",), "matrix"),
    **dict.fromkeys(("onExit", "ensure", "defer", "exitHandler"), "finally"),
    **dict.fromkeys(("retryStrategy", "retry_policy", "retries"), "retry"),
    **dict.fromkeys(("attempts", "maxAttempts", "max_retries"), "retry.max_attempts"),
    **dict.fromkeys(("timeout_sec", "timeout-minutes", "activeDeadlineSeconds"), "timeout"),
    **dict.fromkeys(("continue-on-error", "allowFailure", "allow_failure", "ignore_error"), "continue_on_error"),
    **dict.fromkeys(("jobs", "tasks", "stages"), "steps"),
    **dict.fromkeys(("environment", "vars"), "env"),
    **dict.fromkeys(("working-directory", "working_dir", "workingDir", "dir"), "workdir"),
    **dict.fromkeys(("volumes", "volumeMounts"), "mounts"),
    **dict.fromkeys(("max-parallel", "maxParallel", "parallelism"), "max_parallel"),
    **dict.fromkeys(("fail-fast", "failFast"), "fail_fast"),
}
"""What other engines call a key, and what it is called here."""


class Part(BaseModel):
    """Base of what a template says: unknown keys are errors; an empty value is as if not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def _one_of(*names: str) -> ConfigDict:
    """What the schema of a part says that has exactly one of these keys."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in names]})


def _exactly_one(part: Part, names: Iterable[str]) -> None:
    if sum(getattr(part, name) is not None for name in names) != 1:
        listed = ", ".join(f"`{name}`" for name in names)
        raise PydanticCustomError("one_of", "needs exactly one of {names}", {"names": listed})


class Metadata(Part):
    """Who the template is."""

    name: Key = Field(description="What bindings and other templates call it.")
    description: Text = Field(default="", description="What it does.")
    version: Version | None = Field(default=None, description="Its version, as 1.2.3 (semantic versioning).")
    category: Line | None = Field(default=None, description="A word to group templates by.")
    tags: list[Line] = Field(default_factory=list, description="Words to find it by.")
    annotations: dict[str, Any] = Field(default_factory=dict, description="Data of your own, free form.")


class Retry(Part):
    """How often and when a step is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = Field(description="Tries in all, the first too.")
    delay: Duration = Field(default="1s", description="How long to wait before the second try.")
    backoff: Literal["constant", "exponential"] = Field(default="constant", description="How the waits grow.")
    factor: Annotated[float, Field(ge=1)] = Field(default=2, description="By what each wait grows (exponential).")
    max_delay: Duration | None = Field(default=None, description="The longest wait.")
    jitter: Flag = Field(default=True, description="Whether waits vary, so that many steps do not try in step.")
    max_duration: Duration | None = Field(default=None, description="How long all tries and waits may take.")
    on: list[Literal["failed", "errored", "timed_out"]] | None = Field(
        default=None,
        description="How a try must have ended. Not given: any of them; for api, no connection or 429, 502, 503, 504.",
    )
    exit_codes: list[Number] = Field(default_factory=list, description="Only after these exit codes.")


class Concurrency(Part):
    """What may not go on at the same time as others."""

    group: Text = Field(description="All that name the same group take turns, first come first served.")
    limit: Annotated[int, Field(ge=1, strict=True)] = Field(default=1, description="How many may go on at once.")
    on_conflict: Literal["queue", "reject"] = Field(default="queue", description="Whether it waits, or fails at once.")


class Mount(Part):
    """Something that a step finds at a path."""

    model_config = _one_of("repo", "cache", "artifact", "secret")

    path: Text = Field(description="An absolute path.")
    repo: Literal["ro"] | None = Field(default=None, description="The files of the repository, to read.")
    cache: Text | None = Field(default=None, description="A folder that is kept between runs, by its key.")
    artifact: Text | None = Field(default=None, description="`${steps.<name>.artifacts.<key>}`.")
    secret: EnvName | None = Field(default=None, description="A secret, as a file.")

    @model_validator(mode="after")
    def _one_source(self) -> Mount:
        _exactly_one(self, ("repo", "cache", "artifact", "secret"))
        return self


class Export(Part):
    """A file or folder that goes back into the work tree when the step succeeded."""

    from_: Text = Field(alias="from", description="A path in the step.")
    to: Text = Field(description="A path in the repository.")


class Ready(Part):
    """How to tell that a service can be used."""

    model_config = _one_of("command", "port")

    command: Command | None = Field(default=None, description="It succeeds when the service is ready.")
    port: Port | None = Field(default=None, description="It can be connected to.")
    timeout: Duration = Field(default="1m", description="How long to wait for it.")

    @model_validator(mode="after")
    def _one_sign(self) -> Ready:
        _exactly_one(self, ("command", "port"))
        return self


class Service(Part):
    """A container that runs beside the step, reached by its name."""

    image: Text = Field(description="The image.")
    command: Command | None = Field(default=None, description="What it runs. Absent: what the image says.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    ports: list[Port] = Field(default_factory=list, description="Ports it opens.")
    ready: Ready | None = Field(default=None, description="How to tell that it can be used.")


class Container(Part):
    """A command in a container."""

    image: Text = Field(description="The image, e.g. `alpine:3.20`.")
    command: Command | None = Field(
        default=None, description="Shell text, or a list that is executed as it is. Absent: what the image says."
    )
    args: list[Scalar] = Field(default_factory=list, description="More arguments after a list command.")
    entrypoint: Literal["keep", "ignore"] = Field(default="ignore", description="Whether the image's entrypoint stays.")
    shell: Annotated[list[Text], Field(min_length=1)] = Field(
        default=list(DEFAULT_SHELL), description="What runs a command that is text."
    )
    workdir: Text | None = Field(default=None, description="The working folder; made when it is missing.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    user: Text | None = Field(default=None, description="The user that runs the command.")
    platform: Text | None = Field(default=None, description="The platform, e.g. `linux/arm64`.")
    pull: Literal["always", "missing", "never"] | None = Field(default=None, description="When the image is fetched.")
    network: Literal["default", "none"] = Field(default="default", description="Whether there is a network.")
    mounts: list[Mount] = Field(default_factory=list, description="What the step finds at paths.")
    export: list[Export] = Field(default_factory=list, description="What goes back into the work tree.")
    services: dict[Ident, Service] = Field(default_factory=dict, description="Containers beside the step.")
    privileged: Flag = Field(default=False, description="All rights on the engine's machine.")
    success_exit_codes: list[Number] = Field(default=[0], description="Exit codes that count as success.")


class Script(Part):
    """A script, delivered as a file. Its text is never interpolated."""

    model_config = _one_of("source", "file")

    source: Text | None = Field(default=None, description="The script itself.")
    file: Text | None = Field(default=None, description="A file of the repository that holds the script.")
    interpreter: Annotated[list[Text], Field(min_length=1)] = Field(
        default=list(DEFAULT_INTERPRETER), description="What runs the script."
    )
    args: list[Scalar] = Field(default_factory=list, description="Arguments of the script.")
    image: Text | None = Field(default=None, description="The image; by default one that has the interpreter.")
    workdir: Text | None = Field(default=None, description="The working folder; made when it is missing.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    mounts: list[Mount] = Field(default_factory=list, description="What the step finds at paths.")
    export: list[Export] = Field(default_factory=list, description="What goes back into the work tree.")
    runtime: Literal["host"] | None = Field(default=None, description="A process of this machine, whatever the engine.")
    success_exit_codes: list[Number] = Field(default=[0], description="Exit codes that count as success.")

    @model_validator(mode="after")
    def _one_source(self) -> Script:
        _exactly_one(self, ("source", "file"))
        return self


class HeaderAuth(Part):
    """A header that holds a secret."""

    name: Text = Field(description="The header.")
    value: Text = Field(description="Its value, from `secrets`.")


class BasicAuth(Part):
    """A user and a password."""

    user: Text = Field(description="The user.")
    password: Text = Field(description="The password, from `secrets`.")


class Auth(Part):
    """How a request says who asks; every value may come from `secrets`."""

    model_config = _one_of("bearer", "basic", "header")

    bearer: Text | None = Field(default=None, description="A token.")
    basic: BasicAuth | None = Field(default=None, description="A user and a password.")
    header: HeaderAuth | None = Field(default=None, description="A header of the service's own.")

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        _exactly_one(self, ("bearer", "basic", "header"))
        return self


class Api(Part):
    """One HTTP request."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    {"required": ["json", "form"]},
                    {"required": ["json", "body"]},
                    {"required": ["form", "body"]},
                ]
            }
        }
    )

    url: Text = Field(description="Where to; http or https.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = Field(default="GET")
    query: dict[Text, Any] = Field(default_factory=dict, description="Query parameters.")
    headers: dict[Text, Scalar] = Field(default_factory=dict, description="Headers.")
    json_: Any = Field(default=None, alias="json", description="A body, sent as JSON.")
    form: dict[Text, Scalar] | None = Field(default=None, description="A body, sent as a form.")
    body: Text | None = Field(default=None, description="A body, sent as it is.")
    auth: Auth | None = Field(default=None, description="How the request says who asks.")
    timeout: Duration = Field(default="30s", description="How long the request may take.")
    follow_redirects: Flag = Field(default=True, description="Whether redirects are followed (up to 5).")
    verify_tls: Flag = Field(default=True, description="Whether certificates are checked.")
    success_status: list[Scalar] = Field(
        default=["200-299"], description="Status codes, or ranges of them, that count as success."
    )
    success_condition: Text | None = Field(default=None, description="An expression over `response` that must be true.")
    max_response: Annotated[int, Field(ge=1, le=100 << 20, strict=True)] = Field(
        default=1 << 20, description="Bytes of the answer."
    )

    @model_validator(mode="after")
    def _one_body(self) -> Api:
        given = [name for name in ("json", "form", "body") if self.model_dump(by_alias=True).get(name) is not None]
        if len(given) > 1:
            raise PydanticCustomError("one_of", "takes one body: {given}", {"given": ", ".join(given)})
        return self


class Call(Part):
    """Another template, run as a child run."""

    template: Text = Field(description="Its name, `name@^1.2`, or its path.")
    parameters: dict[Text, Any] = Field(default_factory=dict, description="Values for its parameters.")
    secrets: list[EnvName] = Field(default_factory=list, description="Secrets that are handed down.")


class Approval(Part):
    """A person's decision."""

    message: Text = Field(description="What is asked.")
    approvers: list[Text] = Field(default_factory=list, description="E-mail addresses of Git; absent: anybody.")
    parameters: dict[Ident, ParameterSpec] = Field(default_factory=dict, description="What has to be answered.")
    timeout: Duration | None = Field(default=None, description="How long to wait for an answer.")
    on_timeout: Literal["reject", "approve"] = Field(default="reject", description="What silence means.")


class StepOutput(Part):
    """A declared output of a step."""

    from_: Literal["stdout", "stderr", "file"] = Field(default="stdout", alias="from")
    path: Text | None = Field(default=None, description="The file, when `from` is file.")
    format: Literal["text", "json", "yaml"] = Field(default="text")
    select: Text | None = Field(default=None, description="A path into JSON or YAML, e.g. `a.b[0]`.")
    default: Any = Field(default=None, description="The value when there is none.")
    sensitive: Flag = Field(default=False, description="Kept in memory only, and masked everywhere.")


class Artifact(Part):
    """Files that are kept with the run."""

    path: Text = Field(description="A file, a folder, or a pattern with `*`.")
    optional: Flag = Field(default=False, description="Whether there may be none.")


def _check_retry(value: Any) -> Any:
    if isinstance(value, int):
        message = "{value} could mean tries in all or tries after the first; write {{max_attempts: {value}}} (in all)"
        raise PydanticCustomError("retry", message.replace("{{", "{").replace("}}", "}"), {"value": value})
    return value


def _check_loop(value: Any) -> Any:
    if not isinstance(value, list | str):
        raise PydanticCustomError("loop", "must be a list, or an expression that gives one")
    return value


Loop = Annotated[Any, BeforeValidator(_check_loop), WithJsonSchema({"type": ["array", "string"]})]


class Step(Part):
    """One step: exactly one of the kinds, and what all kinds have."""

    model_config = _one_of(*STEP_KINDS)

    name: Ident = Field(description="The step's name; later steps read `steps.<name>`.")
    description: Text = Field(default="", description="What it does.")
    container: Container | None = None
    script: Script | None = None
    api: Api | None = None
    workflow: Call | None = None
    approval: Approval | None = None
    depends_on: list[Text] | None = Field(default=None, description="Steps that must end before.")
    if_: Condition | None = Field(default=None, alias="if", description="An expression; false: the step is skipped.")
    foreach: Loop | None = Field(default=None, description="Once for each item; `item` and `item_index` are known.")
    matrix: dict[Ident, Loop] = Field(default_factory=dict, description="Once for each combination; `matrix.<axis>`.")
    max_parallel: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=None, description="How many items run at the same time."
    )
    fail_fast: Flag = Field(default=True, description="Whether a failed item keeps others from starting.")
    retry: Annotated[Retry, BeforeValidator(_check_retry)] | None = Field(
        default=None, description="When to try again."
    )
    timeout: Duration | None = Field(default=None, description="How long one try may take.")
    continue_on_error: Flag = Field(default=False, description="Whether the run goes on as if it had succeeded.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    cache: Flag = Field(default=False, description="Whether the engine may answer from its cache.")
    concurrency: Concurrency | None = Field(default=None, description="What the step may not run beside.")
    artifacts: dict[Ident, Artifact] = Field(default_factory=dict, description="Files that are kept with the run.")
    outputs: dict[Ident, StepOutput] = Field(default_factory=dict, description="What later steps may read.")

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        _exactly_one(self, STEP_KINDS)
        return self

    @property
    def kind(self) -> StepKind:
        """Which kind of step it is."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)


class Output(Part):
    """An output of the run."""

    description: Text = ""
    value: Any = Field(description="Its value, usually `${steps.<name>.output}`.")
    type: Literal["string", "integer", "number", "boolean", "array", "object"] | None = None
    sensitive: Flag = False


class Defaults(Part):
    """What steps have that do not say otherwise: a key of a step replaces, `env` is merged."""

    container: dict[Text, Any] = Field(default_factory=dict, description="Keys of every `container`.")
    script: dict[Text, Any] = Field(default_factory=dict, description="Keys of every `script`.")
    api: dict[Text, Any] = Field(default_factory=dict, description="Keys of every `api`.")
    retry: Annotated[Retry, BeforeValidator(_check_retry)] | None = Field(default=None, description="Of every step.")
    timeout: Duration | None = Field(default=None, description="Of every step but approvals.")
    env: Env = Field(default_factory=dict, description="Of every step.")


Update = Annotated[
    dict[Text, Any],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "status": {"anyOf": [{"enum": [*Status]}, {"type": "string", "pattern": r"\$\{"}]},
                "priority": {"anyOf": [{"enum": [*Priority]}, {"type": "string", "pattern": r"\$\{"}]},
                "assignee": {"type": ["string", "null"]},
            },
            "patternProperties": {r"^metadata\.": {}},
            "additionalProperties": False,
        }
    ),
]
"""Fields of the task, with their new values: status, assignee, priority, metadata.<key>."""


class Updates(Part):
    """What a run writes into its task."""

    on_start: Update = Field(default_factory=dict, description="When it begins.")
    on_success: Update = Field(default_factory=dict, description="When it succeeded.")
    on_failure: Update = Field(default_factory=dict, description="When it ended otherwise.")


class Template(Part):
    """A workflow template."""

    metadata: Metadata
    type: WorkflowType | None = Field(default=None, description="Inferred from the steps when not given.")
    parameters: dict[Ident, ParameterSpec] = Field(default_factory=dict, description="What a binding gives.")
    env: Env = Field(default_factory=dict, description="Environment variables of all steps.")
    secrets: list[EnvName] = Field(default_factory=list, description="Secrets that steps may use, by name.")
    defaults: Defaults = Field(default_factory=Defaults, description="What steps have that do not say otherwise.")
    if_: Condition | None = Field(default=None, alias="if", description="An expression; false: the run is skipped.")
    steps: Annotated[list[Step], Field(min_length=1, max_length=500, description="What is done.")]
    finally_: list[Step] = Field(
        default_factory=list, alias="finally", description="What is done at the end, whatever happened; in order."
    )
    outputs: dict[Ident, Output] = Field(default_factory=dict, description="What the run gives.")
    updates: Updates = Field(default_factory=Updates, description="What the run writes into its task.")
    concurrency: Concurrency | None = Field(default=None, description="What the run may not go on beside.")
    timeout: Duration | None = Field(default=None, description="How long the whole run may take.")
    max_parallel: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=None, description="How many steps run at the same time."
    )
    fail_fast: Flag = Field(default=True, description="Whether a failure keeps further steps from starting.")

    @model_validator(mode="before")
    @classmethod
    def _use_defaults(cls, data: Any) -> Any:
        return with_defaults(data) if isinstance(data, dict) else data

    @property
    def all_steps(self) -> list[Step]:
        """The steps, and after them those of `finally`."""
        return [*self.steps, *self.finally_]

    @property
    def workflow_type(self) -> WorkflowType:
        """The type that was given, or the one that the kinds of steps make it."""
        return self.type or infer_type({step.kind for step in self.steps})


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """What the template says, with `defaults` put into its steps; what has not the right form stays as it is."""
    defaults = data.get("defaults")
    if not isinstance(defaults, dict):
        return data
    lists = {key: data[key] for key in ("steps", "finally") if isinstance(data.get(key), list)}
    return {**data, **{key: [_with_defaults(step, defaults) for step in steps] for key, steps in lists.items()}}


def _with_defaults(step: Any, defaults: dict[str, Any]) -> Any:
    if not isinstance(step, dict):
        return step
    common = () if "approval" in step else ("retry", "timeout")
    filled = {**{key: defaults[key] for key in common if defaults.get(key) is not None}, **step}
    for kind in ("container", "script", "api"):
        if isinstance(step.get(kind), dict) and isinstance(defaults.get(kind), dict):
            filled[kind] = _merged(defaults[kind], step[kind])
    env = {"env": defaults["env"]} if isinstance(defaults.get("env"), dict) else {}
    return _merged(env, filled)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both maps, the second stronger; of `env` all that either has."""
    merged = {**under, **over}
    if isinstance(under.get("env"), dict) and isinstance(over.get("env"), dict):
        merged["env"] = {**under["env"], **over["env"]}
    return merged


def infer_type(kinds: set[str]) -> WorkflowType:
    """The type of a template whose steps are of these kinds."""
    kinds = kinds - {"approval"}
    single = {
        "container": WorkflowType.CONTAINERIZED,
        "script": WorkflowType.SCRIPT,
        "api": WorkflowType.API,
    }
    return single.get(next(iter(kinds)), WorkflowType.COMPOSITE) if len(kinds) == 1 else WorkflowType.COMPOSITE
