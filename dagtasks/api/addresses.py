"""What stands in addresses: the names of things, by which forms one can know that there is no such thing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from dagtasks.model.names import KEY_PATTERN, PROJECT_PATTERN

ProjectKey = Annotated[str, Path(pattern=f"^{PROJECT_PATTERN}$", description="the key of a project")]
PhaseKey = Annotated[str, Path(pattern=f"^{KEY_PATTERN}$", description="the key of a phase")]
TaskId = Annotated[
    str,
    Path(pattern="^[0-9a-z-]{1,23}$", description="the id of a task, or a beginning of it that no other has"),
]
WorkflowName = Annotated[str, Path(pattern=f"^{KEY_PATTERN}$", description="the name of a workflow of the task")]
TemplateName = Annotated[str, Path(min_length=1, max_length=200, description="the name of a template")]
"""A file with errors is called by its own name, whatever that is."""
RunId = Annotated[
    str,
    Path(pattern="^[0-9a-z-]{1,22}$", description="the id of a run, or a beginning or end of it that no other has"),
]
WebhookName = Annotated[str, Path(pattern=f"^{KEY_PATTERN}$", description="the name of a webhook")]
