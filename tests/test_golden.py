"""Golden cases: files in, problems out; files and later files in, events out, and what these start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from dagtasks.service import checks, dispatch
from dagtasks.service.queue import what_of
from tests.conftest import MakeProject, Result, git, write_files

CASES = {
    f"{path.stem}: {case['name']}": case
    for path in sorted((Path(__file__).parent / "golden").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())["cases"]
}
WITH_PROBLEMS = [name for name, case in CASES.items() if "problems" in case]
WITH_STARTS = [name for name, case in CASES.items() if "starts" in case]
WITH_EVENTS = [name for name, case in CASES.items() if "events" in case]


@pytest.mark.parametrize("name", WITH_PROBLEMS)
def test_problems(name: str, project: MakeProject) -> None:
    case = CASES[name]
    repository = project(case["files"])
    shown = [
        str(problem)
        for problem in checks.validate(repository)
        if problem.severity != "note" or problem.code in ("DT208", "DT212")
    ]
    assert [text[: len(want)] for text, want in zip(shown, case["problems"], strict=False)] == case["problems"], shown
    assert len(shown) == len(case["problems"]), shown


@pytest.mark.parametrize("name", WITH_EVENTS)
def test_events(name: str, project: MakeProject, cli: Callable[..., Result]) -> None:
    case = CASES[name]
    root = project(case["files"]).root
    change_files(root, case["then"])
    now = cli(root, "diff", "--json")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "then")
    later = cli(root, "diff", "HEAD^..", "--json")
    for shown in (now, later):
        events = [{key: event[key] for key in ("type", "subject", "changed")} for event in shown.json]
        assert events == case["events"]
        assert shown.code == (1 if "broken" in name else 0)


def change_files(root: Path, files: Mapping[str, str | None]) -> None:
    for path, content in files.items():
        (root / path).unlink(missing_ok=True)
        write_files(root, {path: content} if content is not None else {})


@pytest.mark.parametrize("name", WITH_STARTS)
def test_starts(name: str, project: MakeProject) -> None:
    case = CASES[name]
    repository = project(case["files"])
    dispatch.begin(repository)
    change_files(repository.root, case["then"])
    found = [{**entry.work, "what": what_of(entry)} for entry in dispatch.look(repository).queued]
    starts = case["starts"]
    wanted = [{key: shown[key] for key in start} for shown, start in zip(found, starts, strict=False)]
    assert (wanted, len(found)) == (starts, len(starts)), found
    assert dispatch.look(repository).queued == []
