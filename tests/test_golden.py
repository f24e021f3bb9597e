"""Golden cases: files in, problems out; files and later files in, events out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dagtasks.service import checks
from tests.conftest import MakeProject, Result, git, write_files

CASES = {
    f"{path.stem}: {case['name']}": case
    for path in sorted((Path(__file__).parent / "golden").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())["cases"]
}
WITH_PROBLEMS = [name for name, case in CASES.items() if "problems" in case]
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
    for path, content in case["then"].items():
        (root / path).unlink(missing_ok=True)
        write_files(root, {path: content} if content is not None else {})
    now = cli(root, "diff", "--json")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "then")
    later = cli(root, "diff", "HEAD^..", "--json")
    for shown in (now, later):
        events = [{key: event[key] for key in ("type", "subject", "changed")} for event in shown.json]
        assert events == case["events"]
        assert shown.code == (1 if "broken" in name else 0)
