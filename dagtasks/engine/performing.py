"""Carries out one step: its turn, its tries and the waits between them, and the items of a step that loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from dagtasks.engine import http, results
from dagtasks.engine.desk import Answer, Desk, Earlier
from dagtasks.engine.executor import Capture, Executor, StepError
from dagtasks.engine.keeping import Artifact
from dagtasks.engine.limits import Limits
from dagtasks.engine.secrecy import Secrecy
from dagtasks.language.functions import EvaluationError
from dagtasks.model.run import (
    Failure,
    RunEvent,
    StepChanged,
    StepFinished,
    StepOutput,
    StepRecord,
    StepStarted,
    Stream,
    item_name,
)
from dagtasks.model.values import JSON, StepState
from dagtasks.outbound import OutboundClient, OutboundError
from dagtasks.planning import resolve as rules
from dagtasks.planning.plan import (
    ApiRequest,
    ApprovalRequest,
    CallRequest,
    ExecRequest,
    GroupSpec,
    Plan,
    PlanStep,
    Request,
)

CANCELLED = Failure("cancelled", "the run was cancelled")
OUT_OF_TIME = Failure("run_timeout", "the time of the run was over")
POLL = 0.2
"""Seconds between two looks for an answer, or whether our turn has come."""

Done = Callable[[StepRecord], None]


class Parked(Exception):
    """The step waits for an approval, and this process does not wait for it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What carries out steps."""

    executor: Executor
    client: OutboundClient
    desk: Desk
    secrecy: Secrecy


class RunOfStep(Protocol):
    """What a step asks of the run that it belongs to."""

    plan: Plan
    limits: Limits

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    def around(self, extra: Mapping[str, JSON]) -> rules.Around:
        """What expressions see now, and beside it what an item sees."""
        ...

    def judge(self, step: PlanStep, extra: Mapping[str, JSON], *, asks_condition: bool = True) -> StepRecord | None:
        """The result of a step that is not to run, or None when it is to run."""
        ...

    def emit(self, event: RunEvent) -> None:
        """Tell everybody."""
        ...

    def note_waiting(self, name: str, *, waits: bool) -> None:
        """Take in that a step waits for something outside of the run, or no longer does."""
        ...

    def note_out_of_time(self) -> None:
        """Take in that the run's time is over."""
        ...

    async def perform_call(self, record: StepRecord, request: CallRequest, old: StepRecord | None) -> StepRecord:
        """How the step ended whose child run this is. Raises `Parked`, `StepError`."""
        ...


