"""What is found before anything runs: unknown names, wrong kinds, and the kind of a value."""

from __future__ import annotations

import pytest

from dagtasks.errors import Severity
from dagtasks.language.checking import CODES, Names, check, check_condition, check_scalar
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.kinds import (
    ANY,
    BOOLEAN,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    STRINGS,
    array_of,
    object_of,
)

NAMES = Names(
    kinds={
        "params": object_of(
            {
                "s": STRING,
                "environment": STRING,
                "n": INTEGER,
                "f": NUMBER,
                "b": BOOLEAN,
                "opt": STRING.or_null(),
                "list": STRINGS,
                "map": object_of({"k": INTEGER}),
                "open": OBJECT,
            }
        ),
        "steps": object_of(
            {"build": object_of({"output": STRING, "exit_code": INTEGER, "outputs": object_of({"j": ANY})})}
        ),
        "task": object_of({"name": STRING, "metadata": OBJECT, "labels": array_of(STRING)}),
        "run": object_of({"id": STRING}),
    },
    functions=frozenset({"raw", "success", "failure"}),
    refused={"secrets": "a secret goes into `env`"},
)

KINDS = [
    ("s", STRING),
    ("params.n", INTEGER),
    ("steps.build.exit_code == 0", BOOLEAN),
    ("steps.build.outputs.j.a[0].b", ANY),
    ("steps['build'].output", STRING),
    ("list[0]", STRING),
    ("map['k']", INTEGER),
    ("task.metadata.anything.at.all ?? 'd'", ANY),
    ("task.labels[n]", STRING),
    ("opt ?? 'd'", STRING),
    ("n ?? f", NUMBER),
    ("null", NULL),
    ("length(s) > 3 && !b", BOOLEAN),
    ("split(s, ',')", STRINGS),
    ("[1, 2]", array_of(INTEGER)),
    ("case(b, n, f)", NUMBER),
    ("case(b, n, s)", ANY),
    ("from_json(s).x", ANY),
    ("opt == null", BOOLEAN),
    ("s != null", BOOLEAN),
    ("n == f || n < f", BOOLEAN),
    ("'a' in task.labels", BOOLEAN),
    ("success()", BOOLEAN),
    ("open.x", ANY),
]

FINDINGS = [
    ("enviroment == 'x'", "DT302", 0, "no parameter `enviroment`", "did you mean 'environment'?"),
    ("HOME", "DT302", 0, "no parameter `HOME`", "write $HOME or $${HOME}"),
    ("params.nn", "DT302", 7, "there is no `nn`", ""),
    ("steps.biuld.output", "DT302", 6, "there is no `biuld`", "did you mean 'build'?"),
    ("steps.build.outptu", "DT302", 12, "there is no `outptu`", "did you mean 'output'?"),
    ("steps['biuld'].output", "DT302", 6, "there is no `biuld`", "did you mean 'build'?"),
    ("steps.build.outputs.x ?? 1", "DT302", 20, "there is no `x`", ""),
    ("project.name", "DT302", 0, "`project` is not known here", "params, run, steps, task"),
    ("secrets.TOKEN", "DT302", 0, "`secrets` cannot be used here: a secret goes into `env`", ""),
    ("lenght(s)", "DT302", 0, "no function lenght()", "did you mean 'length'?"),
    ("always()", "DT302", 0, "only be called in a condition", ""),
    ("upper(raw(s))", "DT302", 6, "raw() is only for a whole", ""),
    ("s.x", "DT303", 2, "a string has no `x`", ""),
    ("list.state", "DT303", 5, "a list has no `state`", "x[0]"),
    ("n[0]", "DT303", 1, "an integer has no items", ""),
    ("list['a']", "DT303", 5, "a list is read by an integer, not by a string", ""),
    ("map[1]", "DT303", 4, "a map is read by a string, not by an integer", ""),
    ("map.x", "DT302", 4, "there is no `x`", ""),
    ("steps.build.exit_code == '0'", "DT303", 22, "an integer is never equal to a string", "int(x)"),
    ("b != 'true'", "DT303", 2, "a boolean is never equal to a string", ""),
    ("s < 3", "DT303", 2, "a string and an integer have no order", ""),
    ("b < b", "DT303", 2, "have no order", ""),
    ("'a' in n", "DT303", 4, "nothing can be in an integer", ""),
    ("s && b", "DT303", 0, "a string stands where true or false is wanted", "=="),
    ("!n", "DT303", 1, "an integer stands where", ""),
    ("upper(n)", "DT303", 6, "upper() takes string, not an integer", ""),
    ("length(n)", "DT303", 7, "string or array or object", ""),
    ("upper()", "DT303", 0, "takes 1 argument, not 0", ""),
    ("success(1)", "DT303", 0, "takes 0 arguments, not 1", ""),
    ("case(b, 1)", "DT303", 0, "pairs", ""),
    ("case(s, 1, 2)", "DT303", 5, "a string stands where", ""),
    ("matches(s, '(')", "DT303", 11, "not a regular expression", ""),
    ("matches(s, '" + "a" * 201 + "')", "DT303", 11, "longer than 200", ""),
]


