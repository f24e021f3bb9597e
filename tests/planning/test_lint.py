"""Remarks on templates that are not wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dagtasks.errors import Problem
from dagtasks.model.summary import TemplateSummary
from dagtasks.model.template import with_defaults
from dagtasks.planning.lint import CODES, CODES_OF_LINTS, find_advice, find_off, switch_off
from dagtasks.planning.reading import in_defaults, read_template
from dagtasks.planning.template import check_template
from dagtasks.settings import LINTS
from dagtasks.store.documents import parse_document

CASES = yaml.safe_load((Path(__file__).parent / "cases/lint.yaml").read_text("utf-8"))["cases"]
PUBLISH = TemplateSummary("publish", "templates/publish.yaml", "script_workflow", "1.4.0")
DRAFT = TemplateSummary("draft", "templates/draft.yaml", "script_workflow")


def remarks(text: str) -> list[Problem]:
    """All remarks on the template, which has no errors."""
    document = parse_document(text.encode(), "t.yaml")
    reading = read_template(document.data or {})
    assert reading.template is not None
    known = {row.name: row for row in (PUBLISH, DRAFT)}
    advice = find_advice(reading.template, with_defaults(reading.data), known)
    placed = dict.fromkeys(in_defaults(finding, reading.data) for finding in advice)
    told = [*check_template("t.yaml", reading.data)[1], *switch_off(placed, find_off(reading.data)[0])]
    assert all(finding.severity != "error" for finding in told), told
    return sorted(document.problems_for(told))


def shown(problem: Problem) -> str:
    level = "" if problem.severity == "note" else f"{problem.severity}: "
    return level + str(problem).removeprefix("t.yaml:")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_remarks(case: dict[str, Any]) -> None:
    assert [shown(problem) for problem in remarks(case["template"])] == case["problems"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (
            "publish",
            ["3:23: DT348 this takes any version of publish (write publish@^1.4.0 for what does not break yours)"],
        ),
        ("publish@^1", []),
        ("templates/publish.yaml", []),
        ("draft", []),
        ("nobody", []),
    ],
)
def test_calls_say_which_version_they_take(reference: str, told: list[str]) -> None:
    text = f"metadata: {{name: t}}\nsteps:\n  - {{name: a, workflow: {{template: {reference}}}, timeout: 1m}}\n"
    found = [shown(problem) for problem in remarks(text) if problem.code == "DT348"]
    assert [line.partition(": ")[2] for line in found] == [line.partition(": ")[2] for line in told]


def test_every_remark_has_a_code_of_its_own() -> None:
    assert [*CODES_OF_LINTS] == [*LINTS]
    assert len({*CODES_OF_LINTS.values()}) == len(LINTS)
    named = {code: name for name, code in CODES_OF_LINTS.items() if code in CODES}
    assert all(f"(`{name}`)" in CODES[code] for code, name in named.items())