class StepRun:
    """One step, or one item of it. `extra` is what an item sees; `old` how it stood in an earlier process or run."""

    def __init__(
        self,
        run: RunOfStep,
        tools: Tools,
        step: PlanStep,
        *,
        name: str | None = None,
        extra: Mapping[str, JSON] | None = None,
        old: StepRecord | None = None,
    ) -> None:
        self.run = run
        self.tools = tools
        self.step = step
        self.extra = extra or {}
        self.old = old
        self.record = StepRecord(name or step.name, item=item_value(self.extra))
        self.around: rules.Around | None = None
        self.begun: float | None = None
        self.last: StepRecord | None = None
        self.printed: Mapping[Stream, Capture] = {}
        tools.secrecy.hide(run.id, step)

    async def perform(self, done: Done) -> None:
        """Carry the step out, and tell `done` how it ended, once, while the places are still held.

        Whoever gets a place next has to know of a failure. Raises `Parked`.
        """
        try:
            async with asyncio.timeout_at(self.find_deadline()):
                if early := self.judge():
                    done(early)
                else:
                    async with self.turn():
                        await self.perform_tries(done)
        except TimeoutError:
            self.run.note_out_of_time()
            done(self.stopped(StepState.TIMED_OUT, OUT_OF_TIME))
        except asyncio.CancelledError:
            done(self.stopped(StepState.CANCELLED, CANCELLED))
        except StepError as error:
            done(replace(self.record, state=StepState.FAILED, error=Failure(error.code, error.message)))
        self.run.note_waiting(self.record.name, waits=False)

    def find_deadline(self) -> float | None:
        """When the step has to end for the run's sake. A child run keeps to the time by itself, and an approval that
        says how long it waits is not hurried."""
        waits_by_itself = self.step.kind == "approval" and self.step.inputs["timeout"] is not None
        return None if self.step.kind == "workflow" or waits_by_itself else self.run.limits.deadline.when()

    def judge(self) -> StepRecord | None:
        """How it ends without having begun, or None."""
        early = self.run.judge(self.step, self.extra)
        return early and replace(early, name=self.record.name, item=self.record.item)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for our turn in the step's concurrency group, and let go of it at the end."""
        if self.step.concurrency is None:
            yield
            return
        try:
            name = rules.group_name(self.step.concurrency, self.run.around(self.extra))
        except EvaluationError as error:
            raise StepError("expression", error.told) from None
        async with take_turn(self.tools.desk, name, self.step.concurrency, self.wait_for):
            self.run.note_waiting(self.record.name, waits=False)
            yield

    def wait_for(self, reason: Failure, asks: Mapping[str, JSON] | None = None) -> None:
        """Tell that the step waits."""
        self.run.emit(StepChanged(self.run.id, self.record.name, StepState.WAITING, self.now(), reason, asks=asks))
        self.run.note_waiting(self.record.name, waits=True)

    # -- tries ---------------------------------------------------------------------------------------------------

    async def perform_tries(self, done: Done) -> None:
        """Try until it succeeds, or nothing more is to be tried."""
        try:
            async with asyncio.timeout(self.step.retry.max_duration):
                await self.try_again_and_again(done)
        except TimeoutError:
            seconds = self.step.retry.max_duration or 0
            reason = Failure("timeout", f"all tries together did not end within {seconds:g} seconds")
            done(self.last or self.stopped(StepState.TIMED_OUT, reason))

    async def try_again_and_again(self, done: Done) -> None:
        """The tries. Places are free while the step waits for its next try."""
        policy = self.step.retry
        for attempt in range(1, policy.max_attempts + 1):
            async with AsyncExitStack() as held:
                for place in self.places():
                    await held.enter_async_context(place)
                if attempt == 1 and (early := self.judge()):
                    done(early)
                    return
                self.last = None
                result = await self.perform_try(attempt)
                if attempt == policy.max_attempts or not may_retry(self.step, result):
                    done(self.ended(result))
                    return
            self.last = self.ended(result)
            waits = StepChanged(self.run.id, self.record.name, StepState.RETRY_WAIT, self.now(), result.error)
            self.run.emit(waits)
            await asyncio.sleep(wait_before_next(self.step, result, self.tools.desk.dice()))

    def places(self) -> Iterable[asyncio.Semaphore]:
        """The places that a try needs: the steps of a child run need them, and who waits for a person needs none."""
        return () if self.step.kind in ("workflow", "approval") else self.run.limits.places

    async def perform_try(self, attempt: int) -> StepRecord:
        """How one try ended; what could not be carried out at all is `errored`."""
        self.begin(attempt)
        try:
            async with asyncio.timeout(None if self.step.kind in ("workflow", "approval") else self.step.timeout):
                return self.checked(await self.perform_request(self.find_request(attempt)))
        except TimeoutError:
            message = f"it did not end within {self.step.timeout:g} seconds"
            return self.stopped(StepState.TIMED_OUT, Failure("timeout", message))
        except (StepError, OutboundError) as error:
            return self.stopped(StepState.ERRORED, Failure(error.code, error.message))

    def begin(self, attempt: int) -> None:
        """Take in that a try begins. An approval waits since it was first asked for."""
        if self.begun is None:
            self.begun = asyncio.get_running_loop().time()
        started = self.old.started_at if self.old and self.step.kind == "approval" else None
        self.record = replace(self.record, attempts=attempt, started_at=started or self.now())
        self.printed = {"stdout": Capture(), "stderr": Capture()}
        self.run.emit(StepStarted(self.run.id, self.record.name, attempt, self.record.started_at or ""))

    def now(self) -> str:
        """The time, as records have it."""
        return to_timestamp(self.tools.desk.now())

    def find_request(self, attempt: int) -> Request:
        """What is asked for. All tries see the same values, but for `run.attempt`."""
        self.around = self.around or self.run.around(self.extra)
        run = {**self.around.scope["run"], "attempt": attempt}  # type: ignore[dict-item]
        around = self.around._replace(scope={**self.around.scope, "run": run})
        try:
            self.tools.secrecy.learn(rules.derived_secrets(self.step, self.run.plan, around))
            request = rules.resolve(self.step, self.run.plan, around, attempt)
        except EvaluationError as error:
            raise StepError("expression", error.told + self.find_absent()) from None
        self.record = replace(self.record, inputs=results.digest_of(request, self.tools.secrecy.mask_text))
        return request

    def find_absent(self) -> str:
        """Which step that this one reads did not run, if so: then what it would have given is null."""
        steps: Any = (self.around or self.run.around(self.extra)).scope["steps"]
        states = {name: steps[name]["state"] for name in self.step.reads if name in steps}
        absent = [f"; step {name} is {state}" for name, state in states.items() if state in ("skipped", "omitted")]
        return absent[0] if absent else ""

    def ended(self, result: StepRecord) -> StepRecord:
        """The result with the time that all tries took."""
        if self.begun is None:
            return result
        return replace(result, duration=asyncio.get_running_loop().time() - self.begun)

    def stopped(self, state: StepState, error: Failure) -> StepRecord:
        """The result when it was broken off, or never began."""
        if self.begun is None:
            return results.not_run(self.record, StepState.OMITTED, error)
        printed = {stream: kept.data for stream, kept in self.printed.items()}
        return self.ended(replace(results.with_output(self.record, printed), state=state, error=error))

    def checked(self, result: StepRecord) -> StepRecord:
        """The result, unless a secret would get out with what is read of it."""
        for name, spec in self.step.outputs.items():
            if spec.sensitive:
                self.tools.secrecy.learn(result.outputs.get(name))
        read = {name: value for name, value in result.outputs.items() if not self.is_sensitive(name)}
        read |= {part: getattr(result, part) for part in self.step.exposes}
        leaking = [name for name, value in read.items() if self.tools.secrecy.is_in(value)]
        if not leaking or result.state is not StepState.SUCCEEDED:
            return result
        message = f"{leaking[0]} is read and holds a secret; declare it as an output with `sensitive: true`"
        outputs = {name: value for name, value in result.outputs.items() if name not in leaking}
        return replace(result, state=StepState.ERRORED, outputs=outputs, error=Failure("secret_in_output", message))

    def is_sensitive(self, output: str) -> bool:
        """Whether the output may hold a secret."""
        spec = self.step.outputs.get(output)
        return spec is not None and spec.sensitive

    # -- requests ------------------------------------------------------------------------------------------------

    async def perform_request(self, request: Request) -> StepRecord:
        """How the request ended."""
        match request:
            case ExecRequest():
                return await self.perform_exec(request)
            case ApiRequest():
                answer = await http.call(request, self.tools.client, self.holds, self.tools.desk.now)
                self.take_output("stdout", answer.body.encode())
                return results.of_answer(self.step, self.record, answer)
            case CallRequest():
                return await self.run.perform_call(self.record, request, self.old)
            case ApprovalRequest():
                return await self.perform_approval(request)

    async def perform_exec(self, request: ExecRequest) -> StepRecord:
        """How the process ended; what it left is taken in when it succeeded."""
        if not request.artifacts and not request.exports:
            done = await self.tools.executor.execute(request, self.take_output)
            return results.of_process(self.step, self.record, request, done)
        with TemporaryDirectory(prefix="dagtasks-") as name:
            request = replace(request, collect_to=name)
            done = await self.tools.executor.execute(request, self.take_output)
            result = results.of_process(self.step, self.record, request, done)
            return self.take_in(result, request, Path(name)) if result.state is StepState.SUCCEEDED else result

    def take_in(self, result: StepRecord, request: ExecRequest, folder: Path) -> StepRecord:
        """Keep the artifacts, and put the exports into the work tree."""
        kept = self.tools.desk.keep(folder) if request.artifacts else {}
        if request.exports:
            targets = rules.export_targets(self.step, self.around or self.run.around(self.extra))
            self.tools.desk.export(folder, [*zip(request.exports, targets, strict=True)])
        return replace(result, artifacts={key: artifact_json(artifact) for key, artifact in kept.items()})

    def take_output(self, stream: Stream, data: bytes) -> None:
        """Pass on what the step prints; the beginning of it is kept for the record."""
        self.printed[stream].add(data)
        self.run.emit(StepOutput(self.run.id, self.record.name, self.record.attempts, stream, data))

    def holds(self, condition: str, response: Mapping[str, JSON]) -> bool:
        """Whether a condition on a response holds."""
        try:
            return rules.holds(condition, self.around or self.run.around(self.extra), response)
        except EvaluationError as error:
            raise StepError("expression", f"success_condition: {error.told}") from None

    async def perform_approval(self, request: ApprovalRequest) -> StepRecord:
        """What was decided. Time that has a limit of its own does not count as the run's."""
        asks: dict[str, JSON] = {
            "message": request.message,
            "approvers": list(request.approvers),
            "parameters": dict(request.parameters),
        }
        self.wait_for(Failure("approval", request.message), asks)
        asked = asyncio.get_running_loop().time()
        answer = await self.find_answer(request)
        self.run.note_waiting(self.record.name, waits=False)
        if request.timeout is not None:
            self.run.limits.deadline.postpone(asyncio.get_running_loop().time() - asked)
        return results.of_decision(self.record, asks, answer)

    async def find_answer(self, request: ApprovalRequest) -> Answer:
        """The answer, as soon as there is one; silence is an answer when there is a limit. Raises `Parked`."""
        since = datetime.fromisoformat(self.record.started_at or self.now())
        while True:
            if answer := self.tools.desk.find_answer(self.run.id, self.record.name):
                return answer
            waited = (self.tools.desk.now() - since).total_seconds()
            if request.timeout is not None and waited >= request.timeout:
                reason = f"nobody answered within {request.timeout:g} seconds"
                return Answer(request.silence_approves, "", self.now(), reason)
            if not self.tools.desk.waits:
                raise Parked
            await asyncio.sleep(POLL)


