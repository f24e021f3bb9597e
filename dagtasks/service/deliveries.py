"""What is put aside for the endpoints of webhooks, what became of it, and having it sent again.

Only a machine that holds a secret of the webhook sends anything there, and only to the address that the secret was made
for: so what others write into the file sends nothing from here, and two machines do not tell the same thing twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dagtasks.errors import Conflict, NotFound
from dagtasks.model.endpoint import Endpoint
from dagtasks.model.event import EventRecord
from dagtasks.model.names import choose_from
from dagtasks.store.events import EventLog
from dagtasks.store.project import Project
from dagtasks.store.webhooks import (
    Delivery,
    Held,
    Outbox,
    Progress,
    Secrets,
    find_outboxes,
    get_definitions,
    read_definitions,
)


def put_aside(project: Project, events: Sequence[EventRecord]) -> None:
    """Put the events into the queues of the endpoints that want them. The caller holds the lock. Raises `WriteError`.

    Where nothing is sent, nothing is put aside.
    """
    held = read_held(project)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    for endpoint in read_definitions(project).endpoints.values():
        box = Outbox(project.get_git(), endpoint.name)
        wanted = [event for event in events if endpoint.wants(event)]
        if wanted and not find_refusal(endpoint, held.get(endpoint.name), box.progress()):
            box.add(wanted, at)


def find_refusal(endpoint: Endpoint, held: Held | None, progress: Progress) -> str:
    """Why nothing is sent there from this machine; "" when it is."""
    if not endpoint.enabled:
        return "disabled"
    if held is None:
        return "this machine has no secret for it"
    if held.url != endpoint.url:
        return "its address is another one than its secret was made for"
    return progress.disabled


def read_held(project: Project) -> dict[str, Held]:
    """The secrets of this machine by the names of webhooks; none when others could have written them."""
    with suppress(Conflict):
        return Secrets(project.get_git()).read()
    return {}


def has_due(project: Project) -> bool:
    """Whether anything is to be sent now."""
    return bool(find_due(project, time.time()))


def find_due(project: Project, now: float) -> list[str]:
    """The endpoints that something is to be sent to at that time (seconds since 1970)."""
    boxes = [Outbox(project.get_git(), name) for name in find_outboxes(project.get_git())]
    due = [box for box in boxes if _is_due(box.progress(), now) and box.has_waiting()]
    if not due:
        return []
    known, held = read_definitions(project).endpoints, read_held(project)
    return [
        box.name
        for box in due
        if (one := known.get(box.name)) and not find_refusal(one, held.get(box.name), box.progress())
    ]


def _is_due(progress: Progress, now: float) -> bool:
    return not progress.disabled and progress.next_at <= now


# -- what people ask ------------------------------------------------------------------------------------------------


def list_deliveries(project: Project, name: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
    """What waits, is dead, or was delivered, of one webhook or all, the newest first; of one state, where one is given.

    Raises `NotFound`.
    """
    names = [find_name(project, name)] if name else [*get_definitions(project)]
    found = [
        {"webhook": one, **delivery.to_json()}
        for one in names
        for delivery in _deliveries(project, one)
        if state in (None, delivery.state)
    ]
    return sorted(found, key=lambda row: (row["event"]["time"], row["id"]), reverse=True)


def _deliveries(project: Project, name: str) -> Iterable[Delivery]:
    """Each event once, as it stands now."""
    box = Outbox(project.get_git(), name)
    progress, waiting = box.waiting()
    ended = sorted((*box.kept("dead"), *box.kept("delivered")), key=lambda delivery: delivery.at or "")
    rows = {delivery.event.id: delivery for delivery in ended}
    for place, (_, event) in enumerate(waiting):
        is_head = place == 0
        next_at = datetime.fromtimestamp(progress.next_at, UTC).isoformat(timespec="seconds")
        at = next_at if is_head and progress.next_at else None
        rows[event.id] = Delivery(
            event, "waiting", progress.tries if is_head else 0, at, progress.last if is_head else ""
        )
    return rows.values()


def find_name(project: Project, name: str) -> str:
    """The name, if there is a webhook of that name. Raises `NotFound`, `InvalidProject`."""
    known = get_definitions(project)
    if name not in known:
        raise NotFound(f"there is no webhook {name!r}", hint=choose_from(name, known))
    return name


def replay(project: Project, name: str, events: Sequence[str] = ()) -> list[EventRecord]:
    """Have these events sent again, with the ids that they had; without any, all that are dead.

    Raises `NotFound`, and `Conflict` when nothing is sent there from this machine.
    """
    endpoint = get_endpoint(project, name)
    box = Outbox(project.get_git(), name)
    refuse_silent(project, endpoint)
    known = {delivery.event.id: delivery for delivery in _deliveries(project, name)}
    chosen = [_find_event(project, known, one) for one in events] if events else []
    dead = [delivery.event for delivery in known.values() if delivery.state == "dead"]
    wanted = [event for event in (chosen if events else dead) if not _waits(known, event)]
    with project.lock("webhooks replay"):
        box.add(wanted, datetime.now(UTC).isoformat(timespec="milliseconds"), again=True)
    return wanted


def _waits(known: Mapping[str, Delivery], event: EventRecord) -> bool:
    return event.id in known and known[event.id].state == "waiting"


def _find_event(project: Project, known: Mapping[str, Delivery], name: str) -> EventRecord:
    event = known[name].event if name in known else EventLog(project.get_git()).find(name)
    if event is None:
        hint = "see: dagtasks webhooks deliveries"
        raise NotFound(f"there is no event {name!r}, or it is not kept any more", hint=hint)
    return event


def get_endpoint(project: Project, name: str) -> Endpoint:
    """The webhook of that name. Raises `NotFound`, `InvalidProject`."""
    return get_definitions(project)[find_name(project, name)]


def refuse_silent(project: Project, endpoint: Endpoint) -> Held:
    """The secrets of the webhook. Raises `Conflict` when nothing is sent there from this machine."""
    held = Secrets(project.get_git()).read().get(endpoint.name)
    reason = find_refusal(endpoint, held, Outbox(project.get_git(), endpoint.name).progress())
    if reason or held is None:
        raise Conflict(f"nothing is sent to {endpoint.name}: {reason}", hint=hint_for(endpoint.name, reason))
    return held


def hint_for(name: str, reason: str) -> str:
    """What to do so that something is sent there."""
    wants_secret = "secret" in reason
    return f"dagtasks webhooks {f'secret {name}' if wants_secret else f'set {name} enabled=true'}"
