"""Golden cases: files in, problems out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dagtasks.service import checks
from tests.conftest import MakeProject

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "golden").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())["cases"]
]


@pytest.mark.parametrize("case", CASES)
def test_problems(case: dict[str, Any], project: MakeProject) -> None:
    repository = project(case["files"])
    shown = [
        str(problem) for problem in checks.validate(repository) if problem.severity != "note" or "DT208" in str(problem)
    ]
    assert [text[: len(want)] for text, want in zip(shown, case["problems"], strict=False)] == case["problems"], shown
    assert len(shown) == len(case["problems"]), shown
