"""Writing: each change is a commit of exactly the files that it is about, by the user of the key."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from dagtasks.api import forms
from dagtasks.api.answers import COMMIT_HEADER, answer, parse_tags
from dagtasks.api.desk import PREFIX, AtDesk, Desk
from dagtasks.api.problems import Refusal
from dagtasks.api.reading import phase_path, project_path, task_path
from dagtasks.service import comments, phases, projects, tasks, templates, workflows
from dagtasks.service.fields import Replacement
from dagtasks.service.saving import Expected, Saved, WriteSettings

router = APIRouter(prefix=PREFIX)

IfMatch = Annotated[str | None, Header(alias="If-Match", description="the ETag of what is to be changed")]


def _fresh(desk: Desk) -> WriteSettings:
    """How something new is written."""
    return WriteSettings(commit=True, author=str(desk.grant.person), is_whole=True)


def _known(desk: Desk, path: str, tags: str | None) -> WriteSettings:
    """How something is changed that the client has seen. Raises `Refusal` when it does not say what it saw."""
    if tags is None:
        hint = "send If-Match with the ETag that it has, or * for whatever it is"
        raise Refusal(428, "a change has to say what it is a change of", hint=hint)
    return _fresh(desk)._replace(expected=Expected(path, frozenset(parse_tags(tags))))


def _created(saved: Saved, address: str) -> Response:
    return _saved(saved, status=201, Location=f"{PREFIX}/{address}")


def _saved(saved: Saved, *, status: int = 200, **headers: str) -> Response:
    """The thing as it is now, with its new ETag and the id of the commit."""
    contents = [file.content for file in saved.change.files if file.content is not None]
    commit = {COMMIT_HEADER: saved.commit} if saved.commit else {}
    digest = sha256(contents[0]).hexdigest() if contents else None
    return answer(saved.change.data, status=status, digest=digest, headers={**headers, **commit})


def _removed(saved: Saved) -> Response:
    """What is gone, with the notes that say how to get it back."""
    data = {**cast(dict[str, Any], saved.change.data), "notes": list(saved.change.notes)}
    return answer(data, headers={COMMIT_HEADER: saved.commit} if saved.commit else {})


def _key_of(saved: Saved, name: str) -> str:
    return str(cast(dict[str, Any], saved.change.data)[name])


# -- projects -------------------------------------------------------------------------------------------------------


@router.post("/projects", status_code=201, summary="Create a project", tags=["projects"])
def create_project(desk: AtDesk, form: forms.NewProject) -> Response:
    """As `dagtasks project create`."""
    data = form.model_dump(exclude={"key"})
    return _created(projects.create(desk.project, form.key, data, _fresh(desk)), f"projects/{form.key}")


@router.patch("/projects/{key}", summary="Change fields of a project", tags=["projects"])
def patch_project(desk: AtDesk, key: str, form: forms.ProjectPatch, if_match: IfMatch = None) -> Response:
    """A merge patch (RFC 7396)."""
    settings = _known(desk, project_path(key), if_match)
    return _saved(projects.change(desk.project, key, form.given(), settings))


@router.put("/projects/{key}", summary="Replace the fields of a project", tags=["projects"])
def put_project(desk: AtDesk, key: str, form: forms.ProjectFields, if_match: IfMatch = None) -> Response:
    """Fields that are not given become empty."""
    settings = _known(desk, project_path(key), if_match)
    return _saved(projects.change(desk.project, key, Replacement(form.given()), settings))


@router.delete("/projects/{key}", summary="Delete an empty project", tags=["projects"])
def delete_project(desk: AtDesk, key: str, if_match: IfMatch = None) -> Response:
    """As `dagtasks project delete`."""
    return _removed(projects.delete(desk.project, key, _known(desk, project_path(key), if_match)))


# -- phases ---------------------------------------------------------------------------------------------------------


@router.post("/projects/{key}/phases", status_code=201, summary="Create a phase", tags=["phases"])
def create_phase(desk: AtDesk, key: str, form: forms.NewPhase) -> Response:
    """As `dagtasks phase create`."""
    data = form.model_dump(exclude={"key"})
    saved = phases.create(desk.project, f"{key}/{form.key}", data, _fresh(desk))
    return _created(saved, f"projects/{key}/phases/{form.key}")


@router.patch("/projects/{key}/phases/{phase}", summary="Change fields of a phase", tags=["phases"])
def patch_phase(desk: AtDesk, key: str, phase: str, form: forms.PhasePatch, if_match: IfMatch = None) -> Response:
    """A merge patch (RFC 7396)."""
    name = f"{key}/{phase}"
    return _saved(phases.change(desk.project, name, form.given(), _known(desk, phase_path(name), if_match)))


@router.put("/projects/{key}/phases/{phase}", summary="Replace the fields of a phase", tags=["phases"])
def put_phase(desk: AtDesk, key: str, phase: str, form: forms.PhaseFields, if_match: IfMatch = None) -> Response:
    """Fields that are not given become empty."""
    name = f"{key}/{phase}"
    settings = _known(desk, phase_path(name), if_match)
    return _saved(phases.change(desk.project, name, Replacement(form.given()), settings))


@router.delete("/projects/{key}/phases/{phase}", summary="Delete a phase that no task is in", tags=["phases"])
def delete_phase(desk: AtDesk, key: str, phase: str, if_match: IfMatch = None) -> Response:
    """As `dagtasks phase delete`."""
    name = f"{key}/{phase}"
    return _removed(phases.delete(desk.project, name, _known(desk, phase_path(name), if_match)))


# -- tasks ----------------------------------------------------------------------------------------------------------

Ignoring = Annotated[bool, Query(description="do it although a task that it depends on is open")]


@router.post("/tasks", status_code=201, summary="Create a task", tags=["tasks"])
def create_task(desk: AtDesk, form: forms.NewTask) -> Response:
    """As `dagtasks task create`: the id is made."""
    saved = tasks.create(desk.project, form.project, form.model_dump(exclude={"project"}), _fresh(desk))
    return _created(saved, f"tasks/{_key_of(saved, 'id')}")


@router.patch("/tasks/{id}", summary="Change fields of a task", tags=["tasks"])
def patch_task(
    desk: AtDesk,
    id: str,  # noqa: A002 - the name in the address
    form: forms.TaskPatch,
    ignore_dependencies: Ignoring = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """A merge patch (RFC 7396)."""
    settings = _known(desk, task_path(desk, id), if_match)
    return _saved(tasks.change(desk.project, id, form.given(), settings, ignore_dependencies=ignore_dependencies))


@router.put("/tasks/{id}", summary="Replace the fields of a task", tags=["tasks"])
def put_task(
    desk: AtDesk,
    id: str,  # noqa: A002
    form: forms.TaskFields,
    ignore_dependencies: Ignoring = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """Fields that are not given become empty; its workflows stay."""
    settings, changes = _known(desk, task_path(desk, id), if_match), Replacement(form.model_dump())
    return _saved(tasks.change(desk.project, id, changes, settings, ignore_dependencies=ignore_dependencies))


@router.delete("/tasks/{id}", summary="Delete a task that no other depends on", tags=["tasks"])
def delete_task(
    desk: AtDesk,
    id: str,  # noqa: A002
    detach: Annotated[bool, Query(description="also remove it from what others depend on")] = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """As `dagtasks task delete`."""
    return _removed(tasks.delete(desk.project, id, _known(desk, task_path(desk, id), if_match), detach=detach))


@router.post("/tasks/{id}/comments", status_code=201, summary="Comment on a task", tags=["tasks"])
def create_comment(desk: AtDesk, id: str, form: forms.NewComment) -> Response:  # noqa: A002
    """As `dagtasks task comment`, by the user of the key."""
    name, now = desk.grant.person.name, desk.server.now()
    saved = comments.add(desk.project, id, form.text, now, _fresh(desk), name)
    return _created(saved, f"tasks/{_key_of(saved, 'task')}")


# -- workflows of a task --------------------------------------------------------------------------------------------


@router.post("/tasks/{id}/workflows", status_code=201, summary="Bind a template to a task", tags=["workflows"])
def create_workflow(desk: AtDesk, id: str, form: forms.NewWorkflow) -> Response:  # noqa: A002
    """As `dagtasks workflow add`."""
    saved = workflows.add(desk.project, id, form.name, form.template, form.parameters, _fresh(desk))
    return _created(saved, f"tasks/{_key_of(saved, 'task')}/workflows/{form.name}")


@router.patch("/tasks/{id}/workflows/{name}", summary="Change a workflow", tags=["workflows"])
def patch_workflow(
    desk: AtDesk,
    id: str,  # noqa: A002
    name: str,
    form: forms.WorkflowPatch,
    if_match: IfMatch = None,
) -> Response:
    """A merge patch (RFC 7396). `If-Match` takes the ETag of the task's file."""
    settings = _known(desk, task_path(desk, id), if_match)
    return _saved(workflows.patch(desk.project, id, name, form.given(), settings))


