"""Running: what is asked is queued, and done by a process of its own, which outlives the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from dagtasks.api import described, forms, things
from dagtasks.api.addresses import RunId, TaskId, WorkflowName
from dagtasks.api.answers import answer, listing
from dagtasks.api.desk import PREFIX, AtDesk, Desk
from dagtasks.api.reading import AWish
from dagtasks.api.streams import Streams, Told
from dagtasks.model.run import RunRecord
from dagtasks.service import queue, records, requests
from dagtasks.service.pages import cut

router = APIRouter(prefix=PREFIX)


def _accepted(desk: Desk, record: RunRecord) -> Response:
    """The run, which a runner does; it is asked for again at the next look when none can be started now."""
    desk.server.start_runner(desk.project)
    return answer(record.to_json(), status=202, headers={"Location": f"{PREFIX}/runs/{record.id}"})


@router.post(
    "/tasks/{id}/workflows/{name}/runs",
    status_code=202,
    summary="Run a workflow",
    tags=["runs"],
    responses=described.accepted(things.Run),
)
def create_run(desk: AtDesk, id: TaskId, name: WorkflowName, form: forms.NewRun | None = None) -> Response:  # noqa: A002
    """As `dagtasks run` with a runner of its own. The answer is the run as it waits in the queue."""
    wish = form or forms.NewRun()
    by, ignoring = desk.grant.person.email, wish.ignore_dependencies
    record = requests.ask_run(desk.project, id, name, wish.parameters, by, ignore_dependencies=ignoring)
    return _accepted(desk, record)


@router.post(
    "/runs/{run}/retry",
    status_code=202,
    summary="Run again what did not succeed",
    tags=["runs"],
    responses=described.accepted(things.Run),
)
def retry_run(desk: AtDesk, run: RunId, form: forms.RunAgain | None = None) -> Response:
    """As `dagtasks runs retry`. The answer is the new run as it waits in the queue."""
    wish = form or forms.RunAgain()
    again = records.Again(wish.from_step, wish.everything, wish.parameters, wish.current)
    return _accepted(desk, requests.ask_retry(desk.project, run, again, desk.grant.person.email))


@router.post(
    "/runs/{run}/cancel", status_code=202, summary="End a run", tags=["runs"], responses=described.accepted(things.Run)
)
def cancel_run(desk: AtDesk, run: RunId) -> Response:
    """As `dagtasks runs cancel`, without waiting for its end: its steps are stopped, and `finally` is done."""
    return _accepted(desk, requests.ask_cancel(desk.project, run, desk.grant.person.email))


@router.post(
    "/runs/{run}/approve",
    status_code=202,
    summary="Answer an approval",
    tags=["runs"],
    responses=described.accepted(things.Run),
)
def approve_run(desk: AtDesk, run: RunId, form: forms.Answer) -> Response:
    """As `dagtasks runs approve`, by the email address of the key's user."""
    decision = records.Decision(form.approved, form.reason, form.parameters)
    return _accepted(desk, requests.ask_answer(desk.project, run, form.step, decision, desk.grant.person.email))


@router.get(
    "/runs/{run}",
    summary="Show a run: steps, parameters, outputs",
    tags=["runs"],
    responses=described.shown(things.Run),
)
def show_run(desk: AtDesk, run: RunId) -> Response:
    """As `dagtasks runs show`; what waits in the queue is shown, too."""
    return answer(requests.find_run(desk.project, run).to_json())


@router.get("/queue", summary="List what waits to be run", tags=["runs"], responses=described.shown(things.QueuePage))
def list_queue(desk: AtDesk, wish: AWish) -> Response:
    """As `dagtasks queue list`."""
    page = cut(queue.list_entries(desk.project), lambda entry: str(entry["id"]), wish)
    return listing(page.items, page.following)


# -- logs -----------------------------------------------------------------------------------------------------------


@router.get(
    "/runs/{run}/logs",
    summary="Show what the steps of a run printed",
    tags=["runs"],
    responses=described.streamed(things.LogPage),
)
def show_logs(
    request: Request,
    desk: AtDesk,
    run: RunId,
    wish: AWish,
    step: Annotated[str | None, Query(description="only this step")] = None,
) -> Response:
    """As `dagtasks runs logs`. With `Accept: text/event-stream` each line is an event, until the run has ended.

    An event `line` is a line of the list; `end` is the run. While the run waits in the queue there is no line yet.
    """
    reader = requests.read_logs(desk.project, run, step)
    if "text/event-stream" in request.headers.get("accept", ""):
        return _follow(request.app.state.streams, desk, reader)
    page = cut([*enumerate(reader.read())], lambda pair: str(pair[0]), wish)
    return listing([line for _, line in page.items], page.following)


def _follow(streams: Streams, desk: Desk, reader: records.LogReader) -> Response:
    def look() -> Iterator[Told]:
        yield from (Told("line", line) for line in reader.read())
        if is_over():
            yield Told("end", reader.record.to_json())

    def is_over() -> bool:
        return reader.record.status.is_final

    return streams.open(desk, lambda: [*look()], is_over)
