"""`dagtasks template test`: cases beside a template, carried out without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Result

Cli = Callable[..., Result]

RELEASE = """\
metadata:
  name: release
  version: 1.0.0

parameters:
  version: {type: string, required: true, pattern: "[0-9.]+"}
  suites: {type: array, items: {type: string}, default: [unit, e2e]}

secrets: [TOKEN]

steps:
  - name: build
    container:
      image: alpine:3.20
      command: make "${version}"
      env: {NAME: "${task.name}", PACKAGE: "${task.metadata.package ?? 'all'}"}
    outputs:
      size: {format: json, select: size}
      wheel: {from: file, path: /out/wheel}
    artifacts: {wheel: {path: "/out/*.whl"}}
    retry: {max_attempts: 3, delay: 1h}
    timeout: 10m
  - name: test
    foreach: ${suites}
    script: {source: "run", args: ["${item}"]}
    outputs: {passed: {format: json}, tries: {format: json, select: tries, default: 1}}
  - name: ask
    if: run.branch == 'main'
    approval: {message: "Release ${version}?", timeout: 24h, parameters: {why: {type: string, default: because}}}
  - name: notify
    api:
      method: POST
      url: https://chat.example.org/${version}
      json: {text: "${case(steps.ask.state == 'skipped', 'nobody asked', 'somebody asked')}"}
      auth: {bearer: "${secrets.TOKEN}"}
      success_condition: response.json.ok == true
    continue_on_error: true
  - name: tell
    if: steps.ask.state == 'succeeded'
    container: {image: alpine:3.20, command: [echo, "${steps.ask.outputs.why}"]}
  - name: publish
    workflow: {template: publish, parameters: {wheel: "${steps.build.outputs.wheel}"}}

finally:
  - name: report
    container: {image: alpine:3.20, command: [echo, "${run.status}", "${join(run.failed_steps, ',')}"]}

outputs:
  size: {value: "${steps.build.outputs.size}"}
  passed: {value: "${steps.test.outputs.passed}"}
  tries: {value: "${steps.test.outputs.tries}"}
  address: {value: "${steps.publish.outputs.address}"}
"""
PUBLISH = """\
metadata:
  name: publish
parameters:
  wheel: {type: string, required: true}
steps:
  - name: upload
    container: {image: alpine:3.20, command: [upload, "${wheel}"]}
    outputs: {address: {}}
outputs:
  address: {value: "${steps.upload.outputs.address}"}
