"""Writing: each change is a commit of exactly the files that it is about, by the user of the key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from dagtasks.api import described, forms, things
from dagtasks.api.addresses import PhaseKey, ProjectKey, TaskId, TemplateName, WorkflowName
from dagtasks.api.changes import IfMatch, added, as_new, as_seen, changed, created, key_of, removed
from dagtasks.api.desk import PREFIX, AtDesk
from dagtasks.api.reading import phase_path, project_path, task_path
from dagtasks.service import comments, phases, projects, tasks, templates, workflows
from dagtasks.service.fields import Replacement

router = APIRouter(prefix=PREFIX)


# -- projects -------------------------------------------------------------------------------------------------------


@router.post(
    "/projects",
    status_code=201,
    summary="Create a project",
    tags=["projects"],
    responses=described.created(things.Project),
)
def create_project(desk: AtDesk, form: forms.NewProject) -> Response:
    """As `dagtasks project create`."""
    data = form.model_dump(exclude={"key"})
    return created(projects.create(desk.project, form.key, data, as_new(desk)), f"projects/{form.key}")


@router.patch(
    "/projects/{key}",
    summary="Change fields of a project",
    tags=["projects"],
    responses=described.changed(things.Project),
)
def patch_project(desk: AtDesk, key: ProjectKey, form: forms.ProjectPatch, if_match: IfMatch = None) -> Response:
    """A merge patch (RFC 7396)."""
    settings = as_seen(desk, project_path(key), if_match)
    return changed(projects.change(desk.project, key, form.given(), settings))


@router.put(
    "/projects/{key}",
    summary="Replace the fields of a project",
    tags=["projects"],
    responses=described.changed(things.Project),
)
def put_project(desk: AtDesk, key: ProjectKey, form: forms.ProjectFields, if_match: IfMatch = None) -> Response:
    """Fields that are not given become empty."""
    settings = as_seen(desk, project_path(key), if_match)
    return changed(projects.change(desk.project, key, Replacement(form.given()), settings))


@router.delete(
    "/projects/{key}", summary="Delete an empty project", tags=["projects"], responses=described.removed(things.Gone)
)
def delete_project(desk: AtDesk, key: ProjectKey, if_match: IfMatch = None) -> Response:
    """As `dagtasks project delete`."""
    return removed(projects.delete(desk.project, key, as_seen(desk, project_path(key), if_match)))


# -- phases ---------------------------------------------------------------------------------------------------------


@router.post(
    "/projects/{key}/phases",
    status_code=201,
    summary="Create a phase",
    tags=["phases"],
    responses=described.created(things.Phase),
)
def create_phase(desk: AtDesk, key: ProjectKey, form: forms.NewPhase) -> Response:
    """As `dagtasks phase create`."""
    data = form.model_dump(exclude={"key"})
    saved = phases.create(desk.project, f"{key}/{form.key}", data, as_new(desk))
    return created(saved, f"projects/{key}/phases/{form.key}")


@router.patch(
    "/projects/{key}/phases/{phase}",
    summary="Change fields of a phase",
    tags=["phases"],
    responses=described.changed(things.Phase),
)
def patch_phase(
    desk: AtDesk, key: ProjectKey, phase: PhaseKey, form: forms.PhasePatch, if_match: IfMatch = None
) -> Response:
    """A merge patch (RFC 7396)."""
    name = f"{key}/{phase}"
    return changed(phases.change(desk.project, name, form.given(), as_seen(desk, phase_path(name), if_match)))


@router.put(
    "/projects/{key}/phases/{phase}",
    summary="Replace the fields of a phase",
    tags=["phases"],
    responses=described.changed(things.Phase),
)
def put_phase(
    desk: AtDesk, key: ProjectKey, phase: PhaseKey, form: forms.PhaseFields, if_match: IfMatch = None
) -> Response:
    """Fields that are not given become empty."""
    name = f"{key}/{phase}"
    settings = as_seen(desk, phase_path(name), if_match)
    return changed(phases.change(desk.project, name, Replacement(form.given()), settings))


@router.delete(
    "/projects/{key}/phases/{phase}",
    summary="Delete a phase that no task is in",
    tags=["phases"],
    responses=described.removed(things.Gone),
)
def delete_phase(desk: AtDesk, key: ProjectKey, phase: PhaseKey, if_match: IfMatch = None) -> Response:
    """As `dagtasks phase delete`."""
    name = f"{key}/{phase}"
    return removed(phases.delete(desk.project, name, as_seen(desk, phase_path(name), if_match)))


# -- tasks ----------------------------------------------------------------------------------------------------------

Ignoring = Annotated[bool, Query(description="do it although a task that it depends on is open")]


@router.post(
    "/tasks", status_code=201, summary="Create a task", tags=["tasks"], responses=described.created(things.ChangedTask)
)
def create_task(desk: AtDesk, form: forms.NewTask) -> Response:
    """As `dagtasks task create`: the id is made."""
    saved = tasks.create(desk.project, form.project, form.model_dump(exclude={"project"}), as_new(desk))
    return created(saved, f"tasks/{key_of(saved, 'id')}")


@router.patch(
    "/tasks/{id}", summary="Change fields of a task", tags=["tasks"], responses=described.changed(things.ChangedTask)
)
def patch_task(
    desk: AtDesk,
    id: TaskId,  # noqa: A002 - the name in the address
    form: forms.TaskPatch,
    ignore_dependencies: Ignoring = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """A merge patch (RFC 7396)."""
    settings = as_seen(desk, task_path(desk, id), if_match)
    return changed(tasks.change(desk.project, id, form.given(), settings, ignore_dependencies=ignore_dependencies))


@router.put(
    "/tasks/{id}",
    summary="Replace the fields of a task",
    tags=["tasks"],
    responses=described.changed(things.ChangedTask),
)
def put_task(
    desk: AtDesk,
    id: TaskId,  # noqa: A002
    form: forms.TaskFields,
    ignore_dependencies: Ignoring = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """Fields that are not given become empty; its workflows stay."""
    settings, changes = as_seen(desk, task_path(desk, id), if_match), Replacement(form.model_dump())
    return changed(tasks.change(desk.project, id, changes, settings, ignore_dependencies=ignore_dependencies))


@router.delete(
    "/tasks/{id}",
    summary="Delete a task that no other depends on",
    tags=["tasks"],
    responses=described.removed(things.Gone),
)
def delete_task(
    desk: AtDesk,
    id: TaskId,  # noqa: A002
    detach: Annotated[bool, Query(description="also remove it from what others depend on")] = False,  # noqa: FBT002
    if_match: IfMatch = None,
) -> Response:
    """As `dagtasks task delete`."""
    return removed(tasks.delete(desk.project, id, as_seen(desk, task_path(desk, id), if_match), detach=detach))


@router.post(
    "/tasks/{id}/comments",
    status_code=201,
    summary="Comment on a task",
    tags=["tasks"],
    responses=described.added(things.MadeComment),
)
def create_comment(desk: AtDesk, id: TaskId, form: forms.NewComment) -> Response:  # noqa: A002
    """As `dagtasks task comment`, by the user of the key."""
    name, now = desk.grant.person.name, desk.server.now()
    saved = comments.add(desk.project, id, form.text, now, as_new(desk), name)
    return added(saved, f"tasks/{key_of(saved, 'task')}")


# -- workflows of a task --------------------------------------------------------------------------------------------


@router.post(
    "/tasks/{id}/workflows",
    status_code=201,
    summary="Bind a template to a task",
    tags=["workflows"],
    responses=described.created(things.Workflow),
)
def create_workflow(desk: AtDesk, id: TaskId, form: forms.NewWorkflow) -> Response:  # noqa: A002
    """As `dagtasks workflow add`."""
    saved = workflows.add(desk.project, id, form.name, form.template, form.parameters, as_new(desk))
    return created(saved, f"tasks/{key_of(saved, 'task')}/workflows/{form.name}")


@router.patch(
    "/tasks/{id}/workflows/{name}",
    summary="Change a workflow",
    tags=["workflows"],
    responses=described.changed(things.Workflow),
)
def patch_workflow(
    desk: AtDesk,
    id: TaskId,  # noqa: A002
    name: WorkflowName,
    form: forms.WorkflowPatch,
    if_match: IfMatch = None,
) -> Response:
    """A merge patch (RFC 7396). `If-Match` takes the ETag of the task's file."""
    settings = as_seen(desk, task_path(desk, id), if_match)
    return changed(workflows.patch(desk.project, id, name, form.given(), settings))


