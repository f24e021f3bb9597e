"""Whatever a template file says, checking it gives findings and nothing else."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagtasks.errors import DagtasksError, Finding, Severity
from dagtasks.model.values import Ambiguous
from dagtasks.planning.plan import PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.planning.template import check_template
from dagtasks.store.documents import parse_document

WHOLE = (
    parse_document(
        b"""\
metadata: {name: whole, description: d, version: 1.2.3, category: c, tags: [a], annotations: {lint: {off: [raw]}}}
type: composite_workflow
parameters:
  text: {type: string, required: true, pattern: "[a-z]+", min_length: 1}
  list: {type: array, items: {type: integer}, default: [1, 2]}
  map: {type: object, properties: {a: {type: string}}, default: {a: "${text}"}}
  token: {type: string, sensitive: true}
env: {A: "${text}", B: "${secrets.TOKEN}"}
secrets: [TOKEN]
defaults: {timeout: 5m, retry: {max_attempts: 2}, env: {C: c}, container: {user: me, env: {D: d}}, api: {timeout: 5s}}
if: task.status == 'planned'
steps:
  - name: build
    description: d
    depends_on: []
    foreach: ${list}
    max_parallel: 2
    fail_fast: false
    if: item > 1
    retry: {max_attempts: 3, delay: 1s, backoff: exponential, factor: 2, max_delay: 5s, on: [failed], exit_codes: [2]}
    timeout: 1m
    continue_on_error: true
    env: {E: "${item}"}
    cache: true
    concurrency: {group: "g-${task.id}", limit: 1, on_conflict: reject}
    outputs: {o: {from: file, path: /o, format: json, select: "a.b[0]", default: 1, sensitive: true}}
    artifacts: {x: {path: "/x/*", optional: true}}
    container:
      image: alpine:3
      command: "echo ${text} | cat <<E\\n${item}\\nE"
      shell: [bash, -c]
      workdir: /w
      platform: linux/arm64
      network: none
      mounts: [{path: /src, repo: ro}, {path: /c, cache: "k-${text}"}, {path: /s, secret: TOKEN}]
      export: [{from: /out, to: "out/${text}"}]
      services: {db: {image: postgres:17, command: [run], env: {A: a}, ports: [1], ready: {port: 1, timeout: 5s}}}
      success_exit_codes: [0, 1]
  - name: each
    matrix: {os: [linux, mac], n: "${list}"}
    script: {source: echo, interpreter: [sh], args: ["${matrix.os}", "${list[*]}"], env: {T: "${token}"}, mounts: [{path: /a, artifact: "${steps.build.artifacts.x[0]}"}]}
  - name: ask
    approval: {message: "Go ${text}?", approvers: [a@b.c], parameters: {why: {type: string, default: x}}, timeout: 1h, on_timeout: approve}
  - name: post
    api: {url: "https://example.org/${text}", method: POST, query: {a: b}, headers: {X: "${secrets.TOKEN}"}, json: {a: ["${map}"]}, auth: {bearer: "${secrets.TOKEN}"}, success_status: [200, "201-204"], success_condition: response.json.ok == true, max_response: 1}
    depends_on: [ask]
  - name: call
    workflow: {template: other@^1, parameters: {a: "${steps.ask.outputs.why}", token: "${token}"}, secrets: [TOKEN]}
finally:
  - {name: end, container: {image: alpine:3, command: [echo, "${run.status}", "${steps.post.output ?? ''}"]}}
