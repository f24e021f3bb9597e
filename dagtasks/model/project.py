"""What the files of a project and of a phase say (02 section 1)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from dagtasks.model.event import EventType
from dagtasks.model.fields import FileModel, Key, Line, Text
from dagtasks.model.values import Status


class Trigger(FileModel):
    """An event in the project that starts a template."""

    on: EventType = Field(description="The event that starts it.")
    if_: Text = Field(default="", alias="if", description="An expression that has to be true as well.")
    template: Key = Field(description="The template that is run.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Values for the template's parameters.")


class Project(FileModel):
    """A project. Its key is the name of the folder below `tasks/`."""

    name: Line = Field(description="What the project is called, on one line.")
    description: Text = Field(default="", description="What it is for, as Markdown.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Data of your own, free form.")
    triggers: list[Trigger] = Field(default_factory=list, description="Events that start templates.")
    gates: dict[Status, list[Key]] = Field(
        default_factory=dict, description="Workflows of a task that have to succeed before it may have a status."
    )


class Phase(FileModel):
    """A phase of a project. Its key is the file's stem."""

    name: Line = Field(description="What the phase is called, on one line.")
    description: Text = Field(default="", description="What it is about, as Markdown.")
    order: Annotated[int, Field(strict=True, description="Which phase comes first: the smaller.")] = 0
