"""What `config/webhooks.yaml` says: who is told of which events. There is never a secret in it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from dagtasks.model.endpoint import fits
from dagtasks.model.event import TOLD_TYPES
from dagtasks.model.fields import FileModel, Key, Text, as_schema
from dagtasks.model.names import PROJECT_PATTERN, did_you_mean

_NOT_IN_URLS = re.compile(r"[\s\\\"<>^`|{}]")


def _check_url(text: str) -> str:
    begin, _, rest = text.partition("://")
    host = re.split("[/?#]", rest)[0]
    if begin.lower() not in ("http", "https") or not host:
        raise PydanticCustomError("url", "must begin with https:// or http:// and name a host")
    if "@" in host:  # the value is not shown: it may hold a password
        raise PydanticCustomError("url", "must not hold a user name or a password: everybody reads this file")
    if not text.isascii() or not text.isprintable() or _NOT_IN_URLS.search(text):
        raise PydanticCustomError("url", "is no address: blanks and the like are written as %20")
    return text


def _check_pattern(text: str) -> str:
    if not any(fits(text, told) for told in TOLD_TYPES):
        near = did_you_mean(text, TOLD_TYPES) or "write `task.*`, `*.created` or `*`, say"
        raise PydanticCustomError("event", "there is no event {name}; {near}", {"name": repr(text), "near": near})
    return text


def _patterns() -> list[str]:
    """All that `events` may hold: types, and what stands for several of them."""
    halves = [told.split(".") for told in TOLD_TYPES]
    wild = [f"{kind}.*" for kind, _ in halves] + [f"*.{what}" for _, what in halves]
    return ["*", *TOLD_TYPES, *dict.fromkeys(wild), "*.*"]


Url = Annotated[Text, Field(max_length=2000), AfterValidator(_check_url), as_schema("https?://.+", maxLength=2000)]
Pattern = Annotated[Text, Field(max_length=64), AfterValidator(_check_pattern), WithJsonSchema({"enum": _patterns()})]
ProjectKey = Annotated[Text, Field(pattern=rf"^{PROJECT_PATTERN}$"), as_schema(PROJECT_PATTERN)]


class Webhook(FileModel):
    """Who is told of events, and of which."""

    url: Url = Field(description="Where the events are sent to.")
    events: list[Pattern] = Field(default=["*"], min_length=1, description="Types of events; `*` stands for any part.")
    project: ProjectKey | None = Field(default=None, description="Tell only what happens in this project.")
    enabled: Annotated[bool, Field(strict=True)] = True


class Webhooks(FileModel):
    """The file: webhooks by their names."""

    webhooks: dict[Key, Webhook] = Field(default_factory=dict, description="Who is told, by name.")