@router.put("/tasks/{id}/workflows/{name}", summary="Replace template and parameters", tags=["workflows"])
def put_workflow(
    desk: AtDesk,
    id: str,  # noqa: A002
    name: str,
    form: forms.WorkflowFields,
    if_match: IfMatch = None,
) -> Response:
    """Parameters that are not given are taken out. `If-Match` takes the ETag of the task's file."""
    settings = _known(desk, task_path(desk, id), if_match)
    return _saved(workflows.replace(desk.project, id, name, form.model_dump(), settings))


@router.delete("/tasks/{id}/workflows/{name}", summary="Remove a workflow", tags=["workflows"])
def delete_workflow(desk: AtDesk, id: str, name: str, if_match: IfMatch = None) -> Response:  # noqa: A002
    """As `dagtasks workflow remove`. `If-Match` takes the ETag of the task's file."""
    return _saved(workflows.remove(desk.project, id, name, _known(desk, task_path(desk, id), if_match)))


# -- templates ------------------------------------------------------------------------------------------------------


@router.post("/templates", status_code=201, summary="Create a template that runs as it is", tags=["templates"])
def create_template(desk: AtDesk, form: forms.NewTemplate) -> Response:
    """As `dagtasks template new`."""
    saved = templates.new(desk.project, form.name, form.type, _fresh(desk))
    return _created(saved, f"templates/{form.name}")


@router.put("/templates/{name}/text", summary="Replace the text of a template", tags=["templates"])
def put_text(desk: AtDesk, name: str, form: forms.TemplateText, if_match: IfMatch = None) -> Response:
    """It is checked before it is saved, and has to keep its name."""
    settings = _known(desk, templates.find_file(desk.project, name), if_match)
    return _saved(templates.write_text(desk.project, name, form.text, settings))


@router.delete("/templates/{name}", summary="Delete a template that nothing uses", tags=["templates"])
def delete_template(desk: AtDesk, name: str, if_match: IfMatch = None) -> Response:
    """Refused while tasks, triggers or other templates use it."""
    settings = _known(desk, templates.find_file(desk.project, name), if_match)
    return _removed(templates.delete(desk.project, name, settings))
