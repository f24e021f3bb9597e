"""What routes that change something share: how it is written, and how a change is answered."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, cast

from fastapi import Header
from starlette.responses import Response

from dagtasks.api.answers import COMMIT_HEADER, answer, parse_tags
from dagtasks.api.desk import PREFIX, Desk
from dagtasks.api.problems import Refusal
from dagtasks.service.saving import Expected, Saved, WriteSettings

IfMatch = Annotated[str | None, Header(alias="If-Match", description="the ETag of what is to be changed")]


def as_new(desk: Desk) -> WriteSettings:
    """How something new is written."""
    return WriteSettings(commit=True, author=str(desk.grant.person), is_whole=True)


def as_seen(desk: Desk, path: str, tags: str | None) -> WriteSettings:
    """How something is changed that the client has seen. Raises `Refusal` when it does not say what it saw."""
    if tags is None:
        hint = "send If-Match with the ETag that it has, or * for whatever it is"
        raise Refusal(428, "a change has to say what it is a change of", hint=hint)
    return as_new(desk)._replace(expected=Expected(path, frozenset(parse_tags(tags))))


def created(saved: Saved, address: str) -> Response:
    """The new thing, and where it is; the address is relative to the API."""
    return changed(saved, status=201, Location=f"{PREFIX}/{address}")


def added(saved: Saved, address: str) -> Response:
    """What was added to the thing at that address, which itself is as before: so there is no ETag."""
    commit = {COMMIT_HEADER: saved.commit} if saved.commit else {}
    return answer(saved.change.data, status=201, headers={"Location": f"{PREFIX}/{address}", **commit})


def changed(saved: Saved, *, status: int = 200, **headers: str) -> Response:
    """The thing as it is now, with its new ETag and the id of the commit."""
    contents = [file.content for file in saved.change.files if file.content is not None]
    commit = {COMMIT_HEADER: saved.commit} if saved.commit else {}
    digest = sha256(contents[0]).hexdigest() if contents else None
    return answer(saved.change.data, status=status, digest=digest, headers={**headers, **commit})


def removed(saved: Saved) -> Response:
    """What is gone, with the notes that say how to get it back."""
    data = {**cast(dict[str, Any], saved.change.data), "notes": list(saved.change.notes)}
    return answer(data, headers={COMMIT_HEADER: saved.commit} if saved.commit else {})


def key_of(saved: Saved, name: str) -> str:
    """What the thing that was saved has at that key."""
    return str(cast(dict[str, Any], saved.change.data)[name])