outputs: {r: {description: d, value: "${steps.post.json.id}", type: string, sensitive: true}}
updates: {on_start: {status: in_progress}, on_success: {metadata.r: "${steps.call.outputs.r}"}, on_failure: {assignee: a}}
concurrency: {group: all}
timeout: 1h
max_parallel: 3
fail_fast: true
""",
        "t.yaml",
    ).data
    or {}
)

TEXTS = st.sampled_from(
    [
        *(
            "",
            " ",
            "a",
            "${",
            "${}",
            "$${",
            "${text}",
            "${steps}",
            "${steps.build}",
            "${steps.build.outputs.o[0]}",
            "${params}",
        ),
        *(
            "${secrets.TOKEN}",
            "${token}",
            "${item}",
            "${matrix.os.x[1]}",
            "${raw(text)}",
            "${list[*]}",
            "a ${list[*]}",
            "`${text}`",
        ),
        *(
            "${if}",
            "${'}",
            "${a ?? b}",
            "always()",
            "cat <<'E'\n${text}\nE",
            "$((${text}))",
            "../x",
            "/",
            "1h",
            "30",
            "build",
            "post",
        ),
        *(
            "\u202e",
            "é" * 300,
            "a\nb",
            "name",
            "templates/x.yaml",
            "a@^",
            "(" * 50,
            "${" + "(" * 50 + "}",
            "[" * 100,
            "^(a+)+$",
        ),
        *(
            "${task.metadata.x.y}",
            "${response.status}",
            "${phase.name}",
            "${hash_files('*')}",
            "-1",
            "null",
            "DT_X",
            "@",
            "#",
            "::",
        ),
    ]
) | st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXTS | TEXTS.map(Ambiguous),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


SCOPE: Any = {
    "task": {"id": "t-1", "name": "T", "status": "planned", "labels": [], "depends_on": [], "metadata": {}},
    "project": {"key": "t", "name": "T", "metadata": {}},
    "phase": None,
    "run": {"branch": "main", "commit": None, "dirty": False, "trigger": "manual", "actor": "a"},
}
OTHER = {"metadata": {"name": "other"}, "steps": [{"name": "a", "container": {"image": "alpine:3"}}]}


def planned(data: dict[str, Any]) -> PlannedTemplate:
    return PlannedTemplate("whole", None, "templates/whole.yaml", "b10b", data)


AROUND = Surroundings(SCOPE, lambda name: planned(OTHER), lambda path: "text")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all parts of the value, itself first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@st.composite
def templates(draw: st.DrawFn) -> dict[str, Any]:
    """The whole template with some of its parts left out, exchanged, renamed or doubled."""
    data = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 4))):
        change(draw, data)
    return data


def change(draw: st.DrawFn, data: dict[str, Any]) -> None:
    path = draw(st.sampled_from([place for place in places(data) if place] or [("metadata",)]))
    inside: Any = data
    for part in path[:-1]:
        inside = inside[part]
    match draw(st.sampled_from(["exchange", "remove", "rename", "add", "copy"])):
        case "remove":
            inside.pop(path[-1], None) if isinstance(inside, dict) else inside.pop(path[-1])
        case "rename" if isinstance(inside, dict):
            inside[draw(TEXTS)] = inside.pop(path[-1], None)
        case "add" if isinstance(inside, dict):
            inside[draw(TEXTS)] = draw(VALUES)
        case "add" | "copy" if isinstance(inside, list):
            inside.append(copy.deepcopy(inside[path[-1]]))
        case "copy":
            other: Any = WHOLE
            for part in draw(st.sampled_from(places(WHOLE))):
                other = other[part]
            inside[path[-1]] = copy.deepcopy(other)
        case _:
            inside[path[-1]] = draw(VALUES)


def errors(data: dict[str, Any]) -> list[Finding]:
    _, findings = check_template("t.yaml", data)
    assert all(isinstance(finding, Finding) and isinstance(finding.loc, tuple) for finding in findings)
    assert all(finding.message and isinstance(finding.message, str) for finding in findings)
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def test_the_whole_template_is_right() -> None:
    assert errors(WHOLE) == []


@given(templates())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_checking_gives_findings_and_nothing_else(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    errors(data)
    assert repr(data) == repr(before)


@pytest.mark.slow
@given(templates())
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_what_has_no_errors_can_be_planned(data: dict[str, Any]) -> None:
    """Nothing but parameters, files and values that only a run knows can still be wrong."""
    if errors(data):
        return
    with suppress(DagtasksError):
        make_plan(planned(data), {"text": "a", "token": "a secret"}, AROUND)


@given(st.dictionaries(st.sampled_from([*WHOLE]) | TEXTS, VALUES, max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_map_gives_findings(data: dict[str, Any]) -> None:
    row, _ = check_template("t.yaml", data)
    assert row is None or "steps" in data
