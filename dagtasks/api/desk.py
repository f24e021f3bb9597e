"""What the routes are given: the repository as it is now, who asks, and what else comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from dagtasks.api.sessions import Sessions
from dagtasks.service.boards import LiveBoard
from dagtasks.service.keys import Grant
from dagtasks.store.project import Project

PREFIX = "/api/v1"
StartRunner = Callable[[Project], None]


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Server:
    """What one server works with. `start_runner` has a process of its own do what is in the queue.

    `is_ending` says that answers which go on for long are to end. `board` is shown to those that `sessions` knows.
    """

    base: Project
    start_runner: StartRunner
    is_ending: Callable[[], bool] = lambda: False
    now: Callable[[], datetime] = field(default=_utc)
    board: LiveBoard | None = None
    sessions: Sessions | None = None

    def project(self) -> Project:
        """The repository, for one request: nothing that it remembers is older than that."""
        return self.base.with_settings()


class Desk:
    """What one request works with."""

    def __init__(self, server: Server, grant: Grant) -> None:
        self.server = server
        self.grant = grant
        self.project = server.project()

    @property
    def today(self) -> date:
        """The day where the server is: due dates are days of a calendar, not instants."""
        return date.today()  # noqa: DTZ011


async def open_desk(request: Request) -> Desk:
    """The desk of the request; the gate has said who asks."""
    state: Any = request.state
    return Desk(request.app.state.server, state.grant)


AtDesk = Annotated[Desk, Depends(open_desk)]
