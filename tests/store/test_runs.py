from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest

from dagtasks.errors import NotFound
from dagtasks.model.run import RunFinished, RunRecord, RunStarted, StepFinished, StepRecord, StepStarted
from dagtasks.model.values import RunState, StepState
from dagtasks.store.process import this_process
from dagtasks.store.project import Project
from dagtasks.store.runs import REF, make_run_id
from tests.conftest import MakeProject, git

NOW = datetime(2026, 11, 23, 18, 45, tzinfo=UTC)
PLAN = json.dumps({"template": {"blob": "b1", "text": "template text\n"}, "templates": {}}).encode()


def make_record(**changes: Any) -> RunRecord:
    known = {"template": {"name": "t"}, "engine": "local", "started_at": NOW.isoformat(), "process": this_process()}
    return RunRecord(**{"id": make_run_id(NOW), "steps": (StepRecord("one"),), **known, **changes})


def keep(repository: Project, record: RunRecord, state: RunState | None = RunState.SUCCEEDED) -> None:
    with repository.runs.record(record.id, PLAN) as listener:
        listener(RunStarted(record.id, record))
        listener(StepStarted(record.id, "one", 1, NOW.isoformat()))
        if state:
            done = StepRecord("one", StepState.SUCCEEDED, attempts=1, exit_code=0, output="hello", duration=0.1)
            listener(StepFinished(record.id, done))
            listener(RunFinished(record.id, state, 0.2, {"result": "hello"}))


def test_ids_sort_by_time() -> None:
    moments = [NOW.replace(second=1), *(NOW.replace(second=2, microsecond=m * 1000) for m in range(0, 1000, 7))]
    ids = [make_run_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert ids[0].startswith("20261123t184501-")


def test_a_record_comes_back_as_it_was(project: MakeProject) -> None:
    repository, record = project(), make_record()
    keep(repository, record)
    found = repository.runs.get(record.id)
    assert found.status is RunState.SUCCEEDED
    assert (found.steps[0].output, found.outputs, found.duration) == ("hello", {"result": "hello"}, 0.2)
    assert found.process == record.process


def test_the_ref_gets_one_commit_and_the_work_tree_sees_nothing(project: MakeProject) -> None:
    repository, record = project(), make_record()
    root, head = repository.root, git(repository.root, "rev-parse", "HEAD")
    keep(repository, record)
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "rev-parse", "HEAD") == head
    assert git(root, "ls-tree", "-r", "--name-only", REF).splitlines() == [
        f"2026/11/{record.id}.json",
        f"2026/11/{record.id}.plan",
        "sources/b1",
    ]
    keep(repository, make_record(id=make_run_id(NOW)))
    assert git(root, "rev-list", "--count", REF) == "2"
    assert git(root, "fsck", "--no-dangling") == ""


def test_another_clone_sees_the_run_through_the_ref(project: MakeProject, tmp_path_factory: Any) -> None:
    repository, record = project(), make_record()
    keep(repository, record)
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "init", "-q")
    git(clone, "fetch", "-q", str(repository.root), f"{REF}:{REF}")
    (clone / "tasks").mkdir()
    assert Project(clone).runs.get(record.id[-6:]).outputs == {"result": "hello"}


def test_a_run_whose_process_is_gone_becomes_interrupted_once(project: MakeProject) -> None:
    repository = project()
    record = make_record(process={**this_process(), "start": 1})
    keep(repository, record, state=None)
    assert repository.runs.get(record.id).status is RunState.INTERRUPTED
    found = repository.runs.get(record.id)
    assert found.steps[0].state is StepState.ERRORED
    journal = (repository.runs.path(record.id) / "events.jsonl").read_text()
    assert journal.count('"run.finished"') == 1


def test_a_run_that_goes_on_stays_running(project: MakeProject) -> None:
    repository, record = project(), make_record()
    keep(repository, record, state=None)
    assert repository.runs.get(record.id).status is RunState.RUNNING
    other = make_record(id=make_run_id(NOW), process={**this_process(), "host": "elsewhere", "pid": os.getpid()})
    keep(repository, other, state=None)
    assert repository.runs.get(other.id).status is RunState.RUNNING


def test_a_half_last_line_is_passed_over(project: MakeProject) -> None:
    repository, record = project(), make_record()
    keep(repository, record)
    journal = repository.runs.path(record.id) / "events.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    assert repository.runs.get(record.id).steps[0].state is StepState.SUCCEEDED
    assert repository.runs.get(record.id).status is RunState.RUNNING


def test_an_unknown_run(project: MakeProject) -> None:
    with pytest.raises(NotFound, match="there is no run 'nope'"):
        project().runs.get("nope")
