"""The application: the routes, how errors are answered, and the gate before all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.routing import APIRoute

from dagtasks import __version__
from dagtasks.api import board, events, reading, reference, running, webhooks, writing
from dagtasks.api.described import describe
from dagtasks.api.desk import Server
from dagtasks.api.gate import Gate, Guesses
from dagtasks.api.once import Once
from dagtasks.api.problems import add_handlers
from dagtasks.api.streams import Streams
from dagtasks.service import keys
from dagtasks.service.keys import Grant

ROUTERS = (reading.router, writing.router, running.router, events.router, webhooks.router)
DESCRIPTION = """\
Projects, phases, tasks, workflows, templates, runs and webhooks of one repository. A write is a commit.

Every request needs a key: `Authorization: Bearer dgt_...`, or `X-API-Key`. Errors are problem details (RFC 9457).
"""


def make_routes(server: Server) -> FastAPI:
    """The application behind the gate."""
    app = _Described(
        title="dagtasks",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name_of,
    )
    app.state.server = server
    app.state.streams = Streams(CapacityLimiter(8))
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(reference.make_router(app.openapi))
    add_handlers(app, [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)])
    if server.board:  # it has an answer for every address that is left
        app.include_router(board.make_router(server.board))
        app.add_middleware(board.Noticing, board=server.board)
    return app


class _Described(FastAPI):
    """Says more of itself than the framework knows."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(super().openapi())
        return self.openapi_schema


def _name_of(route: APIRoute) -> str:
    return route.name


def make_app(server: Server, hosts: Iterable[str] = (), guesses: Guesses | None = None) -> Gate:
    """The whole application. `hosts` are names under which it may be reached, beside those of this machine."""

    def find_grant(secret: str) -> Grant | None:
        return keys.find_grant(server.project(), secret, server.now())

    return Gate(Once(make_routes(server), server), find_grant, hosts, guesses, server.sessions)