"""
GOOD: dict[str, Any] = {
    "build": {"outputs": {"size": 3, "wheel": "a.whl"}},
    "test": {"items": [{"outputs": {"passed": True}}, {"outputs": {"passed": False}}]},
    "notify": {"json": {"ok": True}},
    "publish": {"outputs": {"address": "https://x"}},
}


def files(*cases: dict[str, Any], **more: str) -> dict[str, str]:
    written = "cases: " + json.dumps([{"name": f"case {place}", **case} for place, case in enumerate(cases)])
    return {
        "templates/release.yaml": RELEASE,
        "templates/ci/publish.yaml": PUBLISH,
        "templates/release.test.yaml": written,
        **more,
    }


def case(expect: dict[str, Any], mocks: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"parameters": {"version": "1.2"}, "mocks": {**GOOD, **(mocks or {})}, "expect": expect, **more}


@pytest.fixture
def tested(project: MakeProject, cli: Cli) -> Callable[..., Result]:
    def run(*cases: dict[str, Any]) -> Result:
        return cli(project(files(*cases)).root, "template", "test", "release")

    return run


CASES = {
    "all goes well": case(
        {
            "status": "succeeded",
            "steps": {"build": "succeeded", "test": "succeeded", "ask": "succeeded", "publish": "succeeded"},
            "outputs": {"size": 3, "passed": [True, False], "address": "https://x"},
        }
    ),
    "what is asked for": case(
        {
            "plan": {
                "build": {"argv": ["sh", "-ec", 'make "${DT_0}"'], "env": {"DT_0": "1.2", "NAME": "Web page"}},
                "test": {"depends_on": ["build"]},
                "report": {"kind": "container"},
            },
            "steps": {
                "build": {"env": {"PACKAGE": "all"}, "image": "alpine:3.20", "attempts": 1},
                "test[1]": {"argv": ["sh", "-e", "/dagtasks/script", "e2e"], "state": "succeeded"},
                "notify": {
                    "url": "https://chat.example.org/1.2",
                    "method": "POST",
                    "body": '{"text": "somebody asked"}',
                    "headers": {"Authorization": "Bearer secret TOKEN"},
                },
                "tell": {"argv": ["echo", "because"]},
                "report": {"argv": ["echo", "succeeded", ""]},
            },
        },
        task={"name": "Web page"},
    ),
    "a step fails": case(
        {
            "status": "failed",
            "error": "exit_code",
            "steps": {
                "build": {"state": "failed", "exit_code": 2, "attempts": 3},
                "test": "omitted",
                "report": {"argv": ["echo", "failed", "build"]},
            },
        },
        {"build": {"exit_code": 2}},
    ),
    "the third try succeeds, hours later": case(
        {"status": "succeeded", "steps": {"build": {"attempts": 3, "state": "succeeded"}}},
        {"build": {"tries": [{"exit_code": 1}, {"state": "errored"}, GOOD["build"]]}},
    ),
    "a step takes too long": case(
        {"status": "timed_out", "steps": {"build": {"state": "timed_out", "error": "timeout"}}},
        {"build": {"takes": "11m"}},
    ),
    "a step hangs": case(
        {"status": "timed_out", "steps": {"test[0]": "timed_out"}}, {"test[0]": {"state": "timed_out"}}
    ),
    "an engine fails": case(
        {"status": "errored", "error": "image_not_found", "steps": {"test": {"error": "image_not_found"}}},
        {"test": {"error": "image_not_found"}},
    ),
    "one item fails": case(
        {
            "status": "failed",
            "steps": {"test[0]": "succeeded", "test[1]": {"state": "failed", "exit_code": 1, "item": "e2e"}},
        },
        {"test": {"items": [{"outputs": {"passed": True}}, {"state": "failed"}]}},
    ),
    "outputs are parsed where they are not mocked": case(
        {"outputs": {"size": 7}},
        {"build": {"output": '{"size": 7}', "outputs": {"wheel": "a.whl"}}},
    ),
    "an output is not what it should be": case(
        {"status": "errored", "error": "output_error"},
        {"build": {"output": "no JSON", "outputs": {"wheel": "a.whl"}}, "test": {}},
    ),
    "an artifact is not there": case(
        {"status": "errored", "steps": {"build": {"error": "artifact_missing"}}},
        {"build": {**GOOD["build"], "missing": ["wheel"]}},
    ),
    "the answer does not meet the condition": case(
        {
            "status": "succeeded",
            "steps": {
                "notify": {
                    "state": "failed",
                    "conclusion": "succeeded",
                    "error": "success_condition",
                    "response": {"status_code": 200, "headers": {"etag": "1"}},
                }
            },
        },
        {"notify": {"json": {"ok": False}, "headers": {"ETag": "1"}}},
    ),
    "the server fails": case(
        {"steps": {"notify": {"error": "http_status", "message": "the answer has status 500"}}},
        {"notify": {"state": "failed"}},
    ),
    "somebody rejects": case(
        {"status": "failed", "error": "rejected", "steps": {"ask": {"approval": {"by": "ann@example.org"}}}},
        {"ask": {"approved": False, "by": "ann@example.org"}},
    ),
    "the answer is used": case(
        {"steps": {"tell": {"argv": ["echo", "it is done"]}}}, {"ask": {"outputs": {"why": "it is done"}}}
    ),
    "nobody answers": case({"status": "failed", "error": "rejected"}, {"ask": {"silence": True}}),
    "nobody is asked on a branch": case(
        {"steps": {"ask": "skipped", "notify": {"body": '{"text": "nobody asked"}'}}}, run={"branch": "topic"}
    ),
    "a called template fails": case(
        {"status": "failed", "steps": {"publish": "failed"}}, {"publish": {"state": "failed"}}
    ),
    "a wrong parameter": case({"error": "does not match the pattern"}, parameters={"version": "one"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_came_out_is_what_was_expected(name: str, tested: Callable[..., Result]) -> None:
    done = tested(CASES[name])
    assert (done.code, done.out) == (0, "release: case 0 ... ok\n1 case, 0 failed\n"), done.err


def test_steps_of_called_templates_are_mocked_by_their_path(tested: Callable[..., Result]) -> None:
    mocks = {key: value for key, value in GOOD.items() if key != "publish"}
    inner = {
        "parameters": {"version": "1.2"},
        "mocks": {**mocks, "publish/upload": {"outputs": {"address": "inner"}}},
        "expect": {"outputs": {"address": "inner"}, "steps": {"publish/upload": {"argv": ["upload", "a.whl"]}}},
    }
    failing = {**inner, "mocks": {**mocks, "publish/upload": {"exit_code": 4}}}
    failing["expect"] = {"status": "failed", "steps": {"publish/upload": {"exit_code": 4}, "publish": "failed"}}
    done = tested(inner, failing)
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 cases, 0 failed"), done.out


def test_steps_that_are_not_mocked_succeed_and_give_defaults(tested: Callable[..., Result]) -> None:
    outputs = {"size": None, "passed": [None, None], "tries": [1, 1], "address": None}
    expect = {"status": "succeeded", "outputs": outputs}
    done = tested({"parameters": {"version": "1.2"}, "mocks": {"build": {"outputs": {"wheel": "x"}}}, "expect": expect})
    assert done.code == 0, done.out


def test_what_came_out_otherwise_is_told(tested: Callable[..., Result]) -> None:
    expect = {
        "status": "failed",
        "steps": {"build": {"exit_code": 2, "attempts": 1}, "ask": "skipped", "report": {"argv": ["x"]}},
        "outputs": {"size": "3", "nothing": 1},
        "plan": {"build": {"timeout": 5}},
        "error": "exit_code",
    }
    done = tested(case(expect), case({"status": "succeeded"}), case({}, parameters={}))
    assert done.code == 1
    assert done.out.splitlines() == [
        "release: case 0 ... FAILED",
        "  plan.build.timeout: expected 5, got 600.0",
        '  status: expected "failed", got "succeeded"',
        '  outputs.size: expected "3", got 3',
        "  outputs.nothing: expected 1, got null",
        "  steps.build.exit_code: expected 2, got 0",
        '  steps.ask.state: expected "skipped", got "succeeded"',
        '  steps.report.argv: expected ["x"], got ["echo", "succeeded", ""]',
        '  error: expected "exit_code", got null',
        "release: case 1 ... ok",
        "release: case 2 ... FAILED",
        "  parameters of template release:\\n  `version` is required (string)",
        "3 cases, 2 failed",
    ]


def test_outcomes_as_data(project: MakeProject, cli: Cli) -> None:
    root = project(files(case({"status": "failed"}))).root
    done = cli(root, "template", "test", "--json")
    assert done.code == 1
    assert done.json == [
        {
            "template": "release",
            "path": "templates/release.test.yaml",
            "case": "case 0",
            "ok": False,
            "error": None,
            "differences": [{"where": "status", "expected": "failed", "actual": "succeeded"}],
        }
    ]


def test_an_approval_without_a_limit_waits(project: MakeProject, cli: Cli) -> None:
    template = "metadata: {name: t}\nsteps:\n  - {name: a, approval: {message: ok}}\n"
    cases = "cases:\n  - name: c\n    mocks: {a: {silence: true}}\n    expect: {status: waiting}\n"
    done = cli(project({"templates/t.yaml": template, "templates/t.test.yaml": cases}).root, "template", "test")
    assert (done.code, done.out) == (0, "t: c ... ok\n1 case, 0 failed\n")


def test_calls_in_a_loop_are_mocked_item_by_item(project: MakeProject, cli: Cli) -> None:
    template = """\