class LoopRun:
    """A step that is done once for each item, but for those that `earlier` has done."""

    def __init__(self, run: RunOfStep, tools: Tools, step: PlanStep, earlier: Earlier) -> None:
        self.run = run
        self.tools = tools
        self.step = step
        self.earlier = earlier
        self.old = earlier.records.get(step.name)
        self.results: dict[int, StepRecord] = {}
        self.is_parked = False

    async def perform(self, done: Done) -> None:
        """Do all items, and tell `done` how they ended together. Raises `Parked`."""
        record = StepRecord(self.step.name, attempts=1)
        asks_each = rules.is_about_item(self.step.condition)
        if early := self.run.judge(self.step, {}, asks_condition=not asks_each):
            done(early)
            return
        try:
            scopes = self.find_items()
        except StepError as error:
            done(replace(record, state=StepState.ERRORED, error=Failure(error.code, error.message)))
            return
        begun = asyncio.get_running_loop().time()
        record = replace(record, started_at=to_timestamp(self.tools.desk.now()))
        self.run.emit(StepStarted(self.run.id, self.step.name, 1, record.started_at or ""))
        await self.perform_items(scopes)
        if self.is_parked:
            raise Parked
        items = [self.results[place] for place in range(len(scopes))]
        duration = asyncio.get_running_loop().time() - begun
        done(replace(results.of_items(record, self.step, items), duration=duration))

    def find_items(self) -> list[dict[str, JSON]]:
        """What each item sees."""
        assert self.step.loop is not None  # noqa: S101 - that is why we are here
        try:
            scopes = rules.loop_scopes(self.step.loop, self.run.around({}))
        except EvaluationError as error:
            raise StepError("expression", error.told) from None
        self.run.limits.counter.add(len(scopes))
        return scopes

    async def perform_items(self, scopes: list[dict[str, JSON]]) -> None:
        """Do each item as there is place for it."""
        assert self.step.loop is not None  # noqa: S101
        places = asyncio.Semaphore(self.step.loop.max_parallel or len(scopes) or 1)
        tasks = [asyncio.create_task(self.perform_item(place, scopes[place], places)) for place in range(len(scopes))]
        await settle(tasks)

    async def perform_item(self, place: int, scope: Mapping[str, JSON], places: asyncio.Semaphore) -> None:
        """Do one item, unless it is done already, or another has failed and that ends all."""
        name = item_name(self.step.name, place)
        old = next((item for item in (self.old.items if self.old else ()) if item.name == name), None)
        if old and old.item == item_value(scope) and self.earlier.is_done(old):
            self.note(place, self.earlier.reuse(old))
            return
        try:
            async with places:
                if reason := self.reason_to_leave():
                    self.note(place, StepRecord(name, StepState.OMITTED, item=item_value(scope), error=reason))
                    return
                item = StepRun(self.run, self.tools, self.step, name=name, extra=scope, old=old)
                await item.perform(lambda result: self.note(place, result))
        except asyncio.CancelledError:
            self.note(place, StepRecord(name, StepState.OMITTED, item=item_value(scope), error=CANCELLED))
        except Parked:
            self.is_parked = True

    def reason_to_leave(self) -> Failure | None:
        """Why an item is not to begin any more, if so."""
        assert self.step.loop is not None  # noqa: S101
        bad = next((item for item in self.results.values() if item.state.is_bad), None)
        return Failure("not_reached", f"{bad.name} is {bad.state}") if bad and self.step.loop.fail_fast else None

    def note(self, place: int, result: StepRecord) -> None:
        """Take in how an item ended."""
        self.results[place] = replace(result, conclusion=result.state)
        self.run.emit(StepFinished(self.run.id, self.results[place]))


