"""Runs a plan without an engine: steps give what a test says, the scheduler is the real one, and no time passes.

The clock jumps to whatever comes next, so that waits, timeouts and retries take milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import selectors
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from dagtasks.engine.desk import Answer, Desk
from dagtasks.engine.executor import ExecResult, OutputSink, StepError
from dagtasks.engine.keeping import Artifact
from dagtasks.engine.performing import Tools
from dagtasks.engine.scheduler import Job, make_secrecy, run
from dagtasks.language.durations import parse_duration
from dagtasks.language.evaluation import Functions
from dagtasks.language.parameters import resolve
from dagtasks.model.casefile import Mock
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.run import RunEvent, RunFinished, RunRecord, RunStarted, StepFinished, StepRecord, StepStarted
from dagtasks.model.values import JSON
from dagtasks.outbound import Answer as HttpAnswer
from dagtasks.outbound import OutboundClient, Outgoing
from dagtasks.planning.plan import ExecRequest, Plan, PlannedTemplate
from dagtasks.settings import EngineSettings

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = EngineSettings(name="test", max_parallel=4)
FOREVER = 10.0**9


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for no time: whoever waits is told how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left that could happen")
        self.waited += max(timeout, 0.0)
        return super().select(0)


class QuickLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing that is to happen."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop began: those that were waited for, and nothing else."""
        return self._jumping.waited


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came out. `steps` and `requests` are by path: a step's name, and before it that of the step that called."""

    record: RunRecord
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    requests: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict)


def rehearse(plan: Plan, prepared: Prepared, mocks: Mapping[str, Mock], functions: Functions) -> Rehearsed:
    """Carry out the plan of what was prepared, with what the mocks give, by path of the step."""
    stage = Stage(mocks, prepared)
    record = RunRecord(
        "test",
        {"name": plan.template.name, "version": plan.template.version, "blob": plan.template.blob},
        SETTINGS.name,
        BEGIN.isoformat(timespec="milliseconds"),
        steps=tuple(StepRecord(step.name) for step in plan.all_steps),
        parameters=plan.parameters,
    )
    with asyncio.Runner(loop_factory=QuickLoop) as runner:
        done = runner.run(_perform(Job(plan, record), stage, functions))
    return Rehearsed(done, stage.steps, stage.requests)


async def _perform(job: Job, stage: Stage, functions: Functions) -> RunRecord:
    numbers = itertools.count(1)
    desk = Desk(
        listeners=(stage.take,),
        now=stage.now,
        make_id=lambda now: f"test-{next(numbers)}",
        secrets={name: f"secret {name}" for name in job.plan.secrets},
        functions=functions,
        waits=False,
        find_answer=stage.find_answer,
        keep=lambda folder: stage.keep(),
        dice=lambda: 0.5,
    )
    tools = Tools(stage, Client(stage), desk, make_secrecy(job.plan, desk))
    return await run(job, tools, SETTINGS)


