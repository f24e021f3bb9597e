"""Webhooks: who is told of events (a committed file), with which secrets (the operator's), and what is to be sent.

What is sent to one endpoint lies in a folder of its own: a queue that lookers add to under the project's lock, and how
far it was sent, which is written by the one who delivers, under a lock of that endpoint.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import MAX_PROBLEMS, Finding, InvalidProject, Problem, has_errors
from dagtasks.model.endpoint import Endpoint
from dagtasks.model.event import EventRecord
from dagtasks.store.files import try_lock, write_file
from dagtasks.store.git import Git
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.linelog import LineLog
from dagtasks.store.operator import OperatorState
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.store.documents import Document

KEPT_BYTES = 1024 * 1024
"""Of what was sent, and of what could not be, so much is kept twice for each endpoint."""
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError)


# -- who is told ----------------------------------------------------------------------------------------------------


class Definitions(NamedTuple):
    """The webhooks by name, and what is wrong in the file. A wrong one counts as it was when it was last right."""

    endpoints: Mapping[str, Endpoint]
    problems: Sequence[Problem] = ()


def read_definitions(project: Project) -> Definitions:
    """What the file says; it is read only when it changed since the last time."""
    path = project.root / WEBHOOKS
    if not os.path.lexists(path):
        return Definitions({})
    known: Any = project.recall("webhooks") or ["", []]
    good = {row[0]: Endpoint(*row) for row in known[1]}
    if path.is_file() and sha256(path.read_bytes()).hexdigest() == known[0]:
        return Definitions(good)
    document = project.read_document(WEBHOOKS)
    found = parse_definitions(document)
    if has_errors(found.problems):
        return found._replace(endpoints=good)
    if not found.problems:
        project.remember("webhooks", [document.sha256, [[*endpoint] for endpoint in found.endpoints.values()]])
    return found


def parse_definitions(document: Document) -> Definitions:
    """What the document says."""
    from pydantic import ValidationError

    from dagtasks.model.fields import find_unknown_keys, findings_of
    from dagtasks.model.webhook import Webhooks

    if document.data is None:
        return Definitions({}, () if document.holds_nothing else document.problems)
    try:
        model = Webhooks.model_validate(document.data)
    except ValidationError as error:
        return Definitions({}, document.problems_for(islice(findings_of(error), MAX_PROBLEMS)))
    findings = list(find_unknown_keys(model))
    for name, webhook in model.webhooks.items():
        findings += find_unknown_keys(webhook, ("webhooks", name))
    endpoints = {
        name: Endpoint(name, webhook.url, tuple(webhook.events), webhook.project, webhook.enabled)
        for name, webhook in model.webhooks.items()
    }
    return Definitions(endpoints, document.problems_for(islice(findings, MAX_PROBLEMS)))


def find_webhook_problems(document: Document, projects: Iterable[str]) -> list[Problem]:
    """What is wrong in the file, and which projects it names that are not there."""
    endpoints, problems = parse_definitions(document)
    known = {*projects}
    findings = [
        Finding(("webhooks", name, "project"), "DT122", f"there is no project {endpoint.project!r}")
        for name, endpoint in endpoints.items()
        if endpoint.project and endpoint.project not in known
    ]
    return [*problems, *document.problems_for(findings)]


def get_definitions(project: Project) -> Mapping[str, Endpoint]:
    """The webhooks by name. Raises `InvalidProject` when the file is wrong."""
    found = read_definitions(project)
    if has_errors(found.problems):
        raise InvalidProject(f"{WEBHOOKS} is wrong", problems=found.problems)
    return found.endpoints


# -- secrets --------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """The secrets of a webhook on this machine, the newest first, and the address that they were made for."""

    url: str
    secrets: tuple[str, ...]


class Secrets:
    """The secrets that this machine holds. Raises `Conflict` when others could have written them."""

    def __init__(self, git: Git) -> None:
        self._state = OperatorState(git)
        self._path = self._state.folder / "webhooks.json"

    def read(self) -> dict[str, Held]:
        """All of them, by the names of the webhooks."""
        if not os.path.lexists(self._path):
            return {}
        self._state.refuse_unsafe()
        with suppress(*_DAMAGED):
            data = json.loads(self._path.read_bytes())
            return {name: Held(held["url"], tuple(held["secrets"])) for name, held in data["webhooks"].items()}
        return {}

    def write(self, name: str, held: Held | None) -> None:
        """Keep those of one webhook; None forgets them. The caller holds the project's lock. Raises `WriteError`."""
        every = self.read()
        every.pop(name, None)
        if held:
            every[name] = held
        data = {"form": 1, "webhooks": {key: value._asdict() for key, value in sorted(every.items())}}
        self._state.write("webhooks.json", json.dumps(data, indent=1).encode() + b"\n")


# -- what is to be sent ---------------------------------------------------------------------------------------------


