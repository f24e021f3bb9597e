"""What a task file says (02 section 2)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from dagtasks.model.fields import Assignee, Date, FileModel, Key, Label, Line, TaskId, Text
from dagtasks.model.values import Occasion, Priority, Status


class Binding(FileModel):
    """A workflow of a task: a template bound with parameters."""

    template: Text
    parameters: dict[str, Any] = Field(default_factory=dict, description="Values for the template's parameters.")
    run_on: list[Occasion] = Field(default_factory=list, description="What starts the workflow by itself.")


class Task(FileModel):
    """A task. Its id is the file's stem and its project the folder; neither is repeated inside the file."""

    name: Line = Field(description="What the task is called, on one line.")
    status: Status = Field(default=Status.PLANNED, description="Where the task stands.")
    priority: Priority = Field(default=Priority.MEDIUM, description="How urgent it is.")
    assignee: Assignee | None = Field(default=None, description="A user, or an agent as `agent:<name>`.")
    phase: Key | None = Field(default=None, description="A phase of the same project.")
    due: Date | None = Field(default=None, description="The day on which it should be done, as 2026-12-31.")
    labels: Annotated[tuple[Label, ...], Field(description="Free words to filter by.")] = ()
    depends_on: Annotated[tuple[TaskId, ...], Field(description="Ids of tasks that must end before.")] = ()
    description: Text = Field(default="", description="What is to be done, as Markdown.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Data of your own, free form.")
    workflows: dict[Key, Binding] = Field(default_factory=dict, description="Templates bound to this task, by name.")
