"""Webhooks: who is told of what happens here, and what became of each message."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from dagtasks.api import described, forms, things
from dagtasks.api.addresses import WebhookName
from dagtasks.api.answers import answer, listing
from dagtasks.api.changes import IfMatch, as_new, as_seen, changed, created, removed
from dagtasks.api.desk import PREFIX, AtDesk
from dagtasks.api.reading import AWish, IfNoneMatch, one
from dagtasks.service import deliveries, postman, webhooks
from dagtasks.service.pages import cut
from dagtasks.service.webhooks import Wanted
from dagtasks.store.layout import WEBHOOKS

router = APIRouter(prefix=PREFIX)
State = Literal["waiting", "delivered", "dead"]


@router.get("/webhooks", summary="List webhooks", tags=["webhooks"], responses=described.shown(things.WebhookPage))
def list_webhooks(desk: AtDesk, wish: AWish) -> Response:
    """As `dagtasks webhooks list`. Their secrets are never shown."""
    page = cut(webhooks.list_all(desk.project), lambda row: str(row["name"]), wish)
    return listing(page.items, page.following)


@router.post(
    "/webhooks",
    status_code=201,
    summary="Create a webhook",
    tags=["webhooks"],
    responses=described.created(things.WebhookWithSecret),
)
def create_webhook(desk: AtDesk, form: forms.NewWebhook) -> Response:
    """As `dagtasks webhooks create`: `secret` of the answer is shown this once."""
    wanted = Wanted(form.url, form.events, form.project, form.secret)
    return created(webhooks.create(desk.project, form.name, wanted, as_new(desk)), f"webhooks/{form.name}")


@router.get("/webhooks/{name}", summary="Show a webhook", tags=["webhooks"], responses=described.tagged(things.Webhook))
def show_webhook(desk: AtDesk, name: WebhookName, if_none_match: IfNoneMatch = None) -> Response:
    """As `dagtasks webhooks show`. The ETag is that of the file with all webhooks."""
    return one(desk, lambda: WEBHOOKS, lambda: webhooks.show(desk.project, name), if_none_match)


@router.patch(
    "/webhooks/{name}",
    summary="Change fields of a webhook",
    tags=["webhooks"],
    responses=described.changed(things.Webhook),
)
def patch_webhook(desk: AtDesk, name: WebhookName, form: forms.WebhookPatch, if_match: IfMatch = None) -> Response:
    """A merge patch (RFC 7396). `enabled: true` also has sent again what a failing endpoint did not take."""
    return changed(webhooks.change(desk.project, name, form.given(), as_seen(desk, WEBHOOKS, if_match)))


@router.delete(
    "/webhooks/{name}", summary="Remove a webhook", tags=["webhooks"], responses=described.removed(things.Gone)
)
def delete_webhook(desk: AtDesk, name: WebhookName, if_match: IfMatch = None) -> Response:
    """As `dagtasks webhooks delete`: its secrets and what waits for it go, too."""
    return removed(webhooks.delete(desk.project, name, as_seen(desk, WEBHOOKS, if_match)))


@router.post(
    "/webhooks/{name}/secrets",
    status_code=201,
    summary="Make a new secret",
    tags=["webhooks"],
    responses=described.issued(things.WebhookWithSecret),
)
def create_secret(desk: AtDesk, name: WebhookName, form: forms.NewSecret | None = None) -> Response:
    """As `dagtasks webhooks secret`: it is shown this once, and the one before signs, too, until that is retired."""
    secret = webhooks.add_secret(desk.project, name, form.secret if form else None)
    return answer({**webhooks.show(desk.project, name), "secret": secret}, status=201)


@router.delete(
    "/webhooks/{name}/secrets",
    summary="Retire the older secret",
    tags=["webhooks"],
    responses=described.shown(things.Webhook),
)
def retire_secret(desk: AtDesk, name: WebhookName) -> Response:
    """As `dagtasks webhooks secret --retire`."""
    webhooks.retire_secret(desk.project, name)
    return answer(webhooks.show(desk.project, name))


@router.post(
    "/webhooks/{name}/test", summary="Send a test at once", tags=["webhooks"], responses=described.shown(things.Sent)
)
def test_webhook(desk: AtDesk, name: WebhookName) -> Response:
    """As `dagtasks webhooks test`: the answer says what came of it."""
    return answer(postman.send_test(desk.project, name).to_json())


@router.get(
    "/deliveries",
    summary="List what waits, was delivered, or is dead",
    tags=["webhooks"],
    responses=described.shown(things.DeliveryPage, 404),
)
def list_deliveries(
    desk: AtDesk,
    wish: AWish,
    webhook: Annotated[str | None, Query(description="of this one only")] = None,
    state: Annotated[State | None, Query(description="in this state only")] = None,
) -> Response:
    """As `dagtasks webhooks deliveries`, the newest first."""
    page = cut(deliveries.list_deliveries(desk.project, webhook, state), _key, wish)
    return listing(page.items, page.following)


def _key(row: dict[str, object]) -> str:
    return f"{row['id']} {row['webhook']}"


@router.post(
    "/webhooks/{name}/replay",
    summary="Send events again",
    tags=["webhooks"],
    responses=described.shown(things.EventPage),
)
def replay(desk: AtDesk, name: WebhookName, form: forms.Replay | None = None) -> Response:
    """As `dagtasks webhooks replay`: these events, or all that are dead. The answer is what waits now."""
    found = deliveries.replay(desk.project, name, form.events if form else ())
    return listing([event.to_json() for event in found])
