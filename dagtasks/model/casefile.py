"""What a file of test cases says: `templates/<template>.test.yaml` (03 section 2.11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dagtasks.model.fields import Line, Text
from dagtasks.model.template import Duration, Flag, Number, Part
from dagtasks.model.values import RunState, StepState


class Mock(Part):
    """What a step gives instead of being carried out. Nothing said: it succeeds and gives nothing."""

    state: Literal["succeeded", "failed", "errored", "timed_out"] | None = Field(
        default=None, description="How it ends; follows from the other keys when not given."
    )
    exit_code: Annotated[Number, Field(ge=0, le=255)] | None = Field(default=None, description="Of a process.")
    output: Text | None = Field(default=None, description="What it prints to stdout; of an api step, the body.")
    stderr: Text = Field(default="", description="What it prints to stderr.")
    outputs: dict[Text, Any] = Field(
        default_factory=dict,
        description="Its declared outputs, those of a called template, or the answers to an approval.",
    )
    status: Annotated[Number, Field(ge=100, le=599)] = Field(default=200, description="The status of an api step.")
    headers: dict[Text, Text] = Field(default_factory=dict, description="The headers of the answer.")
    json_: Any = Field(default=None, alias="json", description="The body of the answer, as JSON.")
    error: Text | None = Field(default=None, description="The code of the error with which it is errored.")
    missing: list[Text] = Field(default_factory=list, description="Artifacts that are not there.")
    approved: Flag | None = Field(default=None, description="The decision; nobody decides when it says `silence`.")
    by: Text = Field(default="somebody@example.org", description="Who decides.")
    silence: Flag = Field(default=False, description="Nobody answers the approval.")
    takes: Duration | None = Field(default=None, description="How long it takes; no time passes for whoever waits.")
    tries: list[Mock] = Field(default_factory=list, description="One try after the other; the last for all after it.")
    items: list[Mock] = Field(default_factory=list, description="One item of a loop after the other.")


class Expectation(Part):
    """What has to come out. What is not mentioned may be anything."""

    status: RunState | None = Field(default=None, description="How the run ends.")
    steps: dict[Text, StepState | dict[Text, Any]] = Field(
        default_factory=dict, description="The state of steps, or parts of what is known of them."
    )
    outputs: dict[Text, Any] = Field(default_factory=dict, description="Outputs of the run.")
    plan: dict[Text, dict[Text, Any]] = Field(default_factory=dict, description="Parts of the plan's steps.")
    error: Text | None = Field(default=None, description="The code of the run's error, or a part of its message.")


class Case(Part):
    """One case."""

    name: Line = Field(description="What it shows.")
    parameters: dict[Text, Any] = Field(default_factory=dict, description="Parameters of the template.")
    task: dict[Text, Any] = Field(default_factory=dict, description="Fields of the task; others are made up.")
    project: dict[Text, Any] = Field(default_factory=dict, description="Fields of its project.")
    phase: dict[Text, Any] = Field(default_factory=dict, description="Fields of its phase; none when not given.")
    run: dict[Text, Any] = Field(default_factory=dict, description="`branch`, `commit`, `dirty`, `trigger`, `actor`.")
    mocks: dict[Text, Mock] = Field(
        default_factory=dict, description="What steps give; `call/build` is a step of the template that `call` calls."
    )
    expect: Expectation = Field(description="What has to come out.")


class CaseFile(Part):
    """The cases of one template."""

    cases: Annotated[list[Case], Field(min_length=1, description="The cases, carried out in their order.")]