metadata: {name: t}
steps:
  - {name: call, foreach: [1, 2], workflow: {template: sub, parameters: {n: "${item}"}}}
outputs: {x: {value: "${steps.call.outputs.x}"}}
"""
    sub = """\
metadata: {name: sub}
parameters: {n: {type: integer, required: true}}
steps:
  - {name: a, container: {image: "alpine:3", command: [echo, "${n}"]}, outputs: {x: {}}}
outputs: {x: {value: "${steps.a.outputs.x}"}}
"""
    cases = """\
cases:
  - name: whole
    mocks: {call: {items: [{outputs: {x: p}}, {outputs: {x: q}}]}}
    expect: {outputs: {x: [p, q]}}
  - name: one fails
    mocks: {call: {items: [{outputs: {x: p}}, {exit_code: 1}]}}
    expect: {status: failed, steps: {"call[0]": succeeded, "call[1]": failed}}
  - name: inside
    mocks: {"call[1]/a": {outputs: {x: q}}, call/a: {outputs: {x: p}}}
    expect: {outputs: {x: [p, q]}, steps: {"call[1]/a": {argv: [echo, "2"]}}}
"""
    written = {"templates/t.yaml": template, "templates/sub.yaml": sub, "templates/t.test.yaml": cases}
    done = cli(project(written).root, "template", "test", "t")
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 cases, 0 failed"), done.out


def test_the_files_of_cases_are_no_templates(project: MakeProject, cli: Cli) -> None:
    root = project(files(case({}))).root
    assert cli(root, "validate").code == 0
    assert [row["name"] for row in cli(root, "template", "list", "--json").json] == ["publish", "release"]
    assert cli(root, "fmt", "--check").code == 0


def test_a_template_without_cases(project: MakeProject, cli: Cli) -> None:
    root = project(files(case({}))).root
    done = cli(root, "template", "test", "publish")
    assert (done.code, done.out) == (5, "")
    assert "template publish has no tests\n  write templates/ci/publish.test.yaml" in done.err
    assert cli(root, "template", "test", "nobody").code == 5
    (root / "templates/release.test.yaml").unlink()
    assert cli(root, "template", "test").out == "0 cases, 0 failed\n"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("cases: []\n", "release.test.yaml:1:8: DT123 `cases`"),
        ("cases:\n  - expect: {}\n", "release.test.yaml:2:5: DT120 `name` is required"),
        ("cases:\n  - name: a\n    expekt: {}\n    expect: {}\n", "release.test.yaml:3:5: DT125 unknown key 'expekt'"),
        (
            "cases:\n  - name: a\n    mocks: {biuld: {}}\n    expect: {}\n",
            "release.test.yaml:3:13: DT352 template release has no step 'biuld' (did you mean 'build'?)",
        ),
        (
            "cases:\n  - name: a\n    expect: {steps: {publish/uplaod: failed}}\n",
            "DT352 template release has no step 'publish/uplaod' (did you mean 'publish/upload'?)",
        ),
        ("cases:\n  - name: a\n    expect: {status: good}\n", "DT122 'good' is not a status"),
        ("cases: [\n", "DT102"),
    ],
)
def test_wrong_cases_are_told_with_their_place(written: str, told: str, project: MakeProject, cli: Cli) -> None:
    done = cli(project(files(case({})) | {"templates/release.test.yaml": written}).root, "template", "test")
    assert (done.code, done.out) == (7, "")
    assert told in done.err


def test_cases_without_a_template_that_works(project: MakeProject, cli: Cli) -> None:
    written = files(case({})) | {"templates/old.test.yaml": "cases: []\n"}
    written["templates/release.yaml"] = RELEASE.replace("image: alpine:3.20", "imag: alpine:3.20")
    done = cli(project(written).root, "template", "test")
    assert done.code == 7
    assert "templates/old.test.yaml: DT352 the template of these tests, templates/old.yaml, is not there" in done.err
    assert "templates/release.yaml, cannot be used: see `dagtasks template validate`" in done.err


def test_a_day_passes_in_no_time(project: MakeProject, cli: Cli) -> None:
    template = """\
metadata: {name: t}
timeout: 1000h
steps:
  - {name: a, retry: {max_attempts: 10, delay: 10h, jitter: false}, container: {image: "alpine:3"}}
"""
    cases = "cases:\n  - name: c\n    mocks: {a: {exit_code: 1}}\n    expect: {status: failed, steps: {a: {attempts: 10, duration: 324000.0}}}\n"
    root = project({"templates/t.yaml": template, "templates/t.test.yaml": cases}).root
    assert cli(root, "template", "test").code == 0
    assert not Path(root / ".git/dagtasks/runs").exists()


def test_steps_that_can_begin_together_do(project: MakeProject, cli: Cli) -> None:
    template = """\
metadata: {name: t}
steps:
  - {name: a, container: {image: "alpine:3"}, depends_on: []}
  - {name: b, container: {image: "alpine:3"}, depends_on: []}
"""
    cases = "cases:\n  - {name: c, mocks: {a: {exit_code: 1}}, expect: {steps: {a: failed, b: succeeded}}}\n"
    done = cli(project({"templates/t.yaml": template, "templates/t.test.yaml": cases}).root, "template", "test")
    assert (done.code, done.out) == (0, "t: c ... ok\n1 case, 0 failed\n")
