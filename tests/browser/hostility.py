"""A repository whose every text, of every kind of file, tries to become something else in a browser."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from dagtasks.board.scaffold import write_board_files
from dagtasks.errors import InvalidInput
from dagtasks.model.run import Failure, RunRecord, StepRecord
from dagtasks.model.values import RunState, StepState
from dagtasks.store.comments import make_comment
from dagtasks.store.project import Project
from tests.board.hostile import HOSTILE
from tests.conftest import git, write_files

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TEXTS = [_CONTROL.sub("", text) for text in HOSTILE]
"""What files can hold; of codes for terminals only the rest is left."""
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def hostile_repository(root: Path) -> Path:
    """For each text a project, a phase, a task with a comment, a template, a run, a broken file, and a commit."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet")
    write_board_files(root, TEXTS[1])
    for number, text in enumerate(TEXTS):
        write_files(root, _files(LETTERS[number // 32] + LETTERS[number % 32], text))
        _commit(root, text)
    runs = [_run(LETTERS[n // 32] + LETTERS[n % 32], text) for n, text in enumerate(HOSTILE) if "\ud800" not in text]
    Project(root).runs.publish(runs)
    return root


def _files(mark: str, text: str) -> dict[str, str | bytes]:
    line = text.replace("\n", " ").replace("\t", " ")
    task, project = f"h{mark}-hst{mark}0", f"tasks/h{mark}"
    workflow = {"template": f"t{mark}", "parameters": {"given": text}}
    fields = {
        "name": line,
        "description": text,
        "status": "in_progress",
        "assignee": line[:100],
        "phase": "all",
        "labels": [line[:64]],
        "metadata": {"key": text, line[:60] or "x": {"list": [text]}},
        "workflows": {"check": workflow},
    }
    files: dict[str, str | bytes] = {
        f"{project}/project.yaml": yaml.safe_dump({"name": line, "description": text, "metadata": {"key": text}}),
        f"{project}/phases/all.yaml": yaml.safe_dump({"name": line, "description": text}),
        f"{project}/{task}.yaml": yaml.safe_dump(fields, sort_keys=False),
        f"{project}/{line.replace('/', ' ')[:60]}.yaml": f"name: [{line}\n",
        f"templates/t{mark}.yaml": yaml.safe_dump(_template(f"t{mark}", text, line), sort_keys=False),
    }
    with suppress(InvalidInput):
        files[f"{project}/comments/{task}/20261120T100000Z-k3f9ab.md"] = make_comment(line[:100], NOW, text)
    return files


def _template(name: str, text: str, line: str) -> dict[str, object]:
    about = {"name": name, "description": text, "version": "1.0.0", "category": line[:60], "tags": [line[:60]]}
    given = {"type": "string", "default": text, "description": text, "enum": [text, "other"]}
    step = {"name": "run", "description": text, "container": {"image": "alpine", "command": ["echo", text]}}
    return {"metadata": about, "parameters": {"given": given}, "steps": [step], "outputs": {"out": {"value": text}}}


def _run(mark: str, text: str) -> RunRecord:
    step = StepRecord(
        text, StepState.FAILED, attempts=1, output=text, stderr=text, outputs={text: text}, error=Failure(text, text)
    )
    record = RunRecord(
        id=f"20261120t100000-hst0{mark}",
        template={"name": text, "version": text},
        engine=text,
        started_at="2026-11-20T10:00:00Z",
        status=RunState.FAILED,
        task=f"h{mark}-hst{mark}0",
        workflow=text,
    )
    words = {"trigger": text, "actor": text, "commit": text, "branch": text, "retry_of": text}
    return replace(
        record, steps=(step,), parameters={text: text}, outputs={text: [text]}, error=Failure(text, text), **words
    )


def _commit(root: Path, text: str) -> None:
    git(root, "add", "--all")
    name = text.replace("\n", " ").strip() or "x"
    git(root, "-c", f"user.name=x {name}", "commit", "--quiet", "--message", text or "x")
