"""Parameters: text by declared types alone, rules, defaults, and every error at once."""

from __future__ import annotations

import pytest

from dagtasks.errors import Severity
from dagtasks.language.checking import Names
from dagtasks.language.kinds import ANY, OBJECT, STRING, object_of
from dagtasks.language.parameters import check_specs, merge, read_texts, resolve
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.values import Ambiguous

NAMES = Names(
    {
        "task": object_of({"name": STRING, "metadata": OBJECT}),
        "run": object_of({"commit": STRING, "branch": STRING}),
    }
)
SCOPE = {"task": {"name": "T", "metadata": {"package": "pkg", "n": 3}}, "run": {"commit": "c0ffee", "branch": "main"}}


def specs(**given):
    return {name: ParameterSpec.model_validate(spec) for name, spec in given.items()}


def told(findings):
    return [(finding.loc[1], finding.message, finding.hint) for finding in findings]


TYPES = specs(
    s={"type": "string"},
    i={"type": "integer"},
    f={"type": "number"},
    b={"type": "boolean"},
    a={"type": "array"},
    ints={"type": "array", "items": {"type": "integer"}},
    o={"type": "object"},
    secret={"type": "integer", "sensitive": True},
)

TEXTS = [
    ("s", ["two words --x"], "two words --x"),
    ("s", ["3"], "3"),
    ("s", [""], ""),
    ("s", ["${x} $(id)"], "${x} $(id)"),
    ("i", ["3"], 3),
    ("i", ["-12"], -12),
    ("f", ["3"], 3),
    ("f", ["-0.5e2"], -50.0),
    ("b", ["true"], True),
    ("b", ["false"], False),
    ("a", ['["a", 1, null]'], ["a", 1, None]),
    ("a", ["a b"], ["a b"]),
    ("a", ["a,b", "c"], ["a,b", "c"]),
    ("a", ["[1]", "[2]"], ["[1]", "[2]"]),
    ("ints", ["1", "2"], [1, 2]),
    ("ints", ["[1, 2]"], [1, 2]),
    ("o", ['{"k": [1]}'], {"k": [1]}),
]

BAD_TEXTS = [
    ("i", ["3.0"], "an integer, and the text '3.0' is none", "digits"),
    ("i", ["03"], "an integer", "digits"),
    ("i", ["+3"], "an integer", "digits"),
    ("i", ["1e3"], "an integer", "digits"),
    ("i", [" 3"], "an integer", "digits"),
    ("i", ["٣"], "an integer", "digits"),
    ("i", ["9" * 5000], "an integer", "digits"),
    ("i", [""], "an integer", "digits"),
    ("f", ["1."], "a number", "JSON"),
    ("f", ["inf"], "a number", "JSON"),
    ("f", ["1e999"], "a number", "JSON"),
    ("b", ["True"], "a boolean", "true or false"),
    ("b", ["yes"], "a boolean", "true or false"),
    ("b", ["1"], "a boolean", "true or false"),
    ("a", ["[1"], "a list", "JSON"),
    ("ints", ["1", "x"], "an integer, and the text 'x' is none", "digits"),
    ("o", ["[1]"], "a map", "JSON"),
    ("o", ["{'k': 1}"], "a map", "JSON"),
    ("o", ['{"k": NaN}'], "a map", "JSON"),
    ("i", ["1", "2"], "is given 2 times", "given once"),
    ("secret", ["hunter2"], "an integer, and the text is none", "digits"),
]


@pytest.mark.parametrize(("name", "texts", "value"), TEXTS)
def test_text_is_read_by_the_declared_type(name, texts, value):
    read = read_texts(TYPES, [(name, text) for text in texts])
    assert read.findings == ()
    assert read.values == {name: value}
    assert type(read.values[name]) is type(value)


@pytest.mark.parametrize(("name", "texts", "message", "hint"), BAD_TEXTS)
def test_text_that_is_no_value(name, texts, message, hint):
    read = read_texts(TYPES, [(name, text) for text in texts])
    [finding] = read.findings
    assert read.values == {}
    assert (finding.loc, finding.code) == (("parameters", name), "DT305")
    assert message in finding.message
    assert hint in finding.hint
    assert "hunter2" not in str(finding)


def test_unknown_parameters_get_a_suggestion():
    given = read_texts(specs(environment={"type": "string"}), [("enviroment", "x"), ("zzz", "y")])
    assert told(given.findings) == [
        ("enviroment", "there is no parameter `enviroment`", "did you mean 'environment'?"),
        ("zzz", "there is no parameter `zzz`", "there is: environment"),
    ]
    assert told(resolve({}, {"x": 1}, {}).findings) == [("x", "there is no parameter `x`", "the template has none")]


