"""Runs a plan: starts each step when its dependencies have ended, and decides how it and the run ended.

It neither prints nor writes: every change is an event, and what wants to know of it is a listener. States and their
rules are those of 03 section 2.7.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from dagtasks.engine import http, results
from dagtasks.engine.executor import Capture, Executor, OutputSink, StepError
from dagtasks.errors import DagtasksError
from dagtasks.language.functions import EvaluationError
from dagtasks.model.run import (
    Failure,
    RunEvent,
    RunFinished,
    RunRecord,
    RunStarted,
    StepFinished,
    StepOutput,
    StepRecord,
    StepStarted,
    Stream,
    apply_event,
)
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.outbound import OutboundClient, OutboundError
from dagtasks.planning import resolve as rules
from dagtasks.planning.plan import ApiRequest, CallRequest, ExecRequest, Plan, PlanStep, Request, needs_engine
from dagtasks.settings import EngineSettings

Listener = Callable[[RunEvent], None]

WORST_FIRST = (StepState.CANCELLED, StepState.TIMED_OUT, StepState.ERRORED, StepState.FAILED)
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CANCELLED = Failure("cancelled", "the run was cancelled")
OUT_OF_TIME = Failure("run_timeout", "the time of the run was over")


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run needs from outside. `now` gives aware times, `make_id` the id of a run that begins then."""

    executor: Executor
    client: OutboundClient
    listeners: tuple[Listener, ...]
    now: Callable[[], datetime]
    make_id: Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run shares with its children: places for running steps, and the end of its time (of the loop's clock).

    Places are taken from the inner run to the outer, so nobody waits in a circle.
    """

    places: tuple[asyncio.Semaphore, ...] = ()
    deadline: float | None = None

    def within(self, max_parallel: int | None, timeout: float | None) -> Limits:
        """These limits, and those of a part of the run."""
        own = (asyncio.Semaphore(max_parallel),) if max_parallel else ()
        ends = [self.deadline, asyncio.get_running_loop().time() + timeout if timeout else None]
        return Limits((*own, *self.places), min((end for end in ends if end is not None), default=None))


def run_plan(
    plan: Plan,
    record: RunRecord,
    executor: Executor,
    settings: EngineSettings,
    *,
    listeners: Iterable[Listener],
    now: Callable[[], datetime],
    make_id: Callable[[datetime], str],
    allow_hosts: Iterable[str] = (),
) -> RunRecord:
    """Run the plan to its end and return the record with all that happened; blocks meanwhile.

    `record` is what is known before, every step pending. In the main thread ^C, SIGTERM and SIGHUP cancel the run.
    Raises `EngineUnavailable` when the engine does not answer; nothing was started then, and no event sent.
    """

    async def run_it() -> RunRecord:
        async with AsyncExitStack() as opened:
            if needs_engine(plan):
                await opened.enter_async_context(executor)
            client = await opened.enter_async_context(OutboundClient(allow_hosts))
            with _cancelled_by_signals():
                tools = Tools(executor, client, tuple(listeners), now, make_id)
                return await run(plan, record, tools, settings)

    return asyncio.run(run_it())


async def run(plan: Plan, record: RunRecord, tools: Tools, settings: EngineSettings) -> RunRecord:
    """The record of the run after its end.

    Cancelling the task that awaits this cancels the run: the record is returned all the same, once nothing of the run
    is left. An exception of a listener or a fault of ours ends the run's steps and comes through.
    """
    limits = Limits().within(plan.max_parallel or settings.max_parallel, plan.timeout or settings.timeout)
    return await _Run(plan, record, tools, limits).perform()


def to_timestamp(moment: datetime) -> str:
    """The time as records have it: UTC with milliseconds, `2026-11-23T18:45:00.000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in STOPPING_SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in STOPPING_SIGNALS:
            loop.remove_signal_handler(number)


@dataclass(slots=True)
class _Attempt:
    """One try of one step. `started` is of the loop's clock, None before it began; `record` grows as it goes on."""

    step: PlanStep
    record: StepRecord
    started: float | None = None
    printed: Mapping[Stream, Capture] = field(default_factory=lambda: {"stdout": Capture(), "stderr": Capture()})

    def stopped(self, state: StepState, error: Failure) -> StepRecord:
        """The result when it was broken off, or never began."""
        if self.started is None:
            return results.not_run(self.step, StepState.OMITTED, error)
        printed = {stream: kept.data for stream, kept in self.printed.items()}
        return replace(results.with_output(self.record, printed), state=state, error=error)


class _Run:
    """One run that goes on; each of its steps is a task."""

    def __init__(self, plan: Plan, record: RunRecord, tools: Tools, limits: Limits) -> None:
        self.plan = plan
        self.record = record
        self.tools = tools
        self.limits = limits
        self.steps = {step.name: step for step in plan.steps}
        self.results: dict[str, StepRecord] = {}
        self.omitted_by_failure: set[str] = set()
        self.scope_of_steps: dict[str, JSON] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self.is_cancelled = False
        self.is_out_of_time = False

    async def perform(self) -> RunRecord:
        """Run all steps; the record at the end."""
        started = self.clock()
        self.emit(RunStarted(self.record.id, self.record))
        try:
            status, error = await self.perform_wanted()
        finally:
            await self.stop_tasks()
        outputs = {} if status is RunState.SKIPPED else rules.run_outputs(self.plan, self.scope())
        self.emit(RunFinished(self.record.id, status, self.clock() - started, outputs, error))
        return self.record

    async def perform_wanted(self) -> tuple[RunState, Failure | None]:
        """Run the steps unless the plan's own condition says no."""
        try:
            if not rules.is_wanted(self.plan.condition, self.scope(), success=True, failure=False, cancelled=False):
                return RunState.SKIPPED, None
        except EvaluationError as error:
            return RunState.ERRORED, Failure("expression", f"if: {error.message}")
        await self.perform_steps()
        return self.status(), self.first_error()

    async def perform_steps(self) -> None:
        """Start what is ready whenever a step ended, until there is nothing more to wait for."""
        waiting = {step.name: len(step.depends_on) for step in self.plan.steps}
        dependants: dict[str, list[PlanStep]] = {step.name: [] for step in self.plan.steps}
        for step in self.plan.steps:
            for name in step.depends_on:
                dependants[name].append(step)
        self.start(step for step in self.plan.steps if not step.depends_on)
        while self.tasks:
            following = dependants[await self.next_ended()]
            for step in following:
                waiting[step.name] -= 1
            self.start(step for step in following if not waiting[step.name])

    def start(self, steps: Iterable[PlanStep]) -> None:
        """Give each step a task of its own."""
        for step in steps:
            task = asyncio.create_task(self.perform_step(step), name=step.name)
            self.tasks.add(task)
            task.add_done_callback(self.ended.put_nowait)

    async def next_ended(self) -> str:
        """The name of the next step that ended."""
        while True:
            try:
                task = await self.ended.get()
            except asyncio.CancelledError:
                self.cancel()
                continue
            self.tasks.discard(task)
            task.result()
            return task.get_name()

    def cancel(self) -> None:
        """End what runs, and start nothing more."""
        self.is_cancelled = True
        for task in self.tasks:
            task.cancel()

    async def stop_tasks(self) -> None:
        """Make sure that no step goes on when the run itself fell over."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def note(self, result: StepRecord) -> None:
        """Take in how a step ended."""
        step = self.steps[result.name]
        tolerated = step.continue_on_error and result.state.is_bad
        final = replace(result, conclusion=StepState.SUCCEEDED if tolerated else result.state)
        self.results[step.name] = final
        self.scope_of_steps[step.name] = results.scope_of(step, final)
        self.emit(StepFinished(self.record.id, final))

    async def perform_step(self, step: PlanStep) -> None:
        """Carry out the step when there is a place for it, and not at all when it is not wanted then.

        The place is left only after the result is noted: who gets it next has to know of a failure.
        """
        attempt = _Attempt(step, StepRecord(step.name, attempts=1))
        async with AsyncExitStack() as held:
            result = await self.perform_in_time(attempt, held)
            if attempt.started is not None:
                result = replace(result, duration=self.clock() - attempt.started)
            self.note(result)

    async def perform_in_time(self, attempt: _Attempt, held: AsyncExitStack) -> StepRecord:
        """How the attempt ended, within the time of the run; the places it needs are entered into `held`."""
        calls = attempt.step.kind == "workflow"  # a child keeps to the time by itself, and its steps need the places
        try:
            async with asyncio.timeout_at(None if calls else self.limits.deadline):
                for places in () if calls else self.limits.places:
                    await held.enter_async_context(places)
                return self.judge(attempt.step) or await self.perform_attempt(attempt)
        except TimeoutError:
            self.is_out_of_time = True
            return attempt.stopped(StepState.TIMED_OUT, OUT_OF_TIME)
        except asyncio.CancelledError:
            return attempt.stopped(StepState.CANCELLED, CANCELLED)

    async def perform_attempt(self, attempt: _Attempt) -> StepRecord:
        """How the attempt ended, within the time of the step; what could not be carried out at all is `errored`."""
        step = attempt.step
        attempt.started = self.clock()
        attempt.record = replace(attempt.record, started_at=to_timestamp(self.tools.now()))
        self.emit(StepStarted(self.record.id, step.name, attempt.record.attempts, attempt.record.started_at or ""))
        try:
            async with asyncio.timeout(None if step.kind == "workflow" else step.timeout):
                return await self.perform_request(attempt, self.request_of(attempt))
        except TimeoutError:
            message = f"it did not end within {step.timeout:g} seconds"
            return attempt.stopped(StepState.TIMED_OUT, Failure("timeout", message))
        except (StepError, OutboundError) as error:
            return attempt.stopped(StepState.ERRORED, Failure(error.code, error.message))

    def request_of(self, attempt: _Attempt) -> Request:
        """What the step asks for, all values known."""
        try:
            return rules.resolve(attempt.step, self.plan, self.scope(), attempt.record.attempts)
        except EvaluationError as error:
            raise StepError("expression", error.message) from None

    async def perform_request(self, attempt: _Attempt, request: Request) -> StepRecord:
        """How the request ended."""
        match request:
            case ExecRequest():
                result = await self.tools.executor.execute(request, self.sink(attempt))
                return results.of_process(attempt.step, attempt.record, request, result)
            case ApiRequest():
                answer = await http.call(request, self.tools.client, self.holds)
                self.sink(attempt)("stdout", answer.body.encode())
                return results.of_answer(attempt.step, attempt.record, answer)
            case CallRequest():
                return await self.perform_call(attempt, request)

    def sink(self, attempt: _Attempt) -> OutputSink:
        """Where output goes: to the listeners; the beginning of it is kept for the record."""

        def take(stream: Stream, data: bytes) -> None:
            attempt.printed[stream].add(data)
            self.emit(StepOutput(self.record.id, attempt.step.name, attempt.record.attempts, stream, data))

        return take

    def holds(self, condition: str, response: Mapping[str, JSON]) -> bool:
        """Whether a condition on a response holds."""
        try:
            return rules.holds(condition, self.scope(), response)
        except EvaluationError as error:
            raise StepError("expression", f"success_condition: {error.message}") from None

    async def perform_call(self, attempt: _Attempt, request: CallRequest) -> StepRecord:
        """How a child run ended. It has a record and steps of its own, and shares the limits of this run."""
        try:
            plan = rules.child_plan(self.plan, request)
        except (DagtasksError, EvaluationError) as error:
            raise StepError("parameters", error.message) from None
        limits = self.limits.within(None, request.timeout).within(plan.max_parallel, plan.timeout)
        record = _child_record(plan, self.record, self.tools)
        attempt.record = replace(attempt.record, child=record.id)
        child = await _Run(plan, record, self.tools, limits).perform()
        if child.status is RunState.TIMED_OUT and self.is_over():
            self.is_out_of_time = True
        return results.of_child(attempt.record, child)

    def judge(self, step: PlanStep) -> StepRecord | None:
        """The result of a step that is not to run, or None when it is to run."""
        if self.is_cancelled:
            return results.not_run(step, StepState.OMITTED, CANCELLED)
        if self.is_over():
            self.is_out_of_time = True
            return results.not_run(step, StepState.OMITTED, OUT_OF_TIME)
        cause = self.cause_to_omit(step)
        failure = any(self.has_failed(name) for name in step.depends_on)
        try:
            wanted = rules.is_wanted(step.condition, self.scope(), success=not cause, failure=failure, cancelled=False)
        except EvaluationError as error:
            return results.not_run(step, StepState.ERRORED, Failure("expression", f"if: {error.message}"))
        if wanted:
            return None
        if not cause:
            return StepRecord(step.name, state=StepState.SKIPPED)
        self.omitted_by_failure.add(step.name)
        return results.not_run(step, StepState.OMITTED, Failure("not_reached", cause))

    def is_over(self) -> bool:
        """Whether the time of the run is over."""
        return self.limits.deadline is not None and self.clock() >= self.limits.deadline

    def cause_to_omit(self, step: PlanStep) -> str:
        """Why `success()` is false for the step; empty when it is true."""
        fine = (StepState.SUCCEEDED, StepState.SKIPPED)
        bad = [name for name in step.depends_on if self.results[name].conclusion not in fine]
        if not bad and self.plan.fail_fast:
            bad = self.failed_steps()
        return f"step {bad[0]} is {self.results[bad[0]].state}" if bad else ""

    def has_failed(self, name: str) -> bool:
        """Whether the step failed, tolerated or not, or was left out because another did."""
        return self.results[name].state.is_bad or name in self.omitted_by_failure

    def failed_steps(self) -> list[str]:
        """The steps whose failure is the run's."""
        return [name for name, result in self.results.items() if result.conclusion and result.conclusion.is_bad]

    def scope(self) -> dict[str, JSON]:
        """What expressions see now."""
        known: Any = self.plan.scope.get("run") or {}
        failed = self.failed_steps()
        now: dict[str, JSON] = {
            "id": self.record.id,
            "trigger": self.record.trigger,
            "actor": self.record.actor,
            "started_at": self.record.started_at,
            "status": str(self.status() if failed else self.record.status),
            "failed_steps": list[JSON](failed),
            "attempt": 1,
        }
        return {**self.plan.scope, "steps": self.scope_of_steps, "run": {**known, **now}}

    def status(self) -> RunState:
        """How the run stands by what has ended, worst first."""
        if self.is_cancelled:
            return RunState.CANCELLED
        if self.is_out_of_time:
            return RunState.TIMED_OUT
        conclusions = {result.conclusion for result in self.results.values()}
        return next((RunState(state) for state in WORST_FIRST if state in conclusions), RunState.SUCCEEDED)

    def first_error(self) -> Failure | None:
        """What the run's own result is due to."""
        if self.is_cancelled:
            return CANCELLED
        if self.is_out_of_time:
            return OUT_OF_TIME
        errors = ((name, self.results[name].error) for name in self.failed_steps())
        return next((Failure(error.code, f"step {name}: {error.message}") for name, error in errors if error), None)

    def emit(self, event: RunEvent) -> None:
        """Tell everybody."""
        self.record = apply_event(self.record, event)
        for listener in self.tools.listeners:
            listener(event)

    def clock(self) -> float:
        """Seconds of a clock that only goes forward."""
        return asyncio.get_running_loop().time()


def _child_record(plan: Plan, parent: RunRecord, tools: Tools) -> RunRecord:
    now = tools.now()
    template = plan.template
    return replace(
        parent,
        id=tools.make_id(now),
        parent=parent.id,
        template={"name": template.name, "version": template.version, "blob": template.blob},
        parameters=plan.parameters,
        started_at=to_timestamp(now),
        steps=tuple(StepRecord(step.name) for step in plan.steps),
        status=RunState.RUNNING,
        warnings=0,
        children=(),
        retry_of=None,
    )
