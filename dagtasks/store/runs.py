"""Run records: an fsynced journal for each run while it goes on, and one commit on `refs/dagtasks/runs` at its end.

Neither touches HEAD, the index or the work tree. The record of a run is what its journal's events add up to.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from dagtasks.errors import GitError, NotFound
from dagtasks.model.names import choose_from
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
    apply_event,
)
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.store.files import fsync_folder, hold_lock
from dagtasks.store.git import Git
from dagtasks.store.process import is_gone

REF = "refs/dagtasks/runs"
KEPT_OUTPUT = 4096
"""Bytes of each output and of each log's tail that go into the record on the ref."""
ATTEMPTS = 5

_TYPES: dict[str, type[RunEvent]] = {
    "run.started": RunStarted,
    "step.started": StepStarted,
    "step.finished": StepFinished,
    "run.finished": RunFinished,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def make_run_id(now: datetime) -> str:
    """A new id that sorts by time: `20261123t184500-k3f9ab`."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return f"{now:%Y%m%dt%H%M%S}-{''.join(secrets.choice(alphabet) for _ in range(6))}"


class RunStore:
    """The runs of a repository: those of this clone and those on the ref."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self.folder = git.state_dir / "runs"

    def path(self, run: str) -> Path:
        """The folder that holds the journal and the logs of a run of this clone."""
        return self.folder / run

    def log_path(self, run: str, step: str, attempt: int) -> Path:
        """Where the log of an attempt of a step lies."""
        return self.path(run) / "logs" / f"{step}.{attempt}.jsonl"

    def newest(self, limit: int | None = None) -> list[RunRecord]:
        """The records, newest first. Runs whose process is gone are marked as interrupted on the way."""
        local, on_ref = set(self._local_ids()), self._paths_on_ref()
        ids = sorted({*local, *on_ref}, reverse=True)[:limit]
        elsewhere = self._git.read_blobs([f"{REF}:{on_ref[run]}" for run in ids if run not in local])
        return [self._read_local(run) if run in local else _parse_record(next(elsewhere)) for run in ids]

    def get(self, text: str) -> RunRecord:
        """The record of the run with that id or unique beginning or end of it. Raises `NotFound`."""
        on_ref = self._paths_on_ref()
        run = self._find_id(text, {*self._local_ids(), *on_ref})
        if (self.path(run) / "events.jsonl").exists():
            return self._read_local(run)
        return _parse_record(self._git.read_bytes("cat-file", "blob", f"{REF}:{on_ref[run]}"))

    def _read_local(self, run: str) -> RunRecord:
        record = self._fold(run)
        if not record.status.is_final and is_gone(record.process):
            return self._interrupt(run)
        return record

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

    def _paths_on_ref(self) -> dict[str, str]:
        listing = self._git.find("ls-tree", "-r", "-z", "--name-only", "--end-of-options", REF) or ""
        paths = (path for path in listing.split("\0") if path.endswith(".json"))
        return {Path(path).stem: path for path in paths}

    def _fold(self, run: str) -> RunRecord:
        events = _read_journal(self.path(run) / "events.jsonl")
        first = next(events, None)
        if not isinstance(first, RunStarted):
            raise NotFound(f"the journal of run {run} holds no record", hint=f"look at {self.path(run)}")
        record = first.record
        for event in events:
            record = apply_event(record, event)
        return record

    def _interrupt(self, run: str) -> RunRecord:
        """Mark the run as interrupted, once: under the lock, and only if it still has no end."""
        with hold_lock(self._git.state_dir / "runs.lock", "mark interrupted runs"):
            record = self._fold(run)
            if record.status.is_final:
                return record
            reason = Failure("interrupted", "the process that ran it is gone")
            journal = _Journal(self.path(run) / "events.jsonl")
            end = RunFinished(run, RunState.INTERRUPTED, None, {}, reason)
            ends: list[RunEvent] = [*_close_steps(record), end]
            for event in ends:
                journal.append(event)
                record = apply_event(record, event)
            journal.close()
        self.publish([record], {})
        return record

    @contextmanager
    def record(self, sources: Mapping[str, bytes]) -> Iterator[Recorder]:
        """A listener that keeps the journals of a run and its children, and publishes them when it is left.

        `sources` are the files that the run was made from, by blob id: they are kept with the records.
        """
        recorder = Recorder(self)
        try:
            yield recorder
        finally:
            recorder.close()
            self.publish(recorder.ended(), sources)

    def publish(self, records: Iterable[RunRecord], sources: Mapping[str, bytes]) -> None:
        """Add the records to the ref with one commit; another writer's commit in between is kept."""
        files = {_path_on_ref(record.id): _to_bytes(self._shorten(record)) for record in records}
        if not files:
            return
        files |= {f"sources/{blob}": content for blob, content in sources.items()}
        message = "runs: " + ", ".join(Path(path).stem for path in files if path.endswith(".json"))
        for attempt in range(ATTEMPTS):
            try:
                self._import(files, message)
                break
            except GitError:
                if attempt == ATTEMPTS - 1:
                    raise

    def _import(self, files: Mapping[str, bytes], message: str) -> None:
        """One `git fast-import`: it moves the ref only forwards, and fails when another moved it meanwhile."""
        tip = self._git.find("rev-parse", "--verify", "--quiet", "--end-of-options", REF)
        who = self._git.find("var", "GIT_COMMITTER_IDENT") or _nobody()
        parts = [f"commit {REF}\ncommitter {who}\n".encode(), _data(message.encode())]
        parts += [f"from {tip}\n".encode()] if tip else []
        parts += [f"M 100644 inline {path}\n".encode() + _data(content) for path, content in files.items()]
        self._git.write("fast-import", "--quiet", "--done", "--date-format=raw", given=b"".join([*parts, b"done\n"]))

    def _shorten(self, record: RunRecord) -> dict[str, Any]:
        steps = tuple(replace(step, output=_short(step.output), stderr=_short(step.stderr)) for step in record.steps)
        logs = {step.name: self._log_digest(record.id, step) for step in steps if step.attempts}
        return {"schema": 1, **replace(record, steps=steps).to_json(), "logs": logs}

    def _log_digest(self, run: str, step: StepRecord) -> dict[str, JSON]:
        path = self.log_path(run, step.name, step.attempts)
        content = path.read_bytes() if path.exists() else b""
        tail = content[-KEPT_OUTPUT:].decode("utf-8", "replace")
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "tail": tail}


