"""What a template file says (03). Form only: names, types and expressions are checked in `planning.template`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from dagtasks.model.fields import Key, Line, Text, refuse_misread
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.values import WorkflowType

IDENT = r"[A-Za-z_][A-Za-z0-9_-]*"
Ident = Annotated[Text, Field(pattern=rf"^{IDENT}$", max_length=63)]
EnvName = Annotated[Text, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


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


Scalar = Annotated[Any, BeforeValidator(_check_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Command = Annotated[
    Any,
    BeforeValidator(_check_command),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": ["string", "number", "boolean"]}}),
]
Condition = Annotated[Any, BeforeValidator(_check_condition), WithJsonSchema({"type": ["string", "boolean"]})]
Env = dict[EnvName, Scalar]

STEP_KINDS = ("container", "script", "api", "workflow")
DEFAULT_SHELL = ("sh", "-ec")
DEFAULT_INTERPRETER = ("sh", "-e")

NOT_YET = {
    "secrets",
    "defaults",
    "finally",
    "concurrency",
    "foreach",
    "matrix",
    "retry",
    "cache",
    "artifacts",
    "approval",
    "mounts",
    "export",
    "services",
    "network",
    "pull",
    "privileged",
    "runtime",
    "auth",
}
"""Keys of the language that this version does not carry out; they are refused by name, never passed over."""

TRANSLATIONS = {
    **dict.fromkeys(("needs", "depends", "dependencies", "runAfter"), "depends_on"),
    **dict.fromkeys(("when", "runIf", "preconditions"), "if"),
    **dict.fromkeys(("run", "cmd", "cmds", "commands"), "command"),
    **dict.fromkeys(("uses", "call", "templateRef"), "workflow.template"),
    **dict.fromkeys(("with", "inputs", "params"), "parameters"),
    **dict.fromkeys(("withItems", "for", "across"), "foreach"),
    **dict.fromkeys(("onExit", "ensure", "defer"), "finally"),
    **dict.fromkeys(("retryStrategy", "retry_policy"), "retry"),
    **dict.fromkeys(("timeout_sec", "timeout-minutes"), "timeout"),
    **dict.fromkeys(("continue-on-error", "allowFailure", "ignore_error"), "continue_on_error"),
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


class Metadata(Part):
    """Who the template is."""

    name: Key = Field(description="What bindings and other templates call it.")
    description: Text = Field(default="", description="What it does.")
    version: Annotated[Text, Field(pattern=r"^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$")] | None = Field(
        default=None, description="Its version, as 1.2.3 (semantic versioning)."
    )
    category: Line | None = Field(default=None, description="A word to group templates by.")
    tags: list[Line] = Field(default_factory=list, description="Words to find it by.")
    annotations: dict[str, Any] = Field(default_factory=dict, description="Data of your own, free form.")


class Container(Part):
    """A command in a container."""

    image: Text = Field(description="The image, e.g. `alpine:3.20`.")
    command: Command | None = Field(
        default=None, description="Shell text, or a list that is executed as it is. Absent: what the image says."
    )
    args: list[Scalar] = Field(default_factory=list, description="More arguments after a list command.")
    entrypoint: Literal["keep", "ignore"] = Field(default="ignore", description="Whether the image's entrypoint stays.")
    shell: list[Text] = Field(default=list(DEFAULT_SHELL), description="What runs a command that is text.")
    workdir: Text | None = Field(default=None, description="The working folder; made when it is missing.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    user: Text | None = Field(default=None, description="The user that runs the command.")
    platform: Text | None = Field(default=None, description="The platform, e.g. `linux/arm64`.")
    success_exit_codes: list[int] = Field(default=[0], description="Exit codes that count as success.")


class Script(Part):
    """A script, delivered as a file. Its text is never interpolated."""

    source: Text | None = Field(default=None, description="The script itself.")
    file: Text | None = Field(default=None, description="A file of the repository that holds the script.")
    interpreter: list[Text] = Field(default=list(DEFAULT_INTERPRETER), description="What runs the script.")
    args: list[Scalar] = Field(default_factory=list, description="Arguments of the script.")
    image: Text | None = Field(default=None, description="The image; by default one that has the interpreter.")
    workdir: Text | None = Field(default=None, description="The working folder; made when it is missing.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    success_exit_codes: list[int] = Field(default=[0], description="Exit codes that count as success.")

    @model_validator(mode="after")
    def _one_source(self) -> Script:
        if (self.source is None) == (self.file is None):
            raise PydanticCustomError("one_of", "needs exactly one of `source` and `file`")
        return self


class Api(Part):
    """One HTTP request."""

    url: Text = Field(description="Where to; http or https.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = Field(default="GET")
    query: dict[Text, Any] = Field(default_factory=dict, description="Query parameters.")
    headers: dict[Text, Scalar] = Field(default_factory=dict, description="Headers.")
    json_: Any = Field(default=None, alias="json", description="A body, sent as JSON.")
    form: dict[Text, Scalar] | None = Field(default=None, description="A body, sent as a form.")
    body: Text | None = Field(default=None, description="A body, sent as it is.")
    timeout: Text = Field(default="30s", description="How long the request may take.")
    follow_redirects: bool = Field(default=True, description="Whether redirects are followed (up to 5).")
    verify_tls: bool = Field(default=True, description="Whether certificates are checked.")
    success_status: list[Scalar] = Field(
        default=["200-299"], description="Status codes, or ranges of them, that count as success."
    )
    success_condition: Text | None = Field(default=None, description="An expression over `response` that must be true.")
    max_response: Annotated[int, Field(ge=1, le=100 << 20)] = Field(default=1 << 20, description="Bytes of the answer.")

    @model_validator(mode="after")
    def _one_body(self) -> Api:
        given = [name for name in ("json", "form", "body") if self.model_dump(by_alias=True).get(name) is not None]
        if len(given) > 1:
            raise PydanticCustomError("one_of", "takes one body: {given}", {"given": ", ".join(given)})
        return self


class Call(Part):
    """Another template, run as a child run."""

    template: Text = Field(description="The template's name.")
    parameters: dict[Text, Any] = Field(default_factory=dict, description="Values for its parameters.")


class StepOutput(Part):
    """A declared output of a step."""

    from_: Literal["stdout", "stderr", "file"] = Field(default="stdout", alias="from")
    path: Text | None = Field(default=None, description="The file, when `from` is file.")
    format: Literal["text", "json", "yaml"] = Field(default="text")
    select: Text | None = Field(default=None, description="A path into JSON or YAML, e.g. `a.b[0]`.")
    default: Any = Field(default=None, description="The value when there is none.")


class Step(Part):
    """One step: exactly one of the kinds, and what all kinds have."""

    name: Ident = Field(description="The step's name; later steps read `steps.<name>`.")
    description: Text = Field(default="", description="What it does.")
    container: Container | None = None
    script: Script | None = None
    api: Api | None = None
    workflow: Call | None = None
    depends_on: list[Text] | None = Field(default=None, description="Steps that must end before.")
    if_: Condition | None = Field(default=None, alias="if", description="An expression; false: the step is skipped.")
    timeout: Text | None = Field(default=None, description="How long it may take.")
    continue_on_error: bool = Field(default=False, description="Whether the run goes on as if it had succeeded.")
    env: Env = Field(default_factory=dict, description="Environment variables.")
    outputs: dict[Ident, StepOutput] = Field(default_factory=dict, description="What later steps may read.")

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        if sum(getattr(self, kind) is not None for kind in STEP_KINDS) != 1:
            raise PydanticCustomError("one_of", "needs exactly one of {kinds}", {"kinds": ", ".join(STEP_KINDS)})
        return self

    @property
    def kind(self) -> Literal["container", "script", "api", "workflow"]:
        """Which kind of step it is."""
        kinds: tuple[Literal["container", "script", "api", "workflow"], ...] = ("container", "script", "api")
        return next((kind for kind in kinds if getattr(self, kind) is not None), "workflow")


class Output(Part):
    """An output of the run."""

    description: Text = ""
    value: Any = Field(description="Its value, usually `${steps.<name>.output}`.")
    type: Literal["string", "integer", "number", "boolean", "array", "object"] | None = None


class Template(Part):
    """A workflow template."""

    metadata: Metadata
    type: WorkflowType | None = Field(default=None, description="Inferred from the steps when not given.")
    parameters: dict[Ident, ParameterSpec] = Field(default_factory=dict, description="What a binding gives.")
    env: Env = Field(default_factory=dict, description="Environment variables of all steps.")
    if_: Condition | None = Field(default=None, alias="if", description="An expression; false: the run is skipped.")
    steps: Annotated[list[Step], Field(min_length=1, max_length=500, description="What is done.")]
    outputs: dict[Ident, Output] = Field(default_factory=dict, description="What the run gives.")
    timeout: Text | None = Field(default=None, description="How long the whole run may take.")
    max_parallel: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=None, description="How many steps run at the same time."
    )
    fail_fast: bool = Field(default=True, description="Whether a failure keeps further steps from starting.")

    @property
    def workflow_type(self) -> WorkflowType:
        """The type that was given, or the one that the kinds of steps make it."""
        return self.type or infer_type({step.kind for step in self.steps})


def infer_type(kinds: set[str]) -> WorkflowType:
    """The type of a template whose steps are of these kinds."""
    single = {
        "container": WorkflowType.CONTAINERIZED,
        "script": WorkflowType.SCRIPT,
        "api": WorkflowType.API,
    }
    return single.get(next(iter(kinds)), WorkflowType.COMPOSITE) if len(kinds) == 1 else WorkflowType.COMPOSITE