@router.put(
    "/tasks/{id}/workflows/{name}",
    summary="Replace template and parameters",
    tags=["workflows"],
    responses=described.changed(things.Workflow),
)
def put_workflow(
    desk: AtDesk,
    id: TaskId,  # noqa: A002
    name: WorkflowName,
    form: forms.WorkflowFields,
    if_match: IfMatch = None,
) -> Response:
    """Parameters that are not given are taken out. `If-Match` takes the ETag of the task's file."""
    settings = as_seen(desk, task_path(desk, id), if_match)
    return changed(workflows.replace(desk.project, id, name, form.model_dump(), settings))


@router.delete(
    "/tasks/{id}/workflows/{name}",
    summary="Remove a workflow",
    tags=["workflows"],
    responses=described.changed(things.WorkflowName),
)
def delete_workflow(desk: AtDesk, id: TaskId, name: WorkflowName, if_match: IfMatch = None) -> Response:  # noqa: A002
    """As `dagtasks workflow remove`. `If-Match` takes the ETag of the task's file."""
    return changed(workflows.remove(desk.project, id, name, as_seen(desk, task_path(desk, id), if_match)))


# -- templates ------------------------------------------------------------------------------------------------------


@router.post(
    "/templates",
    status_code=201,
    summary="Create a template that runs as it is",
    tags=["templates"],
    responses=described.created(things.TemplatePlace),
)
def create_template(desk: AtDesk, form: forms.NewTemplate) -> Response:
    """As `dagtasks template new`."""
    saved = templates.new(desk.project, form.name, form.type, as_new(desk))
    return created(saved, f"templates/{form.name}")


@router.put(
    "/templates/{name}/text",
    summary="Replace the text of a template",
    tags=["templates"],
    responses=described.changed(things.TemplatePlace),
)
def put_text(desk: AtDesk, name: TemplateName, form: forms.TemplateText, if_match: IfMatch = None) -> Response:
    """It is checked before it is saved, and has to keep its name."""
    settings = as_seen(desk, templates.find_file(desk.project, name), if_match)
    return changed(templates.write_text(desk.project, name, form.text, settings))


@router.delete(
    "/templates/{name}",
    summary="Delete a template that nothing uses",
    tags=["templates"],
    responses=described.removed(things.Gone),
)
def delete_template(desk: AtDesk, name: TemplateName, if_match: IfMatch = None) -> Response:
    """Refused while tasks, triggers or other templates use it."""
    settings = as_seen(desk, templates.find_file(desk.project, name), if_match)
    return removed(templates.delete(desk.project, name, settings))
