"""`dagtasks keys`: who may use the REST API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from dagtasks.cli.app import App, json_option
from dagtasks.cli.lazy import Group
from dagtasks.cli.output import note, show, table
from dagtasks.cli.wording import minute


@click.group(cls=Group)
def group() -> None:
    """Keys of the REST API: create, list, revoke."""


@group.command()
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scope", "scopes", multiple=True, required=True, help="read, write, run or admin; may be given again.")
@click.option("--as", "user", metavar="'NAME <EMAIL>'", help="Who changes things with it (default: Git's user).")
@click.option("--expires", default="90d", show_default=True, help="How long it holds: as 12h, 90d.")
@json_option
@click.pass_obj
def create(app: App, /, name: str, scopes: tuple[str, ...], user: str | None, expires: str, *, as_json: bool) -> int:
    """Make a key and print it, this one time: only its digest is kept.

    Every key lets read; write also lets change files, run also lets run workflows, and admin lets do everything. Two
    keys of one name can be active, so that a new one can take over from an old one.
    """
    from dagtasks.service import keys

    made = keys.create(app.project(), name, scopes, datetime.now(UTC), user=user, expires=expires)
    if not as_json:
        note(
            f"key {made.row['id']} for {made.row['user']} until {minute(made.row['expires_at'])}; it is not shown again"
        )
    return show("key", {"key": made.secret, **made.row}, made.secret, as_json=as_json)


@group.command("list")
@json_option
@click.pass_obj
def list_(app: App, /, *, as_json: bool) -> int:
    """List the keys: who they stand for, what they allow, until when, and when they were last used."""
    from dagtasks.service import keys

    found = keys.list_all(app.project(), datetime.now(UTC))
    text = table(("KEY", "NAME", "SCOPES", "USER", "UNTIL", "LAST USED"), map(_row, found))
    return show("keys", found, text, as_json=as_json)


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    until = minute(key["expires_at"]) if key["active"] else "expired"
    used = minute(key["last_used"]) if key["last_used"] else "never"
    return key["id"], key["name"], ",".join(key["scopes"]), key["user"], until, used


@group.command()
@click.argument("key", metavar="KEY|NAME")
@json_option
@click.pass_obj
def revoke(app: App, /, key: str, *, as_json: bool) -> int:
    """Take back a key, named by its id, or by its name when no other has that. It opens nothing from now on."""
    from dagtasks.service import keys

    gone = keys.revoke(app.project(), key, datetime.now(UTC))
    return show("key", gone, f"revoked: {gone['id']} ({gone['name']})", as_json=as_json)
