"""Runs a plan: starts each step when its dependencies have ended, and decides how it and the run ended.

It neither prints nor writes: every change is an event, and what wants to know of it is a listener. States and their
rules are those of 03 section 2.7. `performing` carries out single steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dagtasks.engine import results
from dagtasks.engine.desk import Desk, Earlier
from dagtasks.engine.executor import Executor, StepError
from dagtasks.engine.limits import Limits
from dagtasks.engine.performing import (
    CANCELLED,
    OUT_OF_TIME,
    LoopRun,
    Parked,
    StepRun,
    Tools,
    take_turn,
    to_timestamp,
)
from dagtasks.engine.secrecy import Secrecy
from dagtasks.engine.stopping import cancelled_by_signals, run_stoppable
from dagtasks.errors import DagtasksError
from dagtasks.language.functions import EvaluationError
from dagtasks.model.run import (
    Failure,
    RunChanged,
    RunEvent,
    RunFinished,
    RunRecord,
    RunStarted,
    StepChanged,
    StepFinished,
    StepRecord,
    apply_event,
)
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.outbound import OutboundClient
from dagtasks.planning import resolve as rules
from dagtasks.planning.plan import CallRequest, Plan, PlanStep, needs_engine
from dagtasks.settings import EngineSettings

WORST_FIRST = (StepState.CANCELLED, StepState.TIMED_OUT, StepState.ERRORED, StepState.FAILED)
NOBODY: Mapping[str, JSON] = {}
"""Instead of a process: none carries on a run that was left waiting."""
BEAT_SECONDS = 30.0
CLEANUP_SECONDS = 300.0
"""How long `finally` may take when the run was cancelled, or its time is over."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run to carry out. `record` is what is known before, every step pending, or how far it got earlier."""

    plan: Plan
    record: RunRecord
    earlier: Earlier = field(default_factory=Earlier)


def run_plan(job: Job, executor: Executor, settings: EngineSettings, desk: Desk) -> RunRecord:
    """Run the plan to its end and return the record with all that happened; blocks meanwhile.

    In the main thread ^C, SIGTERM and SIGHUP cancel the run; a second one leaves out what `finally` would do.
    Where nothing but approvals is left and the desk does not wait, the record is returned as `waiting`.
    Raises `EngineUnavailable` when the engine does not answer, and `KeyboardInterrupt` when such a signal comes before
    it did; nothing was started then, and no event sent.
    """

    async def run_it() -> RunRecord:
        async with AsyncExitStack() as opened:
            with cancelled_by_signals():
                if needs_engine(job.plan):
                    await opened.enter_async_context(executor)
                client = await opened.enter_async_context(OutboundClient(desk.allow_hosts))
                beating = asyncio.create_task(_beat(desk, job.record.id))
                opened.callback(beating.cancel)
                return await run(job, Tools(executor, client, desk, make_secrecy(job.plan, desk)), settings)

    return run_stoppable(run_it())


async def _beat(desk: Desk, run: str) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        desk.beat(run)


async def run(job: Job, tools: Tools, settings: EngineSettings) -> RunRecord:
    """The record of the run after its end.

    Cancelling the task that awaits this cancels the run: the record is returned all the same, once nothing of the run
    is left. An exception of a listener or a fault of ours ends the run's steps and comes through.
    """
    plan = job.plan
    limits = Limits().within(plan.max_parallel or settings.max_parallel, plan.timeout or settings.timeout)
    return await _Run(job, tools, limits).perform()


def make_secrecy(plan: Plan, desk: Desk) -> Secrecy:
    """What keeps the secrets and the sensitive parameters of a run out of its events."""
    params: Any = plan.scope.get("params") or {}
    secrecy = Secrecy(desk.secrets.values())
    for name in plan.sensitive:
        secrecy.learn(params.get(name))
    return secrecy