RULES = [
    ({"type": "string"}, "x", None),
    ({"type": "string"}, 3, "must be a string, not an integer"),
    ({"type": "string"}, Ambiguous("no"), "must be a string"),
    ({"type": "integer"}, True, "must be an integer, not a boolean"),
    ({"type": "integer"}, 3.0, "must be an integer, not a number"),
    ({"type": "integer"}, "3", "must be an integer, not a string"),
    ({"type": "number"}, 3, None),
    ({"type": "number"}, False, "must be a number, not a boolean"),
    ({"type": "boolean"}, "false", "must be a boolean, not a string"),
    ({"type": "array"}, {}, "must be a list, not a map"),
    ({"type": "object"}, [], "must be a map, not a list"),
    ({"type": "string", "enum": ["dev", "prod"]}, "dev", None),
    ({"type": "string", "enum": ["dev", "prod"]}, "Dev", "must be one of dev, prod"),
    ({"type": "number", "enum": [1, 2]}, 1.0, None),
    ({"type": "integer", "enum": [1, 2]}, 3, "must be one of 1, 2"),
    ({"type": "string", "pattern": "v[0-9]+"}, "v12", None),
    ({"type": "string", "pattern": "v[0-9]+"}, "v12 ", "does not match the pattern v[0-9]+"),
    ({"type": "string", "pattern": "v[0-9]+"}, "xv12", "does not match"),
    ({"type": "string", "pattern": "v[0-9]+"}, "v12\n", "does not match"),
    ({"type": "string", "pattern": "(a*)*b"}, "a" * 50_000, "does not match"),
    ({"type": "integer", "minimum": 3, "maximum": 5}, 3, None),
    ({"type": "integer", "minimum": 3, "maximum": 5}, 2, "must be at least 3"),
    ({"type": "integer", "minimum": 3, "maximum": 5}, 6, "must be at most 5"),
    ({"type": "number", "minimum": 0.5}, 0.25, "must be at least 0.5"),
    ({"type": "string", "min_length": 1}, "", "must have at least 1 characters"),
    ({"type": "string", "max_length": 2}, "grü", "must have at most 2 characters"),
    ({"type": "array", "max_length": 1}, [1, 2], "must have at most 1 items"),
    ({"type": "array", "items": {"type": "integer"}}, [1, 2], None),
    ({"type": "array", "items": {"type": "integer", "minimum": 1}}, [1, 0], "item 2 must be at least 1"),
    ({"type": "array", "items": {"type": "integer"}}, [1, "x"], "item 2 must be an integer"),
    ({"type": "object", "properties": {"port": {"type": "integer"}}}, {"port": 1}, None),
    ({"type": "object", "properties": {"port": {"type": "integer"}}}, {}, None),
    ({"type": "object", "properties": {"port": {"type": "integer"}}}, {"port": "1"}, "key 'port' must be an integer"),
    ({"type": "object", "properties": {"port": {"type": "integer"}}}, {"prot": 1}, "unknown key 'prot'"),
    ({"type": "object", "properties": {"p": {"type": "string", "required": True}}}, {}, "needs the key 'p'"),
]


@pytest.mark.parametrize(("spec", "value", "message"), RULES)
def test_rules(spec, value, message):
    resolved = resolve(specs(p=spec), {"p": value}, {})
    if message is None:
        assert resolved.findings == ()
        assert resolved.values == {"p": value}
    else:
        [finding] = resolved.findings
        assert message in finding.message
        assert resolved.values == {}


def test_values_of_sensitive_parameters_are_not_shown():
    spec = {
        "type": "object",
        "sensitive": True,
        "properties": {"pin": {"type": "string", "enum": ["hunter1", "x"], "pattern": "h.*"}},
    }
    for value in [{"pin": "hunter2"}, {"pin": 7}, "hunter2", {"pin": "x"}]:
        findings = resolve(specs(p=spec), {"p": value}, {}).findings
        assert findings
        assert "hunter2" not in str(findings)
        assert "did you mean" not in str(findings)


def test_precedence_and_null():
    assert merge({"a": 1, "n": None}, {"a": 2, "b": 2, "n": 5}, {"c": 3}) == {"a": 1, "n": 5, "b": 2, "c": 3}
    resolved = resolve(specs(a={"type": "string", "default": "d"}), {"a": None}, {})
    assert resolved.values == {"a": "d"}


def test_defaults_use_the_task_the_run_and_other_parameters():
    given = specs(
        tag={"type": "string", "default": "${image}:${run.commit}"},
        image={"type": "string", "default": "${registry}/${task.metadata.package ?? 'none'}"},
        registry={"type": "string", "default": "local"},
        count={"type": "integer", "default": "${task.metadata.n}"},
        flags={"type": "array", "default": ["--name", "${task.name}", "${extra[*]}"]},
        extra={"type": "array"},
        none={"type": "string"},
    )
    assert check_specs(given, NAMES) == []
    resolved = resolve(given, {"extra": ["a", "b"]}, SCOPE)
    assert resolved.findings == ()
    assert dict(resolved.values) == {
        "tag": "local/pkg:c0ffee",
        "image": "local/pkg",
        "registry": "local",
        "count": 3,
        "flags": ["--name", "T", "a", "b"],
        "extra": ["a", "b"],
        "none": None,
    }
    assert [*resolved.values] == [*given]


