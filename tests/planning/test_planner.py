from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from dagtasks.errors import InvalidInput, NotFound
from dagtasks.language.functions import EvaluationError
from dagtasks.planning.plan import ApiRequest, CallRequest, Deferred, ExecRequest, Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.planning.resolve import (
    Around,
    OutputError,
    Printed,
    child_plan,
    is_wanted,
    read_outputs,
    resolve,
    run_outputs,
)
from tests.conftest import BASIC_TEMPLATE

SCOPE: dict[str, Any] = {
    "task": {"id": "web-000001", "name": "One", "metadata": {"package": "web"}, "labels": ["a", "b"]},
    "project": {"key": "web"},
    "phase": None,
    "run": {"commit": "c0ffee", "branch": "main", "dirty": False, "trigger": "manual", "actor": "ann@example.org"},
}


def planned(text: str, name: str = "t") -> PlannedTemplate:
    return PlannedTemplate(name, None, f"templates/{name}.yaml", "b10b", yaml.safe_load(text), text)


def plan(text: str, others: dict[str, str] | None = None, files: dict[str, str] | None = None, **given: Any) -> Plan:
    def find(name: str) -> PlannedTemplate:
        if name not in (others or {}):
            raise NotFound(f"there is no template {name!r}")
        return planned((others or {})[name], name)

    return make_plan(planned(text), given, Surroundings(SCOPE, find, lambda path: (files or {})[path]))


def steps(body: str, parameters: str = "") -> str:
    return f"metadata: {{name: t}}\n{parameters}\nsteps:\n{body}"


def request(made: Plan, place: int = 0, **results: Any) -> Any:
    step = made.steps[place]
    scope = {**made.scope, "steps": results, "run": {**SCOPE["run"], "id": "r1", "failed_steps": []}}
    return resolve(step, made, Around(scope), 1)


def test_the_example_is_a_shell_command_in_its_folder() -> None:
    made = plan(BASIC_TEMPLATE, task_name="x", task_command="echo hello")
    asked = request(made)
    assert isinstance(asked, ExecRequest)
    assert (asked.image, asked.argv, asked.workdir) == ("alpine:latest", ("sh", "-ec", "echo hello"), "/app")
    scope = {"steps": {"execute_task": {"output": "hello"}}}
    assert run_outputs(made, Around(scope)) == ({"result": "hello"}, [])


def test_all_missing_parameters_are_named_with_their_description() -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(BASIC_TEMPLATE)
    assert "`task_name` is required (string) (The name of the task)" in caught.value.message
    assert "`task_command` is required (string) (The command to execute)" in caught.value.message


def test_values_are_bound_and_never_pasted() -> None:
    made = plan(
        steps(
            "  - name: a\n    container: {image: alpine, command: 'echo \"${who}\" $HOME'}",
            "parameters: {who: {type: string}}",
        ),
        who="'; rm -rf / #${x}",
    )
    asked = request(made)
    assert asked.argv == ("sh", "-ec", 'echo "${DT_0}" $HOME')
    assert asked.env["DT_0"] == "'; rm -rf / #${x}"


def test_whole_values_keep_their_type_and_lists_are_spliced() -> None:
    text = steps(
        "  - name: a\n    container:\n      image: alpine\n      command: [run, '${flags[*]}', '${count}', 'x-${count}']\n"
        "      env: {N: '${count}', B: '${dry}', GONE: '${nothing}'}",
        "parameters: {flags: {type: array}, count: {type: integer}, dry: {type: boolean}, nothing: {type: string}}",
    )
    asked = request(plan(text, flags=["-a", "b c"], count=3, dry=True))
    assert asked.argv == ("run", "-a", "b c", "3", "x-3")
    own = {name: value for name, value in asked.env.items() if not name.startswith("DT_")}
    assert own == {"N": "3", "B": "true"}


def test_what_later_steps_need_is_deferred() -> None:
    made = plan(
        steps(
            "  - name: b\n    container: {image: alpine, command: [echo, '${steps.a.output}', '${task.name}']}\n"
            "    depends_on: []\n"
            "  - name: a\n    container: {image: alpine, command: 'true'}"
        )
    )
    assert [step.name for step in made.steps] == ["a", "b"]
    assert made.steps[1].depends_on == ("a",)
    assert made.steps[1].inputs["argv"] == ("echo", Deferred("${steps.a.output}"), "One")
    assert request(made, 1, a={"output": "hello"}).argv == ("echo", "hello", "One")


def test_without_depends_on_each_step_comes_after_all_before_it() -> None:
    made = plan(steps("".join(f"  - name: {n}\n    container: {{image: alpine, command: 'true'}}\n" for n in "abc")))
    assert [step.depends_on for step in made.steps] == [(), ("a",), ("a", "b")]


