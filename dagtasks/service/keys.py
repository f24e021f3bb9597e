"""Keys of the REST API: making them, listing them, taking them back, and who a key lets in."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from dagtasks.errors import Conflict, InvalidInput, NotFound
from dagtasks.model.names import ID_ALPHABET, choose_from
from dagtasks.model.values import NAME_LIMIT
from dagtasks.store.keys import Key, KeyStore, digest_of, is_well_formed, make_secret
from dagtasks.store.operator import OperatorState
from dagtasks.store.project import Project

ACTIVE_LIMIT = 2
"""Keys of one name that may be active at a time: the old and the new one, while a key is replaced."""
TOUCH_SECONDS = 60.0
"""How often the last use of a key is kept, at the most."""
_USER = re.compile(r"(?P<name>[^<>]*[^<>\s]) <(?P<email>[^<>\s]+)>")
_AGE = re.compile(r"(\d{1,5})([hd])")


class Scope(StrEnum):
    """What a key may be used for. All let read; `admin` lets do everything."""

    READ = "read"
    WRITE = "write"
    RUN = "run"
    ADMIN = "admin"


class Person(NamedTuple):
    """Who a key stands for, as Git names authors."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Grant(NamedTuple):
    """That a key lets somebody in: which key, who, and what for."""

    key: str
    person: Person
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Whether this may be done with the key."""
        return scope is Scope.READ or bool({scope, Scope.ADMIN} & self.scopes)


class Made(NamedTuple):
    """A new key: what is kept of it, and the key itself, which nobody can be told again."""

    row: dict[str, Any]
    secret: str


def open_keys(project: Project) -> KeyStore:
    """The keys of the repository. Raises `ProjectNotFound` outside of Git."""
    return KeyStore(OperatorState(project.get_git()))


def create(
    project: Project, name: str, scopes: Sequence[str], now: datetime, *, user: str | None, expires: str
) -> Made:
    """Make a key and keep its digest. Without a user it stands for Git's.

    Raises `InvalidInput`, and `Conflict` when two keys of that name are active already.
    """
    _check_name(name)
    person = parse_person(user) if user is not None else find_person(project)
    granted = tuple(sorted({_scope(scope) for scope in scopes}, key=list(Scope).index))
    secret, until = make_secret(), now + _parse_age(expires)

    def add(keys: list[Key]) -> list[Key]:
        _refuse_third(name, [key for key in keys if key.name == name and key.is_active(_stamp(now))])
        fresh = Key(_new_id(keys), name, granted, str(person), digest_of(secret), _stamp(now), _stamp(until))
        return [*keys, fresh]

    store = open_keys(project)
    store.change(add)
    made = next(key for key in store.every() if key.digest == digest_of(secret))
    return Made(to_json(made, now), secret)


def list_all(project: Project, now: datetime) -> list[dict[str, Any]]:
    """All keys, the oldest first, as `--json` shows them."""
    return [to_json(key, now) for key in open_keys(project).every()]


def has_active(project: Project, now: datetime) -> bool:
    """Whether any key opens anything now."""
    return any(key.is_active(_stamp(now)) for key in open_keys(project).every())


def revoke(project: Project, text: str, now: datetime) -> dict[str, Any]:
    """Take back the key of that id, or the only one of that name. Raises `NotFound`, `InvalidInput`."""
    gone: list[Key] = []

    def without(keys: list[Key]) -> list[Key]:
        gone[:] = [_choose(keys, text)]
        return [key for key in keys if key.id != gone[0].id]

    open_keys(project).change(without)
    return to_json(gone[0], now)


def find_grant(project: Project, secret: str, now: datetime) -> Grant | None:
    """What the key lets its bearer do; None when there is no such key, or it has expired."""
    store = open_keys(project)
    key = store.find(secret) if is_well_formed(secret) else None
    if key is None or not key.is_active(_stamp(now)):
        return None
    if key.last_used is None or now - datetime.fromisoformat(key.last_used) >= timedelta(seconds=TOUCH_SECONDS):
        store.touch(key.id, _stamp(now))
    return Grant(key.id, parse_person(key.user), frozenset(map(Scope, key.scopes)))


def holds(project: Project, grant: Grant, now: datetime) -> bool:
    """Whether the key of the grant still opens something."""
    return any(key.id == grant.key and key.is_active(_stamp(now)) for key in open_keys(project).every())


def to_json(key: Key, now: datetime) -> dict[str, Any]:
    """The key as `--json` shows it: nothing of it opens anything."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "user": key.user,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used": key.last_used,
        "active": key.is_active(_stamp(now)),
    }


def parse_person(text: str) -> Person:
    """`Name <email>`, as Git writes authors. Raises `InvalidInput`."""
    match = _USER.fullmatch(text)
    if not match or not text.isprintable() or len(text) > 2 * NAME_LIMIT:
        raise InvalidInput(f"{text!r} is no user", hint="write it as Git does: Ann <ann@example.org>")
    return Person(match["name"].strip(), match["email"])


def find_person(project: Project) -> Person:
    """Whom Git knows as the user here. Raises `InvalidInput` when it knows none."""
    identity = project.get_git().find("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
    if not identity:
        hint = "say --as 'Ann <ann@example.org>', or set user.name and user.email"
        raise InvalidInput("whom does the key stand for? Git knows no name", hint=hint)
    return parse_person(identity.rpartition("> ")[0] + ">")


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > NAME_LIMIT:
        raise InvalidInput(f"{name!r} is no name for a key", hint=f"up to {NAME_LIMIT} characters on one line")


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError:
        raise InvalidInput(f"there is no scope {text!r}", hint=f"there is: {', '.join(Scope)}") from None


def _parse_age(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise InvalidInput(f"{text!r} is no time for a key to hold", hint="write hours or days, as 12h or 90d")
    return timedelta(hours=int(match[1]) * (24 if match[2] == "d" else 1))


def _refuse_third(name: str, active: Sequence[Key]) -> None:
    if len(active) >= ACTIVE_LIMIT:
        ids = ", ".join(key.id for key in active)
        hint = f"take one back when nobody uses it any more: dagtasks keys revoke {active[0].id}"
        raise Conflict(f"{ACTIVE_LIMIT} keys called {name!r} are active already: {ids}", hint=hint)


def _new_id(keys: Sequence[Key]) -> str:
    taken = {key.id for key in keys}
    while (made := "".join(secrets.choice(ID_ALPHABET) for _ in range(8))) in taken:
        continue
    return made


def _choose(keys: Sequence[Key], text: str) -> Key:
    found = [key for key in keys if key.id == text] or [key for key in keys if key.name == text]
    if len(found) > 1:
        ids = ", ".join(key.id for key in found)
        raise InvalidInput(f"{len(found)} keys are called {text!r}", hint=f"say which by its id: {ids}")
    if not found:
        raise NotFound(f"there is no key {text!r}", hint=choose_from(text, {key.id for key in keys}))
    return found[0]


def _stamp(at: datetime) -> str:
    """Stamps of one form and one zone, so that they can be compared as text."""
    return at.astimezone(UTC).isoformat(timespec="seconds")