@asynccontextmanager
async def take_turn(desk: Desk, name: str, spec: GroupSpec, on_wait: Callable[[Failure], None]) -> AsyncIterator[None]:
    """Wait for our turn in a concurrency group; `on_wait` is told when it does not come at once.

    Raises `StepError` when the group rejects who would have to wait.
    """
    turn = desk.take_turn(name, spec.limit)
    try:
        if not turn.has_come():
            if spec.rejects:
                raise StepError("rejected", f"the concurrency group {name} is taken")
            on_wait(Failure("concurrency", f"waits for its turn in {name}"))
        while not turn.has_come():
            await asyncio.sleep(POLL)
        yield
    finally:
        turn.leave()


async def settle(tasks: list[asyncio.Task[None]]) -> None:
    """Wait until all have ended; when this is cancelled, they are, too. Raises what one of them raised."""
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            for task in pending:
                task.cancel()
    for task in tasks:
        task.result()


# -- trying again ---------------------------------------------------------------------------------------------------

RETRY_STATUSES = frozenset({429, 502, 503, 504})
UNANSWERED = frozenset({"timeout", "unknown_host", "no_connection", "no_answer"})


def may_retry(step: PlanStep, result: StepRecord) -> bool:
    """Whether the step's policy wants another try after a try that ended so (03 section 2.8)."""
    policy = step.retry
    if not result.state.is_bad:
        return False
    if policy.exit_codes and result.exit_code not in policy.exit_codes:
        return False
    if policy.on is None and step.kind == "api":
        return _is_passing(result)
    return policy.on is None or result.state in policy.on