class Stage:
    """Plays the mocks: an executor, and a listener that knows which step is asked for.

    A step that begins is told of before anything else of it happens, and nothing else comes in between.
    """

    name = "test"
    note = ""

    def __init__(self, mocks: Mapping[str, Mock], prepared: Prepared) -> None:
        self.mocks = mocks
        self.prepared = prepared
        self.steps: dict[str, StepRecord] = {}
        self.requests: dict[str, dict[str, JSON]] = {}
        self._prefixes: dict[str, str] = {}
        self._current = ""
        self._attempt = 1
        self._artifacts: tuple[str, ...] = ()
        self._is_late = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    # -- what happens -------------------------------------------------------------------------------------------

    def take(self, event: RunEvent) -> None:
        """Take in what happens."""
        match event:
            case RunStarted():
                self._prefixes[event.run] = f"{self._current}/" if event.record.parent else ""
            case StepStarted():
                self._current, self._attempt = self._path(event.run, event.step), event.attempt
            case StepFinished():
                self._note(self._path(event.run, event.result.name), event.result)
            case RunFinished():
                pass

    def _path(self, run: str, step: str) -> str:
        return self._prefixes.get(run, "") + step

    def _note(self, path: str, record: StepRecord) -> None:
        self.steps[path] = record
        for item in record.items:
            self.steps[path.rpartition("/")[0] + "/" * ("/" in path) + item.name] = item

    # -- what steps give ----------------------------------------------------------------------------------------

    def find_mock(self, path: str, attempt: int) -> Mock:
        """What the step at the path gives in that try."""
        mock = self._find_item(path)
        return mock.tries[min(attempt, len(mock.tries)) - 1] if mock.tries else mock

    def _find_item(self, path: str) -> Mock:
        before, slash, name = path.rpartition("/")
        if slash and name == MOCKED and plain_path(before) in self.mocks:
            return self._find_item(before)
        if path in self.mocks:
            return self.mocks[path]
        mock = self.mocks.get(plain_path(path), Mock())
        place = re.search(r"\[(\d+)\]$", name)
        if place is None or not mock.items:
            return mock
        return mock.items[int(place[1])] if int(place[1]) < len(mock.items) else Mock()

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """What the mock says that the process gave."""
        path, mock = self._current, self.find_mock(self._current, self._attempt)
        self.requests[path] = _seen_process(request)
        await _pass_time(mock)
        if mock.error is not None or mock.state == "errored":
            raise StepError(mock.error or "mocked", "the test says so")
        given = {"stdout": (mock.output or "").encode(), "stderr": mock.stderr.encode()}
        for stream in ("stdout", "stderr"):
            output(stream, given[stream])
        self._artifacts = tuple(key for key in request.artifacts if key not in mock.missing)
        return ExecResult(
            _exit_code(mock, request),
            given["stdout"],
            given["stderr"],
            files=_mocked_files(mock, self.prepared.defaults.get(plain_path(path), {}), request),
            missing=tuple(key for key in request.artifacts if key in mock.missing),
        )

    def keep(self) -> dict[str, Artifact]:
        """The artifacts of the process that has just ended."""
        return {key: Artifact(sha256(key.encode()).hexdigest(), 0, 1) for key in self._artifacts}

    async def answer(self, outgoing: Outgoing) -> HttpAnswer:
        """What the mock says that a server answered."""
        mock = self.find_mock(self._current, self._attempt)
        self.requests[self._current] = {
            "url": outgoing.url,
            "method": outgoing.method,
            "headers": dict(outgoing.headers),
            "body": outgoing.body.decode("utf-8", "replace"),
        }
        await _pass_time(mock)
        if mock.error is not None or mock.state == "errored":
            raise StepError(mock.error or "mocked", "the test says so")
        status = 500 if mock.state == "failed" and mock.status == 200 else mock.status
        body = mock.output if mock.output is not None else _body(mock)
        return HttpAnswer(
            status, {name.lower(): text for name, text in mock.headers.items()}, body.encode(), outgoing.url
        )

    def find_answer(self, run: str, step: str) -> Answer | None:
        """The decision on an approval; None when nobody answers, and then it is very late."""
        path = self._path(run, step)
        mock = self.find_mock(path, 1)
        if mock.silence or mock.state == "timed_out":
            self._is_late = True
            return None
        approved = mock.approved if mock.approved is not None else mock.state != "failed"
        specs = self.prepared.answers.get(plain_path(path), {})
        given = resolve({name: ParameterSpec.model_validate(spec) for name, spec in specs.items()}, mock.outputs, {})
        return Answer(approved, mock.by, BEGIN.isoformat(), "", given.values if approved else {})

    def now(self) -> datetime:
        """The time by the clock of the loop; once, after nobody answered, when any wait for it is over."""
        late, self._is_late = self._is_late, False
        return BEGIN + timedelta(seconds=asyncio.get_running_loop().time() + late * FOREVER)


class Client(OutboundClient):
    """Answers requests with what the mocks say; nothing is sent."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    async def send(self, outgoing: Outgoing) -> HttpAnswer:
        """What the mock of the step says."""
        return await self._stage.answer(outgoing)


async def _pass_time(mock: Mock) -> None:
    """Take as long as the mock says; at least so long that whatever can begin at the same time does."""
    seconds = parse_duration(mock.takes) if mock.takes else 0.0
    await asyncio.sleep(FOREVER if mock.state == "timed_out" else seconds)


def _mocked_files(mock: Mock, defaults: Mapping[str, JSON], request: ExecRequest) -> dict[str, bytes]:
    """The files that hold the mocked outputs which are read; what nobody mentions is null."""
    names = {path: path.removeprefix(_FOLDER) for path in request.read_files if path.startswith(_FOLDER)}
    given = {**defaults, **mock.outputs}
    return {path: json.dumps(given.get(name)).encode() for path, name in names.items()}


def _exit_code(mock: Mock, request: ExecRequest) -> int:
    if mock.exit_code is not None:
        return mock.exit_code
    good = request.success_exit_codes
    if mock.state == "failed":
        return next(code for code in range(1, 256) if code not in good)
    return good[0]


def _body(mock: Mock) -> str:
    return "" if mock.json_ is None else json.dumps(mock.json_)


def _seen_process(request: ExecRequest) -> dict[str, Any]:
    """What a test can look at of a process that was asked for."""
    return {
        "image": request.image,
        "argv": list(request.argv) if request.argv is not None else None,
        "env": {name: text for name, text in request.env.items() if name not in ("DT_RUN", "DT_STEP", "DT_ATTEMPT")},
        "secret_env": sorted(request.secret_env),
        "workdir": request.workdir,
        "mounts": {mount.path: mount.kind for mount in request.mounts},
    }


# -- templates that give what mocks say -----------------------------------------------------------------------------

MOCKED = "mock"
"""The step of a template that stands for one whose outputs are mocked."""
_FOLDER = "/dagtasks/mocks/"


def plain_path(path: str) -> str:
    """The path without the places of items."""
    return re.sub(r"\[\d+\]", "", path)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A template that can be rehearsed, and those that it calls then, by reference.

    By path of the step: what approvals ask, and the defaults of outputs.
    """

    template: PlannedTemplate
    called: Mapping[str, PlannedTemplate]
    answers: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Mapping[str, JSON]]


