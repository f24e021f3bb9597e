"""Reading: the same answers as the commands give with `--json`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response

from dagtasks.api import described, things
from dagtasks.api.addresses import PhaseKey, ProjectKey, TaskId, TemplateName, WorkflowName
from dagtasks.api.answers import answer, etag, listing, parse_tags
from dagtasks.api.desk import PREFIX, AtDesk, Desk
from dagtasks.errors import Conflict
from dagtasks.service import checks, phases, projects, records, templates, views, workflows
from dagtasks.service.diff import compare
from dagtasks.service.links import find_task
from dagtasks.service.pages import DEFAULT_LIMIT, MAX_LIMIT, Wish, cut

router = APIRouter(prefix=PREFIX)

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="ETags that the client has already")]
Filter = Annotated[str | None, Query(description="only these, as the option of the command")]
REVALIDATE = {"Cache-Control": "private, no-cache"}
TRIES = 5
"""How often something is read again that changes while it is read."""


async def read_wish(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="items at the most")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> Wish:
    """Which page the client asks for."""
    return Wish(limit, cursor)


AWish = Annotated[Wish, Depends(read_wish)]


def _page(found: views.Listing, key: str, wish: Wish) -> Response:
    page = cut(found.data, lambda row: str(row[key]), wish)
    return listing(page.items, page.following, problems=found.problems)


def one(desk: Desk, find_path: Callable[[], str], show: Callable[[], Any], tags: str | None) -> Response:
    """The resource with the ETag of the very bytes that it was made of; 304 when the client has these already."""
    for _ in range(TRIES):
        before = read_digest(desk, path := find_path())
        data = show()
        if before and read_digest(desk, path) == before:
            return _answer_once(data, before, tags)
    raise Conflict(f"others keep changing {path}", hint="ask again")


def _answer_once(data: Any, digest: str, tags: str | None) -> Response:
    if tags is not None and parse_tags(tags) & {digest, "*"}:
        return Response(status_code=304, headers={"ETag": etag(digest), **REVALIDATE})
    return answer(data, digest=digest, headers=REVALIDATE)


def read_digest(desk: Desk, path: str) -> str:
    """The SHA-256 of the file; "" when there is none."""
    try:
        return sha256((desk.project.root / path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def project_path(key: str) -> str:
    """Where the file of the project lies."""
    return projects.project_place(key).path


def phase_path(name: str) -> str:
    """Where the file of the phase lies. Raises `InvalidInput`."""
    return phases.phase_place(name).path


# -- projects and phases --------------------------------------------------------------------------------------------


@router.get(
    "/projects",
    summary="List projects with their progress",
    tags=["projects"],
    responses=described.shown(things.ProjectPage),
)
def list_projects(desk: AtDesk, wish: AWish) -> Response:
    """As `dagtasks project list`."""
    return _page(projects.list_all(desk.project), "key", wish)


@router.get("/projects/{key}", summary="Show a project", tags=["projects"], responses=described.tagged(things.Project))
def show_project(desk: AtDesk, key: ProjectKey, if_none_match: IfNoneMatch = None) -> Response:
    """As `dagtasks project show`."""
    return one(desk, lambda: project_path(key), lambda: projects.show(desk.project, key), if_none_match)


@router.get(
    "/projects/{key}/phases",
    summary="List the phases of a project",
    tags=["phases"],
    responses=described.shown(things.PhasePage),
)
def list_phases(desk: AtDesk, key: ProjectKey, wish: AWish) -> Response:
    """As `dagtasks phase list`: in their order."""
    return _page(phases.list_all(desk.project, key), "id", wish)


@router.get(
    "/projects/{key}/phases/{phase}", summary="Show a phase", tags=["phases"], responses=described.tagged(things.Phase)
)
def show_phase(desk: AtDesk, key: ProjectKey, phase: PhaseKey, if_none_match: IfNoneMatch = None) -> Response:
    """As `dagtasks phase show`."""
    name = f"{key}/{phase}"
    return one(desk, lambda: phase_path(name), lambda: phases.show(desk.project, name), if_none_match)


# -- tasks and their workflows --------------------------------------------------------------------------------------


@router.get(
    "/tasks",
    summary="List tasks, all or those that a query asks for",
    tags=["tasks"],
    responses=described.shown(things.TaskPage),
)
def list_tasks(
    desk: AtDesk,
    wish: AWish,
    q: Annotated[str, Query(description="a query, as `status:blocked label:api,ui -label:bug is:overdue`")] = "",
    sort: Annotated[str, Query(description="a field; `-field` for the other way round")] = "id",
    project: Filter = None,
    phase: Filter = None,
    status: Filter = None,
    assignee: Filter = None,
    label: Filter = None,
) -> Response:
    """As `dagtasks task list`."""
    filters = {"project": project, "phase": phase, "status": status, "assignee": assignee, "label": label}
    query = views.join_query([q] if q else [], filters)
    rows, following = views.list_page(desk.project, query, desk.today, wish, sort=sort)
    return listing(rows.data, following, problems=rows.problems)


@router.get("/tasks/{id}", summary="Show a task", tags=["tasks"], responses=described.tagged(things.Task))
def show_task(
    desk: AtDesk,
    id: TaskId,  # noqa: A002 - the name in the address
    dependents: Annotated[bool, Query(description="also the tasks that depend on it")] = False,  # noqa: FBT002
    history: Annotated[bool, Query(description="also what was changed, when and by whom")] = False,  # noqa: FBT002
    if_none_match: IfNoneMatch = None,
) -> Response:
    """As `dagtasks task show`. The ETag stands for the task's own file.

    What follows from other files (`ready`, `waiting`, `overdue`, `comments`) can change without it.
    """

    def show() -> Any:
        return views.show(desk.project, id, desk.today, dependents=dependents, with_history=history).data

    return one(desk, lambda: task_path(desk, id), show, if_none_match)


def task_path(desk: Desk, text: str) -> str:
    """Where the file of the task lies. Raises `NotFound`."""
    return find_task(desk.project.load_around(text), text).path


@router.get(
    "/tasks/{id}/workflows",
    summary="List the workflows of a task",
    tags=["workflows"],
    responses=described.shown(things.WorkflowPage),
)
def list_workflows(desk: AtDesk, id: TaskId, wish: AWish) -> Response:  # noqa: A002
    """As `dagtasks workflow list`."""
    return _page(views.Listing(workflows.list_all(desk.project, id)), "name", wish)


@router.get(
    "/tasks/{id}/workflows/{name}",
    summary="Show a workflow of a task",
    tags=["workflows"],
    responses=described.tagged(things.Workflow),
)
def show_workflow(desk: AtDesk, id: TaskId, name: WorkflowName, if_none_match: IfNoneMatch = None) -> Response:  # noqa: A002
    """As `dagtasks workflow show`. The ETag is that of the task's file."""
    return one(desk, lambda: task_path(desk, id), lambda: workflows.show(desk.project, id, name), if_none_match)


