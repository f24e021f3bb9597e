"""Sending what was put aside: each endpoint for itself, in order, so that a slow one holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import DagtasksError, LockTimeout
from dagtasks.model.endpoint import Endpoint
from dagtasks.model.event import TEST_TYPE, EventRecord
from dagtasks.service.deliveries import find_due, find_refusal, get_endpoint, read_held, refuse_silent
from dagtasks.store.files import hold_lock
from dagtasks.store.project import Project
from dagtasks.store.webhooks import Delivery, Outbox, Progress, read_definitions

if TYPE_CHECKING:
    from dagtasks.outbound import OutboundClient
    from dagtasks.webhooks.schedule import Answer

Clock = Callable[[], float]
"""Gives the seconds since 1970."""
POLL = 0.5
SOON = 0.02
"""Seconds between two looks at what is due: of who sends for long, and of who wants to end."""
LATER = 5.0
"""Seconds for which an endpoint is left alone that somebody else serves."""
INTERRUPTED_EVERY = 30.0
LOCK_SECONDS = 1.0
"""So long others are waited for: meanwhile nothing is sent."""


class Sent(NamedTuple):
    """A try: of which event, to which endpoint, and what came of it; `is_taken` says whether the receiver has it."""

    webhook: str
    event: EventRecord
    result: str
    is_taken: bool

    def to_json(self) -> dict[str, Any]:
        """The try as `--json` shows it."""
        event = self.event
        told = {"id": event.id, "type": event.type, "subject": event.subject}
        return {"webhook": self.webhook, **told, "result": self.result, "delivered": self.is_taken}


Tell = Callable[[Sent], None]


def deliver(project: Project, tell: Tell, *, clock: Clock = time.time) -> None:
    """Send all that is due, once, and tell of each try. An endpoint that somebody else serves is left to them."""
    if find_due(project, clock()):
        postman = Postman(project, tell=tell, clock=clock)
        postman.finish()
        postman.run()


def look_and_deliver(project: Project, tell: Tell, *, clock: Clock = time.time) -> None:
    """Look for changes, and send all that is due, once. Raises as `dispatch.look`."""
    from dagtasks.service import dispatch
    from dagtasks.service.runevents import find_interrupted

    find_interrupted(project)
    if not dispatch.is_busy(project):
        dispatch.catch_up(project)
    deliver(project, tell, clock=clock)


def _say_nothing(_what: object) -> None:
    return None


class Postman:
    """Sends what is due as long as it runs, and sees to it that runs are told of soon.

    `run` is called in a thread. In that thread `warn` is told what keeps it from its work, and `tell` of each try.
    """

    def __init__(
        self,
        project: Project,
        warn: Callable[[str], None] = _say_nothing,
        *,
        tell: Tell = _say_nothing,
        clock: Clock = time.time,
    ) -> None:
        self._project = project
        self._warn = warn
        self._tell = tell
        self._clock = clock
        self._stopped = threading.Event()
        self._finishing = threading.Event()
        self._warned: set[str] = set()
        self._later: dict[str, float] = {}
        """Endpoints that are left alone until then: somebody else serves them, or something went wrong."""

    def run(self) -> None:
        """Send until `stop` is called, or after `finish` until nothing is due."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """Have `run` end soon; from another thread. What is being sent is sent again later, with the same id."""
        self._stopped.set()

    def finish(self) -> None:
        """Have `run` end when all that is due now was tried once; from another thread."""
        self._finishing.set()

    async def _run(self) -> None:
        from dagtasks.outbound import OutboundClient

        tasks: dict[str, asyncio.Task[bool]] = {}
        async with OutboundClient(self._project.settings.allow_hosts) as client:
            while not self._stopped.is_set():
                is_last = self._finishing.is_set()
                self._look_at_runs()
                tasks = {name: task for name, task in tasks.items() if not self._has_ended(name, task)}
                for name in self._choose(tasks):
                    fresh = self._project.with_settings()  # nothing that it remembers may be old
                    tasks[name] = asyncio.create_task(_serve(fresh, name, client, self._tell, self._clock))
                if is_last and not tasks:
                    return
                await asyncio.sleep(SOON if is_last else POLL)
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _choose(self, busy: Container[str]) -> list[str]:
        now = time.monotonic()
        due: list[str] = []
        with self._saying():
            due = find_due(self._project.with_settings(), self._clock())
        return [name for name in due if name not in busy and self._later.get(name, 0.0) <= now]

    def _has_ended(self, name: str, task: asyncio.Task[bool]) -> bool:
        if not task.done():
            return False
        error = task.exception()
        if error:
            self._say(error)
        if error or not task.result():
            self._later[name] = time.monotonic() + LATER
        return True

    @contextmanager
    def _saying(self) -> Iterator[None]:
        try:
            yield
        except LockTimeout:  # then it is done in a moment
            pass
        except (DagtasksError, OSError) as error:
            self._say(error)

    def _say(self, error: BaseException) -> None:
        """Once: it is tried again all the time."""
        text = f"webhooks: {error}; it is tried again later"
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    def _look_at_runs(self) -> None:
        from dagtasks.service.runevents import find_interrupted, has_news, tell_runs

        with self._saying():
            if self._later.get("", 0.0) <= time.monotonic():
                self._later[""] = time.monotonic() + INTERRUPTED_EVERY
                find_interrupted(self._project)
            if has_news(self._project):
                with hold_lock(self._project.lock_path, "look at runs", seconds=LOCK_SECONDS):
                    tell_runs(self._project)


async def _serve(project: Project, name: str, client: OutboundClient, tell: Tell, clock: Clock) -> bool:
    """Send what waits for the endpoint, first in, first out, until one is not taken. False: somebody else does."""
    box = Outbox(project.get_git(), name)
    with box.hold() as is_ours:
        while is_ours and await _send_waiting(project, box, client, tell, clock):
            pass
        if is_ours:
            with suppress(LockTimeout), hold_lock(project.lock_path, "tidy a queue of webhooks", seconds=LOCK_SECONDS):
                box.tidy()
    return is_ours


async def _send_waiting(project: Project, box: Outbox, client: OutboundClient, tell: Tell, clock: Clock) -> bool:
    """Send what waits now, until one is to be tried later. True: there was some, and more may have come meanwhile."""
    from dagtasks.webhooks.delivery import send

    progress, waiting = box.waiting()
    for done, event in waiting:
        endpoint, held = read_definitions(project).endpoints.get(box.name), read_held(project).get(box.name)
        if not endpoint or not held or find_refusal(endpoint, held, progress) or progress.next_at > clock():
            return False
        answer = await send(client, endpoint, event, held.secrets, datetime.fromtimestamp(clock(), UTC))
        progress = _settle(box, progress, done, event, answer, clock())
        tell(Sent(box.name, event, str(answer), answer.is_taken))
    return bool(waiting)


def _settle(box: Outbox, progress: Progress, done: int, event: EventRecord, answer: Answer, now: float) -> Progress:
    """Keep what came of a try, and go on to the next event when this one is delivered or given up."""
    from dagtasks.webhooks.schedule import Tries, after

    before = Tries(progress.tries, progress.next_at, progress.failing_since, progress.disabled)
    then = after(before, answer, now)
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    if answer.is_taken or then.is_over:
        state = "delivered" if answer.is_taken else "dead"
        box.keep(Delivery(event, state, progress.tries + 1, at, str(answer)))
        then = then._replace(tries=0, next_at=0.0)
        progress = progress._replace(done=done)
    progress = progress._replace(**then._asdict(), last=f"{at} {answer}")
    box.write(progress)
    return progress


def send_test(project: Project, name: str, *, clock: Clock = time.time) -> Sent:
    """Send an event of the type `webhook.test` at once, beside the queue. Raises `NotFound`, `Conflict`."""
    endpoint = get_endpoint(project, name)
    held = refuse_silent(project, endpoint)
    event = _make_test(project, endpoint, datetime.fromtimestamp(clock(), UTC))

    async def send_it() -> Sent:
        from dagtasks.outbound import OutboundClient
        from dagtasks.webhooks.delivery import send

        async with OutboundClient(project.settings.allow_hosts) as client:
            answer = await send(client, endpoint, event, held.secrets, datetime.fromtimestamp(clock(), UTC))
        return Sent(name, event, str(answer), answer.is_taken)

    return asyncio.run(send_it())


def _make_test(project: Project, endpoint: Endpoint, now: datetime) -> EventRecord:
    from secrets import token_hex

    from dagtasks.service.events import make_event_id
    from dagtasks.service.people import actor

    return EventRecord(
        make_event_id(token_hex(16)),
        TEST_TYPE,
        now.isoformat(timespec="milliseconds"),
        endpoint.project,
        endpoint.name,
        endpoint.name,
        {},
        actor(project),
    )
