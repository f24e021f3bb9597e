"""What a run writes into its task: `updates` of its template, as commits that name the run (03 section 2.13)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dagtasks.engine import results
from dagtasks.errors import DagtasksError
from dagtasks.language.functions import EvaluationError
from dagtasks.model.run import RunEvent, RunFinished, RunRecord, RunStarted, apply_event
from dagtasks.model.values import JSON, RunState
from dagtasks.planning.plan import Plan
from dagtasks.planning.resolve import Around
from dagtasks.service import tasks
from dagtasks.service.links import find_task
from dagtasks.service.saving import WriteSettings
from dagtasks.store.moves import TRAILER
from dagtasks.store.project import Project


class WriteBack:
    """A listener that changes the task when its run begins and ends. What could not be written is in `notes`.

    A field that somebody else changed meanwhile is left as it is.
    """

    def __init__(self, project: Project, plan: Plan, record: RunRecord) -> None:
        self._project = project
        self._plan = plan
        self._record = record
        self._known = self._read_fields()
        self.notes: list[str] = []

    def __call__(self, event: RunEvent) -> None:
        """Write what the template says for this moment. Events of child runs are nothing to it."""
        if event.run != self._record.id:
            return
        self._record = apply_event(self._record, event)
        if isinstance(event, RunStarted):
            self._write("on_start")
        elif isinstance(event, RunFinished) and event.status is not RunState.SKIPPED:
            self._write("on_success" if event.status is RunState.SUCCEEDED else "on_failure")

    def _write(self, moment: str) -> None:
        wanted = self._plan.updates.get(moment, {})
        try:
            values = {field: self._around().value(value) for field, value in wanted.items()}
            changes = [f"{field}={_to_text(value)}" for field, value in self._unchanged(values).items()]
            if changes:
                settings = WriteSettings(commit=True, trailer=f"{TRAILER}: {self._record.id}")
                saved = tasks.change(self._project, self._task, changes, settings, ignore_dependencies=True)
                self.notes += saved.change.notes
            self._known = {**self._known, **self._read_fields()}
        except (DagtasksError, EvaluationError) as error:
            self.notes.append(f"the run could not change {self._task}: {error.message}")

    @property
    def _task(self) -> str:
        return str(self._plan.task)

    def _unchanged(self, values: Mapping[str, JSON]) -> dict[str, JSON]:
        """The values whose fields are as the run left them."""
        now = self._read_fields()
        kept = {}
        for field, value in values.items():
            if now.get(field) == self._known.get(field):
                kept[field] = value
            else:
                self.notes.append(f"{field} of {self._task} was changed to {now.get(field)} meanwhile, and left so")
        return kept

    def _read_fields(self) -> dict[str, JSON]:
        """The fields of the task that the template may change, as they are now."""
        index = self._project.load_around(self._task)
        row: Any = find_task(index, self._task)
        names = {name for fields in self._plan.updates.values() for name in fields}
        return {name: _find(row._asdict(), name) for name in names}

    def _around(self) -> Around:
        run: Any = self._plan.scope.get("run") or {}
        now = {"id": self._record.id, "status": str(self._record.status)}
        steps: dict[str, JSON] = {
            step.name: results.scope_of(step, found)
            for step in self._plan.all_steps
            if (found := self._record.step(step.name))
        }
        return Around({**self._plan.scope, "run": {**run, **now}, "steps": steps})


def _find(fields: Mapping[str, Any], name: str) -> JSON:
    found: Any = fields
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found  # type: ignore[no-any-return]


def _to_text(value: JSON) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
