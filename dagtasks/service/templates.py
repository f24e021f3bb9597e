"""Workflow templates: list, show, make new ones, and read parameters by their types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, NotFound, Problem, about, has_errors
from dagtasks.language.parameters import read_texts, read_values
from dagtasks.model.names import KEY_PATTERN, choose_from
from dagtasks.model.run import RunRecord
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.template import Template, with_defaults
from dagtasks.planning.drawing import Drawing, make_drawing
from dagtasks.planning.index import Index
from dagtasks.planning.lint import find_advice, find_off, switch_off
from dagtasks.planning.plan import PlannedTemplate
from dagtasks.planning.planner import refuse
from dagtasks.planning.reading import in_defaults, read_template
from dagtasks.planning.references import ReferenceFault, find_called
from dagtasks.planning.steps import edges, find_uses
from dagtasks.service import checks, shellcheck
from dagtasks.service.documents import refuse_existing, undo_hint
from dagtasks.service.saving import NO_FILE, Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import Listing
from dagtasks.store.layout import TEMPLATES, Kind, Place
from dagtasks.store.problems import without_remarks
from dagtasks.store.project import Project

Given = Sequence[str] | Mapping[str, Any]
"""What is given for parameters: `KEY=VALUE` pairs as people type them, or values by name."""


def list_all(project: Project) -> Listing:
    """All templates."""
    index = project.load()
    return Listing([row_to_json(row) for row in index.templates.values()], index.problems)


def row_to_json(row: TemplateSummary) -> dict[str, Any]:
    """The template as lists show it."""
    return {
        "name": row.name,
        "type": row.type,
        "version": row.version,
        "description": row.description,
        "category": row.category,
        "tags": list(row.tags),
        "parameters": list(row.parameters),
        "path": row.path,
    }


def show(project: Project, name: str) -> dict[str, Any]:
    """The whole template. Raises `NotFound`, `InvalidProject` when its file is wrong."""
    row = find_template(project.load(), name)
    template = Template.model_validate(project.read_template(row.path))
    needs = edges(template, find_uses(template))
    return {
        **row_to_json(row),
        "parameters": {
            key: spec.model_dump(mode="json", exclude_unset=True) for key, spec in template.parameters.items()
        },
        "steps": [
            {
                "name": step.name,
                "kind": step.kind,
                "depends_on": list(needs[step.name]),
                "description": step.description,
            }
            for step in template.steps
        ],
        "outputs": {
            key: output.model_dump(mode="json", exclude_unset=True) for key, output in template.outputs.items()
        },
    }


def validate(project: Project, paths: Sequence[str] = ()) -> list[Problem]:
    """Every problem of the templates in these files and folders (none: all), with advice on those that are right.

    Raises `NotFound`.
    """
    wanted = [checks.relative_path(project, path) for path in paths] or [TEMPLATES]
    index = project.load()
    rows = [row for row in index.templates.values() if checks.is_among(row.path, wanted)]
    advice = [problem for row in rows for problem in _advise(project, row, index.templates)]
    problems = [problem for problem in checks.validate(project) if checks.is_among(problem.path, wanted)]
    return sorted([*problems, *without_remarks(project, advice)])


def _advise(project: Project, row: TemplateSummary, known: Mapping[str, TemplateSummary]) -> list[Problem]:
    """Advice on one template that has no errors."""
    document = project.read_document(row.path)
    reading = read_template(document.data or {})
    if reading.template is None:
        return []
    data = with_defaults(reading.data)
    findings = find_advice(reading.template, data, known)
    if program := shellcheck.find_program():
        findings += shellcheck.check_shell(program, reading.template, data)
    placed = dict.fromkeys(in_defaults(finding, reading.data) for finding in findings)
    return document.problems_for(switch_off(placed, find_off(reading.data)[0]))


def read_script(project: Project, path: str) -> str:
    """A script of the repository. Raises `NotFound`, `InvalidInput` when it is not text or lies elsewhere."""
    found = (project.root / path).resolve()
    if not found.is_relative_to(project.root.resolve()):
        raise InvalidInput(f"{path} does not lie in the repository")
    try:
        return found.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path} cannot be read as text: {error}") from None


def draw(project: Project, name: str, run: str | None = None) -> Drawing:
    """The steps of the template; with a run, as that run had it, and with its states.

    Raises `NotFound`, `InvalidProject`, and `InvalidInput` when the run is one of another template.
    """
    if run is None:
        template = Template.model_validate(project.read_template(find_template(project.load(), name).path))
        return make_drawing(template, {})
    record = project.runs.get(run)
    if record.template.get("name") != name:
        raise InvalidInput(f"run {record.id} is one of template {record.template.get('name')}")
    data = _data_of_run(project, record)
    return make_drawing(Template.model_validate(data), {step.name: str(step.state) for step in record.steps})


def _data_of_run(project: Project, record: RunRecord) -> Any:
    """What the run's template said. Raises `NotFound` when nothing was kept of that."""
    root = record
    while root.parent:
        root = project.runs.get(root.parent)
    sources = json.loads(project.runs.read_plan(root.id))
    templates = [sources["template"], *sources["templates"].values()]
    blob = record.template.get("blob")
    found = next((template["data"] for template in templates if template["blob"] == blob), None)
    if found is None:
        raise NotFound(f"the template of run {record.id} was not kept")
    return found