class Recorder:
    """A listener: writes each event of a run and its children to their journals before anything else happens."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._journals: dict[str, _Journal] = {}
        self._records: dict[str, RunRecord] = {}

    def __call__(self, event: RunEvent) -> None:
        """Keep the event. What a step prints goes into the logs, not in here."""
        if isinstance(event, StepOutput):
            return
        if isinstance(event, RunStarted):
            self._open(event)
        self._journals[event.run].append(event)
        self._records[event.run] = apply_event(self._records[event.run], event)

    def _open(self, event: RunStarted) -> None:
        folder = self._store.path(event.run)
        (folder / "logs").mkdir(parents=True)
        fsync_folder(folder.parent)
        self._journals[event.run] = _Journal(folder / "events.jsonl")
        fsync_folder(folder)
        self._records[event.run] = event.record

    def ended(self) -> list[RunRecord]:
        """The records of the runs that came to their end."""
        return [record for record in self._records.values() if record.status.is_final]

    def close(self) -> None:
        """Close the journals."""
        for journal in self._journals.values():
            journal.close()


class _Journal:
    """One JSON line an event, on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._seq = 0

    def append(self, event: RunEvent) -> None:
        self._seq += 1
        line = {"seq": self._seq, "type": _NAMES[type(event)], **asdict(event)}
        self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _parse_record(content: bytes) -> RunRecord:
    return RunRecord.from_json(json.loads(content))


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
        case "step.started":
            return StepStarted(data["run"], data["step"], data["attempt"], data["at"])
        case "step.finished":
            return StepFinished(data["run"], StepRecord.from_json(data["result"]))
        case _:
            error = Failure(**data["error"]) if data["error"] else None
            return RunFinished(data["run"], RunState(data["status"]), data["duration"], data["outputs"], error)


def _close_steps(record: RunRecord) -> Iterator[StepFinished]:
    """An end for each step that had none when the process went away."""
    ends = {StepState.PENDING: StepState.OMITTED, StepState.RUNNING: StepState.ERRORED}
    for step in record.steps:
        if step.state in ends:
            failure = Failure("interrupted", "the process that ran it is gone")
            yield StepFinished(record.id, replace(step, state=ends[step.state], error=failure))


def _path_on_ref(run: str) -> str:
    return f"{run[:4]}/{run[4:6]}/{run}.json"


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