class _Run:
    """One run that goes on; each of its steps is a task. `on_waiting` is told when it waits, and when it goes on."""

    def __init__(
        self, job: Job, tools: Tools, limits: Limits, *, on_waiting: Callable[[bool], None] = lambda waits: None
    ) -> None:
        self.plan = job.plan
        self.record = job.record
        self.earlier = job.earlier
        self.tools = tools
        self.limits = limits
        self.on_waiting = on_waiting
        self.steps = {step.name: step for step in self.plan.all_steps}
        self.results: dict[str, StepRecord] = {}
        self.failed: list[str] = []
        """The steps whose failure is the run's, those of `finally` after the others."""
        self.reused: set[str] = set()
        self.omitted_by_failure: set[str] = set()
        self.scope_of_steps: dict[str, JSON] = {}
        self.outputs: dict[str, JSON] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self.parked: set[str] = set()
        self.waiting: set[str] = set()
        self.busy: set[str] = set()
        self.is_cleaning = False
        self.is_cancelled = job.earlier.is_cancelled
        self.is_killed = False
        self.is_out_of_time = False

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    # -- the whole run -------------------------------------------------------------------------------------------

    async def perform(self) -> RunRecord:
        """Run all steps; the record at the end, or when nothing but approvals is left to wait for."""
        started = self.clock()
        self.emit_start()
        try:
            async with self.turn():
                status, error = await self.perform_wanted()
        except StepError as refused:
            status, error = self.status_without_turn(), Failure(refused.code, refused.message)
        finally:
            await self.stop_tasks()
        if self.parked:
            self.tell_waiting(waits=True)
            self.emit_status(RunState.WAITING, NOBODY)
            return self.record
        fault = None if status is RunState.SKIPPED else self.find_outputs()
        if fault and status is RunState.SUCCEEDED:
            status, error = RunState.ERRORED, Failure("output_error", fault)
        self.emit(RunFinished(self.id, status, self.clock() - started, self.outputs, error))
        return self.record

    def find_outputs(self) -> str:
        """Take in the outputs that have a value; why others have none. What is sensitive is masked from now on."""
        self.outputs, faults = rules.run_outputs(self.plan, self.around({}))
        hidden = [name for name, output in self.plan.outputs.items() if output.sensitive]
        if hidden:
            self.tools.secrecy.hide_outputs(self.id, hidden)
        for name in hidden:
            self.tools.secrecy.learn(self.outputs.get(name))
        return faults[0] if faults else ""

    def status_without_turn(self) -> RunState:
        """How a run ends whose turn never came."""
        return RunState.CANCELLED if self.is_cancelled else RunState.FAILED

    def emit_start(self) -> None:
        """Tell that the run begins, or goes on in this process."""
        if self.earlier.continues:
            self.emit_status(RunState.CANCELLING if self.is_cancelled else RunState.RUNNING, self.record.process)
        else:
            self.emit(RunStarted(self.id, self.record))

    def emit_status(self, status: RunState, process: Mapping[str, JSON] | None = None) -> None:
        """Tell how the run stands between its beginning and its end."""
        self.emit(RunChanged(self.id, status, to_timestamp(self.tools.desk.now()), process))

    @asynccontextmanager
    async def turn(self) -> Any:
        """Wait for the run's turn in its concurrency group."""
        if self.plan.concurrency is None:
            yield
            return
        try:
            name = rules.group_name(self.plan.concurrency, self.around({}))
        except EvaluationError as error:
            raise StepError("expression", f"concurrency.group: {error.told}") from None
        try:
            async with take_turn(self.tools.desk, name, self.plan.concurrency, lambda _: self.tell_waiting(waits=True)):
                self.tell_waiting(waits=False)
                yield
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise StepError("cancelled", CANCELLED.message) from None

    async def perform_wanted(self) -> tuple[RunState, Failure | None]:
        """Run the steps unless the plan's own condition says no."""
        try:
            if not rules.is_wanted(self.plan.condition, self.around({}), success=True, failure=False, cancelled=False):
                return RunState.SKIPPED, None
            self.limits.counter.add(len(self.steps))
        except EvaluationError as error:
            return RunState.ERRORED, Failure("expression", f"if: {error.told}")
        await self.perform_steps()
        if not self.parked:
            await self.clean_up()
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
            name = await self.next_ended()
            following = [] if name in self.parked else dependants[name]
            for step in following:
                waiting[step.name] -= 1
            self.start(step for step in following if not waiting[step.name])
        if self.is_cancelled:
            self.give_up_parked()

    def give_up_parked(self) -> None:
        """Of a run that was cancelled nothing waits any more."""
        for step in self.plan.steps:
            if step.name not in self.results:
                self.note(results.not_run(StepRecord(step.name), StepState.OMITTED, CANCELLED))
        self.parked.clear()

    async def clean_up(self) -> None:
        """Do what `finally` says, one after the other, whatever happened before."""
        if not self.plan.finally_:
            return
        self.is_cleaning = True
        if self.is_cancelled or self.is_out_of_time:
            self.limits = self.limits.for_cleanup(CLEANUP_SECONDS)
        for step in self.plan.finally_:
            self.start([step])
            while self.tasks:
                await self.next_ended()

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
        """End what runs, and start nothing more but `finally`; the second time, that neither."""
        if self.is_cancelled:
            self.is_killed = True
        else:
            self.is_cancelled = True
            self.emit_status(RunState.CANCELLING)
        if self.is_cleaning and not self.is_killed:
            self.limits = self.limits.for_cleanup(CLEANUP_SECONDS)
            return
        for task in self.tasks:
            task.cancel()

    async def stop_tasks(self) -> None:
        """Make sure that no step goes on when the run itself fell over."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # -- steps ---------------------------------------------------------------------------------------------------

    async def perform_step(self, step: PlanStep) -> None:
        """Take the result of before, or carry the step out."""
        if result := self.find_reusable(step):
            self.reused.add(step.name)
            self.note(result)
            return
        self.busy.add(step.name)
        try:
            if step.loop:
                await LoopRun(self, self.tools, step, self.earlier).perform(self.note)
            else:
                await StepRun(self, self.tools, step, old=self.earlier.records.get(step.name)).perform(self.note)
        except Parked:
            self.parked.add(step.name)
        self.busy.discard(step.name)
        self.tell_whether_waiting()

    def find_reusable(self, step: PlanStep) -> StepRecord | None:
        """The result of an earlier run, when it still holds."""
        old = self.earlier.results.get(step.name)
        if old is None or not (self.earlier.continues or self.reused.issuperset(step.depends_on)):
            return None
        if self.earlier.checks_inputs and old.inputs != self.find_inputs(step):
            return None
        return self.earlier.reuse(old)

    def find_inputs(self, step: PlanStep) -> str | None:
        """What the step would be asked to do now, as a digest; None where that cannot be said."""
        try:
            scopes = rules.loop_scopes(step.loop, self.around({})) if step.loop else [{}]
            requests = [rules.resolve(step, self.plan, self.around(extra), 1) for extra in scopes]
        except EvaluationError:
            return None
        digests = [results.digest_of(request, self.tools.secrecy.mask_text) for request in requests]
        return results.digest_of_items(digests) if step.loop else digests[0]

    def note(self, result: StepRecord) -> None:
        """Take in how a step ended."""
        step = self.steps[result.name]
        tolerated = step.continue_on_error and result.state.is_bad
        final = replace(result, conclusion=StepState.SUCCEEDED if tolerated else result.state)
        self.results[step.name] = final
        if final.conclusion and final.conclusion.is_bad:
            self.failed.append(step.name)
        self.scope_of_steps[step.name] = results.scope_of(step, final)
        if not (self.earlier.continues and step.name in self.reused):
            self.emit(StepFinished(self.id, final))

    def note_waiting(self, name: str, *, waits: bool) -> None:
        """Take in that a step waits, or goes on; the run waits when all that is under way does."""
        (self.waiting.add if waits else self.waiting.discard)(name)
        self.tell_whether_waiting()

    def tell_whether_waiting(self) -> None:
        """Tell whether all that is under way waits."""
        self.tell_waiting(waits=bool(self.waiting) and {_owner(one) for one in self.waiting} >= self.busy)

    def tell_waiting(self, *, waits: bool) -> None:
        """Tell it when that is new."""
        status = RunState.WAITING if waits else RunState.RUNNING
        if self.record.status in (RunState.WAITING, RunState.RUNNING) and self.record.status is not status:
            self.emit_status(status)
            self.on_waiting(waits)

    def note_out_of_time(self) -> None:
        """Take in that the run's time is over."""
        self.is_out_of_time = self.is_out_of_time or not self.is_cleaning

    async def perform_call(self, record: StepRecord, request: CallRequest, old: StepRecord | None) -> StepRecord:
        """How a child run ended. It has a record and steps of its own, and shares the limits of this run."""
        try:
            plan = rules.child_plan(self.plan, request)
        except (DagtasksError, EvaluationError) as error:
            raise StepError("parameters", "; ".join(line.strip() for line in error.message.splitlines())) from None
        if missing := set(plan.secrets) - set(request.secrets):
            raise StepError("secret_missing", f"the template wants {min(missing)}, which was not handed down to it")
        job = self.find_child(plan, old)
        child_id = job.record.id

        def on_waiting(waits: bool) -> None:  # noqa: FBT001 - it is what happened, and no option
            state = StepState.WAITING if waits else StepState.RUNNING
            reason = Failure("approval", f"run {child_id} waits") if waits else None
            self.emit(StepChanged(self.id, record.name, state, to_timestamp(self.tools.desk.now()), reason, child_id))
            self.note_waiting(record.name, waits=waits)

        limits = self.limits.within(None, request.timeout).within(plan.max_parallel, plan.timeout)
        child = _Run(job, self.tools, limits, on_waiting=on_waiting)
        done = await child.perform()
        if child.parked:
            raise Parked
        if done.status is RunState.TIMED_OUT and self.limits.deadline.is_over():
            self.note_out_of_time()
        return results.of_child(replace(record, child=done.id), replace(done, outputs=child.outputs))

    def find_child(self, plan: Plan, old: StepRecord | None) -> Job:
        """The child run to carry out: the one that waited, one that takes over what the last one did, or a new one."""
        before = self.tools.desk.find_record(old.child) if old and old.child else None
        if before and self.earlier.continues and not before.status.is_final:
            record = replace(before, process=self.record.process)
            return Job(plan, record, replace(make_earlier(before, plan, self.tools.desk.has_artifact), continues=True))
        fresh = _child_record(plan, self.record, self.tools.desk)
        if before is None or self.earlier.continues:
            return Job(plan, fresh)
        earlier = make_earlier(before, plan, self.tools.desk.has_artifact)
        return Job(plan, replace(fresh, retry_of=before.id), earlier)

    def judge(self, step: PlanStep, extra: Mapping[str, JSON], *, asks_condition: bool = True) -> StepRecord | None:
        """The result of a step that is not to run, or None when it is to run."""
        record = StepRecord(step.name)
        if self.is_killed or (self.is_cancelled and not self.is_cleaning):
            return results.not_run(record, StepState.OMITTED, CANCELLED)
        if self.limits.deadline.is_over():
            self.note_out_of_time()
            return results.not_run(record, StepState.OMITTED, OUT_OF_TIME)
        cause = self.cause_to_omit(step)
        try:
            wanted = self.is_wanted(step, extra, cause) if asks_condition else not cause
        except EvaluationError as error:
            return results.not_run(record, StepState.ERRORED, Failure("expression", f"if: {error.told}"))
        if wanted:
            return None
        if not cause or self.is_cleaning:
            return StepRecord(step.name, state=StepState.SKIPPED)
        self.omitted_by_failure.add(step.name)
        return results.not_run(record, StepState.OMITTED, Failure("not_reached", cause))

    def is_wanted(self, step: PlanStep, extra: Mapping[str, JSON], cause: str) -> bool:
        """Whether the step's condition holds. A step of `finally` without one always runs."""
        if self.is_cleaning:
            failed = bool(self.failed) or self.is_out_of_time
            success = step.condition is None or not (failed or self.is_cancelled)
            around = self.around(extra)
            return rules.is_wanted(step.condition, around, success=success, failure=failed, cancelled=self.is_cancelled)
        failure = any(self.has_failed(name) for name in step.depends_on)
        return rules.is_wanted(step.condition, self.around(extra), success=not cause, failure=failure, cancelled=False)

    def cause_to_omit(self, step: PlanStep) -> str:
        """Why `success()` is false for the step; empty when it is true."""
        fine = (StepState.SUCCEEDED, StepState.SKIPPED)
        bad = [name for name in step.depends_on if self.results[name].conclusion not in fine]
        if not bad and self.plan.fail_fast and not self.is_cleaning:
            bad = self.failed
        return f"step {bad[0]} is {self.results[bad[0]].state}" if bad else ""

    def has_failed(self, name: str) -> bool:
        """Whether the step failed, tolerated or not, or was left out because another did."""
        return self.results[name].state.is_bad or name in self.omitted_by_failure

    # -- what is known -------------------------------------------------------------------------------------------

    def around(self, extra: Mapping[str, JSON]) -> rules.Around:
        """What expressions see now, and beside it what an item sees."""
        known: Any = self.plan.scope.get("run") or {}
        now: dict[str, JSON] = {
            "id": self.record.id,
            "trigger": self.record.trigger,
            "actor": self.record.actor,
            "started_at": self.record.started_at,
            "status": str(self.status() if self.failed or self.is_cleaning else self.record.status),
            "failed_steps": list[JSON](self.failed),
            "attempt": 1,
        }
        secrets: dict[str, JSON] = {name: self.tools.desk.secrets.get(name) for name in self.plan.secrets}
        scope = {"trigger": {}, **self.plan.scope, "steps": self.scope_of_steps, "run": {**known, **now}}
        return rules.Around({**scope, "secrets": secrets, **extra}, self.tools.desk.functions, self.tools.desk.places)

    def status(self) -> RunState:
        """How the run stands by what has ended, worst first; `finally` cannot make it better."""
        if self.is_cancelled:
            return RunState.CANCELLED
        if self.is_out_of_time:
            return RunState.TIMED_OUT
        if worst := _worst(self.results[step.name] for step in self.plan.steps if step.name in self.results):
            return worst
        cleaned = _worst(self.results[step.name] for step in self.plan.finally_ if step.name in self.results)
        return RunState.FAILED if cleaned else RunState.SUCCEEDED

    def first_error(self) -> Failure | None:
        """What the run's own result is due to."""
        if self.is_cancelled:
            return CANCELLED
        if self.is_out_of_time:
            return OUT_OF_TIME
        errors = ((name, self.results[name].error) for name in self.failed)
        return next((Failure(error.code, f"step {name}: {error.message}") for name, error in errors if error), None)

    def emit(self, event: RunEvent) -> None:
        """Tell everybody, without secrets."""
        for masked in self.tools.secrecy.mask(event):
            self.record = apply_event(self.record, masked)
            for listener in self.tools.desk.listeners:
                listener(masked)

    def clock(self) -> float:
        """Seconds of a clock that only goes forward."""
        return asyncio.get_running_loop().time()


