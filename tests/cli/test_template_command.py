"""`dagtasks template`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BASIC_TEMPLATE, MakeProject, Result, write_files

Cli = Callable[..., Result]

ADVISED = """\
metadata:
  name: advised

steps:
  - name: list
    container:
      image: alpine
      command: |
        for file in $(ls); do echo "$file"; done
        echo ${task.name} $HOME
"""
WRONG = "metadata:\n  name: wrong\n\nsteps:\n  - name: a\n    container:\n      image: alpine:3\n      comand: x\n"


def codes(result: Result) -> list[str]:
    return [problem["code"] for problem in result.json]


@pytest.fixture(autouse=True)
def _no_shellcheck(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what a test puts there is found."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(shutil.which('git') or '').parent}")
    (tmp_path / "bin").mkdir()
    if shutil.which("shellcheck"):
        (tmp_path / "bin/shellcheck").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin/shellcheck").chmod(0o755)


def install_shellcheck(tmp_path: Path, answer: object) -> Path:
    """A program called so, that gives the answer and keeps what it was asked."""
    program = tmp_path / "bin/shellcheck"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat >> {tmp_path}/asked\necho >> {tmp_path}/asked\ncat {tmp_path}/answer\n'
    )
    program.chmod(0o755)
    (tmp_path / "answer").write_text(answer if isinstance(answer, str) else json.dumps(answer))
    return tmp_path / "asked"


def remark(line: int, column: int, end: int, code: int, level: str = "warning") -> dict[str, object]:
    where = {"file": "-", "line": line, "endLine": line, "column": column, "endColumn": end}
    return {**where, "level": level, "code": code, "message": "Do it otherwise.", "fix": None}


# -- validate -------------------------------------------------------------------------------------------------------


def test_advice_is_given_by_template_validate_alone(project: MakeProject, cli: Cli) -> None:
    root = project({"templates/advised.yaml": ADVISED}).root
    assert codes(cli(root, "validate", "--json")) == []
    done = cli(root, "template", "validate", "--json")
    assert (done.code, codes(done)) == (0, ["DT346", "DT345"])


def test_the_example_of_the_guide_has_advice_and_no_more(project: MakeProject, cli: Cli) -> None:
    done = cli(project({"templates/basic_task.yaml": BASIC_TEMPLATE}).root, "template", "validate", "--json")
    assert done.code == 0
    assert {(problem["code"], problem["severity"]) for problem in done.json} == {
        (code, "note") for code in ("DT308", "DT345", "DT346", "DT347")
    }


@pytest.mark.parametrize("names", ["[latest-image, no-timeout]", "'latest-image,no-timeout'"])
def test_the_repository_switches_remarks_off(names: str, project: MakeProject, cli: Cli) -> None:
    files = {"templates/advised.yaml": ADVISED, "config/default.yaml": f"lint:\n  off: {names}\n"}
    root = project(files).root
    assert codes(cli(root, "template", "validate", "--json")) == []
    assert codes(cli(root, "validate", "--json")) == []


def test_the_repository_switches_warnings_off_everywhere(project: MakeProject, cli: Cli) -> None:
    text = ADVISED.replace("  - name: list\n", "  - name: list\n    if: true\n")
    root = project({"templates/advised.yaml": text}).root
    assert codes(cli(root, "validate", "--json")) == ["DT341"]
    write_files(root, {"config/default.yaml": "lint:\n  off: [always-true-if]\n"})
    assert codes(cli(root, "validate", "--json")) == []
    assert codes(cli(root, "template", "validate", "--json")) == ["DT346", "DT345"]


def test_a_remark_that_does_not_exist_is_refused(project: MakeProject, cli: Cli) -> None:
    root = project({"config/default.yaml": "lint:\n  off: [latest]\n"}).root
    done = cli(root, "validate")
    assert done.code == 1
    assert "config/default.yaml:2:8: DT141 setting lint.off: 'latest' is not one of code-param, raw" in done.out


def test_errors_are_never_switched_off(project: MakeProject, cli: Cli) -> None:
    lint = "  annotations: {lint: {off: [raw]}}\n"
    wrong = WRONG.replace("name: wrong\n", "name: wrong\n" + lint)
    done = cli(project({"templates/wrong.yaml": wrong}).root, "template", "validate", "--json")
    assert (done.code, codes(done)) == (1, ["DT320"])


def test_only_the_files_that_are_named_are_told_of(project: MakeProject, cli: Cli) -> None:
    files = {
        "templates/wrong.yaml": WRONG,
        "templates/ci/advised.yaml": ADVISED,
        "tasks/web/web-000001.yaml": "name: A\n",
    }
    root = project(files).root
    assert codes(cli(root, "template", "validate", "--json")) == ["DT346", "DT345", "DT320"]
    assert codes(cli(root, "template", "validate", str(root / "templates/ci"), "--json")) == ["DT346", "DT345"]
    assert codes(cli(root, "template", "validate", "templates/wrong.yaml", "--json")) == ["DT320"]
    assert cli(root, "template", "validate", "templates/nope.yaml").code == 5


def test_without_templates_nothing_is_wrong(project: MakeProject, cli: Cli) -> None:
    done = cli(project({}).root, "template", "validate")
    assert (done.code, done.out) == (0, "no problems\n")


# -- ShellCheck -----------------------------------------------------------------------------------------------------


def test_shellcheck_is_asked_where_it_is_installed(project: MakeProject, cli: Cli, tmp_path: Path) -> None:
    asked = install_shellcheck(tmp_path, {"comments": [remark(2, 13, 18, 2045), remark(3, 19, 24, 2086, "info")]})
    root = project({"templates/advised.yaml": ADVISED}).root
    done = cli(root, "template", "validate", "--json")
    told = [(p["line"], p["column"], p["severity"], p["message"]) for p in done.json if p["code"] == "DT351"]
    assert told == [(9, 21, "warning", "SC2045 Do it otherwise."), (10, 27, "note", "SC2086 Do it otherwise.")]
    assert asked.read_text() == (
        "--format=json1 --shell=sh --norc -\nset -e\n"
        'for file in $(ls); do echo "$file"; done\necho ${AAAAAAAAA} $HOME\n\n'
    )
    assert cli(root, "validate", "--json").json == []
    assert asked.read_text().count("--norc") == 1


def test_shellcheck_says_nothing_of_places_that_are_bound(project: MakeProject, cli: Cli, tmp_path: Path) -> None:
    install_shellcheck(tmp_path, {"comments": [remark(3, 6, 18, 2086), remark(3, 1, 7, 2016), remark(1, 1, 4, 1000)]})
    root = project({"templates/advised.yaml": ADVISED}).root
    assert "DT351" not in codes(cli(root, "template", "validate", "--json"))


def test_shellcheck_can_be_switched_off(project: MakeProject, cli: Cli, tmp_path: Path) -> None:
    install_shellcheck(tmp_path, {"comments": [remark(2, 13, 18, 2045)]})
    files = {"templates/advised.yaml": ADVISED, "config/default.yaml": "lint:\n  off: [shellcheck]\n"}
    assert "DT351" not in codes(cli(project(files).root, "template", "validate", "--json"))


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", '{"comments": [{}]}', '{"comments": [{"line": "x"}]}'])
def test_what_shellcheck_says_in_another_way_is_passed_over(
    answer: str, project: MakeProject, cli: Cli, tmp_path: Path
) -> None:
    install_shellcheck(tmp_path, answer)
    done = cli(project({"templates/advised.yaml": ADVISED}).root, "template", "validate", "--json")
    assert (done.code, codes(done)) == (0, ["DT346", "DT345"])


def test_scripts_are_shown_to_shellcheck_in_the_dialect_of_their_shell(
    project: MakeProject, cli: Cli, tmp_path: Path
) -> None:
    asked = install_shellcheck(tmp_path, {"comments": []})
    text = """\
