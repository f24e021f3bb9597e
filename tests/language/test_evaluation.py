"""What expressions give, and how they fail."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagtasks.language.evaluation import evaluate, evaluate_condition, render, render_tree
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.functions import ALL_FUNCTIONS, EvaluationError

SCOPE = {
    "params": {"s": "a,b", "n": 3, "f": 2.0, "list": [3, 1, 3, 1.0, True, "1"], "map": {"k": "v", "l": None}},
    "steps": {"skipped": {"output": None}, "ok": {"output": "x", "outputs": {"n": 1}}},
    "task": {"metadata": {"a": {"b": 1}}},
    "item": {"size": 5},
    "trigger": {},
    "big": "x" * 1000,
}

VALUES = [
    ("length(s)", 3),
    ("length(list)", 6),
    ("length(map)", 2),
    ("length('grüße✓')", 6),
    ("contains(s, ',')", True),
    ("contains(list, true)", True),
    ("contains([1], true)", False),
    ("contains(map, 'k')", True),
    ("starts_with(s, 'a')", True),
    ("ends_with(s, 'a')", False),
    ("matches('v1.2.3', '^v[0-9.]+$')", True),
    ("matches('xv1', '^v')", False),
    ("matches('grün', 'ü')", True),
    ("replace(s, ',', '--')", "a--b"),
    ("lower('ÄB')", "äb"),
    ("upper(s)", "A,B"),
    ("trim('  a \n')", "a"),
    ("split(s, ',')", ["a", "b"]),
    ("join(split(s, ','), ' + ')", "a + b"),
    ("join([1, true, 'x', 1.5])", "1,true,x,1.5"),
    ("join([], '-')", ""),
    ("format('{0}-{1}-{0} {{}}', s, n)", "a,b-3-a,b {}"),
    ("format('plain')", "plain"),
    ("case(n == 1, 'one', n == 3, 'three', 'many')", "three"),
    ("case(false, params.absent, 'ok')", "ok"),
    ("to_json(map)", '{"k":"v","l":null}'),
    ("to_json('ü\n')", '"ü\\n"'),
    ("from_json('{\"a\": [1, 2.5, null]}').a[1]", 2.5),
    ("string(n)", "3"),
    ("string(1.0)", "1.0"),
    ("string(true)", "true"),
    ("int('-12')", -12),
    ("int(f)", 2),
    ("number('1.5')", 1.5),
    ("number('12')", 12),
    ("bool('false')", False),
    ("bool(true)", True),
    ("keys(map)", ["k", "l"]),
    ("values(map)", ["v", None]),
    ("unique(list)", [3, 1, True, "1"]),
    ("range(3)", [0, 1, 2]),
    ("range(2, 4)", [2, 3]),
    ("range(4, 2)", []),
    ("flatten([[1], 2, [[3]], []])", [1, 2, [3]]),
    ("sha256('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("basename('/a/b.txt')", "b.txt"),
    ("dirname('/a/b.txt')", "/a"),
    ("hash_files('*.lock', 'x')", "hash of *.lock x"),
    ("success() && !failure()", True),
    ("raw(s)", "a,b"),
    ("'a' < 'b' && 2 <= 2.0 && 3 > 2 && 3 >= 3", True),
    ("list == [3, 1, 3, 1, true, '1']", True),
    ("list == [3, 1, 3, 1, 1, '1']", False),
    ("null == null", True),
    ("n in [1, 2, 3] && 'k' in map && ',' in s", True),
    ("item.nothing ?? 'd'", "d"),
    ("trigger.file ?? 'd'", "d"),
    ("task.metadata['a'].c ?? 'd'", "d"),
    ("list[99] ?? 'd'", "d"),
    ("map.l ?? map.k", "v"),
]

FAILURES = [
    ("task.metadata.missing", 14, "there is no `missing`"),
    ("task.nothing ?? 'd'", 5, "there is no `nothing`"),
    ("steps.nothing.output ?? 'd'", 6, "there is no `nothing`"),
    ("steps.ok.outputs.m ?? 'd'", 17, "there is no `m`"),
    ("params.nothing ?? 'd'", 7, "there is no `nothing`"),
    ("nothing ?? 'd'", 0, "`nothing` is not known here"),
    ("project.name", 0, "`project` is not known here"),
    ("upper(task.metadata.x) ?? 'd'", 20, "there is no `x`"),
    ("steps.skipped.output.a", 21, "null has no key `a`"),
    ("s.a", 2, "a string has no key `a`"),
    ("s.a ?? 'd'", 2, "a string has no key `a`"),
    ("list.a", 5, "a list has no key `a`"),
    ("list['a']", 4, "a list has no part that a string names"),
    ("list[true]", 4, "a list has no part that a boolean names"),
    ("list[-1]", 4, "there is no such item"),
    ("map[1]", 3, "a map has no part that an integer names"),
    ("n && true", 0, "stands where true or false is wanted"),
    ("true && 'true'", 8, "a string stands where"),
    ("!n", 1, "an integer stands where"),
    ("1 < '2'", 2, "an integer and a string have no order"),
    ("true < false", 5, "no order"),
    ("list < list", 5, "no order"),
    ("1 in 'a1'", 2, "an integer cannot be in a string"),
    ("1 in 5", 2, "cannot be in"),
    ("'a' in 5", 4, "nothing can be in an integer"),
    ("upper(n)", 6, "upper() takes string, not an integer"),
    ("upper()", 0, "upper() takes 1 argument, not 0"),
    ("join(list, ',', 1)", 0, "takes 1 or 2 arguments, not 3"),
    ("format()", 0, "takes at least 1 argument, not 0"),
    ("range(true)", 6, "range() takes integer, not a boolean"),
    ("nope(1)", 0, "nope() cannot be called here"),
    ("always()", 0, "always() cannot be called here"),
    ("case(true, 1)", 0, "pairs"),
    ("case(1, 2, 3)", 5, "stands where true or false"),
    ("replace(s, '', 'x')", 0, "empty string"),
    ("split(s, '')", 0, "empty string"),
    ("join([[1]])", 0, "a list cannot stand in text"),
    ("join([null])", 0, "null cannot stand in text"),
    ("format('{1}', 1)", 0, "no value for {1}"),
    ("format('{')", 0, "single {"),
    ("format('}')", 0, "single }"),
    ("from_json('{')", 0, "not JSON"),
    ("from_json('NaN')", 0, "not JSON"),
    ("from_json('1e999')", 0, "infinite"),
    ("from_json('\"\\ud800\"')", 0, "not JSON"),
    ("int('1.5')", 0, "not a whole number"),
    ("int('٣')", 0, "not a whole number"),
    ("int(2.5)", 0, "not a whole number"),
    ("number('1e999')", 0, "infinite"),
    ("number('0x1')", 0, "not a number"),
    ("bool('True')", 0, "neither 'true' nor 'false'"),
    ("range(99999999)", 0, "at most 10000"),
    ("matches(s, '(')", 0, "not a regular expression"),
    ("keys(list)", 5, "keys() takes object, not a list"),
]

FUNCTIONS = {
    "hash_files": lambda *patterns: f"hash of {' '.join(patterns)}",
    "success": lambda: True,
    "failure": lambda: False,
}


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
def test_values(text, value):
    found = evaluate(parse_expression(text), SCOPE, FUNCTIONS)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "offset", "message"), FAILURES, ids=[text for text, _, _ in FAILURES])
def test_failures_say_where_and_why(text, offset, message):
    with pytest.raises(EvaluationError) as caught:
        evaluate(parse_expression(text), SCOPE, FUNCTIONS)
    assert message in caught.value.message
    assert caught.value.offset == offset


def test_every_function_is_tried():
    tried = " ".join(text for text, _ in VALUES) + "always() cancelled()"
    assert [name for name in ALL_FUNCTIONS if f"{name}(" not in tried] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a ${steps.skipped.output}", "${steps.skipped.output} is null, which cannot stand in text"),
        ("${list} b", "${list} is a list"),
        ("${map}${n}", "${map} is a map"),
        ("${list[*]}", "[*] is only for an item of a list"),
    ],
)
def test_only_simple_values_stand_in_text(text, message):
    with pytest.raises(EvaluationError, match=r".") as caught:
        render(parse_scalar(text), SCOPE)
    assert message in caught.value.message


@pytest.mark.parametrize("value", ["${n}", "{{ n }}", "`id`", "$(id)", "${", "$${n}", "'\"\\"])
def test_values_are_never_rendered_again(value):
    scope = {"params": {"v": value, "n": 1}}
    assert render(parse_scalar("<${v}>"), scope) == f"<{value}>"
    assert render_tree({"k": ["${v}", "${l[*]}"]}, {"params": {"v": value, "l": [value]}}) == {"k": [value, value]}


def test_trees_keep_keys_and_types_and_splice_lists():
    tree = {"${n}": "${n}", "argv": ["a", "${list[*]}", "${s}", 1, None, {"x": "n=${n}"}], "empty": ["${[][*]}"]}
    assert render_tree(tree, SCOPE) == {
        "${n}": 3,
        "argv": ["a", 3, 1, 3, 1.0, True, "1", "a,b", 1, None, {"x": "n=3"}],
        "empty": [],
    }
    with pytest.raises(EvaluationError, match="needs a list, not a string"):
        render_tree(["${s[*]}"], SCOPE)


def test_conditions_are_booleans():
    assert evaluate_condition(parse_condition("n == 3"), SCOPE) is True
    with pytest.raises(EvaluationError, match="the condition gives a string"):
        evaluate_condition(parse_condition("${'true'}"), SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "replace(big, 'x', big)",
        "[" + ",".join(["big"] * 900) + "]",
        "join([" + ",".join(["big"] * 500) + "], big)",
        "format('" + "{0}" * 1100 + "', big)",
        "upper(replace(replace(replace(big,'x','xxxxxxxxxx'),'x','xxxxxxxxxx'),'x','xxxxxxxxxxxxxxxx'))",
        "from_json(deep)",
        "to_json(nested)",
        "nested == nested",
    ],
    ids=lambda text: text[:30],
)
def test_limits_hold(text):
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    scope = {"params": {"big": "x" * 2000, "deep": "[" * 100 + "]" * 100, "nested": nested}}
    with pytest.raises(EvaluationError, match=r"bigger than 1024 KiB|nested"):
        evaluate(parse_expression(text), scope)


def test_text_of_many_big_values_is_limited():
    with pytest.raises(EvaluationError, match="bigger than 1024 KiB"):
        render(parse_scalar("${b}" * 20), {"params": {"b": "x" * 60_000}})


def test_failures_never_show_values():
    scope = {"params": {"secret": "hunter2-value", "l": ["hunter2-value"], "m": {"hunter2-value": 1}}}
    for text in [
        "int(secret)",
        "number(secret)",
        "bool(secret)",
        "from_json(secret)",
        "m[secret].x",
        "params[secret]",
        "l[secret]",
        "secret && true",
        "secret < 1",
        "secret.x",
        "join([l])",
    ]:
        with pytest.raises(EvaluationError) as caught:
            evaluate(parse_expression(text), scope)
        assert "hunter2" not in caught.value.message + caught.value.hint


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(JSON_VALUES, JSON_VALUES)
def test_json_and_equality_agree_on_all_values(left, right):
    scope = {"params": {"a": left, "b": right}}
    assert evaluate(parse_expression("a == a && from_json(to_json(a)) == a && !(a != a)"), scope) is True
    equal = evaluate(parse_expression("a == b"), scope)
    assert equal == evaluate(parse_expression("b == a"), scope) == evaluate(parse_expression("a in [b]"), scope)
    assert evaluate(parse_expression("length(unique([a, b]))"), scope) == (1 if equal else 2)
