"""Edits in place: exact results on awkward files, and a property over a corpus: only the target changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, Loc
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.edits import add_item, quote_value, remove_item, remove_key, set_value
from dagtasks.store.nodes import compose, locate, scalars

ORDER = ["name", "status", "priority", "due", "labels", "description", "metadata"]
CORPUS = {path.stem: path.read_bytes() for path in Path(__file__).with_name("corpus").glob("*.yaml")}


def put(*loc: str | int, to: Any) -> Callable[[Document], Document]:
    return lambda doc: set_value(doc, loc, to, order=ORDER)


def drop(*loc: str | int) -> Callable[[Document], Document]:
    return lambda doc: remove_key(doc, loc)


def add(*loc: str | int, item: Any) -> Callable[[Document], Document]:
    return lambda doc: add_item(doc, loc, item, order=ORDER)


def take(*loc: str | int, item: Any) -> Callable[[Document], Document]:
    return lambda doc: remove_item(doc, loc, item)


def quote(*loc: str | int) -> Callable[[Document], Document]:
    return lambda doc: quote_value(doc, loc)


# name -> (before, edit, after)
EDITS: dict[str, tuple[str, Callable[[Document], Document], str]] = {
    # scalars
    "plain": ("a: x   # c\nb: y\n", put("a", to="z"), "a: z   # c\nb: y\n"),
    "wide gap": ("a:    x\n", put("a", to="z"), "a:    z\n"),
    "fill": ("a:\nb:\n", put("a", to="z"), "a: z\nb:\n"),
    "fill before comment": ("a:   # c\n", put("a", to=1), "a: 1   # c\n"),
    "empty": ("a: x\nb: y\n", put("a", to=None), "a:\nb: y\n"),
    "empty before comment": ("a: 'x' # c\n", put("a", to=None), "a: # c\n"),
    "single quotes stay": ("a: 'x'\n", put("a", to="it's"), "a: 'it''s'\n"),
    "double quotes stay": ('a: "x"\n', put("a", to='y"\\'), 'a: "y\\"\\\\"\n'),
    "single cannot hold a tab": ("a: 'x'\n", put("a", to="y\tz"), 'a: "y\\tz"\n'),
    "number": ("a: 'x'\n", put("a", to=1.5), "a: 1.5\n"),
    "large float": ("a:\n", put("a", to=1e22), "a: 1.0e+22\n"),
    "bool": ("a: x\n", put("a", to=True), "a: true\n"),
    "value on the next line": ("a:\n  x\nb: y\n", put("a", to="z"), "a: z\nb: y\n"),
    "emptied on the next line": ("a:\n  x\nb: y\n", put("a", to=None), "a:\nb: y\n"),
    "comment between": ("a: # c\n  x\nb: y\n", put("a", to="z"), "a: # c\n  z\nb: y\n"),
    "emptied below a comment": ("a: # c\n  x\n", put("a", to=None), "a: # c\n  null\n"),
    "text below a comment": ("a:\n  # c\n  x\n", put("a", to="p\nq\n"), 'a:\n  # c\n  "p\\nq\\n"\n'),
    "list below a comment": ("a:\n  # c\n  x\n", put("a", to=["p", "q"]), "a:\n  # c\n  [p, q]\n"),
    "text over lines": ("a: one\n  two  # c\nb: y\n", put("a", to="z"), "a: z  # c\nb: y\n"),
    "no final newline": ("a: x\nb: y", put("b", to="z"), "a: x\nb: z"),
    "CRLF": ("a: x\r\nb: y\r\n", put("a", to="z"), "a: z\r\nb: y\r\n"),
    "non-ASCII before": ("é: 日本 # ü\nb: y\n", put("b", to="ñ"), "é: 日本 # ü\nb: ñ\n"),
    "in a list": ("a: [x, y]\nb:\n- x\n- y\n", put("b", 1, to="no"), 'a: [x, y]\nb:\n- x\n- "no"\n'),
    "in a flow list": ("a: [x, y]\n", put("a", 0, to="p, q"), 'a: ["p, q", y]\n'),
    "empty an item": ("a:\n  - x\n", put("a", 0, to=None), "a:\n  - null\n"),
    "quoted key": ('"a b": x\n', put("a b", to="z"), '"a b": z\n'),
    # block text
    "text": ("a: |\n  x\n\nb: y\n", put("a", to="p\nq\n"), "a: |\n  p\n  q\n\nb: y\n"),
    "text keeps its indentation": ("a: |\n     x\nb:\n", put("a", to="p\nq\n"), "a: |\n     p\n     q\nb:\n"),
    "text keeps its comment": ("a: |  # c\n  x\nb:\n", put("a", to="p\nq"), "a: |-  # c\n  p\n  q\nb:\n"),
    "text to line": ("a: |  # c\n  x\n\nb:\n", put("a", to="z"), "a: z  # c\n\nb:\n"),
    "text to nothing": ("a: |\n  x\n  y\n\nb:\n", put("a", to=None), "a:\n\nb:\n"),
    "folded to text": ("a: >-\n   x\n   y\nb:\n", put("a", to="p\nq\n"), "a: |\n  p\n  q\nb:\n"),
    "line to text": ("a: x # c\nb:\n", put("a", to="p\n"), "a: | # c\n  p\nb:\n"),
    "quoted to text": ('a: "x"\nb:\n', put("a", to="p\nq\n"), "a: |\n  p\n  q\nb:\n"),
    "text that starts with a space": ("a:\n", put("a", to=" p\nq\n"), "a: |2\n   p\n  q\n"),
    "text with empty lines": ("a:\nb:\n", put("a", to="\np\n\nq\n"), "a: |\n\n  p\n\n  q\nb:\n"),
    "text that ends with blanks": ("a:\nb:\n", put("a", to="p\n \n"), 'a: "p\\n \\n"\nb:\n'),
    "text that ends with empty lines": ("a:\nb:\n", put("a", to="p\n\n"), 'a: "p\\n\\n"\nb:\n'),
    "text with CRLF": ("a:\r\nb:\r\n", put("a", to="p\nq\n"), "a: |\r\n  p\r\n  q\r\nb:\r\n"),
    "text at the end": ("a: x", put("a", to="p\nq\n"), "a: |\n  p\n  q\n"),
    "text without newline at the end": ("a: x", put("a", to="p\nq"), "a: |-\n  p\n  q"),
    "kept empty lines become the gap": ("a: |+\n  x\n\nb: y\n", put("a", to="p\n"), "a: |\n  p\n\nb: y\n"),
    "far indentation": ("a: |\n            x\n", put("a", to="p\n"), "a: |\n  p\n"),
    "text above a comment that stands deeper": (
        "a: x\n  # c\nb:\n",
        put("a", to="p\nq\n"),
        'a: "p\\nq\\n"\n  # c\nb:\n',
    ),
    "text in a map above a comment": (
        "a: x\n    # c\n",
        put("a", to={"k": "p\nq\n"}),
        'a:\n  k: "p\\nq\\n"\n    # c\n',
    ),
    "text beside a comment": ("a:\n  - x # c\n", put("a", to="p\nq\n"), 'a: "p\\nq\\n" # c\n'),
    "text in a flow map": ("a: {b: x}\n", put("a", "b", to="p\nq\n"), 'a: {b: "p\\nq\\n"}\n'),
    # collections
    "fill with a list": ("a:  # c\nb:\n", put("a", to=["x", "no"]), 'a:  # c\n  - x\n  - "no"\nb:\n'),
    "fill with a map": ("a:\nb:\n", put("a", to={"x": {"z": [1]}}), "a:\n  x:\n    z:\n      - 1\nb:\n"),
    "empty a list": ("a:\n  - x\n  - y\n\nb:\n", put("a", to=[]), "a:\n\nb:\n"),
    "empty a map": ("a:  # c\n  x: 1\nb:\n", put("a", to={}), "a:  # c\nb:\n"),
    "empty inside": ("a:\n  b: [1]\n", put("a", "b", to=[]), "a:\n  b: []\n"),
    "list keeps comments": (
        "a:\n  # p\n  - b  # q\n  # r\n  - d\n",
        put("a", to=["b", "c"]),
        "a:\n  # p\n  - b  # q\n  - c\n  # r\n",
    ),
    "map keeps comments": ("a:\n  x: 1  # q\n  z: 2\n", put("a", to={"x": 3, "w": 4}), "a:\n  w: 4\n  x: 3  # q\n"),
    "list without indentation": ("a:\n- x\nb:\n", put("a", to=["p"]), "a:\n- p\nb:\n"),
    "flow list stays": ("a: [x, y]  # c\n", put("a", to=["p", "q: r"]), 'a: [p, "q: r"]  # c\n'),
    "list to scalar": ("a:\n  - x\nb:\n", put("a", to="y z"), "a: y z\nb:\n"),
    "scalar to map": ("a: x  # c\nb:\n", put("a", to={"k": "v"}), "a:  # c\n  k: v\nb:\n"),
    # keys
    "first key": ("status: x\n", put("name", to="m"), "name: m\n\nstatus: x\n"),
    "first key below the head": ("# head\nstatus: x\n", put("name", to="m"), "# head\nname: m\n\nstatus: x\n"),
    "first key above a comment": (
        "# head\n\n# st\nstatus: x\n",
        put("name", to="m"),
        "# head\n\nname: m\n\n# st\nstatus: x\n",
    ),
    "key in the middle": (
        "name: n\n\nmetadata:\n",
        put("labels", to=["b"]),
        "name: n\n\nlabels:\n  - b\n\nmetadata:\n",
    ),
    "key at the end": ("name: n\n", put("metadata", "k", to="v"), "name: n\n\nmetadata:\n  k: v\n"),
    "key behind unknown ones": ("x: 1\n\nname: n\n\nz: 2\n", put("due", to="d"), "x: 1\n\nname: n\n\ndue: d\n\nz: 2\n"),
    "key below comments": (
        "name: n  # c\n  # deeper\n# of status\nstatus:\n",
        put("due", to="d"),
        "name: n  # c\n  # deeper\n# of status\nstatus:\n\ndue: d\n",
    ),
    "key between comments": (
        "name: n  # c\n\n  # deeper\n\n# of labels\nlabels:\n",
        put("due", to="d"),
        "name: n  # c\n\n  # deeper\n\ndue: d\n\n# of labels\nlabels:\n",
    ),
    "key at the end without newline": ("name: n", put("due", to="d"), "name: n\n\ndue: d"),
    "text key at the end without newline": (
        "name: n",
        put("description", to="p\nq\n"),
        "name: n\n\ndescription: |\n  p\n  q\n",
    ),
    "key after text": ("name: |\n  n\n\nlabels:\n", put("due", to="d"), "name: |\n  n\n\ndue: d\n\nlabels:\n"),
    "key after kept text": ("name: |+\n  n\n\nlabels:\n", put("due", to="d"), "name: |+\n  n\n\ndue: d\n\nlabels:\n"),
    "key after kept text at the end": ("name: |+\n  n\n", put("due", to="d"), "name: |+\n  n\ndue: d\n"),
    "key after kept text inside": (
        "m:\n  a: |+\n    x\n\n  c: 1\n",
        put("m", "b", to=2),
        "m:\n  a: |+\n    x\n\n  b: 2\n  c: 1\n",
    ),
    "key after blanks that are text": (
        "m:\n  a: |\n    x\n      \n  c: 1\n",
        put("m", "b", to=2),
        "m:\n  a: |\n    x\n      \n  b: 2\n  c: 1\n",
    ),
    "key with CRLF": ("name: n\r\n\r\nlabels:\r\n", put("due", to="d"), "name: n\r\n\r\ndue: d\r\n\r\nlabels:\r\n"),
    "key in a sorted map": ("m:\n   a: 1\n   c: 3\n", put("m", "b", to=2), "m:\n   a: 1\n   b: 2\n   c: 3\n"),
    "key in an unsorted map": ("m:\n  z: 1\n  c: 3\n", put("m", "d", to=2), "m:\n  z: 1\n  c: 3\n  d: 2\n"),
    "first in a sorted map": ("m:  # c\n  # b\n  b: 2\n", put("m", "a", to=1), "m:  # c\n  a: 1\n  # b\n  b: 2\n"),
    "key in an item": ("l:\n  - b: 1\n", put("l", 0, "a", to=2), "l:\n  - a: 2\n    b: 1\n"),
    "key in an empty map": ("m: {}  # c\nx:\n", put("m", "a", to="p\nq\n"), 'm: {a: "p\\nq\\n"}  # c\nx:\n'),
    "key in a flow map": ("m: {a: 1, c: 3}\n", put("m", "b", to=[1, "x,"]), 'm: {a: 1, b: [1, "x,"], c: 3}\n'),
    "key without colon": ("m: {a, b: 1}\n", put("m", "a", to="x"), "m: {a: x, b: 1}\n"),
    "key without colon on its line": ("m: {a\n  }\n", put("m", "a", to="x"), "m: {a: x\n  }\n"),
    "first in a flow map": ("m: {b: 1}\n", put("m", "a", to="x"), "m: {a: x, b: 1}\n"),
    "way made": ("name: n\n", put("metadata", "a", "b", to=1), "name: n\n\nmetadata:\n  a:\n    b: 1\n"),
    "key that needs quotes": ("m:\n  a: 1\n", put("m", "on", to=2), 'm:\n  a: 1\n  "on": 2\n'),
    # removing keys
    "remove": ("a: 1\n\nb: 2  # c\n\nd: 3\n", drop("b"), "a: 1\n\nd: 3\n"),
    "remove the first": ("a: 1\n\nb: 2\n", drop("a"), "b: 2\n"),
    "remove the last": ("a: 1\n\nb:\n  - 2\n", drop("b"), "a: 1\n"),
    "remove the last without newline": ("a: 1\n\nb: 2", drop("b"), "a: 1"),
    "remove with deeper comments": ("a: 1\nb:\n  - 2\n  # old\n# d\nd: 3\n", drop("b"), "a: 1\n# d\nd: 3\n"),
    "remove nested": ("m:\n  a: 1\n  b: 2\nn:\n", drop("m", "a"), "m:\n  b: 2\nn:\n"),
    "remove the only one": ("m:  # c\n  # d\n  a: 1\nn:\n", drop("m", "a"), "m:  # c\n  # d\nn:\n"),
    "remove from a flow map": ("m: {a: 1, b: 2, c: 3}\n", drop("m", "b"), "m: {a: 1, c: 3}\n"),
    "remove the first of a flow map": ("m: {a: 1, b: 2}\n", drop("m", "a"), "m: {b: 2}\n"),
    "remove the only one of a flow map": ("m: {a: 1}  # c\n", drop("m", "a"), "m:  # c\n"),
    "remove beside a dash": ("l:\n  - a: 1\n    b: 2\n", drop("l", 0, "a"), "l:\n  - b: 2\n"),
    "remove text": ("a: 1\nb: |\n  x\n\n  y\n\nc: 3\n", drop("b"), "a: 1\n\nc: 3\n"),
    "remove below kept text": ("a: |+\n  x\n\nb: 1\n", drop("b"), "a: |+\n  x\n\n"),
    "remove between kept text and empty lines": (
        "a: |+\n  x\nb: 1\n\nc: 2\n",
        drop("b"),
        "a: |+\n  x\nc: 2\n",
    ),
    "remove below text, without newline": ("a: |\n  x\nb: 1", drop("b"), "a: |\n  x\n"),
    "remove with CRLF": ("a: 1\r\n\r\nb: 2\r\n\r\nc: 3\r\n", drop("b"), "a: 1\r\n\r\nc: 3\r\n"),
    # items
    "add": ("l:\n  - a\n  - c\n\nm:\n", add("l", item="b"), "l:\n  - a\n  - b\n  - c\n\nm:\n"),
    "add last": ("l:\n  - a  # c\n\nm:\n", add("l", item="b"), "l:\n  - a  # c\n  - b\n\nm:\n"),
    "add first": ("l:\n  - b\n", add("l", item="a"), "l:\n  - a\n  - b\n"),
    "add to an unsorted list": ("l:\n- c\n- a\n", add("l", item="b"), "l:\n- c\n- a\n- b\n"),
    "add to the end of the file": ("l:\n- a", add("l", item="b"), "l:\n- a\n- b"),
    "add with CRLF": ("l:\r\n  - a\r\nm:\r\n", add("l", item="b"), "l:\r\n  - a\r\n  - b\r\nm:\r\n"),
    "add to nothing": ("l:  # c\n\nm:\n", add("l", item="a"), "l:  # c\n  - a\n\nm:\n"),
    "add to null": ("l: ~\nm:\n", add("l", item="a"), "l:\n  - a\nm:\n"),
    "add to an absent list": ("name: n\n", add("labels", item="a"), "name: n\n\nlabels:\n  - a\n"),
    "add to a flow list": ("l: [a, c]\n", add("l", item="b"), "l: [a, b, c]\n"),
    "add before in a flow list": ("l: [b]\n", add("l", item="a"), "l: [a, b]\n"),
    "add to an empty flow list": ("l: []\n", add("l", item="a: b"), 'l: ["a: b"]\n'),
    "add after a trailing comma": ("l: [a, b,]\n", add("l", item="c"), "l: [a, b, c,]\n"),
    "add to flow over lines": ("l: [\n  a,  # c\n  b\n]\n", add("l", item="c"), "l: [\n  a,  # c\n  b, c\n]\n"),
    "add a map": (
        "l:\n  - a: 1\n",
        add("l", item={"b": 2, "c": "x\ny\n"}),
        "l:\n  - a: 1\n  - b: 2\n    c: |\n      x\n      y\n",
    ),
    "add between comments": (
        "l:\n- a\n  # of a\n# of c\n- c\n",
        add("l", item="b"),
        "l:\n- a\n  # of a\n- b\n# of c\n- c\n",
    ),
    "take": ("l:\n  - a\n  - b  # c\n  - d\n", take("l", item="b"), "l:\n  - a\n  - d\n"),
    "take each": ("l:\n- b\n- a\n- b\n", take("l", item="b"), "l:\n- a\n"),
    "take the last": ("l:  # c\n  - a\n\nm:\n", take("l", item="a"), "l:  # c\n\nm:\n"),
    "take the last of a flow list": ("l: [a]  # c\n", take("l", item="a"), "l:  # c\n"),
    "take from a flow list": ("l: [a, b, c]\n", take("l", item="b"), "l: [a, c]\n"),
    "take the first of a flow list": ("l: [a, b]\n", take("l", item="a"), "l: [b]\n"),
    "take from flow over lines": (
        "l: [\n  a,  # 1\n  b,  # 2\n  c  # 3\n]\n",
        take("l", item="b"),
        "l: [\n  a,  # 1\n  c  # 3\n]\n",
    ),
    "take the last from flow over lines": (
        "l: [\n  a,  # 1\n  b  # 2\n]\n",
        take("l", item="b"),
        "l: [\n  a,  # 1\n]\n",
    ),
    "take after a comment": ("l: [a, # c\n  b]\n", take("l", item="b"), "l: [a, # c\n  ]\n"),
    "take before a comment": ("l: [a, # c\n  b]\n", take("l", item="a"), "l: [# c\n  b]\n"),
    "take from a nested list": ("l:\n  - - a\n    - b\n  - c\n", take("l", 0, item="a"), "l:\n  - - b\n  - c\n"),
    "take at the end of the file": ("l:\n- a\n- b", take("l", item="b"), "l:\n- a"),
    "take what is a number": ("l: ['1', 1]\n", take("l", item=1), "l: ['1']\n"),
    # quoting
    "quote a number": ("v: 1.10  # c\n", quote("v"), 'v: "1.10"  # c\n'),
    "quote over lines": ("v: 2026-01-02\r\n  12:30:00\r\n", quote("v"), 'v: "2026-01-02 12:30:00"\r\n'),
    "quote a word": ("v: [no, 012]\n", lambda doc: quote("v", 1)(quote("v", 0)(doc)), 'v: ["no", "012"]\n'),
}


@pytest.mark.parametrize("case", EDITS)
def test_edits(case: str) -> None:
    before, edit, after = EDITS[case]
    assert edit(parse_document(before.encode(), "x.yaml")).text == after


UNCHANGED: dict[str, tuple[str, Callable[[Document], Document]]] = {
    "same text": ("a:   'x'  # c\n", put("a", to="x")),
    "same ambiguous text": ("a: 2026-01-02\n", put("a", to="2026-01-02")),
    "same number": ("a: 1.10\n", put("a", to=1.1)),
    "same block text": ("a: >\n  x\n  y\n", put("a", to="x y\n")),
    "same list": ("a: [ x,y ]\n", put("a", to=["x", "y"])),
    "same map": ("a: {y: 1, x: 2}\n", put("a", to={"x": 2, "y": 1})),
    "empty already": ("a: ~\n", put("a", to=None)),
    "empty list already": ("a:\n", put("a", to=[])),
    "absent and empty": ("a: 1\n", put("b", to=None)),
    "absent key": ("a: 1\n", drop("b", "c")),
    "item there": ("a: [x]\n", add("a", item="x")),
    "item not there": ("a: [x]\n", take("a", item="y")),
    "no list": ("a: x\n", take("a", item="y")),
    "quoted already": ("a: 'no'\n", quote("a")),
    "nothing to quote": ("a:\n", quote("a")),
}


@pytest.mark.parametrize("case", UNCHANGED)
def test_edits_that_change_nothing(case: str) -> None:
    before, edit = UNCHANGED[case]
    doc = parse_document(before.encode(), "x.yaml")
    assert edit(doc) is doc


REFUSED: dict[str, tuple[str, Callable[[Document], Document], type[Exception], str]] = {
    "comment in a list": ("a:\n  # c\n  - x\n", put("a", to="y"), Conflict, "a comment would be lost"),
    "comment in flow": ("a: [x, # c\n  y]\n", put("a", to="z"), Conflict, "a comment would be lost"),
    "comment in nested flow": ("m: {k: [x, # c\n  y]}\n", put("m", "k", to=1), Conflict, "a comment would be lost"),
    "comment before a flow item": ("l: [a # c\n  , b]\n", take("l", item="a"), Conflict, "a comment would be lost"),
    "a comment beside the key and one beside the item": (
        "a: # c\n  - x # d\n",
        put("a", to="y"),
        Conflict,
        "two comments",
    ),
    "comment in a list, behind `|`": ("a:\n  - | # c\n    x\n", put("a", to="y"), Conflict, "a comment would be lost"),
    "comment beside a dash": (
        "l:\n  - a: 1\n    # c\n    b: 2\n",
        drop("l", 0, "a"),
        Conflict,
        "a comment would be lost",
    ),
    "not a map": ("a: x\n", put("a", "b", to=1), Conflict, "not a map"),
    "not a list": ("a: x\n", add("a", item="y"), Conflict, "not a list"),
    "no such item": ("a: [x]\n", put("a", 3, to=1), InvalidInput, "no item 3"),
    "last key": ("a: x\n", drop("a"), Conflict, "the file would be empty"),
    "text without its newline": ("a: |\n  x", put("b", to=1), Conflict, "ends the file without a line end"),
    "control character": ("a: x\n", put("a", to="y\x1b"), InvalidInput, "U+001B"),
    "bidi in a key": ("a:\n", put("a", to={"\u202e": 1}), InvalidInput, "U+202E"),
    "infinite": ("a:\n", put("a", to=float("inf")), InvalidInput, "inf cannot be written"),
    "huge": ("a:\n", put("a", to=2**63), InvalidInput, "cannot be written"),
    "strange type": ("a:\n", put("a", to=object()), InvalidInput, "cannot be written"),
    "too deep": ("a:\n", put("a", to=eval("[" * 40 + "1" + "]" * 40)), Conflict, "32 levels"),
    "broken file": ("a: [\n", put("a", to=1), InvalidProject, "cannot be edited"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_edits(case: str) -> None:
    before, edit, error, message = REFUSED[case]
    with pytest.raises(error, match=message.replace("+", r"\+")) as caught:
        edit(parse_document(before.encode(), "x.yaml"))
    assert caught.value.hint  # type: ignore[attr-defined]


# --- the property ------------------------------------------------------------------------------------------------

WORDS = [
    "x",
    "no",
    "1.10",
    "a: b",
    "# c",
    "- d",
    "",
    " lead",
    "tail ",
    "it's",
    '"q"',
    "a, b",
    "[f]",
    "{g}",
    "日本",
    "a\tb",
]
TEXTS = [
    *WORDS,
    "one\ntwo\n",
    "one\n\ntwo",
    " one\ntwo\n",
    "\none\n",
    "one\n\n",
    "\n",
    "# one\n# two\n",
    "  \nx\n",
    "x\n  ",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1e30, 1e30) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, loc: Loc = ()) -> list[Loc]:
    steps = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [loc, *(place for step in steps for place in places(data[step], (*loc, step)))]


def value_at(data: Any, loc: Loc) -> Any:
    for step in loc:
        data = data[step]
    return data


def changed(value: Any, loc: Loc, change: Callable[[Any], None]) -> Any:
    result = copy.deepcopy(value)
    change(value_at(result, loc))
    return result


def comments(text: str) -> list[str]:
    """All comments: what follows a # outside the scalars."""
    bare = list(text)
    for node in scalars(compose(text)):
        bare[node.start : node.end] = ["\n" if c == "\n" else "x" for c in text[node.start : node.end]]
        if node.style in ("|", ">"):
            header_end = text.index("\n", node.start)
            bare[node.start : header_end] = text[node.start : header_end]
    return sorted(re.findall("#.*", "".join(bare)))


