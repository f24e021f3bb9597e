"""What happened: the log of events, in pages or as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from dagtasks.api import described, things
from dagtasks.api.answers import listing
from dagtasks.api.desk import PREFIX, AtDesk
from dagtasks.api.reading import AWish
from dagtasks.api.streams import Told
from dagtasks.service.pages import cut
from dagtasks.store.events import EventLog

router = APIRouter(prefix=PREFIX)


class _Follower:
    """Reads what is new in the log, when anything is."""

    def __init__(self, log: EventLog, last: str | None) -> None:
        self._log = log
        self._last = last
        self._stamp: tuple[int, int] | None = None

    def look(self) -> Sequence[Told]:
        stamp = self._log.stamp()
        if stamp == self._stamp:
            return ()
        found = self._log.read_after(self._last)
        self._stamp, self._last = stamp, found[-1].id if found else self._last
        return [Told(record.type, record.to_json(), record.id) for record in found]


@router.get("/events", summary="Show what happened", tags=["events"], responses=described.streamed(things.EventPage))
def list_events(
    request: Request,
    desk: AtDesk,
    wish: AWish,
    after: Annotated[str | None, Query(description="only what came after the event of this id")] = None,
    last_event_id: Annotated[str | None, Header(description="the same, as browsers send it")] = None,
) -> Response:
    """The events of this clone that are kept, the oldest first.

    With `Accept: text/event-stream` what comes from now on, each called by its type, until the client goes; with
    `Last-Event-ID` (or `after`) first what came since that.
    """
    log = EventLog(desk.project.get_git())
    since = last_event_id or after
    if "text/event-stream" in request.headers.get("accept", ""):
        follower = _Follower(log, since or log.find_last())
        return request.app.state.streams.open(desk, follower.look, lambda: False)  # type: ignore[no-any-return]
    page = cut(log.read_after(since), lambda record: record.id, wish)
    return listing([record.to_json() for record in page.items], page.following)