def find_file(project: Project, name: str) -> str:
    """The path of the template's file, also of one with errors. Raises `NotFound`."""
    index = project.load()
    broken = next((file.path for file in index.broken if file.kind == Kind.TEMPLATE and file.id == name), None)
    return broken or find_template(index, name).path


def show_text(project: Project, name: str) -> dict[str, Any]:
    """The name, path and text of the template's file. Raises `NotFound`, `InvalidProject` when it is no text."""
    path = find_file(project, name)
    document = project.read_document(path)
    try:
        return {"name": name, "path": path, "text": document.content.decode()}
    except UnicodeDecodeError:
        raise InvalidProject(f"{path} is no text", problems=document.problems) from None


def write_text(project: Project, name: str, text: str, settings: WriteSettings) -> Saved:
    """Give the template's file that text. Raises `NotFound`, and `InvalidProject` when it would have errors."""

    def make() -> Change:
        path = find_file(project, name)
        base, content = project.read_document(path).sha256, text.encode()
        _refuse_wrong(name, path, content)
        return Change([FileChange(path, content, base)], f"{path}: edited", "template", {"name": name, "path": path})

    return save(project, f"template edit {name}", make, settings)


def _refuse_wrong(name: str, path: str, content: bytes) -> None:
    from dagtasks.store.documents import parse_document
    from dagtasks.store.rows import read_row

    read = read_row(Place(path, Kind.TEMPLATE, name), parse_document(content, path))
    if has_errors(read.problems):
        raise InvalidProject(f"{path} would be wrong, so nothing was saved", problems=read.problems)
    if isinstance(read.row, TemplateSummary) and read.row.name != name:
        raise InvalidInput(f"the text names the template {read.row.name!r}, and not {name!r}", hint="keep its name")


def delete(project: Project, name: str, settings: WriteSettings) -> Saved:
    """Delete a template that nothing uses. Raises `NotFound`, `Conflict`."""

    def make() -> Change:
        index, path = project.load(), find_file(project, name)
        if users := _find_users(index, {name, path}):
            raise Conflict(f"template {name} is used by {', '.join(users[:20])}", hint="take it out of these first")
        notes = [undo_hint(project, path)]
        return Change([FileChange(path, None)], f"{path}: deleted", "template", {"name": name, "path": path}, notes)

    return save(project, f"template delete {name}", make, settings)


def _find_users(index: Index, names: set[str]) -> list[str]:
    """What refers to the template by one of the names, whatever version it asks for."""

    def is_meant(reference: str) -> bool:
        return reference.partition("@")[0] in names

    users = [
        f"{task.id}/{one.name}" for task in index.tasks.values() for one in task.workflows if is_meant(one.template)
    ]
    users += [owner.path for owner in index.projects.values() if any(is_meant(one.template) for one in owner.triggers)]
    others = (row for row in index.templates.values() if row.name not in names)
    return users + [row.path for row in others if any(is_meant(call.template) for call in row.calls)]


