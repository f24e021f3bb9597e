"""What is wrong between templates that call one another."""

from __future__ import annotations

import itertools
from typing import Any

import yaml

from dagtasks.errors import Finding
from dagtasks.model.summary import BindingSummary, CallSummary, TaskSummary, TemplateSummary
from dagtasks.planning.index import build_index
from dagtasks.planning.links import check_links
from dagtasks.planning.template import check_template


def template(name: str, *calls: CallSummary, **fields: Any) -> TemplateSummary:
    return TemplateSummary(name, f"templates/{name}.yaml", "composite_workflow", calls=calls, **fields)


def call(name: str, **fields: Any) -> CallSummary:
    return CallSummary("steps", 0, "s", name, **fields)


def findings(*rows: TemplateSummary | TaskSummary) -> list[tuple[str, Finding]]:
    return [(path, finding) for path, finding in check_links(build_index(rows, ()), {})]


def told(*rows: TemplateSummary | TaskSummary) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for _, finding in findings(*rows)]


def test_secrets_are_declared_on_both_sides() -> None:
    below = template("below", secrets=("TOKEN", "KEY"))
    assert told(template("top", call("below", secrets=("KEY", "TOKEN"))), below) == []
    assert told(template("top", call("below", secrets=("TOKEN", "OTHER"))), below) == [
        ("DT214", "template below takes no secret OTHER"),
        ("DT214", "template below needs the secret KEY"),
    ]
    [(path, finding)] = findings(template("top", call("below")), below)
    assert (path, finding.loc) == ("templates/top.yaml", ("steps", 0, "workflow", "template"))
    assert finding.message == "template below needs the secrets TOKEN, KEY"
    assert "secrets: [TOKEN, KEY]" in finding.hint


def test_a_sensitive_value_needs_a_sensitive_parameter() -> None:
    given = call("below", given={"x": "${token}"}, kinds={"x": "string"}, sensitive=("x",))
    plain, kept = {"x": {"type": "string"}}, {"x": {"type": "string", "sensitive": True}}
    assert told(template("top", given), template("below", parameters=kept)) == []
    [(_, finding)] = findings(template("top", given), template("below", parameters=plain))
    assert (finding.code, finding.loc) == ("DT214", ("steps", 0, "workflow", "parameters", "x"))


def test_a_sensitive_output_is_a_sensitive_value() -> None:
    text = """\
metadata: {name: t}
steps:
  - {name: a, container: {image: a}, outputs: {k: {sensitive: true}, open: {}}}
  - name: b
    workflow:
      template: below
      parameters: {k: "x${steps.a.outputs.k}", all: ["${steps.a.outputs}"], open: "${steps.a.outputs.open}", n: 1}
"""
    row, found = check_template("templates/t.yaml", yaml.safe_load(text))
    assert row is not None, found
    assert row.calls[0].sensitive == ("k", "all")


def test_a_sensitive_value_does_not_belong_into_a_file() -> None:
    below = template("below", parameters={"x": {"type": "string", "sensitive": True}})
    task = TaskSummary("web-000001", "web", "t.yaml", "T", workflows=(BindingSummary("w", "below", {"x": "hunter2"}),))
    found = findings(template("top", call("below", given={"x": "hunter2"})), below, task)
    assert [(finding.code, finding.severity) for _, finding in found] == [("DT214", "warning")] * 2
    assert "hunter2" not in str(found)


def test_templates_are_nested_ten_deep_and_no_deeper() -> None:
    names = [f"t{number:02}" for number in range(12)]
    chain = [template(name, call(below)) for name, below in itertools.pairwise(names)]
    assert told(*chain[2:], template(names[-1])) == []
    [(path, finding)] = findings(*chain, template(names[-1]))
    assert path == "templates/t01.yaml"
    assert finding.message == f"templates are nested deeper than 10: {' -> '.join(names[1:])}"


def test_a_run_has_a_thousand_steps_and_no_more() -> None:
    leaf = template("leaf", steps=tuple(f"s{number}" for number in range(499)))
    assert told(template("top", call("leaf", times=2), steps=("a", "b")), leaf) == []
    [(code, message)] = told(template("top", call("leaf", times=2), steps=("a", "b", "c")), leaf)
    assert (code, message) == ("DT213", "a run would have at least 1001 steps; at most 1000 are done")
    assert told(template("top", call("leaf", times=0)), leaf) == []
