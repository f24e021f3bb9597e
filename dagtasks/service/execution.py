"""Executing a plan: the record before the first step, the listeners, the engine, and the record's commit at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from dagtasks.engine.desk import Answer, Desk, Earlier
from dagtasks.engine.executor import make_executor
from dagtasks.engine.keeping import export_files, keep_artifacts
from dagtasks.engine.logs import LogWriter
from dagtasks.engine.scheduler import Job, make_earlier, run_plan
from dagtasks.engine.secrets import find_exposed, read_secrets
from dagtasks.errors import Conflict, NotFound
from dagtasks.language.functions import EvaluationError
from dagtasks.model.run import RunEvent, RunRecord
from dagtasks.planning.plan import Places, Plan, find_privileged, needs_engine
from dagtasks.service.beginnings import Origin, begin_record, dump_plan, leave_unapproved
from dagtasks.service.dispatch import pass_over
from dagtasks.service.trust import NOBODY, Asking, get_consent
from dagtasks.service.writeback import WriteBack
from dagtasks.store.layout import TASKS
from dagtasks.store.process import this_process
from dagtasks.store.project import Project
from dagtasks.store.runs import make_run_id
from dagtasks.store.turns import take_turn

Listener = Callable[[RunEvent], None]


@dataclass(frozen=True, slots=True)
class Doing:
    """How a run is carried out. `listeners` see all that happens; `waits`: for approvals, too; `asking` says yes."""

    listeners: Sequence[Listener] = ()
    waits: bool = True
    asking: Asking = NOBODY


def execute(
    project: Project, plan: Plan, doing: Doing, *, earlier: Earlier | None = None, origin: Origin | None = None
) -> tuple[RunRecord, list[str]]:
    """Run the plan to its end, and return its record and what a person should know besides.

    `earlier` is the run that this one is a retry of. Raises `Conflict` when nobody said yes where that is needed, and
    `EngineUnavailable`, before any record is made.
    """
    get_consent(project, plan, doing.asking)
    record = begin_record(project, plan, origin)
    if earlier is None:
        return carry_out(project, Job(plan, record), doing)
    return carry_out(project, Job(plan, replace(record, retry_of=earlier.run), earlier), doing)


def execute_unasked(
    project: Project, plan: Plan, doing: Doing, origin: Origin | None = None
) -> tuple[RunRecord, list[str]]:
    """Run a plan that nobody asked for by hand, if exactly what it would execute is approved on this machine.

    Else it is left: its record awaits an approval, and nothing has begun. Raises as `execute`.
    """
    if left := leave_unapproved(project, plan, origin):
        return left, []
    return execute(project, plan, replace(doing, asking=Asking(yes=True)), origin=origin)


def go_on(project: Project, record: RunRecord, plan: Plan, doing: Doing, *, cancel: bool = False) -> RunRecord:
    """Go on with a run that waits and has no process any more; with `cancel` only with what `finally` says."""
    earlier = replace(find_earlier(project, record, plan), continues=True, is_cancelled=cancel)
    mine = replace(record, process=this_process())
    return carry_out(project.with_settings(engine__name=record.engine), Job(plan, mine, earlier), doing)[0]


def find_earlier(project: Project, record: RunRecord, plan: Plan) -> Earlier:
    """What can be taken over from the run."""
    return make_earlier(record, plan, make_desk(project).has_artifact)


def carry_out(project: Project, job: Job, doing: Doing) -> tuple[RunRecord, list[str]]:
    """Run the job with the engine of the settings."""
    runs, settings = project.runs, project.settings
    _refuse_privileged(project, job.plan)
    values = read_secrets(settings, job.plan.secrets, project.variables())
    executor = make_executor(settings.engine, is_needed=needs_engine(job.plan))
    with runs.record(job.record.id, dump_plan(job.plan)) as recorder:
        logs = LogWriter(runs.log_path)
        listeners: tuple[Listener, ...] = (recorder, logs)
        writer = WriteBack(project, job.plan, job.record) if job.plan.task and job.plan.updates else None
        listeners += (*([writer] if writer else ()), *doing.listeners)
        desk = replace(make_desk(project), listeners=listeners, secrets=values, waits=doing.waits)
        done = run_plan(job, executor, settings.engine, desk)
    notes = [note for note in (executor.note, *logs.notes, recorder.note) if note]
    notes += find_exposed(settings, job.plan.secrets)
    return done, [*notes, *(writer.notes if writer else ())]


def _refuse_privileged(project: Project, plan: Plan) -> None:
    """Raise `Conflict` when steps want all rights, and the operator of this machine does not allow that."""
    names = find_privileged(plan)
    if names and not project.settings.engine.privileged:
        message = f"{', '.join(names)} would have all rights on the machine that runs them"
        raise Conflict(message, hint="to allow that here, set engine.privileged (DAGTASKS_ENGINE_PRIVILEGED=true)")


def make_desk(project: Project) -> Desk:
    """What a run of this repository needs from outside."""
    runs, state = project.runs, project.get_git().state_dir

    def find_answer(run: str, step: str) -> Answer | None:
        decision = runs.find_answer(run, step)
        return Answer(**decision) if decision else None

    def find_record(run: str) -> RunRecord | None:
        try:
            return runs.get(run)
        except NotFound:
            return None

    def export(folder: Path, pairs: Sequence[tuple[str, str]]) -> None:
        with project.lock("export files of a step"):
            written = export_files(folder, pairs, project.root)
            pass_over(project, [path for path in written if path.startswith(f"{TASKS}/")])

    return Desk(
        listeners=(),
        now=lambda: datetime.now(UTC),
        make_id=make_run_id,
        allow_hosts=project.settings.allow_hosts,
        places=Places(str(project.root), str(state / "artifacts"), str(state / "caches")),
        find_answer=find_answer,
        find_record=find_record,
        functions={"hash_files": lambda *patterns: hash_files(project.root, patterns)},
        keep=lambda folder: keep_artifacts(folder, state / "artifacts"),
        export=export,
        has_artifact=lambda digest: (state / "artifacts" / digest).is_dir(),
        take_turn=lambda group, limit: take_turn(state / "turns", group, limit),
        beat=runs.beat,
    )


def hash_files(root: Path, patterns: Sequence[str]) -> str:
    """A digest of the files of the repository that the patterns mean: their paths and contents, sorted.

    Raises `EvaluationError` for patterns that lead out of the repository or mean no file.
    """
    if any(pattern.startswith("/") or ".." in pattern.split("/") for pattern in patterns):
        raise EvaluationError("hash_files() takes paths in the repository, without ..")
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file() and not path.is_symlink()}
    inside = sorted(path.relative_to(root).as_posix() for path in found if ".git" not in path.relative_to(root).parts)
    if not inside:
        raise EvaluationError(f"hash_files(): there is no file {', '.join(patterns)}")
    facts = (f"{path}\0{sha256((root / path).read_bytes()).hexdigest()}\n" for path in inside)
    return sha256("".join(facts).encode("utf-8", "surrogateescape")).hexdigest()