def find_template(index: Index, text: str) -> TemplateSummary:
    """The row of the template that the text names: by name, as `name@^1.2`, or by path.

    Raises `NotFound`; when its file is wrong, `InvalidProject` with that file's problems.
    """
    try:
        return find_called(text, index.templates)
    except ReferenceFault as fault:
        _refuse_broken(index, text)
        known = index.templates if "@" not in text and "/" not in text else ()
        raise NotFound(fault.message, hint=choose_from(text, known) if known else fault.hint) from None


def _refuse_broken(index: Index, text: str) -> None:
    names = {text, text.partition("@")[0]} - index.templates.keys()
    broken = [file.path for file in index.broken if file.kind == Kind.TEMPLATE and {file.id, file.path} & names]
    if broken:
        problems = [problem for problem in index.problems if problem.path in broken]
        raise InvalidProject(f"template {text} cannot be used", problems=problems)


def plan_template(project: Project, row: TemplateSummary) -> PlannedTemplate:
    """The template with its bytes as they are now, for a plan."""
    document = project.read_document(row.path)
    if document.data is None:
        raise InvalidProject(f"{row.path} is wrong", problems=document.problems)
    blob = project.blob_id(document.content)
    return PlannedTemplate(row.name, row.version, row.path, blob, document.data, document.content.decode())


def coerce_parameters(project: Project, index: Index, name: str, given: Given) -> dict[str, Any]:
    """What is given for parameters, as values of the types that the template declares.

    Raises `NotFound`, `InvalidInput`.
    """
    with about("template"):
        row = find_template(index, name)
    template = Template.model_validate(project.read_template(row.path))
    return read_given(template, given)


def read_given(template: Template, given: Given) -> dict[str, Any]:
    """Values of the declared types, from `KEY=VALUE` pairs (`KEY=@FILE`: what the file holds) or from values.

    Raises `InvalidInput`.
    """
    if isinstance(given, Mapping):
        read = read_values(template.parameters, given)
    else:
        read = read_texts(template.parameters, [split_pair(pair) for pair in given])
    refuse(read.findings, f"parameters of template {template.metadata.name}")
    return dict(read.values)


def split_pair(pair: str) -> tuple[str, str]:
    """Name and text of `KEY=VALUE`, or of `KEY=@FILE`. Raises `InvalidInput`."""
    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise InvalidInput(f"{pair!r} is not KEY=VALUE")
    return key, _read_text(text[1:]) if text.startswith("@") else text


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None


TYPES = ("containerized_workflow", "script_workflow", "api_workflow", "composite_workflow")


_RUN_BY = {"composite_workflow": "basic_task"}
"""The template that a new one of that type runs."""


def _refuse_without(project: Project, needed: str | None) -> None:
    if needed and needed not in project.load().templates:
        raise Conflict(
            f"a new one of this type runs the template {needed}, which is not here", hint="choose another type"
        )


def new(project: Project, name: str, kind: str, settings: WriteSettings) -> Saved:
    """Write a template that runs as it is. Raises `InvalidInput` for a bad name, `Conflict` when that cannot be."""
    if not re.fullmatch(KEY_PATTERN, name):
        raise InvalidInput(f"{name!r} is no name for a template", hint=f"form: {KEY_PATTERN}")
    if kind not in TYPES:
        raise InvalidInput(f"there is no type {kind!r} of templates", hint=f"there is: {', '.join(TYPES)}")
    path = f"{TEMPLATES}/{name}.yaml"

    def make() -> Change:
        from dagtasks.store.emitter import scalar_text

        refuse_existing(project, path)
        _refuse_without(project, _RUN_BY.get(kind))
        text = (files("dagtasks.service") / "starter" / "new" / f"{kind}.yaml").read_text("utf-8")
        content = text.replace("NAME", scalar_text(name)).encode()
        return Change(
            [FileChange(path, content, NO_FILE)], f"{path}: written", "template", {"name": name, "path": path}
        )

    return save(project, f"template new {name}", make, settings)
