"""Run records: an fsynced journal for each run while it goes on, and one commit on `refs/dagtasks/runs` at its end.

Neither touches HEAD, the index or the work tree. The record of a run is what its journal's events add up to.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dagtasks.errors import Conflict, DagtasksError, GitError, InvalidProject, LockTimeout, NotFound, Problem
from dagtasks.model.names import ID_ALPHABET, choose_from
from dagtasks.model.run import (
    Failure,
    RunChanged,
    RunEvent,
    RunFinished,
    RunRecord,
    RunStarted,
    StepChanged,
    StepFinished,
    StepOutput,
    StepRecord,
    StepStarted,
    apply_event,
    event_to_json,
    find_misfit,
)
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.store.files import WriteError, append, fsync_folder, hold_lock, write_file, writing
from dagtasks.store.git import Git
from dagtasks.store.orphans import GitNote
from dagtasks.store.process import is_gone
from dagtasks.store.sync import IMPORT, Synced, pull, push

REF = "refs/dagtasks/runs"
KEPT_OUTPUT = 4096
"""Bytes of each output and of each log's tail that go into the record on the ref."""
ATTEMPTS = 5


def make_run_id(now: datetime) -> str:
    """A new id that sorts by time: `20261123t184500-k3f9ab`, whose second half begins with the millisecond."""
    fraction = divmod(now.microsecond * 1024 // 1_000_000, 32)
    tail = [ID_ALPHABET[digit] for digit in fraction] + [secrets.choice(ID_ALPHABET) for _ in range(4)]
    return f"{now:%Y%m%dt%H%M%S}-{''.join(tail)}"


CODES = {
    "DT404": "A file on `refs/dagtasks/runs` is no record of a run: something else than dagtasks wrote it, or a later "
    "version did. It is left out of lists; the other runs are shown.",
}


class Length(NamedTuple):
    """How many lines a journal has, and whether its run has ended."""

    lines: int
    is_ended: bool


class RunStore:
    """The runs of a repository: those of this clone and those on the ref."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self.folder = git.state_dir / "runs"
        self.problems: list[Problem] = []
        """What `newest` left out: records on the ref that are none."""

    def path(self, run: str) -> Path:
        """The folder that holds the journal and the logs of a run of this clone."""
        return self.folder / run

    def is_of_here(self, run: str) -> bool:
        """Whether the run was made in this clone, and what it was made from is still here."""
        return (self.path(run) / "plan.json").exists()

    def log_path(self, run: str, step: str, attempt: int) -> Path:
        """Where the log of an attempt of a step lies."""
        return self.path(run) / "logs" / f"{step}.{attempt}.jsonl"

    def newest(self, limit: int | None = None) -> list[RunRecord]:
        """The records, newest first. Runs whose process is gone are marked as interrupted on the way."""
        local, on_ref = set(self._local_ids()), self._paths_on_ref()
        ids = sorted({*local, *on_ref}, reverse=True)[:limit]
        elsewhere = self._git.read_blobs([f"{REF}:{on_ref[run]}" for run in ids if run not in local])
        every = [
            self._read_local(run) if run in local else self._parse_or_note(on_ref[run], next(elsewhere)) for run in ids
        ]
        found = [record for record in every if record]
        self._try_to_publish([record for record in found if record.id not in on_ref])
        return found

    def _parse_or_note(self, path: str, content: bytes) -> RunRecord | None:
        try:
            return _parse_record(path, content)
        except InvalidProject as error:
            self.problems += error.problems
            return None

    def get(self, text: str) -> RunRecord:
        """The record of the run with that id or unique beginning or end of it. Raises `NotFound`, `InvalidProject`."""
        on_ref = self._paths_on_ref()
        run = self._find_id(text, {*self._local_ids(), *on_ref})
        if self._journal(run).exists():
            record = self._read_local(run) or self.fold(run)
            self._try_to_publish([record] if run not in on_ref else [])
            return record
        return _parse_record(on_ref[run], self._git.read_bytes("cat-file", "blob", f"{REF}:{on_ref[run]}"))

    def _read_local(self, run: str) -> RunRecord | None:
        """The record; None for a run that was stopped before its first line was written: no step of it began."""
        try:
            record = self.fold(run)
        except NotFound:
            return None
        return self._interrupt(record) if self.is_abandoned(record) and not is_parked(record) else record

    def is_abandoned(self, record: RunRecord) -> bool:
        """Whether the run has not ended, and the process that carried it on is gone."""
        if record.status.is_final or not record.process:
            return not record.status.is_final
        try:
            silent_for = time.time() - self._journal(record.id).stat().st_mtime
        except FileNotFoundError:
            silent_for = 0.0
        return is_gone(record.process, silent_for=silent_for)

    def beat(self, run: str) -> None:
        """Give a sign of life, for other hosts that look at the same folder."""
        with suppress(OSError):
            os.utime(self._journal(run))

    def _journal(self, run: str) -> Path:
        return self.path(run) / "events.jsonl"

    def push(self, remote: str) -> Synced:
        """Send the records of ended runs to a remote, and take in its own. Raises `GitError`, `Conflict`."""
        return push(self._git, remote, REF, self._write_ref)

    def pull(self, remote: str) -> Synced:
        """Take in the records of a remote. Raises `GitError`."""
        return pull(self._git, remote, REF, self._write_ref)

    def forget(self, run: str) -> None:
        """Remove journal and logs of a run from this clone; its record on the ref stays."""
        shutil.rmtree(self.path(run))

    def forget_artifacts(self) -> None:
        """Remove the artifacts that no run of this clone has any more."""
        store = self._git.state_dir / "artifacts"
        kept = {
            artifact["digest"] for record in self._local() for part in record.parts for artifact in _artifacts(part)
        }
        for folder in store.iterdir() if store.is_dir() else ():
            if folder.name not in kept:
                shutil.rmtree(folder)

    def published(self) -> list[RunRecord]:
        """The records of the runs that have a journal in this clone and are on the ref, too, newest first."""
        here = set(self._local_ids())
        self._try_to_publish([record for record in map(self._read_local, here - self._paths_on_ref().keys()) if record])
        both = sorted(here & self._paths_on_ref().keys(), reverse=True)
        return [record for record in map(self._read_local, both) if record]

    def _local(self) -> list[RunRecord]:
        return [record for record in map(self._read_local, self._local_ids()) if record]

    # -- approvals -----------------------------------------------------------------------------------------------

    def answer(self, run: str, step: str, decision: Mapping[str, JSON]) -> None:
        """Keep a decision on an approval, where the process that waits for it looks. The first one counts.

        Raises `Conflict` when there is one.
        """
        path = self._answer_path(run, step)
        with self._lock("answer an approval"):
            if path.exists():
                raise Conflict(f"step {step} of run {run} was answered already", hint=f"see: dagtasks runs show {run}")
            write_file(path, json.dumps(decision, ensure_ascii=False).encode())

    def find_answer(self, run: str, step: str) -> Mapping[str, Any] | None:
        """The decision on the approval, if there is one."""
        try:
            found: Mapping[str, Any] = json.loads(self._answer_path(run, step).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def _answer_path(self, run: str, step: str) -> Path:
        return self.path(run) / "answers" / f"{step}.json"

    def _find_id(self, text: str, known: set[str]) -> str:
        if text in known:
            return text
        found = [run for run in known if text and (run.startswith(text) or run.endswith(text))]
        if len(found) == 1:
            return found[0]
        what = f"{text!r} fits {len(found)} runs" if found else f"there is no run {text!r}"
        raise NotFound(what, hint=choose_from(text, found or known))

    def _local_ids(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return [entry.name for entry in self.folder.iterdir() if (entry / "events.jsonl").exists()]

    def folders(self) -> list[str]:
        """The ids of all that may be runs of this clone, in order; nothing is read."""
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            return sorted(entry.name for entry in entries)
        return []

    def journal_size(self, run: str) -> int:
        """How long the journal of a run of this clone is, in bytes; 0 when there is none."""
        try:
            return self._journal(run).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def journal_length(self, run: str) -> Length:
        """How many lines the journal has, and whether its run has ended. Raises `OSError`."""
        content = self._journal(run).read_bytes()
        last = content[: content.rfind(b"\n") + 1].splitlines()[-1:]
        return Length(content.count(b"\n"), bool(last) and b'"type":"run.finished"' in last[0][:100])

    def read_events(self, run: str) -> list[RunEvent]:
        """The events of a run of this clone, one a line of its journal. Raises what a damaged one raises."""
        return list(_read_journal(self._journal(run)))

    def _paths_on_ref(self) -> dict[str, str]:
        listing = self._git.find("ls-tree", "-r", "-z", "--name-only", "--end-of-options", REF) or ""
        paths = (path for path in listing.split("\0") if path.endswith(".json"))
        return {Path(path).stem: path for path in paths}

    def fold(self, run: str) -> RunRecord:
        """The record of a run of this clone, as its journal says. Raises `NotFound`."""
        events = _read_journal(self._journal(run))
        first = next(events, None)
        if not isinstance(first, RunStarted):
            raise NotFound(f"the journal of run {run} holds no record", hint=f"look at {self.path(run)}")
        return _apply(first.record, events)

    def _interrupt(self, record: RunRecord) -> RunRecord:
        """Mark the run as interrupted, once: under the lock, and only if it still has no end.

        Where that cannot be written it is only shown so.
        """
        with suppress(WriteError, LockTimeout), self._lock("mark interrupted runs"):
            record = self.fold(record.id)
            if not record.status.is_final:
                self._write_end(record)
        record = self.fold(record.id)
        return record if record.status.is_final else _apply(record, _end_of(record))

    def _write_end(self, record: RunRecord) -> None:
        journal = _Journal(self._journal(record.id))
        try:
            for event in _end_of(record):
                journal.append(event)
        finally:
            journal.close()

    def _lock(self, what: str) -> AbstractContextManager[None]:
        return hold_lock(self._lock_path, what)

    @property
    def _lock_path(self) -> Path:
        return self._git.state_dir / "runs.lock"

    @contextmanager
    def record(self, run: str, plan: bytes | None) -> Iterator[Recorder]:
        """A listener that keeps the journals of a run and its children, and publishes them when it is left.

        `plan` is what its plan can be made from again, if there is one. When the records cannot be published now,
        `Recorder.note` says so, and whoever looks at the runs next does it.
        """
        if plan is not None:
            write_file(self.path(run) / "plan.json", plan)
        recorder = Recorder(self)
        try:
            yield recorder
        finally:
            recorder.close()
            try:
                self.publish(recorder.ended())
            except DagtasksError as error:
                recorder.note = f"the record is kept in {self.path(run)} and not yet on {REF}: {error.message}"

    def read_plan(self, run: str) -> bytes:
        """What the plan of the run can be made from again. Raises `NotFound`."""
        path = self.path(run) / "plan.json"
        if path.exists():
            return path.read_bytes()
        try:
            return self._git.read_bytes("cat-file", "blob", f"{REF}:{_plan_on_ref(run)}")
        except GitError:
            raise NotFound(f"the plan of run {run} was not kept", hint="run it anew: dagtasks run") from None

    def _try_to_publish(self, records: Sequence[RunRecord]) -> None:
        """Publish those that have ended: their own process was stopped before it did. Where that fails they wait."""
        with suppress(DagtasksError):
            self.publish([record for record in records if record.status.is_final])

    def publish(self, records: Sequence[RunRecord]) -> None:
        """Add the records to the ref with one commit, and what they were made from; commits in between are kept."""
        files = {_path_on_ref(record.id): _to_bytes(self._shorten(record)) for record in records}
        if not files:
            return
        message = "runs: " + ", ".join(Path(path).stem for path in files)
        for record in records:
            files |= self._origins(record.id)
        for attempt in range(ATTEMPTS):
            try:
                self._import(files, message)
                break
            except GitError:
                if attempt == ATTEMPTS - 1:
                    raise

    def _origins(self, run: str) -> dict[str, bytes]:
        """The plan of a run, and the bytes of its templates, by their paths on the ref."""
        path = self.path(run) / "plan.json"
        if not path.exists():
            return {}
        content = path.read_bytes()
        plan = json.loads(content)
        templates = (plan["template"], *plan["templates"].values())
        sources = {f"sources/{template['blob']}": template["text"].encode() for template in templates}
        return {_plan_on_ref(run): content, **sources}

    def _import(self, files: Mapping[str, bytes], message: str) -> None:
        tip = self._git.find("rev-parse", "--verify", "--quiet", "--end-of-options", REF)
        who = self._git.find("var", "GIT_COMMITTER_IDENT") or _nobody()
        parts = [f"commit {REF}\ncommitter {who}\n".encode(), _data(message.encode())]
        parts += [f"from {tip}\n".encode()] if tip else []
        parts += [f"M 100644 inline {path}\n".encode() + _data(content) for path, content in files.items()]
        self._write_ref(*IMPORT, given=b"".join([*parts, b"done\n"]))

    def _write_ref(self, *arguments: str, given: bytes | None = None) -> str:
        """Run a git that moves the ref; the lock that an earlier one left when it was killed is cleared away."""
        locks = [self._git.common_dir / f"{REF}.lock"]
        note = GitNote(self._git, self._git.state_dir / "runs.json", self._lock_path, lambda: locks)
        with self._lock("publish runs"):
            if left := note.find():
                note.clear(left)
            return note.run(*arguments, given=given)

    def _shorten(self, record: RunRecord) -> dict[str, Any]:
        steps = tuple(map(_shorten_step, record.steps))
        printed = (one for step in steps for one in (step.items or (step,)))
        logs = {step.name: self._log_digest(record.id, step) for step in printed if step.attempts}
        return {"schema": 1, **replace(record, steps=steps).to_json(), "logs": logs}

    def _log_digest(self, run: str, step: StepRecord) -> dict[str, JSON]:
        path = self.log_path(run, step.name, step.attempts)
        content = path.read_bytes() if path.exists() else b""
        tail = content[-KEPT_OUTPUT:].decode("utf-8", "replace")
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "tail": tail}


class Recorder:
    """A listener: writes each event of a run and its children to their journals before anything else happens."""

    def __init__(self, store: RunStore) -> None:
        self.note = ""
        self._store = store
        self._journals: dict[str, _Journal] = {}
        self._records: dict[str, RunRecord] = {}

    def __call__(self, event: RunEvent) -> None:
        """Keep the event. What a step prints goes into the logs, not in here."""
        if isinstance(event, StepOutput):
            return
        if isinstance(event, RunStarted):
            self._open(event)
        elif event.run not in self._journals:
            self._reopen(event.run)
        self._journals[event.run].append(event)
        self._records[event.run] = apply_event(self._records[event.run], event)

    def _open(self, event: RunStarted) -> None:
        folder = self._store.path(event.run)
        with writing(folder):
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            fsync_folder(folder.parent)
            self._journals[event.run] = _Journal(folder / "events.jsonl")
            fsync_folder(folder)
        self._records[event.run] = event.record

    def _reopen(self, run: str) -> None:
        """Go on with a run that another process began."""
        self._records[run] = self._store.fold(run)
        self._journals[run] = _Journal(self._store.path(run) / "events.jsonl")

    def ended(self) -> list[RunRecord]:
        """The records of the runs that came to their end."""
        return [record for record in self._records.values() if record.status.is_final]

    def close(self) -> None:
        """Close the journals."""
        for journal in self._journals.values():
            journal.close()


class _Journal:
    """One JSON line an event, on disk when `append` returns. Raises `WriteError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            self._file: BinaryIO = path.open("a+b", buffering=0)
            self._file.seek(0)
            lines = self._file.read().splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):  # as a power cut or a full disk leaves it
                self._file.truncate(sum(map(len, lines[:-1])))
                lines.pop()
        self._seq = len(lines)

    def append(self, event: RunEvent) -> None:
        self._seq += 1
        line = {"seq": self._seq, **event_to_json(event)}
        with writing(self._path):
            append(self._file, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _parse_record(path: str, content: bytes) -> RunRecord:
    """The record that lies at the path on the ref, which anybody may have pushed. Raises `InvalidProject`."""
    try:
        record = RunRecord.from_json(json.loads(content))
        datetime.fromisoformat(record.started_at)
        fits = record.id == Path(path).stem and isinstance(record.template["name"], str) and not find_misfit(record)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        fits = False
    if not fits:
        hint = f"see: git show {REF}:{path}"
        problem = Problem(f"{REF}:{path}", 0, 0, "DT404", "this is no record of a run", hint)
        raise InvalidProject(f"the record of run {Path(path).stem} cannot be read", problems=[problem])
    return record


def _read_journal(path: Path) -> Iterator[RunEvent]:
    """The events of the journal; a half last line, as a power cut leaves it, is passed over."""
    for line in path.read_bytes().splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            return
        yield _event(data)


def _event(data: dict[str, Any]) -> RunEvent:
    match data.pop("type"):
        case "run.started":
            return RunStarted(data["run"], RunRecord.from_json(data["record"]))
        case "run.changed":
            return RunChanged(data["run"], RunState(data["status"]), data["at"], data["process"])
        case "step.changed":
            reason = Failure(**data["reason"]) if data["reason"] else None
            state = StepState(data["state"])
            return StepChanged(data["run"], data["step"], state, data["at"], reason, data["child"], data.get("asks"))
        case "step.started":
            return StepStarted(data["run"], data["step"], data["attempt"], data["at"])
        case "step.finished":
            return StepFinished(data["run"], StepRecord.from_json(data["result"]))
        case _:
            error = Failure(**data["error"]) if data["error"] else None
            return RunFinished(data["run"], RunState(data["status"]), data["duration"], data["outputs"], error)


def _end_of(record: RunRecord) -> list[RunEvent]:
    """What is missing in the journal of a run whose process went away: an end for each open step, and for the run."""
    ends = {
        StepState.PENDING: StepState.OMITTED,
        StepState.WAITING: StepState.OMITTED,
        StepState.RUNNING: StepState.ERRORED,
        StepState.RETRY_WAIT: StepState.ERRORED,
    }
    gone = Failure("interrupted", "the process that ran it is gone")
    steps = [one for step in record.steps for one in (*step.items, step) if one.state in ends]
    closed = [replace(one, state=ends[one.state], error=gone, items=()) for one in steps]
    end = RunFinished(record.id, RunState.INTERRUPTED, None, {}, gone)
    return [*(StepFinished(record.id, step) for step in closed), end]


def _apply(record: RunRecord, events: Iterable[RunEvent]) -> RunRecord:
    for event in events:
        record = apply_event(record, event)
    return record


def is_parked(record: RunRecord) -> bool:
    """Whether the run waits for an approval and for nothing else, so that it needs no process."""
    waits = any(
        part.state is StepState.WAITING and part.error and part.error.code == "approval" for part in record.parts
    )
    return record.status is RunState.WAITING and waits


def _artifacts(step: StepRecord) -> Iterator[Any]:
    yield from step.artifacts.values()


def _shorten_step(step: StepRecord) -> StepRecord:
    output, stderr = _short(step.output), _short(step.stderr)
    outputs = {key: value for key, value in step.outputs.items() if len(json.dumps(value)) <= KEPT_OUTPUT}
    is_cut = step.is_cut or (output, len(outputs)) != (step.output, len(step.outputs))
    items = tuple(map(_shorten_step, step.items))
    is_cut = is_cut or any(item.is_cut for item in items)
    return replace(step, output=output, stderr=stderr, outputs=outputs, items=items, is_cut=is_cut)


def _path_on_ref(run: str) -> str:
    return f"{run[:4]}/{run[4:6]}/{run}.json"


def _plan_on_ref(run: str) -> str:
    return f"{run[:4]}/{run[4:6]}/{run}.plan"


def _short(text: str | None) -> str | None:
    if text is None or len(text.encode()) <= KEPT_OUTPUT:
        return text
    return text.encode()[:KEPT_OUTPUT].decode("utf-8", "ignore") + "\n[cut: the rest is in the log]"


def _to_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"


def _nobody() -> str:
    """Who commits a record where Git knows nobody: the record itself says who ran it."""
    return f"dagtasks <dagtasks@localhost> {int(datetime.now().timestamp())} +0000"  # noqa: DTZ005