# -- templates ------------------------------------------------------------------------------------------------------


@router.get("/templates", summary="List templates", tags=["templates"], responses=described.shown(things.TemplatePage))
def list_templates(desk: AtDesk, wish: AWish) -> Response:
    """As `dagtasks template list`."""
    return _page(templates.list_all(desk.project), "name", wish)


@router.get(
    "/templates/{name}",
    summary="Show a template: parameters, steps, outputs",
    tags=["templates"],
    responses=described.tagged(things.Template),
)
def show_template(desk: AtDesk, name: TemplateName, if_none_match: IfNoneMatch = None) -> Response:
    """As `dagtasks template show`."""
    return one(desk, lambda: template_path(desk, name), lambda: templates.show(desk.project, name), if_none_match)


def template_path(desk: Desk, name: str) -> str:
    """Where the file of the template lies. Raises `NotFound`."""
    return templates.find_template(desk.project.load(), name).path


@router.get(
    "/templates/{name}/text",
    summary="Show the text of a template",
    tags=["templates"],
    responses=described.tagged(things.TemplateWhole),
)
def show_text(desk: AtDesk, name: TemplateName, if_none_match: IfNoneMatch = None) -> Response:
    """The file as it is, also of a template with errors."""
    find_path = partial(templates.find_file, desk.project, name)
    return one(desk, find_path, lambda: templates.show_text(desk.project, name), if_none_match)


# -- runs -----------------------------------------------------------------------------------------------------------


@router.get(
    "/runs", summary="List runs, the newest first", tags=["runs"], responses=described.shown(things.RunPage, 404)
)
def list_runs(desk: AtDesk, wish: AWish, task: Filter = None, status: Filter = None) -> Response:
    """As `dagtasks runs list`."""
    found, problems = records.list_runs(desk.project, task=task, status=status)
    page = cut(found, lambda record: record.id, wish)
    return listing([record.to_json() for record in page.items], page.following, problems=problems)


# -- all files ------------------------------------------------------------------------------------------------------


@router.get(
    "/validate",
    summary="Show every problem of every file",
    tags=["files"],
    responses=described.shown(things.ProblemPage),
)
def validate(desk: AtDesk, wish: AWish) -> Response:
    """As `dagtasks validate`: the answer is 200 also when there are problems."""
    found = [problem.to_json() for problem in checks.validate(desk.project)]
    page = cut(found, lambda problem: "{path}:{line}:{column} {code} {message}".format(**problem), wish)
    return listing(page.items, page.following)


@router.get(
    "/diff",
    summary="Show what changed from one commit to another",
    tags=["files"],
    responses=described.shown(things.ChangePage),
)
def diff(
    desk: AtDesk, wish: AWish, revisions: Annotated[str, Query(description="as `A..B`, `A...B` or `A`")] = "HEAD"
) -> Response:
    """As `dagtasks diff`: `A` alone compares it with the files as they are now."""
    found = compare(desk.project, revisions)
    numbered = [(str(number), event.to_json()) for number, event in enumerate(found.events)]
    page = cut(numbered, lambda pair: pair[0], wish)
    sides = {"before": found.before, "after": found.after}
    return listing([event for _, event in page.items], page.following, problems=found.problems, **sides)