def lines_of(text: str) -> list[str]:
    """The lines with dashes blanked: an item's first key may come to stand beside the dash."""
    return re.sub(r"(?m)^ *(?:- +)+", lambda dashes: " " * len(dashes[0]), text).splitlines()


def is_in_order(lines: list[str], among: list[str]) -> bool:
    rest = iter(among)
    return all(line in rest for line in lines)


def draw_document(data: st.DataObject) -> Document:
    name = data.draw(st.sampled_from(sorted(CORPUS)))
    return parse_document(CORPUS[name], name)


def check_form(doc: Document, result: Document) -> None:
    """Line endings, the end of the file and the comments are as they were."""
    if "\r\n" in doc.text:
        assert "\n" not in result.text.replace("\r\n", "")
    assert "\n\n\n\n" not in result.text or "\n\n\n\n" in doc.text
    assert comments(result.text) == comments(doc.text)


def check_lines_around(doc: Document, loc: Loc, result: Document) -> None:
    """The lines before and after the value are as they were."""
    entry = locate(compose(doc.text), loc).entry
    assert entry
    before = doc.text.count("\n", 0, entry.start)
    after = doc.text.count("\n", entry.value.end)
    old, new = doc.text.split("\n"), result.text.split("\n")
    if before and old[before - 1].strip() == "-":
        before -= 1
    assert new[:before] == old[:before]
    assert new[len(new) - after :] == old[len(old) - after :]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_setting_changes_the_target_and_nothing_else(data: st.DataObject) -> None:
    doc = draw_document(data)
    loc = data.draw(st.sampled_from([place for place in places(doc.data) if place]))
    value = data.draw(VALUES)
    if len(loc) == 1 and value in ([], {}):
        value = None
    try:
        result = set_value(doc, loc, value)
    except Conflict as refusal:
        event(refusal.message.partition(": ")[2])
        return
    assert result.data == changed(doc.data, loc[:-1], lambda parent: parent.__setitem__(loc[-1], value))
    check_form(doc, result)
    check_lines_around(doc, loc, result)
    assert set_value(result, loc, value) is result


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_adding_a_key_keeps_every_line(data: st.DataObject) -> None:
    doc = draw_document(data)
    parents = [
        place for place in places(doc.data) if value_at(doc.data, place) and isinstance(value_at(doc.data, place), dict)
    ]
    parent, value = data.draw(st.sampled_from(parents)), data.draw(VALUES.map(lambda v: v or "x"))
    loc = (*parent, "b-new")
    try:
        result = set_value(doc, loc, value, order=data.draw(st.sampled_from([(), ("name", "b-new")])))
    except Conflict:
        assert "no_final_newline" in doc.path
        return
    assert result.data == changed(doc.data, parent, lambda at: at.__setitem__("b-new", value))
    check_form(doc, result)
    if locate(compose(doc.text), parent).value.style == ":":
        assert is_in_order(lines_of(doc.text), lines_of(result.text))
    assert [*filter(None, lines_of(remove_key(result, loc).text))] == [*filter(None, lines_of(doc.text))]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_removing_takes_only_the_lines_of_the_target(data: st.DataObject) -> None:
    doc = draw_document(data)
    loc = data.draw(st.sampled_from([place for place in places(doc.data) if place]))
    try:
        result = remove_key(doc, loc)
    except Conflict as refusal:
        event(refusal.message.partition(": ")[2])
        return
    expected = changed(doc.data, loc[:-1], lambda parent: parent.__delitem__(loc[-1]))
    at = value_at(expected, loc[:-1])
    assert result.data == (expected if at else changed(expected, loc[:-2], lambda up: up.__setitem__(loc[-2], None)))
    assert is_in_order(comments(result.text), comments(doc.text))
    if locate(compose(doc.text), loc[:-1]).value.is_block:
        assert is_in_order(lines_of(result.text), lines_of(doc.text))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_items_come_and_go(data: st.DataObject) -> None:
    doc = draw_document(data)
    lists = [place for place in places(doc.data) if isinstance(value_at(doc.data, place), list)]
    assume(lists)
    loc, value = data.draw(st.sampled_from(lists)), data.draw(VALUES)
    assume(value not in value_at(doc.data, loc))
    try:
        result = add_item(doc, loc, value)
    except Conflict:
        assert "no_final_newline" in doc.path
        return
    items = value_at(result.data, loc)
    assert [item for item in items if item != value] == value_at(doc.data, loc)
    check_form(doc, result)
    assert remove_item(result, loc, value).data == (
        doc.data if value_at(doc.data, loc) else changed(doc.data, loc[:-1], lambda up: up.__setitem__(loc[-1], None))
    )