@pytest.mark.parametrize(("text", "kind"), KINDS, ids=[text for text, _ in KINDS])
def test_kinds(text, kind):
    checked = check(parse_expression(text), NAMES)
    assert checked.findings == ()
    assert checked.kind == kind


@pytest.mark.parametrize(
    ("text", "code", "offset", "message", "hint"), FINDINGS, ids=[case[0][:40] for case in FINDINGS]
)
def test_findings(text, code, offset, message, hint):
    [finding] = check(parse_expression(text), NAMES, ("steps", 0)).findings
    assert (finding.code, finding.offset, finding.loc) == (code, offset, ("steps", 0))
    assert message in finding.message
    assert hint in finding.hint
    assert finding.severity is Severity.ERROR


def test_all_faults_of_an_expression_are_told():
    findings = check(parse_expression("x && length(y) == '1' || z.a.b"), NAMES).findings
    assert [(finding.code, finding.offset) for finding in findings] == [
        ("DT302", 0),
        ("DT302", 12),
        ("DT303", 15),
        ("DT302", 25),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${s} ${n} ${b} ${f} ${open.x}", []),
        ("${list}", []),
        ("${raw(s)} x", []),
        ("${list} b", [("DT303", Severity.ERROR, 0)]),
        ("a ${map}", [("DT303", Severity.ERROR, 2)]),
        ("a ${null}", [("DT303", Severity.ERROR, 2)]),
        ("a ${opt}", [("DT310", Severity.WARNING, 2)]),
        ("a ${opt ?? ''}", []),
        ("${opt}", []),
        ("${s[*]}", [("DT303", Severity.ERROR, 3)]),
        ("${list[*]}", []),
        ("a ${x} ${y}", [("DT302", Severity.ERROR, 4), ("DT302", Severity.ERROR, 9)]),
    ],
)
def test_texts(text, expected):
    findings = check_scalar(parse_scalar(text), NAMES).findings
    assert [(finding.code, finding.severity, finding.offset) for finding in findings] == expected


@pytest.mark.parametrize(
    ("text", "fine"),
    [("b", True), ("open.x", True), ("n == 1", True), ("n", False), ("${s}", False), ("'true'", False)],
)
def test_conditions_are_booleans(text, fine):
    assert (check_condition(parse_condition(text), NAMES).findings == ()) is fine


def test_every_code_has_a_paragraph():
    used = {case[1] for case in FINDINGS} | {"DT301", "DT304", "DT305", "DT306", "DT307", "DT308", "DT309", "DT310"}
    assert used <= CODES.keys()
    assert all(paragraph.endswith(".") for paragraph in CODES.values())