class Progress(NamedTuple):
    """How far the queue was sent: `first` names the queue, `done` counts its lines that need no more.

    `tries` are those of the line after, which is due at `next_at` (seconds since 1970). `failing_since` is when the
    last success was over; `disabled` says why nothing is sent any more. `last` is what came of the last try.
    """

    first: str = ""
    done: int = 0
    tries: int = 0
    next_at: float = 0.0
    failing_since: float | None = None
    disabled: str = ""
    last: str = ""


class Delivery(NamedTuple):
    """What became of an event: `state` is waiting, delivered or dead; `at` (UTC) when, `result` what was answered."""

    event: EventRecord
    state: str
    tries: int
    at: str | None = None
    result: str = ""

    def to_json(self) -> dict[str, Any]:
        """The delivery as `--json` shows it."""
        told = {"id": self.event.id, "type": self.event.type, "subject": self.event.subject}
        return {**told, **self._asdict(), "event": self.event.to_json()}


class Outbox:
    """What is to be sent to one endpoint, first in, first out."""

    def __init__(self, git: Git, name: str) -> None:
        self.name = name
        self._folder = git.state_dir / "webhooks" / name
        self._queue = LineLog(self._folder / "queue.jsonl", None)
        self._kept = {state: LineLog(self._folder / f"{state}.jsonl", KEPT_BYTES) for state in ("delivered", "dead")}

    def add(self, events: Iterable[EventRecord], at: str, *, again: bool = False) -> None:
        """Put the events at the end; those that are there only `again`. The caller holds the project's lock.

        Raises `WriteError`.
        """
        known = set() if again else {event.id for event in map(_parse_queued, self._lines()) if event}
        self._queue.append([_dump({"at": at, "event": e.to_json()}) for e in events if e.id not in known])

    def _lines(self) -> list[bytes]:
        return self._queue.current().splitlines()

    def waiting(self) -> tuple[Progress, list[tuple[int, EventRecord]]]:
        """How far it was sent, and the events that wait, first come first, each with what is done when it is sent."""
        lines, progress = self._lines(), self.progress()
        name = _name_queue(lines)
        if progress.first != name:  # another queue: the one that it speaks of was sent to its end
            progress = progress._replace(first=name, done=0)
        parsed = enumerate(map(_parse_queued, lines[progress.done :]), progress.done + 1)
        return progress, [(done, event) for done, event in parsed if event]

    def progress(self) -> Progress:
        """How far it was sent."""
        with suppress(*_DAMAGED):
            return Progress(**json.loads((self._folder / "progress.json").read_bytes()))
        return Progress()

    def write(self, progress: Progress) -> None:
        """Keep how far it was sent. The caller holds the endpoint's lock. Raises `WriteError`."""
        write_file(self._folder / "progress.json", _dump(progress._asdict()) + b"\n", mode=0o600)

    def keep(self, delivery: Delivery) -> None:
        """Keep what became of an event. The caller holds the endpoint's lock. Raises `WriteError`."""
        self._kept[delivery.state].append([_dump({**delivery._asdict(), "event": delivery.event.to_json()})])

    def kept(self, state: str) -> list[Delivery]:
        """What was delivered, or is dead, the oldest first."""
        return [found for found in map(_parse_delivery, self._kept[state].lines()) if found]

    def has_waiting(self) -> bool:
        """Whether anything waits; little is read."""
        lines = self._lines()
        progress = self.progress()
        return bool(lines) and (progress.first != _name_queue(lines) or progress.done < len(lines))

    def tidy(self) -> None:
        """Empty the queue when all of it was sent. The caller holds both locks. Raises `WriteError`."""
        lines = self._lines()
        progress = self.progress()
        if lines and progress.first == _name_queue(lines) and progress.done >= len(lines):
            self._queue.clear()

    def hold(self) -> AbstractContextManager[bool]:
        """Be the one who delivers there, until the context ends or this process does; False: somebody is already."""
        return try_lock(self._folder / "deliver.lock")

    def remove(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self._folder, ignore_errors=True)


def find_outboxes(git: Git) -> list[str]:
    """The names of the endpoints that anything was put aside for."""
    with suppress(FileNotFoundError), os.scandir(git.state_dir / "webhooks") as entries:
        return sorted(entry.name for entry in entries)
    return []


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _name_queue(lines: Sequence[bytes]) -> str:
    return sha256(lines[0]).hexdigest()[:16] if lines else ""


def _parse_queued(line: bytes) -> EventRecord | None:
    with suppress(*_DAMAGED, RecursionError):
        return EventRecord.from_json(json.loads(line)["event"])
    return None


def _parse_delivery(line: bytes) -> Delivery | None:
    with suppress(*_DAMAGED, RecursionError):
        data = json.loads(line)
        return Delivery(**{**data, "event": EventRecord.from_json(data["event"])})
    return None
