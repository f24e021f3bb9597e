"""The board, as it is published, and beside it the one script that lets people change what they see."""

from __future__ import annotations

import html
import mimetypes
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagtasks.api.desk import PREFIX
from dagtasks.api.gate import READING
from dagtasks.api.problems import Refusal
from dagtasks.board.scripts import FOLDER
from dagtasks.errors import DagtasksError
from dagtasks.service.boards import LiveBoard

LIVE = "assets/dagtasks/live"
"""What the addresses of the script and of what belongs to it begin with; no published site has them."""
_MINUTES = (b"cache-control", b"private, max-age=600")
_FRAMES = "frame-ancestors 'none'"
"""The rest of a page's policy stands in the page."""


def make_router(board: LiveBoard) -> APIRouter:
    """The routes of all that is no API: they come last."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/{uri:path}", methods=[*READING])
    def show(uri: str, request: Request) -> Response:
        if f"/{uri}/".startswith(f"{PREFIX}/"):
            raise Refusal(404, f"there is no {request.url.path}")
        if uri.startswith(LIVE):
            return _read_live(uri)
        return _show(board, uri)

    return router


def _read_live(uri: str) -> Response:
    path = FOLDER / Path(uri).name
    if not path.is_file():
        raise Refusal(404, f"there is no /{uri}")
    return Response(path.read_bytes(), media_type=_type_of(path))


def _show(board: LiveBoard, uri: str) -> Response:
    wanted = f"{uri}index.html" if uri.endswith("/") or not uri else uri
    try:
        path = board.find(wanted)
        missing = None if path else board.find("404.html")
    except DagtasksError as error:
        return _sorry(error)
    if path and path.is_dir():
        return RedirectResponse(f"{quote(path.name)}/", 307)
    if path is None:
        return _page(missing, 404, "/")
    if path.suffix == ".html":
        return _page(path, 200, "../" * uri.count("/"))
    answer = Response(path.read_bytes(), media_type=_type_of(path))
    answer.raw_headers.append(_MINUTES)
    return answer


def _type_of(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _sorry(error: DagtasksError) -> Response:
    """What stands where the board cannot be made: what has to be mended first."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>No board</title><h1>The board cannot be shown</h1><pre>{html.escape(error.message)}</pre>"
        f"<p>{html.escape(error.hint)}</p><p>Load this page again when that is mended.</p>"
    )
    return Response(text, 500, media_type="text/html")


def _page(path: Path | None, status: int, root: str) -> Response:
    """The page with the script; `root` is the way from its address to the root of the site."""
    if path is None:
        raise Refusal(404, "there is no such page")
    before, end, after = path.read_text("utf-8").rpartition("</body>")
    script = f'<script type="module" src="{root}{LIVE}.js"></script>' if (FOLDER / "live.js").exists() else ""
    headers = {"Content-Security-Policy": _FRAMES}
    return Response(before + script + end + after, status, headers, media_type="text/html")


class Noticing:
    """Tells the board of whatever may have changed a file, before the answer to that is sent."""

    def __init__(self, app: ASGIApp, board: LiveBoard) -> None:
        self._app = app
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand it on."""
        if scope["type"] != "http" or scope["method"] in READING:
            return await self._app(scope, receive, send)

        async def noticing(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._board.notice()
            await send(message)

        return await self._app(scope, receive, noticing)
