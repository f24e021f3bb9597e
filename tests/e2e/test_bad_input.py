"""Bad input ends in the state that the language gives it, with a message that says what to do, and a whole record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeProject, Result, write_files

Cli = Callable[..., Result]

OK = "metadata: {name: ok}\nsteps:\n  - {name: a, container: {image: a, command: [echo, ok]}}\n"


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    return project({"templates/ok.yaml": OK}).root


def template(*steps: str, top: str = "") -> str:
    listed = "".join(f"  - {step}\n" for step in steps)
    return f"metadata: {{name: t}}\n{top}steps:\n{listed}"


def step(name: str, command: str, more: str = "") -> str:
    return f"{{name: {name}, container: {{image: 'alpine:3', command: {command}}}{more}}}"


SPECS = """\
parameters:
  n: {type: integer, minimum: 1}
  s: {type: string, enum: [red, green]}
  p: {type: string, pattern: "[a-z]+"}
"""
PARAMETERS = template(step("a", "[echo, '${n ?? 1}', '${s ?? 1}', '${p ?? 1}']"), top=SPECS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nn=1", "there is no parameter `nn` (did you mean 'n'?)"),
        ("n=one", "`n` is to be an integer, and the text 'one' is none (write it in digits, as -7 or 42)"),
        ("n=0", "`n` must be at least 1"),
        ("s=gren", "`s` must be one of red, green (did you mean 'green'?)"),
        ("p=A", "`p` does not match the pattern [a-z]+ (the whole text must match)"),
    ],
)
def test_wrong_parameters_begin_no_run(given: str, told: str, root: Path, cli: Cli) -> None:
    write_files(root, {"templates/t.yaml": PARAMETERS})
    done = cli(root, "run", "--template", "t", "--param", given)
    assert (done.code, done.out, done.err) == (2, "", f"error: parameters of template t:\n  {told}\n")
    assert not (root / ".git/dagtasks/runs").exists()


CALL = "metadata: {name: u}\nsteps:\n  - {name: a, workflow: {template: t}}\n"
BROKEN = {
    "steps in a circle": (
        template(step("a", "['${steps.b.output}']"), step("b", "[echo]", ", depends_on: [a]")),
        "steps wait for one another in a circle: a -> b -> a (take one reference out)",
    ),
    "templates in a circle": (
        template("{name: a, workflow: {template: u}}"),
        "templates call one another in a circle: t -> u -> t (take one of these calls out)",
    ),
    "a call that does not fit": (
        template("{name: a, workflow: {template: ok, parameters: {x: 1}}}"),
        "template ok has no parameter 'x'",
    ),
    "too many steps": (
        template(*(step(f"s{place}", "[echo]") for place in range(501))),
        "`steps` has 501 items, and can have 500",
    ),
    "aliases that grow": (
        "metadata: {name: t}\na: &a [x, x]\nb: &b [*a, *a]\nsteps: [*b, *b]\n",
        "aliases (`*a`) are not allowed (write the value)",
    ),
    "a tag that would run something": (
        "metadata: {name: t}\nsteps: !!python/object/apply:os.system [true]\n",
        "tags (`!!python/object/apply:os.system`) are not allowed (delete the tag)",
    ),
    "nested without end": (
        "metadata: {name: t}\nsteps: " + "[" * 9000 + "]" * 9000 + "\n",
        "the file is nested far deeper than 32 levels (flatten it)",
    ),
    "a file of two megabytes": ("metadata: {name: t}\n# " + "x" * (2 << 20), "the file is larger than 1 MiB"),
    "no UTF-8": (b"metadata: {name: t, description: \xff}\n", "byte 0xFF is not UTF-8 (save the file as UTF-8)"),
    "NUL": ("metadata: {name: t}\0\n", "NUL (U+0000) is not allowed (delete it)"),
    "an expression without end": (template(step("a", "'echo ${" + "(" * 5000 + "}'")), "longer than 4096 characters"),
    "a pattern that explodes": (
        template(step("a", "[echo]"), top="parameters: {p: {type: string, pattern: '((a{1,999}){1,999}){1,999}'}}\n"),
        "`pattern`: is not a regular expression",
    ),
    "an empty file": ("", "the file is empty"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_wrong_templates_begin_no_run_and_stop_no_other(what: str, root: Path, cli: Cli) -> None:
    text, told = BROKEN[what]
    write_files(root, {"templates/t.yaml": text, "templates/u.yaml": CALL})
    done = cli(root, "run", "--template", "t")
    assert (done.code, done.out) == (7, "")
    assert told in done.err
    assert "templates/t.yaml" in done.err
    assert not (root / ".git/dagtasks/runs").exists()
    assert cli(root, "run", "--template", "ok").code == 0


def many(letters: int, more: str = "") -> str:
    return json.dumps(f"head -c {letters} /dev/zero | tr '\\0' x{more}")


RUNS: dict[str, tuple[list[str], int, dict[str, Any], str]] = {
    "output that is read and too big": (
        [step("a", many(1_100_000)), step("b", "[echo, '${length(steps.a.output)}']")],
        1,
        {"a": ("errored", "output_too_big"), "b": ("omitted", "not_reached")},
        "stdout is read as an output and larger than 1048576 bytes; write less, or use artifacts",
    ),
    "a file that is read and too big": (
        [step("a", many(1_100_000, " > $DT_OUTPUTS/k"), ", outputs: {k: {from: file}}")],
        1,
        {"a": ("errored", "output_too_big")},
        "larger than 1048576 bytes; write less, or use artifacts",
    ),
    "5 MiB that nobody reads": ([step("a", many(5 << 20))], 0, {"a": ("succeeded", None)}, ""),
    "bytes that are no text": (
        [step("a", "'printf \"a\\377b\"'"), step("b", "[test, '${steps.a.output}', '=', \"a\\uFFFDb\"]")],
        0,
        {"a": ("succeeded", None), "b": ("succeeded", None)},
        "\ufffd is in its output, as for bytes that are no UTF-8",
    ),
    "an output with a NUL as an argument": (
        [step("a", "'printf \"a\\000b\"'"), step("b", "[echo, '${steps.a.output}']")],
        1,
        {"a": ("succeeded", None), "b": ("errored", "expression")},
        "an argument: the value holds a NUL, which no argument or variable can (pass it as a file)",
    ),
    "an output with a NUL in shell text": (
        [step("a", "'printf \"a\\000b\"'"), step("b", "'echo ${steps.a.output}'")],
        1,
        {"a": ("succeeded", None), "b": ("errored", "expression")},
        "the value holds a NUL, which no argument or variable can (pass it as a file)",
    ),
    "a value that is too long for an argument": (
        [step("a", many(100_000)), step("b", "'echo ${steps.a.output}'")],
        1,
        {"a": ("succeeded", None), "b": ("errored", "expression")},
        "the value has 100000 bytes; an argument or variable takes 98304 (use a file)",
    ),
    "more items than a loop takes": (
        [step("a", "[echo, '${item}']", ", foreach: '${range(257)}'")],
        1,
        {"a": ("errored", "expression")},
        "there are 257 items; at most 256 are done (do them in groups)",
    ),
    "no such command": (
        [step("a", "no-such-command")],
        1,
        {"a": ("failed", "exit_code")},
        "the command ended with exit code 127 (command not found)",
    ),
    "an output that is no JSON": (
        [step("a", "[echo, '{']", ", outputs: {k: {format: json}}")],
        1,
        {"a": ("errored", "output_error")},
        "output k is no JSON",
    ),
}


@pytest.mark.parametrize("what", RUNS)
def test_what_goes_wrong_in_a_run_is_told_and_kept(what: str, root: Path, cli: Cli) -> None:
    steps, code, states, told = RUNS[what]
    write_files(root, {"templates/t.yaml": template(*steps)})
    done = cli(root, "run", "--template", "t")
    assert done.code == code
    assert told in done.out + done.err
    (row,) = cli(root, "runs", "list", "--json").json
    kept = cli(root, "runs", "show", row["id"], "--json").json
    assert kept["status"] == ("succeeded" if code == 0 else states[next(n for n in states if states[n][1])][0])
    assert {one["name"]: (one["state"], (one["error"] or {}).get("code")) for one in kept["steps"]} == states
    assert cli(root, "runs", "logs", row["id"]).code == 0
    assert (root / f".git/dagtasks/runs/{row['id']}/events.jsonl").stat().st_size < 3 << 20


def test_a_nul_in_a_parameter(root: Path, cli: Cli) -> None:
    files = {"templates/t.yaml": template(step("a", "'echo ${v}'"), top="parameters: {v: {type: string}}\n")}
    write_files(root, {**files, "v": b"a\0b"})
    done = cli(root, "run", "--template", "t", "--param", f"v=@{root / 'v'}")
    assert done.code == 1
    assert "the value holds a NUL, which no argument or variable can (pass it as a file)" in done.out


def test_the_end_of_a_failed_step_of_a_called_template_is_shown(root: Path, cli: Cli) -> None:
    below = "metadata: {name: below}\nsteps:\n  - {name: deep, container: {image: a, command: 'seq 30; exit 3'}}\n"
    steps = ["{name: call, foreach: [1], workflow: {template: below}}"]
    write_files(root, {"templates/below.yaml": below, "templates/t.yaml": template(*steps)})
    done = cli(root, "run", "--template", "t")
    child = next(row["id"] for row in cli(root, "runs", "list", "--json").json if row["parent"])
    *_, head = done.out.partition("\n\n")
    assert head.splitlines()[0].startswith("deep: failed (exit code 3)")
    assert head.splitlines()[1:] == [
        *(f"  {number}" for number in range(11, 31)),
        f"full log: dagtasks runs logs {child} deep",
    ]
    assert cli(root, "runs", "logs", child, "deep").out.splitlines()[-1] == "deep | 30"


@pytest.mark.slow
def test_five_hundred_steps(root: Path, cli: Cli) -> None:
    names = [f"s{place}" for place in range(500)]
    write_files(root, {"templates/t.yaml": template(*(step(name, "['true']", ", depends_on: []") for name in names))})
    done = cli(root, "run", "--template", "t", "--json")
    assert done.code == 0, done.err[-500:]
    assert [one["name"] for one in done.json["steps"] if one["state"] == "succeeded"] == names