def make_earlier(before: RunRecord, plan: Plan, has_artifact: Callable[[str], bool]) -> Earlier:
    """What can be taken from a run: of one that still waits all that has ended, else what succeeded and is whole.

    What is not whole: outputs that were cut or hidden, artifacts that are not here any more. In a run that goes on,
    only hidden outputs that are still to be read have to be made again.
    """
    ended = {step.name: step for step in before.steps if step.conclusion is not None}
    hidden = {step.name for step in plan.steps if any(spec.sensitive for spec in step.outputs.values())}
    if not before.status.is_final:
        wanted = {name for step in plan.all_steps if step.name not in ended for name in step.reads}
        again = {name for name in hidden & wanted & ended.keys() if ended[name].state is StepState.SUCCEEDED}
        kept = {step.name: step for step in before.steps if step.name not in again}
        return Earlier(before.id, {name: step for name, step in ended.items() if name in kept}, kept)
    whole = {
        name: step
        for name, step in ended.items()
        if step.state is StepState.SUCCEEDED
        and not step.is_cut
        and name not in hidden
        and all(map(has_artifact, _artifacts_of(step)))
    }
    cleanup = {step.name for step in plan.finally_}
    results_ = {name: step for name, step in whole.items() if name not in cleanup}
    return Earlier(before.id, results_, {step.name: step for step in before.steps})


def _artifacts_of(step: StepRecord) -> Iterator[str]:
    for one in (step, *step.items):
        artifacts: Mapping[str, Any] = one.artifacts
        yield from (artifact["digest"] for artifact in artifacts.values())


def _worst(ended: Iterable[StepRecord]) -> RunState | None:
    conclusions = {result.conclusion for result in ended}
    return next((RunState(state) for state in WORST_FIRST if state in conclusions), None)


def _owner(name: str) -> str:
    return name.partition("[")[0]


def _child_record(plan: Plan, parent: RunRecord, desk: Desk) -> RunRecord:
    now = desk.now()
    template = plan.template
    return replace(
        parent,
        id=desk.make_id(now),
        parent=parent.id,
        template={"name": template.name, "version": template.version, "blob": template.blob},
        parameters=plan.parameters,
        started_at=to_timestamp(now),
        steps=tuple(StepRecord(step.name) for step in plan.all_steps),
        status=RunState.RUNNING,
        warnings=0,
        children=(),
        retry_of=None,
    )
