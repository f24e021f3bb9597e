"""The grammar: what is an expression, what is not and why, and that nothing else is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagtasks.language.evaluation import render
from dagtasks.language.expressions import parse_condition, parse_expression, parse_scalar
from dagtasks.language.syntax import ExpressionError, Reference, Scalar, find_calls, references

SCOPE = {
    "params": {"x": "X", "n": 3, "f": 1.5, "yes": True, "no": False, "none": None, "list": [1, 2], "a-b": "dash"},
    "steps": {"build-it": {"output": "out", "outputs": {"n": 7}}, "s": {"items": [{"state": "ok"}]}},
    "task": {"name": "T", "metadata": {"package": "p", "deep": {"a": [10, 20]}}},
    "phase": None,
}

ACCEPTED = [
    ("", ""),
    ("plain text", "plain text"),
    ("${x}", "X"),
    ("a ${x} b", "a X b"),
    ("${x}${n}", "X3"),
    ("${ x\n}", "X"),
    ("$${x}", "${x}"),
    ("$$${x}", "$${x}"),
    ("$${VAR:-${x}}", "${VAR:-X}"),
    ("$ $$ $VAR $(cmd) $1 {} }", "$ $$ $VAR $(cmd) $1 {} }"),
    ("cost: $", "cost: $"),
    ("${'}'}", "}"),
    ('${"}"}', "}"),
    ("${'it''s'}", "it's"),
    ("${''}", ""),
    ("${''''}", "'"),
    ('${"a\\n\\u00e9\\""}', 'a\né"'),
    ("${'${x}'}", "${x}"),
    ("${n}", 3),
    ("${f}", 1.5),
    ("${yes}", True),
    ("${none}", None),
    ("${list}", [1, 2]),
    ("${a-b}", "dash"),
    ("n=${n} f=${f} b=${yes}", "n=3 f=1.5 b=true"),
    ("${params.x}", "X"),
    ("${params['a-b']}", "dash"),
    ("${steps.build-it.output}", "out"),
    ("${steps['build-it'].outputs.n}", 7),
    ("${steps.s.items[0].state}", "ok"),
    ("${task.metadata.deep.a[1]}", 20),
    ("${task.metadata.missing ?? 'd'}", "d"),
    ("${task.metadata.missing.more[3].x ?? 'd'}", "d"),
    ("${phase.name ?? 'no phase'}", "no phase"),
    ("${none ?? none ?? 1}", 1),
    ("${(task.metadata.a ?? task.metadata.b) ?? 2}", 2),
    ("${-0.5e1}", -5.0),
    ("${[1, 'a', [true, null]]}", [1, "a", [True, None]]),
    ("${[]}", []),
    ("${1 == 1.0}", True),
    ("${1 == true}", False),
    ("${'1' == 1}", False),
    ("${[1] == [true]}", False),
    ("${n != 3 || n >= 3 && !no}", True),
    ("${!no == yes}", True),
    ("${n < 4 == true}", True),
    ("${2 in list}", True),
    ("${'X' in x && 'name' in task}", True),
    ("${((((n))))}", 3),
    ("${no && params.absent}", False),
    ("${case(n > 2, 'big', 'small')}", "big"),
    ("${range(3)[2]}", 2),
    ("${" + "(" * 32 + "n" + ")" * 32 + "}", 3),
    ("${" + "!" * 32 + "yes}", True),
    ("${" + "yes" + " && yes" * 400 + "}", True),
    ("${n" + " " * 4000 + "}", 3),
]

REJECTED = [
    ("${}", 2, "the expression is empty", "$${}"),
    ("${ }", 3, "the expression is empty", "$${}"),
    ("a ${x", 2, "this ${ is not closed by }", "$${"),
    ("${VAR:-x}", 5, "unexpected ':'", "write $VAR or $${VAR:-x}"),
    ("a ${VAR%.txt} b", 7, "unexpected '%'", "write $VAR or $${VAR%.txt}"),
    ("${#VAR}", 2, "unexpected '#'", "write $${#VAR}"),
    ("${@}", 2, "unexpected '@'", "write $${@}"),
    ("${a == b == c}", 9, "comparisons do not chain", "&&"),
    ("${a < b < c}", 8, "comparisons do not chain", "&&"),
    ("${a in b in c}", 9, "comparisons do not chain", "&&"),
    ("${a + 1}", 4, "unexpected '+'", "no arithmetic"),
    ("${a -1}", 4, "unexpected '-1'", "no arithmetic"),
    ("${a * 2}", 4, "unexpected '*'", "no arithmetic"),
    ("${a = b}", 4, "unexpected '='", "=="),
    ("${a & b}", 4, "unexpected '&'", "&&"),
    ("${a | upper}", 4, "unexpected '|'", "lower(x)"),
    ("${a ? b : c}", 4, "unexpected '?'", "case("),
    ("${a and b}", 4, "unexpected 'and'", "&&"),
    ("${not a}", 6, "unexpected 'a'", ""),
    ("${$a}", 2, "unexpected '$'", "without $"),
    ("${`a`}", 2, "unexpected '`'", "strings"),
    ("${{a}}", 2, "unexpected '{'", "maps"),
    ("${'open}", 2, "not closed", "''"),
    ('${"open}', 2, "not closed", '\\"'),
    ('${"\\x"}', 3, "as JSON", "\\n"),
    ('${"\\ud800"}', 2, "surrogate", ""),
    ('${"a\nb"}', 4, "as JSON", "\\n"),
    ("${01}", 2, "not a number", "JSON"),
    ("${1.}", 4, "a name is missing after the dot", ""),
    ("${1a}", 2, "not a number", "JSON"),
    ("${1e999}", 2, "too big", ""),
    ("${a.}", 4, "a name is missing after the dot", ""),
    ("${.a}", 2, "unexpected '.'", ""),
    ("${a[0}", 5, "] is missing here", ""),
    ("${(a}", 4, ") is missing here", ""),
    ("${f(a}", 5, ") is missing here", ""),
    ("${f(a,)}", 6, "unexpected ')'", ""),
    ("${[1,]}", 5, "unexpected ']'", ""),
    ("${[,]}", 3, "unexpected ','", ""),
    ("${a b}", 4, "unexpected 'b'", ""),
    ("${a.b()}", 5, "only functions can be called", "length(x)"),
    ("${f()()}", 5, "unexpected '('", ""),
    ("${in}", 2, "unexpected 'in'", ""),
    ("${a &&}", 6, "ends too early", ""),
    ("${!}", 3, "ends too early", ""),
    ("x ${a[*]}", 5, "alone in an item", "join"),
    ("${a[*].b}", 6, "unexpected '.'", ""),
    ("${f(a[*])}", 5, ") is missing here", ""),
    ("${é}", 2, "unexpected 'é'", ""),
    ("${a\0}", 3, "unexpected '\\x00'", ""),
    ("${" + "(" * 33 + "n" + ")" * 33 + "}", 35, "nested deeper than 32", ""),
    ("${" + "!" * 33 + "n}", 35, "nested deeper than 32", ""),
    ("${n" + " " * 4100 + "}", 2, "longer than 4096", ""),
    ("ok ${x} then ${y", 13, "not closed", ""),
]


@pytest.mark.parametrize(("text", "value"), ACCEPTED, ids=[text[:40] for text, _ in ACCEPTED])
def test_accepted(text, value):
    rendered = render(parse_scalar(text), SCOPE)
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize(("text", "offset", "message", "hint"), REJECTED, ids=[case[0][:40] for case in REJECTED])
def test_rejected_with_place_and_next_step(text, offset, message, hint):
    with pytest.raises(ExpressionError) as caught:
        parse_scalar(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.offset == offset
    finding = caught.value.finding(("steps", 0, "if"))
    assert (finding.loc, finding.code, finding.offset) == (("steps", 0, "if"), "DT301", offset)


@pytest.mark.parametrize("text", ["n == 3", "${n == 3}", " ${ n == 3 } \n", "n == 3 && '}' != x"])
def test_conditions_are_bare_or_one_hole(text):
    assert next(references(parse_condition(text))).path == ("params", "n")


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("${a} || b", 0, "one expression, not text"),
        ("${a} == ${b}", 0, "one expression, not text"),
        ("a || ${b}", 5, "one expression, not text"),
        ("a }", 2, "unexpected '}'"),
        ("", 0, "empty"),
        ("${a[*]}", 3, "[*] is only for an item of a list"),
        ("$${a}", 1, "one expression, not text"),
        ("a[*]", 1, "[*] is only for an item of a list"),
        ("  ${a b}", 6, "unexpected 'b'"),
    ],
)
def test_conditions_that_are_none(text, offset, message):
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text)
    assert message in caught.value.message
    assert caught.value.offset == offset


def test_references_name_what_is_read():
    expr = parse_expression("case(x == steps['a'].output[item], to_json(task.metadata.k), run[n].id)")
    assert [*references(expr)] == [
        Reference(("params", "x"), 5),
        Reference(("steps", "a", "output"), 10),
        Reference(("item",), 28),
        Reference(("task", "metadata", "k"), 43),
        Reference(("run",), 61),
        Reference(("params", "n"), 65),
    ]
    assert [call.name for call in find_calls(expr)] == ["case", "to_json"]


def test_holes_know_their_place_and_text():
    scalar = parse_scalar("a $${b} ${ c } d ${e}")
    assert [(hole.source, hole.start, hole.end) for hole in scalar.holes] == [("${ c }", 8, 14), ("${e}", 17, 21)]
    assert scalar.whole is None
    assert parse_scalar("${x}").whole == parse_scalar("${x}").holes[0]


WORDS = """${ } $${ ( ) [ ] [*] , . == != < <= in && || ! ?? ' '' " \\ true null 1 -1 1e9 a b-c length( case("""
PIECES = st.one_of(st.sampled_from([*WORDS.split(), " ", "\n"]), st.text(max_size=3))


def parse(text: str) -> Scalar | ExpressionError:
    try:
        return parse_scalar(text)
    except ExpressionError as error:
        return error


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map(lambda pieces: "".join(["${", *pieces])))
def test_any_text_parses_or_raises_expression_error(text):
    found = parse(text)
    if isinstance(found, ExpressionError):
        assert 0 <= found.offset <= len(text)
        assert found.message
    else:
        assert found.source == text
        assert found.holes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${" * 30_000, "unexpected '$'"),
        ("$${" * 20_000, None),
        ("${'" + "''" * 30_000, "not closed"),
        ("${" + "[" * 30_000, "longer than 4096"),
        ("${x}" * 16_000, None),
        ("${a" + ".a" * 30_000, "longer than 4096"),
        ("${a" + ".a" * 2000 + "}", None),
    ],
    ids=lambda value: str(value)[:6],
)
def test_long_texts_take_linear_time(text, message):
    found = parse(text)
    if message is None:
        assert isinstance(found, Scalar)
    else:
        assert isinstance(found, ExpressionError)
        assert message in found.message
