"""New files: their exact form, and that they are read back as what was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dagtasks.errors import InvalidInput
from dagtasks.model.values import Ambiguous, Status
from dagtasks.store.dialect import FORBIDDEN_IN_VALUES
from dagtasks.store.documents import parse_document
from dagtasks.store.emitter import is_same, make_document, scalar_text

TASK = [
    *("name", "status", "priority", "assignee", "phase", "due"),
    *("labels", "depends_on", "description", "metadata", "workflows"),
]

FULL = """\
name: "Ship: the login page"

status: planned

priority:

assignee: agent:bob

phase:

due: "2026-01-02"

labels:
  - api
  - "no"
  - ui

depends_on:

description: |
  What is to be done.

    Indented.

metadata:
  a: 1
  z:
    b:
      - x: |-
          one
          two
        w: []
      - - 1.5
        - null
    c: {}

workflows:
  check:
    template: basic_task
    parameters:
      task_command: echo ${name}

colour: blue
"""


def test_a_full_task() -> None:
    data = {
        "colour": "blue",
        "name": "Ship: the login page",
        "status": Status.PLANNED,
        "assignee": "agent:bob",
        "due": Ambiguous("2026-01-02"),
        "labels": ["ui", "api", "no"],
        "depends_on": [],
        "description": "What is to be done.\n\n  Indented.\n",
        "metadata": {"z": {"c": {}, "b": [{"x": "one\ntwo", "w": []}, [1.5, None]]}, "a": 1},
        "workflows": {"check": {"template": "basic_task", "parameters": {"task_command": "echo ${name}"}}},
    }
    assert make_document(data, TASK).decode() == FULL


def test_every_key_is_written() -> None:
    content = make_document({"name": "x"}, ["name", "description", "order"])
    assert content == b"name: x\n\ndescription:\n\norder:\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        *[
            (word, word)
            for word in ("x", "two words", "it's", 'say "x"', "a#b", "a:b", "http://x/y", "1.0.0", "x-y", "é 日本")
        ],
        *[
            (word, word)
            for word in ("${a}", "a, b", "a [b] {c}", "/bin", "(x)", "<x>", "$x", "a\\b", "nothing", ".x", "+x")
        ],
        *[
            (word, f'"{word}"')
            for word in ("", "no", "Yes", "on", "y", "~", "null", "True", "=", "<<", "12:30", "2026-01-02")
        ],
        *[
            (word, f'"{word}"')
            for word in ("1", "-1", "012", "0x1F", "0o7", "1.10", "1e3", "7e12345", ".5", "1_000", ".inf")
        ],
        *[
            (word, f'"{word}"')
            for word in (" a", "a ", "a: b", "a #b", "a:", "- a", "-a", "# a", "*a", "&a", "!a", "?", "|", ">")
        ],
        *[(word, f'"{word}"') for word in ("%a", "@a", "`a`", "[a]", "{a}", "...", "---", "'a'", ":a", ",a")],
        ('"a" b', "'\"a\" b'"),
        ("a\\b: c", "'a\\b: c'"),
        ("'\"", "'''\"'"),
        ("a\tb", '"a\\tb"'),
        ("a\nb", '"a\\nb"'),
    ],
)
def test_text_is_quoted_where_it_must_be(text: str, written: str) -> None:
    assert scalar_text(text) == written
    # PyYAML's own loader stands for all readers of YAML 1.1.
    assert yaml.safe_load(f"a: {written}") == {"a": text}


@pytest.mark.parametrize("number", [0.0, -1.5, 1e22, 1e16, 1.5e300, 1e-7, 5e-324, 123456.789])
def test_readers_of_yaml_1_1_take_floats_for_floats(number: float) -> None:
    assert is_same(yaml.safe_load(f"a: {scalar_text(number)}"), {"a": number})


@pytest.mark.parametrize("text", ["a, b", "a]", "}", "a:b", "http://x/y", "${a}"])
def test_flow_collections_need_more_quotes(text: str) -> None:
    assert scalar_text(text, in_flow=True) == f'"{text}"'


FORBIDDEN = "".join(chr(c) for c in [*range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFFE, 0xFFFF])
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=FORBIDDEN)
TEXT = st.text(CHARACTERS | st.sampled_from("\n\t #:-?[]{},'\"\\|>&*!%@`~=.019eExno"), max_size=20) | st.sampled_from(
    ["a\n", "a\n\n", " a\nb", "\ta\n", "a\n ", "a\n  \n", "\n a\n", "\n", " \n", "# a\n", "---\n...\n", "\n\n", "a\n\t"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_back(data: dict[str, Any]) -> None:
    content = make_document(data, ["name"])
    expected = {"name": None, **{key: None if value in ([], {}) else value for key, value in data.items()}}
    doc = parse_document(content, "x")
    assert doc.problems == ()
    assert is_same(doc.data, expected)
    assert make_document(doc.data or {}, ["name"]) == content


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "on", "1", "x y"]), VALUES, min_size=1))
def test_readers_of_yaml_1_1_agree(data: dict[str, Any]) -> None:
    read = yaml.load(make_document(data, []), Loader=yaml.CSafeLoader)
    assert is_same(read, {key: None if value in ([], {}) else value for key, value in data.items()})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": "x\x00"}, "NUL"),
        ({"a": "x\r\n"}, "carriage return"),
        ({"a": "\u202ex"}, "U+202E"),
        ({"a": "\ud800"}, "U+D800"),
        ({"a": {"\x1b": 1}}, "U+001B"),
        ({"a": 2**63}, "cannot be written"),
        ({"a": [float("nan")]}, "cannot be written"),
        ({"a": {1, 2}}, "cannot be written"),
        ({"a": b"x"}, "cannot be written"),
        ({"a": {1: 2}}, "not text"),
        ({"a": ["x"] * 20_000}, "20000"),
        ({"a": "x" * 2**20}, "1 MiB"),
        ({}, "empty"),
    ],
)
def test_what_no_file_may_hold(data: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_document(data, [])
    assert message in caught.value.message
    assert caught.value.hint


def test_forbidden_characters_of_the_tests_are_those_of_the_loader() -> None:
    assert all(FORBIDDEN_IN_VALUES.search(character) for character in FORBIDDEN)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        ("1", 1, False),
        ("x", Ambiguous("x"), True),
        ([1, "x"], (1, "x"), True),
        ([1], [1, 2], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        (None, False, False),
    ],
)
def test_sameness_minds_types(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