def test_given_values_are_never_rendered():
    resolved = resolve(
        specs(a={"type": "string"}, b={"type": "string", "default": "${a}"}), {"a": "${task.name}"}, SCOPE
    )
    assert resolved.values == {"a": "${task.name}", "b": "${task.name}"}


def test_everything_wrong_is_told_at_once():
    given = specs(
        needed={"type": "string", "required": True, "description": "where to"},
        number={"type": "integer", "minimum": 1},
        kind={"type": "string", "enum": ["dev", "prod"]},
        derived={"type": "string", "default": "x${number}"},
        absent={"type": "string", "default": "${task.metadata.absent}"},
        wrong={"type": "integer", "default": "${task.name}"},
        old={"type": "string", "deprecated": True, "description": "use kind"},
    )
    resolved = resolve(given, {"number": 0, "kind": "prd", "old": "x", "nubmer": 1}, SCOPE)
    assert sorted(told(resolved.findings)) == [
        ("absent", "`absent` has a default without a value here: there is no `absent`", "give another value with ??"),
        ("kind", "`kind` must be one of dev, prod", "did you mean 'prod'?"),
        ("needed", "`needed` is required (string)", "where to"),
        ("nubmer", "there is no parameter `nubmer`", "did you mean 'number'?"),
        ("number", "`number` must be at least 1", ""),
        ("old", "`old` is deprecated", "use kind"),
        ("wrong", "`wrong` must be an integer, not a string", "write it in digits, as -7 or 42"),
    ]
    assert [finding.code for finding in resolved.findings if finding.severity is not Severity.ERROR] == ["DT312"]
    assert dict(resolved.values) == {"old": "x"}


def test_a_default_that_gives_null_leaves_a_required_parameter_missing():
    given = specs(
        a={"type": "string", "required": True, "default": "${task.metadata.x ?? null}"},
        b={"type": "string", "default": "${task.metadata.x ?? null}"},
    )
    resolved = resolve(given, {}, SCOPE)
    assert told(resolved.findings) == [("a", "`a` is required (string)", "")]
    assert resolved.values == {"b": None}


CYCLE = specs(
    a={"type": "string", "default": "${b}"},
    b={"type": "string", "default": "x${upper(c)}"},
    c={"type": "string", "default": "${params['a']}"},
    d={"type": "string", "default": "fine"},
)


def test_circles_of_defaults_are_printed():
    [finding] = check_specs(CYCLE, NAMES)
    assert finding.code == "DT306"
    assert finding.message in {
        f"defaults need each other: {circle}" for circle in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")
    }
    assert [finding.code for finding in resolve(CYCLE, {}, SCOPE).findings] == ["DT306"]
    assert resolve(CYCLE, {"b": "B"}, SCOPE).values == {"a": "B", "b": "B", "c": "B", "d": "fine"}


@pytest.mark.parametrize(
    ("given", "code", "loc", "message"),
    [
        ({"task": {"type": "string"}}, "DT305", ("task",), "cannot be called `task`"),
        ({"true": {"type": "string"}}, "DT305", ("true",), "cannot be called `true`"),
        ({"a": {"type": "string", "default": "${a b}"}}, "DT301", ("a", "default"), "unexpected 'b'"),
        ({"a": {"type": "string", "default": "${nope}"}}, "DT302", ("a", "default"), "no parameter `nope`"),
        ({"a": {"type": "string", "default": "${steps.x.output}"}}, "DT302", ("a", "default"), "`steps` is not known"),
        ({"a": {"type": "string", "default": "${run.id}"}}, "DT302", ("a", "default"), "no `id`"),
        (
            {"a": {"type": "integer", "default": "x${task.name}"}},
            "DT303",
            ("a", "default"),
            "is a string, not an integer",
        ),
        ({"a": {"type": "array", "default": ["${x}"]}}, "DT302", ("a", "default", 0), "no parameter `x`"),
        ({"a": {"type": "object", "default": {"k": "${x}"}}}, "DT302", ("a", "default", "k"), "no parameter `x`"),
        ({"a": {"type": "string", "default": "z", "enum": ["x"]}}, "DT305", ("a", "default"), "must be one of x"),
        ({"a": {"type": "integer", "default": 3, "maximum": 2}}, "DT305", ("a", "default"), "must be at most 2"),
        ({"a": {"type": "string", "default": "${a}"}}, "DT306", ("a", "default"), "a -> a"),
        ({"a": {"type": "string", "default": "${to_json(params)}"}}, "DT306", ("a", "default"), "a -> a"),
        (
            {"p": {"type": "string", "sensitive": True}, "u": {"type": "string", "default": "x:${p ?? ''}"}},
            "DT305",
            ("u", "default"),
            "reads `p`, which is sensitive",
        ),
    ],
)
def test_what_is_wrong_with_the_parameters_of_a_template(given, code, loc, message):
    [finding] = check_specs(specs(**given), NAMES)
    assert (finding.code, finding.loc) == (code, ("parameters", *loc))
    assert message in finding.message


def test_names_that_nothing_is_known_of_pass():
    assert check_specs(specs(a={"type": "string", "default": "${task.x}"}), Names({"task": ANY})) == []
