"""Records of runs that anybody may have pushed: what has wrong types is told, and never breaks a page or a command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import Press
from dagtasks.board.site import board_site
from dagtasks.board.source import load_board
from dagtasks.model.run import Failure, RunRecord, StepRecord
from tests.board.sample import sample_files, sample_runs
from tests.conftest import MakeProject, Result

WRONG: list[Any] = [7, -1.5, "x", True, [], [1], ["x"], {}, {"a": 1}, {"name": 7, "version": []}, None]


def wrong_records() -> list[RunRecord]:
    """Records with one value that is of another type than it should be (some of these happen to fit)."""
    good = next(run for run in sample_runs() if run.status.is_final and run.steps)
    names = [each.name for each in fields(RunRecord) if each.name not in ("id", "status", "steps")]
    made = [replace(good, **{name: value}) for name in names for value in WRONG]
    kept = [each.name for each in fields(StepRecord) if each.name not in ("state", "items", "conclusion")]
    steps = [replace(good.steps[0], **{name: value}) for name in kept for value in WRONG]
    errors = [replace(good, error=Failure(code, "x")) for code in WRONG]  # type: ignore[arg-type]
    made += [replace(good, steps=(step,)) for step in steps] + errors
    return [replace(record, id=f"20261126t100000-{number:06}") for number, record in enumerate(made)]


def push(root: Path, records: Sequence[RunRecord]) -> None:
    """Put the records on the ref as somebody might who does not use dagtasks for it."""
    lines = ["commit refs/dagtasks/runs", "committer A <a@b> 0 +0000", "data 1", "x"]
    for record in records:
        text = json.dumps(asdict(record))
        lines += [f"M 100644 inline 2026/11/{record.id}.json", f"data {len(text)}", text]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input="\n".join(lines) + "\n", text=True, check=True)


def test_records_with_values_of_wrong_types(project: MakeProject, cli: Callable[..., Result]) -> None:
    made = project(sample_files())
    records = wrong_records()
    push(made.root, records)
    data = load_board(made)
    assert len(data.runs) + len(data.run_problems) == len(records)
    assert len(data.run_problems) > len(records) / 2
    press = Press(Overview(data))
    for page in board_site(press.overview):
        press.render(page, page.facts())
    for words in (["runs", "list"], ["runs", "list", "--json"], ["task", "show", "web-7k2m9q"]):
        assert cli(made.root, *words).code in (0, 1)
    for run in data.runs:
        assert cli(made.root, "runs", "show", run.id).code == 0, run