def prepare(planned: PlannedTemplate, mocks: Mapping[str, Mock], called: Mapping[str, PlannedTemplate]) -> Prepared:
    """The template with its mocked outputs read as they are. Each call leads to a template of its own.

    Outputs that nobody mentions have their default, or are null.
    """
    preparing = _Preparing(mocks, called)
    template = preparing.prepare(planned, "")
    return Prepared(template, preparing.made, preparing.answers, preparing.defaults)


class _Preparing:
    def __init__(self, mocks: Mapping[str, Mock], called: Mapping[str, PlannedTemplate]) -> None:
        self.mocks = mocks
        self.called = called
        self.made: dict[str, PlannedTemplate] = {}
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.defaults: dict[str, Mapping[str, JSON]] = {}

    def prepare(self, planned: PlannedTemplate, prefix: str) -> PlannedTemplate:
        data: Any = json.loads(json.dumps(planned.data))
        for step in (*data["steps"], *(data.get("finally") or ())):
            path = f"{prefix}{step['name']}"
            if step.get("workflow"):
                self.prepare_call(step["workflow"], path)
            elif step.get("approval"):
                self.answers[path] = step["approval"].get("parameters") or {}
            elif not step.get("api"):
                specs = step.get("outputs") or {}
                self.defaults[path] = {name: (spec or {}).get("default") for name, spec in specs.items()}
                _read_from_files(step, self.mocks.get(path))
        return replace(planned, data=data)

    def prepare_call(self, call: dict[str, Any], path: str) -> None:
        original, mock = self.called[call["template"]], self.mocks.get(path)
        call["template"] = f"mocked-{len(self.made)}"
        self.made[call["template"]] = original  # it has its number before those that it calls get theirs
        made = _stand_in(original, mock) if mock else self.prepare(original, f"{path}/")
        self.made[call["template"]] = made


def _names_in(mock: Mock) -> list[str]:
    """The outputs that are mocked, in any item or try."""
    inner = [name for one in (*mock.items, *mock.tries) for name in _names_in(one)]
    return [*dict.fromkeys([*mock.outputs, *inner])]


def _prints(mock: Mock) -> bool:
    """Whether the mock says what is printed, in any item or try."""
    return mock.output is not None or bool(mock.stderr) or any(map(_prints, (*mock.items, *mock.tries)))


def _read_from_files(step: dict[str, Any], mock: Mock | None) -> None:
    """What the mock says is taken as it is; only where it says what is printed, the rest is read from that."""
    outputs = step.get("outputs") or {}
    for name in _names_in(mock) if mock and _prints(mock) else [*outputs]:
        if name in outputs:
            outputs[name] = _from_file(name, outputs[name] or {})


def _from_file(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    sensitive = bool(spec.get("sensitive"))
    return {"from": "file", "path": f"{_FOLDER}{name}", "format": "json", "sensitive": sensitive}


def _stand_in(original: PlannedTemplate, mock: Mock) -> PlannedTemplate:
    """A template that takes what the original takes, and gives what the mock says."""
    kept = {key: original.data[key] for key in ("metadata", "parameters", "secrets") if original.data.get(key)}
    names = _names_in(mock)
    step: Any = {
        "name": MOCKED,
        "container": {"image": MOCKED},
        "outputs": {name: _from_file(name, {}) for name in names},
    }
    outputs: Any = {name: {"value": f"${{steps.{MOCKED}.outputs.{name}}}"} for name in names}
    return replace(original, data={**kept, "steps": [step], "outputs": outputs})