metadata: {name: t}
steps:
  - {name: a, script: {interpreter: [/usr/bin/env, bash], source: "echo a"}}
  - {name: b, script: {interpreter: [python3], source: "print(1)"}}
  - {name: c, script: {source: "echo c"}}
  - {name: d, container: {image: "alpine:3", command: "exit"}}
  - {name: e, container: {image: "alpine:3", command: [echo]}}
"""
    cli(project({"templates/t.yaml": text}).root, "template", "validate")
    options = [line for line in asked.read_text().splitlines() if line.startswith("--format")]
    assert [line.split()[1] for line in options] == ["--shell=bash", "--shell=sh", "--shell=sh"]
    assert "set -e\necho c" in asked.read_text()
    assert "set -e\necho a" not in asked.read_text()


# -- graph and schema -----------------------------------------------------------------------------------------------

TWO = """\
metadata:
  name: two

parameters:
  fail: {type: boolean, default: false}

steps:
  - name: first
    container: {image: "alpine:3", command: "echo first"}
  - name: second
    if: "!fail"
    container: {image: "alpine:3", command: "echo second"}
"""


def test_a_template_is_drawn(project: MakeProject, cli: Cli) -> None:
    root = project({"templates/two.yaml": TWO}).root
    done = cli(root, "template", "graph", "two")
    assert done.out.splitlines()[:3] == ["flowchart TD", '  s0["first (container)"]', '  s1["second (container: if)"]']
    assert cli(root, "template", "graph", "two", "--format", "dot").out.startswith('digraph "two" {\n')
    assert cli(root, "template", "graph", "two", "--json").json["edges"] == [["first", "second"]]
    assert cli(root, "template", "graph", "three").code == 5


def test_a_template_is_drawn_as_a_run_had_it(project: MakeProject, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project({"templates/two.yaml": TWO, "templates/other.yaml": TWO.replace("two", "other")}).root
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    run = cli(root, "run", "--template", "two", "--param", "fail=true", "--json").json["id"]
    write_files(root, {"templates/two.yaml": TWO.replace("second", "another")})
    drawn = cli(root, "template", "graph", "two", "--run", run).out
    assert (
        '  s0["first (container) succeeded"]:::succeeded\n  s1["second (container: if) skipped"]:::skipped\n' in drawn
    )
    states = [step["state"] for step in cli(root, "template", "graph", "two", "--run", run, "--json").json["steps"]]
    assert states == ["succeeded", "skipped"]
    done = cli(root, "template", "graph", "other", "--run", run)
    assert (done.code, done.err) == (2, f"error: run {run} is one of template two\n")


def test_the_schema_is_the_one_of_schema_template(project: MakeProject, cli: Cli) -> None:
    root = project({}).root
    done = cli(root, "template", "schema")
    assert done.out == cli(root, "schema", "template").out
    assert json.loads(done.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