def _is_passing(result: StepRecord) -> bool:
    """Whether the failure of a request is of a kind that often passes."""
    code = result.error.code if result.error else ""
    status = (result.response or {}).get("status_code")
    return result.state is StepState.TIMED_OUT or code in UNANSWERED or status in RETRY_STATUSES


def wait_before_next(step: PlanStep, result: StepRecord, dice: float) -> float:
    """Seconds until the next try, at least what the answer asks for; jitter makes it half to one and a half of that."""
    policy = step.retry
    delay = policy.delay * policy.factor ** (result.attempts - 1)
    delay *= 0.5 + dice if policy.jitter else 1.0
    if policy.max_delay is not None:
        delay = min(delay, policy.max_delay)
    asked = (result.response or {}).get("retry_after")
    return max(delay, asked) if isinstance(asked, int | float) else delay


# -- small things ---------------------------------------------------------------------------------------------------


def to_timestamp(moment: datetime) -> str:
    """The time as records have it: UTC with milliseconds, `2026-11-23T18:45:00.000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def item_value(extra: Mapping[str, JSON]) -> JSON:
    """The item, or the combination of the axes, of an item of a loop."""
    return extra["item"] if "item" in extra else extra.get("matrix")


def artifact_json(kept: Artifact) -> dict[str, JSON]:
    """What the record keeps of an artifact."""
    return {"digest": kept.digest, "size": kept.size, "files": kept.files}
