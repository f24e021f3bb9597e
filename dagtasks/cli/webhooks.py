"""`dagtasks webhooks`: who is told of events."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dagtasks.cli.app import App, json_option, write_options, yes_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import fields, note, printable, show, table
from dagtasks.cli.writing import confirm, show_saved, write_settings
from dagtasks.service import webhooks

if TYPE_CHECKING:
    from dagtasks.service.postman import Sent


@click.group(cls=Group)
def group() -> None:
    """Who is told of events: create, list, show, set, secret, delete, test, deliver, deliveries, replay."""


@group.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, metavar="TYPE", help="Like task.* (default: all); may be given again."
)
@click.option("--project", metavar="KEY", help="Tell only what happens in this project.")
@click.option("--given", is_flag=True, help="Read the secret from stdin instead of making one.")
@write_options
@click.pass_obj
def create(
    app: App, /, name: str, url: str, events: tuple[str, ...], project: str | None, *, given: bool, **options: bool
) -> int:
    """Make the webhook NAME, which sends events to URL.

    Its secret is printed this once. It stays on this machine, and only a machine that has one sends anything.
    """
    wanted = webhooks.Wanted(url, events, project, _read_secret() if given else None)
    saved = webhooks.create(app.project(), name, wanted, write_settings(options))
    return show_saved(saved, options, answer=None if saved.dry_run else "secret")


def _read_secret() -> str:
    return sys.stdin.read().strip()


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List the webhooks and whether anything is sent there from this machine."""
    data = webhooks.list_all(app.project())
    rows = [(row["name"], row["url"], ",".join(row["events"]), row["waiting"], row["state"]) for row in data]
    text = table(("WEBHOOK", "URL", "EVENTS", "WAITING", "STATE"), rows)
    return show("webhooks", data, text, as_json=as_json)


@group.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show_(app: App, /, name: str, *, as_json: bool) -> int:
    """Show one webhook. Its secrets are never shown."""
    data = webhooks.show(app.project(), name)
    return show("webhook", data, fields({**data, "events": ", ".join(data["events"])}), as_json=as_json)


@group.command("set")
@click.argument("name")
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE...")
@write_options
@click.pass_obj
def set_(app: App, /, name: str, changes: tuple[str, ...], **options: bool) -> int:
    """Change fields of a webhook: url, events, project, enabled.

    `events+=run.*` adds one. `enabled=true` also has sent again what a failing endpoint did not take.
    """
    return show_saved(webhooks.change(app.project(), name, changes, write_settings(options)), options)


@group.command()
@click.argument("name")
@click.option("--given", is_flag=True, help="Read the secret from stdin instead of making one.")
@click.option("--retire", is_flag=True, help="Make none: have the older of two sign no more.")
@json_option
@click.pass_obj
def secret(app: App, /, name: str, *, given: bool, retire: bool, as_json: bool) -> int:
    """Make a new secret on this machine and print it this once. The one before signs, too, until --retire.

    By this you agree that events are sent from here to the address in the file.
    """
    project = app.project()
    if retire:
        webhooks.retire_secret(project, name)
        return show("webhook", webhooks.show(project, name), f"{name}: the older secret is retired", as_json=as_json)
    key = webhooks.add_secret(project, name, _read_secret() if given else None)
    return show("webhook", {**webhooks.show(project, name), "secret": key}, key, as_json=as_json)


@group.command()
@click.argument("name")
@yes_option
@write_options
@click.pass_obj
def delete(app: App, /, name: str, *, yes: bool, **options: bool) -> int:
    """Remove a webhook, its secrets, and what waits for it."""
    confirm(f"Remove webhook {name}, its secrets and what waits for it?", yes=yes, options=options)
    return show_saved(webhooks.delete(app.project(), name, write_settings(options)), options)


@group.command()
@click.argument("name")
@json_option
@click.pass_obj
def test(app: App, /, name: str, *, as_json: bool) -> int:
    """Send an event of the type webhook.test at once. Exit code 1: it was not taken."""
    from dagtasks.service.postman import send_test

    sent = send_test(app.project(), name)
    show("delivery", sent.to_json(), _line(sent), as_json=as_json)
    return 0 if sent.is_taken else 1


@group.command()
@json_option
@click.pass_obj
def deliver(app: App, /, *, as_json: bool) -> int:
    """Look for changes and runs, and send all that is due, once. For cron, where nothing watches."""
    from dagtasks.service.postman import look_and_deliver

    every: list[Sent] = []

    def tell(sent: Sent) -> None:
        every.append(sent)
        if not as_json:
            click.echo(_line(sent))

    look_and_deliver(app.project(), tell)
    return show("deliveries", [sent.to_json() for sent in every], "", as_json=as_json)


def _line(sent: Sent) -> str:
    state = "delivered" if sent.is_taken else "not taken"
    return printable(f"{sent.webhook}: {sent.event.type} {sent.event.subject} {state} ({sent.result})")


@group.command()
@click.argument("name", required=False)
@json_option
@click.pass_obj
def deliveries(app: App, /, name: str | None, *, as_json: bool) -> int:
    """List what waits, was delivered, or is dead, of one webhook or all, the newest first."""
    from dagtasks.service.deliveries import list_deliveries

    data = list_deliveries(app.project(), name)
    return show("deliveries", data, table(_HEAD, map(_row, data)), as_json=as_json)


_HEAD = ("EVENT", "WEBHOOK", "TYPE", "SUBJECT", "STATE", "TRIES", "AT", "RESULT")


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(row[key] for key in ("id", "webhook", "type", "subject", "state", "tries", "at", "result"))


@group.command()
@click.argument("name")
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@json_option
@click.pass_obj
def replay(app: App, /, name: str, events: tuple[str, ...], *, as_json: bool) -> int:
    """Have these events sent again, with the ids that they had; without any, all that are dead."""
    from dagtasks.service.deliveries import replay as send_again

    found = send_again(app.project(), name, events)
    if not as_json:
        note(f"{len(found)} events wait for {name}; send them: dagtasks webhooks deliver")
    return show("events", [event.to_json() for event in found], "", as_json=as_json)