def test_scripts_are_files_and_are_not_interpolated() -> None:
    made = plan(
        steps(
            "  - name: a\n    script: {interpreter: [python3], source: 'print(\"${n}\")', args: ['${n}'], env: {N: '${n}'}}",
            "parameters: {n: {type: integer, default: 2}}",
        )
    )
    asked = request(made)
    assert asked.argv == ("python3", "/dagtasks/script", "2")
    assert asked.files == {"/dagtasks/script": 'print("${n}")'}
    assert asked.image == "python:3.12-slim"
    assert (asked.env["DT_PARAMS"], asked.env["N"]) == ('{"n": 2}', "2")


def test_scripts_of_the_repository_are_frozen_in_the_plan() -> None:
    made = plan(steps("  - name: a\n    script: {file: run.sh}"), files={"run.sh": "echo\n"})
    assert made.files == {"run.sh": "echo\n"}
    assert request(made).files == {"/dagtasks/script": "echo\n"}


def test_api_steps_encode_what_goes_into_the_address() -> None:
    made = plan(
        steps(
            "  - name: a\n    api:\n      method: POST\n      url: 'https://example.org/${room}/x'\n"
            "      query: {q: '${room}', none: '${nothing}'}\n      headers: {X-Room: '${n}'}\n      json: {n: '${n}', t: 'a ${n}'}\n"
            "      success_status: [204, '300-302']",
            "parameters: {room: {type: string}, n: {type: integer}, nothing: {type: string}}",
        ),
        room="a/b ?",
        n=3,
    )
    asked = request(made)
    assert isinstance(asked, ApiRequest)
    assert (asked.url, asked.query, asked.headers) == (
        "https://example.org/a%2Fb%20%3F/x",
        {"q": "a/b ?"},
        {"X-Room": "3"},
    )
    assert (asked.json, asked.has_json, asked.success_status) == ({"n": 3, "t": "a 3"}, True, ((204, 204), (300, 302)))


def test_a_whole_address_goes_in_as_it_is() -> None:
    text = steps("  - name: a\n    api: {url: '${u}'}", "parameters: {u: {type: string}}")
    assert request(plan(text, u="https://example.org/a?b=c")).url == "https://example.org/a?b=c"


def test_a_line_break_in_a_header_is_refused() -> None:
    text = steps(
        "  - name: a\n    api: {url: 'https://example.org', headers: {X: '${v}'}}", "parameters: {v: {type: string}}"
    )
    with pytest.raises(EvaluationError, match="header X holds a line break"):
        request(plan(text, v="a\r\nEvil: 1"))


def test_child_runs_get_their_parameters_and_their_own_plan() -> None:
    made = plan(
        steps(
            "  - name: call\n    workflow: {template: basic_task, parameters: {task_name: x, task_command: '${c}'}}",
            "parameters: {c: {type: string}}",
        ),
        {"basic_task": BASIC_TEMPLATE},
        c="echo ${x}",
    )
    asked = request(made)
    assert isinstance(asked, CallRequest)
    child = child_plan(made, asked)
    assert child.parameters == {"task_name": "x", "task_command": "echo ${x}"}
    assert request(child).argv == ("sh", "-ec", "echo ${x}")


def test_circles_and_depth_of_calls() -> None:
    call = "  - name: s\n    workflow: {{template: {}}}"
    with pytest.raises(InvalidInput, match="circle: t -> a -> b -> a"):
        plan(steps(call.format("a")), {"a": steps(call.format("b")), "b": steps(call.format("a"))})
    deep = {f"d{n}": steps(call.format(f"d{n + 1}")) for n in range(20)}
    with pytest.raises(InvalidInput, match="nested deeper than 10"):
        plan(steps(call.format("d0")), deep)


@pytest.mark.parametrize(
    ("value", "message"),
    [("a\0b", "NUL"), ("x" * 100_000, "use a file")],
)
def test_values_that_no_process_can_take(value: str, message: str) -> None:
    text = steps(
        "  - name: a\n    container: {image: alpine, command: [echo, '${v}']}", "parameters: {v: {type: string}}"
    )
    with pytest.raises(EvaluationError) as caught:
        request(plan(text, v=value))
    assert message in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("command", ["[echo, 'x${v}']", "'echo x${v}'", "'echo ${v}'"])
def test_null_inside_text_is_refused_before_anything_runs(command: str) -> None:
    text = steps(
        f"  - name: a\n    container: {{image: alpine, command: {command}}}", "parameters: {v: {type: string}}"
    )
    with pytest.raises(InvalidInput, match=r"step a: \$\{v\} is null"):
        plan(text)


