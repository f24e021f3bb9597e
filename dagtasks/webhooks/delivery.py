"""One message to one endpoint: what it says, and sending it once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dagtasks.model.endpoint import Endpoint
from dagtasks.model.event import EventRecord
from dagtasks.outbound import OutboundClient, OutboundError, Outgoing, retry_after
from dagtasks.webhooks.schedule import Answer
from dagtasks.webhooks.signing import sign

MAX_BODY = 20_000
MAX_RESPONSE = 64_000
"""Bytes of what is sent, and of what is read of the answer."""
TIMEOUT = 15.0
_SHORT = 1000


def make_body(event: EventRecord) -> bytes:
    """The message, as Standard Webhooks wants it: type, timestamp and data; the data are the event.

    Of one that would be too large the values are left out, and `is_cut` says so.
    """
    body = _dump(event, event.to_json())
    return body if len(body) <= MAX_BODY else _dump(event, _cut(event))


def _dump(event: EventRecord, data: dict[str, Any]) -> bytes:
    message = {"type": event.type, "timestamp": event.time, "data": data}
    # As ASCII: names of files may hold bytes that are no UTF-8.
    return json.dumps(message, separators=(",", ":")).encode()


def _cut(event: EventRecord) -> dict[str, Any]:
    data = {**event._replace(changed={}).to_json(), "is_cut": True}
    if event.run:
        data["run"] = {key: _shorten(value) for key, value in event.run.items()}
    return {**data, "name": event.name[:_SHORT]}


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    return value[:_SHORT] if isinstance(value, str) else value


async def send(
    client: OutboundClient, endpoint: Endpoint, event: EventRecord, keys: Sequence[str], now: datetime
) -> Answer:
    """What came of sending it once. `now` is UTC."""
    body = make_body(event)
    outgoing = Outgoing(
        endpoint.url,
        "POST",
        {"content-type": "application/json", "user-agent": "dagtasks-webhooks", **sign(event.id, now, body, keys)},
        body,
        timeout=TIMEOUT,
        max_response=MAX_RESPONSE,
        leaves_rest=True,  # the status alone is the answer
    )
    try:
        answer = await client.send(outgoing)
    except OutboundError as error:
        return Answer(0, error.message)
    return Answer(answer.status, retry_after=retry_after(answer.headers, now))
