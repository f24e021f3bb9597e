"""How a command with values is written for the shell, and what is said about it."""

from __future__ import annotations

import time

import pytest

from dagtasks.errors import Severity
from dagtasks.language.checking import Names
from dagtasks.language.evaluation import render
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.functions import EvaluationError
from dagtasks.language.kinds import ANY, INTEGER, STRING, STRINGS, object_of
from dagtasks.language.shell import bind, process_text

NAMES = Names(
    {
        "params": object_of({"v": STRING, "w": STRING, "n": INTEGER, "m": INTEGER.or_null(), "l": STRINGS}),
        "steps": object_of({"a": object_of({"output": STRING, "outputs": object_of({"j": ANY})})}),
        "run": object_of({"id": STRING}),
    },
    refused={"secrets": "use `env`"},
)

WRITTEN = [
    ("echo hello $HOME $${X:-y} $(date)", "echo hello $HOME ${X:-y} $(date)", {}),
    ("echo ${v} ${w}", 'echo "${DT_0}" "${DT_1}"', {"DT_0": "${v}", "DT_1": "${w}"}),
    ("echo ${v} \"${v}\" '${v}'", "echo \"${DT_0}\" \"${DT_0}\" ''\"${DT_0}\"''", {"DT_0": "${v}"}),
    ("cat <<EOF\n${v}\nEOF", "cat <<EOF\n${DT_0}\nEOF", {"DT_0": "${v}"}),
    ("true # ${v}\necho ${w}", 'true # \necho "${DT_0}"', {"DT_0": "${w}"}),
    ("echo $((${n} + 1)) ${n}", 'echo $(((${DT_0}) + 1)) "${DT_1}"', {"DT_0": "${int(n)}", "DT_1": "${n}"}),
    ("a[${n}]=1", 'a["${DT_0}"]=1', {"DT_0": "${int(n)}"}),
    ("[[ ${n} -gt 2 ]]; [[ x ]]", '[[ "${DT_0}" -gt 2 ]]; [[ x ]]', {"DT_0": "${int(n)}"}),
    ("[[ 1 -gt 2 ]]; [[ ${v} == x ]]", '[[ 1 -gt 2 ]]; [[ "${DT_0}" == x ]]', {"DT_0": "${v}"}),
    ("echo ${steps.a.outputs.j ?? '}'}", 'echo "${DT_0}"', {"DT_0": "${steps.a.outputs.j ?? '}'}"}),
    ("echo $${X} ${v} $$${Y}", 'echo ${X} "${DT_0}" $${Y}', {"DT_0": "${v}"}),
    ("run ${raw(v)} ${w}", 'run VALUE "${DT_0}"', {"DT_0": "${w}"}),
    ("${raw(v)}", "VALUE", {}),
    ("${v}", "VALUE", {}),
    (" ${params.v}\n", " VALUE\n", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shell_text", "env"), WRITTEN)
def test_written(text, shell_text, env):
    bound = bind(parse_scalar(text), NAMES)
    assert not [finding for finding in bound.findings if finding.severity is Severity.ERROR]
    assert render(parse_scalar(bound.source), {"params": {"v": "VALUE"}}) == shell_text
    assert bound.env == env


@pytest.mark.parametrize(
    ("text", "code", "severity", "offset", "message", "hint"),
    [
        ("${v}", "DT308", Severity.NOTE, 0, "is the whole command", ""),
        ("\n ${params.v} ", "DT308", Severity.NOTE, 2, "is the whole command", ""),
        ("${n}", "DT303", Severity.ERROR, 0, "a command is text, not an integer", ""),
        ("${steps.a.output}", "DT304", Severity.ERROR, 0, "only a parameter", "raw(...)"),
        ("${v ?? 'x'}", "DT304", Severity.ERROR, 0, "only a parameter", "raw(...)"),
        ("${run.id}", "DT304", Severity.ERROR, 0, "only a parameter", "raw(...)"),
        ("a ${raw(v)}", "DT309", Severity.WARNING, 2, "is pasted", ""),
        ("a ${x}", "DT302", Severity.ERROR, 4, "no parameter `x`", "${x}"),
        ("a ${l}", "DT303", Severity.ERROR, 2, "is a list", "join"),
        ("a ${m}", "DT310", Severity.WARNING, 2, "may be null", "??"),
        ("a ${secrets.X}", "DT302", Severity.ERROR, 4, "cannot be used here: use `env`", ""),
        ("echo `id ${v}`", "DT304", Severity.ERROR, 9, "inside backticks", "environment variable"),
        ("echo $((${v}))", "DT304", Severity.ERROR, 8, "type integer", "`type: integer`"),
        ("echo $((${steps.a.outputs.j}))", "DT304", Severity.ERROR, 8, "type integer", "`type: integer`"),
        ("echo ${1} x", "DT304", Severity.ERROR, 5, "never changes", "$1 or $${1}"),
        ("echo 'x ${v}", "DT304", Severity.ERROR, None, "a ' is not closed", ""),
        ("echo \0 ${v}", "DT304", Severity.ERROR, None, "NUL", ""),
        ("sh -c 'echo ${v}'", "DT309", Severity.WARNING, 12, "`sh -c`", ""),
        ("bash -ec \"${v}\"", "DT309", Severity.WARNING, 10, "`bash -ec`", ""),
        ("eval ${v}", "DT309", Severity.WARNING, 5, "`eval`", ""),
        ("awk '{print \"${v}\"}' f", "DT309", Severity.WARNING, 13, "`awk`", ""),
        ("ssh host ls ${v}", "DT309", Severity.WARNING, 12, "`ssh`", ""),
    ],
)  # fmt: skip
def test_findings(text, code, severity, offset, message, hint):
    [finding] = bind(parse_scalar(text), NAMES, loc=("x",)).findings
    assert (finding.loc, finding.code, finding.severity, finding.offset) == (("x",), code, severity, offset)
    assert message in finding.message
    assert hint in finding.hint


@pytest.mark.parametrize(
    "text",
    [
        "sh -c 'echo \"$1\"' _ ${v}",
        "sed -i s/a/b/ ${v}",
        'jq -r .x "${v}"',
        "echo ${v}; sh -c 'x'",
        "cat evaluate ${v}",
    ],
)
def test_arguments_of_programs_are_no_code(text):
    assert bind(parse_scalar(text), NAMES).findings == ()


@pytest.mark.parametrize(
    ("shell", "text", "fine"),
    [
        (["bash", "-euo", "pipefail", "-c"], "a ${v}", True),
        (["/bin/sh", "-c"], "a ${v}", True),
        (["/usr/bin/env", "bash", "-c"], "a ${v}", True),
        (["python3", "-c"], "print(${v})", False),
        (["pwsh", "-Command"], "a ${v}", False),
        ([], "a ${v}", False),
        (["python3", "-c"], "print(1)", True),
        (["python3", "-c"], "print(${raw(v)})", True),
    ],
)
def test_values_are_bound_only_for_shells_whose_quoting_is_known(shell, text, fine):
    findings = bind(parse_scalar(text), NAMES, shell=shell).findings
    assert [finding.code for finding in findings if finding.severity is Severity.ERROR] == ([] if fine else ["DT304"])


def test_a_number_that_may_be_null_is_no_integer():
    codes = [finding.code for finding in bind(parse_scalar("echo $((${m}))"), NAMES).findings]
    assert codes == ["DT310", "DT304"]


def test_integers_are_checked_again_when_they_are_known():
    bound = bind(parse_scalar("echo $((${n}))"), NAMES)
    with pytest.raises(EvaluationError, match="not a whole number"):
        render(parse_scalar(bound.env["DT_0"]), {"params": {"n": "a[$(id)]"}})


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), ("", ""), (3, "3"), (1.5, "1.5"), (True, "true"), ("é" * 49152, "é" * 49152)]
)
def test_process_text(value, text):
    assert process_text(value) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "null cannot stand in text"),
        ([1], "a list cannot"),
        ({}, "a map cannot"),
        ("a\0b", "NUL"),
        ("x" * 98305, "98305 bytes"),
        ("é" * 49153, "98306 bytes"),
        ("\ud800", "Unicode"),
    ],
    ids=["null", "list", "map", "NUL", "long", "long in bytes", "surrogate"],
)
def test_what_no_process_can_take(value, message):
    with pytest.raises(EvaluationError, match=message):
        process_text(value)


@pytest.mark.parametrize("text", ["$(", '"$(', "(", "$${x:-", "a[$b", "sh ", "<<A", "[[ ", "${v}", "${n}$$((${n}))"])
def test_hostile_shell_texts_take_little_time(text):
    begun = time.process_time()
    bind(parse_scalar(text * 10_000 + " ${v}"), NAMES)
    assert time.process_time() - begun < 5