def test_an_image_that_an_expression_gives_has_the_form_of_one() -> None:
    text = steps("  - name: a\n    container: {image: '${v}'}", "parameters: {v: {type: string}}")
    assert request(plan(text, v="alpine:3.20")).image == "alpine:3.20"
    for value in ("a b", "--privileged", "UPPER", "x\ny"):
        with pytest.raises(InvalidInput, match=r"step a: image: .* is no name of an image"):
            plan(text, v=value)


@pytest.mark.parametrize(
    ("condition", "success", "failure", "wanted"),
    [
        (None, True, False, True),
        (None, False, True, False),
        ("true", True, False, True),
        ("true", False, True, False),
        ("always()", False, True, True),
        ("failure()", True, False, False),
        ("failure()", False, True, True),
        ("${steps.a.output == 'x'}", True, False, True),
        ("!success() && steps.a.output == 'x'", False, True, True),
    ],
)
def test_conditions(condition: str | None, *, success: bool, failure: bool, wanted: bool) -> None:
    scope = {"steps": {"a": {"output": "x"}}}
    assert is_wanted(condition, Around(scope), success=success, failure=failure, cancelled=False) is wanted


OUTPUTS = """\
  - name: a
    container: {image: alpine, command: 'true'}
    outputs:
      text: {}
      err: {from: stderr}
      whole: {from: file, path: /out.json, format: json}
      part: {from: file, path: /out.json, format: json, select: 'a.b[1]'}
      own: {from: file, default: none}
"""


def test_variables_that_hold_something_sensitive_are_secret() -> None:
    text = """\
metadata: {name: t}
parameters: {p: {type: string, sensitive: true}, q: {type: string}}
steps:
  - name: a
    container: {image: alpine}
    outputs: {k: {sensitive: true}, open: {}}
  - name: call
    workflow: {template: below}
  - name: b
    container:
      image: alpine
      command: "echo ${steps.a.outputs.k} ${steps.a.outputs.open}"
      env:
        P: "${p}"
        Q: "${q}"
        K: "x ${steps.a.outputs.k}"
        OPEN: "${steps.a.outputs.open}"
        ALL: "${to_json(steps.a.outputs)}"
        STEP: "${to_json(steps.a)}"
        CODE: "${steps.a.exit_code}"
        CALL: "${steps.call.outputs.k}"
        CALLED: "${steps.call.outputs.open}"
"""
    below = "metadata: {name: below}\nsteps:\n  - {name: s, container: {image: a}}\n"
    below += "outputs: {k: {value: 1, sensitive: true}, open: {value: 2}}\n"
    given = {"outputs": {"k": "secret", "open": "shown"}, "exit_code": 0}
    asked = request(plan(text, {"below": below}, p="secret", q="shown"), 2, a=given, call=given)
    assert set(asked.secret_env) == {"P", "K", "ALL", "STEP", "CALL", "DT_0"}
    assert "secret" not in repr(asked)


def test_declared_outputs() -> None:
    step = plan(steps(OUTPUTS)).steps[0]
    files = {"/out.json": b'{"a": {"b": [1, 2]}}', "/dagtasks/outputs/own": b"mine\n\n"}
    found = read_outputs(step, Printed("out\n\n", "err\n", files), {"json": json.loads})
    assert found == {"text": "out", "err": "err", "whole": {"a": {"b": [1, 2]}}, "part": 2, "own": "mine"}
    assert read_outputs(step, Printed("", "", {"/out.json": files["/out.json"]}), {"json": json.loads})["own"] == "none"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "output whole: the step wrote no /out.json"),
        (b"{", "output whole is no JSON"),
        (b"{}", "output part has no a.b"),
    ],
)
def test_outputs_that_are_missing_or_do_not_decode(content: bytes | None, message: str) -> None:
    step = plan(steps(OUTPUTS)).steps[0]
    with pytest.raises(OutputError, match=message):
        read_outputs(step, Printed("", "", {} if content is None else {"/out.json": content}), {"json": json.loads})


def test_defaults_fill_in_what_steps_do_not_say() -> None:
    text = """
metadata: {name: t}
defaults:
  container: {image: "alpine:3", env: {A: below, B: below}}
  timeout: 5m
  env: {C: below}
steps:
  - {name: a, container: {command: [x]}}
  - {name: b, container: {image: busybox, command: [x], env: {B: own}}, timeout: 1s, env: {C: own}}
"""
    made = plan(text)
    first, second = request(made, 0), request(made, 1)
    assert (first.image, first.timeout, second.image, second.timeout) == ("alpine:3", 300.0, "busybox", 1.0)
    own = [{name: asked.env[name] for name in "ABC"} for asked in (first, second)]
    assert own == [{"A": "below", "B": "below", "C": "below"}, {"A": "below", "B": "own", "C": "own"}]
