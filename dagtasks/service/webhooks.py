"""Webhooks: who is told of events, as a committed file says, and the secrets for that, which only this machine has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, NotFound, Problem, has_errors
from dagtasks.model.endpoint import Endpoint
from dagtasks.model.names import KEY_PATTERN, choose_from
from dagtasks.service.deliveries import find_refusal, get_endpoint
from dagtasks.service.fields import Changes, Edit, Fields, describe, read_changes
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.project import Project
from dagtasks.store.webhooks import Held, Outbox, Secrets, get_definitions, parse_definitions

FIELDS: Fields = {"url": "text", "events": "list", "project": "text", "enabled": "flag"}
ACTIVE = 2
"""So many secrets of a webhook sign at a time, so that a receiver can go from one to the next."""


class Wanted(NamedTuple):
    """What a new webhook is to be. `secret` is one that the receiver gave; None: one is made."""

    url: str
    events: Sequence[str] = ()
    project: str | None = None
    secret: str | None = None


def list_all(project: Project) -> list[dict[str, Any]]:
    """The webhooks as `--json` shows them, by name. Raises `InvalidProject`, and `Conflict` for unsafe secrets."""
    return [to_json(project, endpoint) for endpoint in get_definitions(project).values()]


def show(project: Project, name: str) -> dict[str, Any]:
    """The webhook of that name. Raises as `list_all`, and `NotFound`."""
    return to_json(project, get_endpoint(project, name))


def to_json(project: Project, endpoint: Endpoint) -> dict[str, Any]:
    """The webhook, how many secrets this machine has for it, and how its deliveries stand. Never a secret."""
    held = Secrets(project.get_git()).read().get(endpoint.name)
    box = Outbox(project.get_git(), endpoint.name)
    progress, waiting = box.waiting()
    refusal = find_refusal(endpoint, held, progress)
    state = refusal or ("failing" if progress.failing_since else "ready")
    counts = {"secrets": len(held.secrets) if held else 0, "waiting": len(waiting)}
    return {**endpoint.to_json(), "state": state, **counts, "last": progress.last or None}


# -- the file -------------------------------------------------------------------------------------------------------


def create(project: Project, name: str, wanted: Wanted, settings: WriteSettings) -> Saved:
    """Make a webhook, and a secret on this machine; the answer's data has that, this once.

    Raises `Conflict` when that name is taken, `InvalidInput`, `InvalidProject`, outside of Git `ProjectNotFound`.
    """
    project.get_git()
    if not re.fullmatch(KEY_PATTERN, name):
        raise InvalidInput(f"{name!r} is no name for a webhook", hint=f"form: {KEY_PATTERN}", field="name")
    if wanted.secret is not None:
        _check_secret(wanted.secret)

    def make() -> Change:
        if name in get_definitions(project):
            hint = f"change it: dagtasks webhooks set {name}"
            raise Conflict(f"there is a webhook {name!r} already", hint=hint, field="name")
        given = {"url": wanted.url, "events": sorted(set(wanted.events)) or ["*"], "project": wanted.project}
        values = {key: value for key, value in given.items() if value is not None}
        return _make_change(project, name, [Edit("set", ("webhooks", name), values)], "created")

    saved = save(project, f"webhooks create {name}", make, settings)
    if saved.dry_run:
        return saved
    _begin(project)
    key = add_secret(project, name, wanted.secret)
    return saved._replace(change=saved.change._replace(data={**show(project, name), "secret": key}))


def _begin(project: Project) -> None:
    """What happens from now on is told."""
    from dagtasks.service import dispatch

    dispatch.begin(project)


def change(project: Project, name: str, changes: Changes, settings: WriteSettings) -> Saved:
    """Change fields. Whoever enables it here has what waits sent, from its beginning.

    This machine goes on with a new address that it gives itself. Raises `NotFound`, `InvalidInput`, `InvalidProject`.
    """
    edits = read_changes(changes, FIELDS, {})

    def make() -> Change:
        get_endpoint(project, name)
        return _make_change(project, name, [e._replace(loc=("webhooks", name, *e.loc)) for e in edits], describe(edits))

    before = get_endpoint(project, name)
    saved = save(project, f"webhooks set {name}", make, settings)
    if saved.dry_run:
        return saved
    _follow_address(project, before, get_endpoint(project, name))
    if Edit("set", ("enabled",), True) in edits:
        _enable(project, name)
    return saved._replace(change=saved.change._replace(data=show(project, name)))


def _follow_address(project: Project, before: Endpoint, after: Endpoint) -> None:
    secrets = Secrets(project.get_git())
    held = secrets.read().get(before.name)
    if before.url != after.url and held and held.url == before.url:
        with project.lock("webhooks set"):
            secrets.write(before.name, held._replace(url=after.url))


def _enable(project: Project, name: str) -> None:
    box = Outbox(project.get_git(), name)
    progress = box.progress()
    if not (progress.disabled or progress.tries):
        return
    with box.hold() as is_ours:
        if not is_ours:
            raise Conflict(f"something is being sent to {name} just now", hint="do it again in a moment")
        box.write(progress._replace(disabled="", tries=0, next_at=0.0, failing_since=None))


def delete(project: Project, name: str, settings: WriteSettings) -> Saved:
    """Remove the webhook, and on this machine its secrets and what waits for it. Raises `NotFound`."""

    def make() -> Change:
        get_endpoint(project, name)
        return _make_change(project, name, [Edit("drop", ("webhooks", name), None)], "deleted")

    saved = save(project, f"webhooks delete {name}", make, settings)
    if not saved.dry_run and project.git:
        with project.lock("webhooks delete"):
            Secrets(project.git).write(name, None)
            Outbox(project.git, name).remove()
    return saved


def _make_change(project: Project, name: str, edits: Iterable[Edit], what: str) -> Change:
    content, base = _edit(project, edits)
    endpoints = _check(project, content)
    data = endpoints[name].to_json() if name in endpoints else {"name": name}
    return Change([FileChange(WEBHOOKS, content, base)], f"webhook {name}: {what}", "webhook", data)


def _edit(project: Project, edits: Iterable[Edit]) -> tuple[bytes, str]:
    """The new content of the file, and the digest of what it was made from."""
    from dagtasks.service.documents import apply_edit
    from dagtasks.store.documents import parse_document
    from dagtasks.store.emitter import make_document

    is_there = (project.root / WEBHOOKS).exists()
    document = project.read_document(WEBHOOKS) if is_there else parse_document(b"", WEBHOOKS)
    base = document.sha256 if is_there else ""
    if document.holds_nothing:
        [edit] = edits
        comments = b"".join(line + b"\n" for line in document.content.splitlines())
        return comments + make_document({"webhooks": {edit.loc[1]: edit.value}}, ()), base
    if document.data is None:
        raise InvalidProject(f"{WEBHOOKS} cannot be read, so it is not changed", problems=document.problems)
    for edit in edits:
        document = apply_edit(document, edit, ())
    return parse_document(document.content, WEBHOOKS).content, base


def _check(project: Project, content: bytes) -> Mapping[str, Endpoint]:
    """The webhooks that the file will say. Raises `InvalidInput`."""
    from dagtasks.store.documents import parse_document

    found = parse_definitions(parse_document(content, WEBHOOKS))
    if has_errors(found.problems):
        problem = found.problems[0]
        raise InvalidInput(problem.message, hint=problem.hint, field=_field_of(problem))
    projects = project.load().projects
    for endpoint in found.endpoints.values():
        if endpoint.project and endpoint.project not in projects:
            hint = choose_from(endpoint.project, projects)
            raise InvalidInput(f"there is no project {endpoint.project!r}", hint=hint, field="project")
        _refuse_url(endpoint.url)
    return found.endpoints


def _field_of(problem: Problem) -> str:
    """The field of the webhook that the problem is about; what is none of them stands at its name."""
    from dagtasks.service.documents import field_of

    field = field_of(problem).partition(" ")[0]
    return field if field in FIELDS else "name"


def _refuse_url(url: str) -> None:
    from dagtasks.outbound import OutboundError, parse_url

    try:
        parse_url(url)
    except OutboundError as error:
        raise InvalidInput(error.message, field="url") from error


# -- secrets --------------------------------------------------------------------------------------------------------


def add_secret(project: Project, name: str, given: str | None = None) -> str:
    """A new secret of the webhook on this machine, or the one that is given; it is shown this once.

    The one before signs beside it until `retire_secret`. Whoever does this agrees to the address in the file. Raises
    `NotFound`, `InvalidInput`.
    """
    from dagtasks.webhooks.signing import make_secret

    key = make_secret() if given is None else _check_secret(given)
    endpoint, secrets = get_endpoint(project, name), Secrets(project.get_git())
    with project.lock("webhooks secret"):
        held = secrets.read().get(name)
        others = [one for one in held.secrets if one != key] if held and held.url == endpoint.url else []
        secrets.write(name, Held(endpoint.url, (key, *others)[:ACTIVE]))
    _begin(project)
    return key


def retire_secret(project: Project, name: str) -> None:
    """Have only the newest secret sign. Raises `NotFound`."""
    secrets = Secrets(project.get_git())
    get_endpoint(project, name)
    with project.lock("webhooks secret"):
        held = secrets.read().get(name)
        if held is None:
            raise NotFound(f"this machine has no secret for {name}", hint=f"make one: dagtasks webhooks secret {name}")
        secrets.write(name, held._replace(secrets=held.secrets[:1]))


def _check_secret(text: str) -> str:
    from dagtasks.webhooks.signing import LEAST, MOST, is_secret

    if not is_secret(text):
        told = f"that is no secret: `whsec_` and {LEAST} to {MOST} bytes as base64"
        raise InvalidInput(told, hint="leave it out", field="secret")
    return text
