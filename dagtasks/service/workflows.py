"""Workflows of a task: templates bound with parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagtasks.errors import Conflict, InvalidInput, Loc, NotFound
from dagtasks.model.names import KEY_PATTERN, choose_from
from dagtasks.model.summary import TaskSummary
from dagtasks.planning.index import Index
from dagtasks.service.documents import edit_file
from dagtasks.service.fields import Edit, merge_patch
from dagtasks.service.links import find_task
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.templates import Given, coerce_parameters
from dagtasks.store.layout import Kind, Place
from dagtasks.store.project import Project

Binding = dict[str, Any]
Make = Callable[[Index, TaskSummary], tuple[list[Edit], str, Any]]


def list_all(project: Project, text: str) -> list[dict[str, Any]]:
    """The workflows of the task. Raises `NotFound`."""
    task = find_task(project.load(), text)
    return [to_json(task, name) for name in _names(task)]


def show(project: Project, text: str, name: str) -> dict[str, Any]:
    """The workflow of that name of the task. Raises `NotFound`."""
    task = find_task(project.load(), text)
    refuse_unknown(task, name)
    return to_json(task, name)


def to_json(task: TaskSummary, name: str) -> dict[str, Any]:
    """The workflow as `--json` shows it."""
    binding = next(binding for binding in task.workflows if binding.name == name)
    return {"task": task.id, "name": name, "template": binding.template, "parameters": dict(binding.parameters)}


def refuse_unknown(task: TaskSummary, name: str) -> None:
    """Raise `NotFound` when the task has no workflow of that name."""
    if name not in _names(task):
        raise NotFound(f"{task.id} has no workflow {name!r}", hint=choose_from(name, _names(task)))


def _names(task: TaskSummary) -> list[str]:
    return [binding.name for binding in task.workflows]


def add(project: Project, text: str, name: str, template: str, given: Given, settings: WriteSettings) -> Saved:
    """Bind the template to the task. Raises `NotFound`, `InvalidInput` for wrong parameters, `Conflict`."""
    if not re.fullmatch(KEY_PATTERN, name):
        raise InvalidInput(f"{name!r} is no name for a workflow", hint=f"form: {KEY_PATTERN}", field="name")

    def make(index: Index, task: TaskSummary) -> tuple[list[Edit], str, Any]:
        if name in _names(task):
            hint = "change it with `workflow set`"
            raise Conflict(f"{task.id} has a workflow {name!r} already", hint=hint, field="name")
        parameters = coerce_parameters(project, index, template, given)
        binding = {"template": template, "parameters": parameters}
        answer = {"task": task.id, "name": name, **binding}
        return [Edit("set", ("workflows", name), binding)], f"workflow {name} added ({template})", answer

    return _edit(project, text, f"workflow add {name}", make, settings)


def change(project: Project, text: str, name: str, pairs: Sequence[str], settings: WriteSettings) -> Saved:
    """Change parameters of the workflow; `template=NAME` binds another template. Raises as `add`."""

    def make(index: Index, task: TaskSummary) -> tuple[list[Edit], str, Any]:
        refuse_unknown(task, name)
        binding = to_json(task, name)
        template = _template(pairs) or binding["template"]
        given = [pair for pair in pairs if not pair.startswith("template=")]
        emptied = [pair[:-1] for pair in given if pair.endswith("=") and "=" not in pair[:-1]]
        values = coerce_parameters(project, index, template, [p for p in given if p[:-1] not in emptied])
        parameters = _merge(binding["parameters"], values, emptied)
        at = ("workflows", name)
        edits = [Edit("set", (*at, "template"), template)] if template != binding["template"] else []
        edits += [Edit("set", (*at, "parameters", key), value) for key, value in values.items()]
        edits += [Edit("set", (*at, "parameters", key), None) for key in emptied]
        answer = {**binding, "template": template, "parameters": parameters}
        return edits, f"workflow {name} changed ({', '.join(pair.partition('=')[0] for pair in pairs)})", answer

    return _edit(project, text, f"workflow set {name}", make, settings)


def patch(project: Project, text: str, name: str, fields: Mapping[str, Any], settings: WriteSettings) -> Saved:
    """Change `template` and `parameters` as a merge patch says (RFC 7396). Raises as `add`."""
    return _rewrite(project, text, name, lambda before: merge_patch(before, fields), settings)


def replace(project: Project, text: str, name: str, fields: Mapping[str, Any], settings: WriteSettings) -> Saved:
    """Give the workflow this `template` and these `parameters`. Raises as `add`."""
    return _rewrite(project, text, name, lambda _: dict(fields), settings)


def _rewrite(
    project: Project, text: str, name: str, change_to: Callable[[Binding], Binding], settings: WriteSettings
) -> Saved:
    def make(index: Index, task: TaskSummary) -> tuple[list[Edit], str, Any]:
        refuse_unknown(task, name)
        before = to_json(task, name)
        after = change_to({key: before[key] for key in ("template", "parameters")})
        template, given = after.get("template"), after.get("parameters") or {}
        if not template:
            raise InvalidInput("a workflow needs a template", field="template")
        # A template that is another now may want other types.
        parameters = coerce_parameters(project, index, template, given)
        edits = [
            *_edits_between(("workflows", name), before, {**before, "template": template, "parameters": parameters})
        ]
        return edits, f"workflow {name} changed", {**before, "template": template, "parameters": parameters}

    return _edit(project, text, f"workflow set {name}", make, settings)


def _edits_between(at: Loc, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Edit]:
    if before["template"] != after["template"]:
        yield Edit("set", (*at, "template"), after["template"])
    for key in before["parameters"].keys() - after["parameters"].keys():
        yield Edit("drop", (*at, "parameters", key), None)
    for key, value in after["parameters"].items():
        if before["parameters"].get(key) != value:
            yield Edit("set", (*at, "parameters", key), value)


def _template(pairs: Iterable[str]) -> str | None:
    return next((pair.partition("=")[2] for pair in pairs if pair.startswith("template=")), None)


def _merge(old: Mapping[str, Any], new: Mapping[str, Any], emptied: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **new}.items() if key not in set(emptied)}


def remove(project: Project, text: str, name: str, settings: WriteSettings) -> Saved:
    """Remove the workflow from the task. Raises `NotFound`."""

    def make(_index: Index, task: TaskSummary) -> tuple[list[Edit], str, Any]:
        refuse_unknown(task, name)
        return [Edit("drop", ("workflows", name), None)], f"workflow {name} removed", {"task": task.id, "name": name}

    return _edit(project, text, f"workflow remove {name}", make, settings)


def _edit(project: Project, text: str, what: str, make: Make, settings: WriteSettings) -> Saved:
    def make_change() -> Change:
        index = project.load()
        task = find_task(index, text)
        edits, message, answer = make(index, task)
        edited = edit_file(project, Place(task.path, Kind.TASK, task.id, task.project), edits)
        return Change([FileChange(*edited)], f"{task.id}: {message}", "workflow", answer)

    return save(project, f"{what} {text}", make_change, settings)
