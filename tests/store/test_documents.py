"""The loader: every refusal with its place and code, YAML 1.2 values against a table of our own, limits that hold."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.errors import Finding
from dagtasks.model.values import Ambiguous
from dagtasks.store.documents import CODES, MAX_BYTES, Document, parse_document, read_document

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.yaml"))

# name -> (source, the problems as (line, column, code), a part of the first message)
BAD: dict[str, tuple[str | bytes, list[tuple[int, int, str]], str]] = {
    "anchor": ("a: &x 1\n", [(1, 4, "DT103")], "anchors (`&x`)"),
    "anchor on map": ("a: &x\n  b: 1\n", [(1, 4, "DT103")], "anchors"),
    "alias": ("a: *x\n", [(1, 4, "DT103")], "aliases (`*x`)"),
    "alias as key": ("*x : 1\n", [(1, 1, "DT103")], "aliases"),
    "anchors and aliases": ("a: &x 1\nb: *x\nc: *x\n", [(1, 4, "DT103"), (2, 4, "DT103"), (3, 4, "DT103")], "anchors"),
    "merge key": ("a:\n  <<: {b: 1}\n", [(2, 3, "DT103")], "merge keys"),
    "tag": ("a: !!python/object:os.system x\n", [(1, 4, "DT103")], "tags (`!!python/object:os.system`)"),
    "local tag": ("a: !x [1]\nb: ! y\n", [(1, 4, "DT103"), (2, 4, "DT103")], "tags (`!x`)"),
    "tag on key": ("!!str a: 1\n", [(1, 1, "DT103")], "tags"),
    "undefined tag handle": ("a: !e!x 1\n", [(1, 4, "DT103")], "tags"),
    "complex key": ("? a\n: 1\n", [(1, 1, "DT103")], "`? ` keys"),
    "complex key in a list": ("x:\n  - ? a\n    : 1\n", [(2, 5, "DT103")], "`? ` keys"),
    "complex key in braces": ("x: {? a : 1}\n", [(1, 5, "DT103")], "`? ` keys"),
    "list as key": ("x:\n  [a, [b]]: 1\n", [(2, 3, "DT103")], "a list or map cannot be a key"),
    "map as key": ("x: {{a: b}: 1}\n", [(1, 5, "DT103")], "a list or map cannot be a key"),
    "yaml directive": ("%YAML 1.1\n---\na: 1\n", [(1, 1, "DT103")], "directives"),
    "tag directive": ("%TAG ! tag:x,2000:\n---\na: 1\n", [(1, 1, "DT103")], "directives"),
    "number as key": ("1: x\n2.5: y\n", [(1, 1, "DT110"), (2, 1, "DT110")], "the key '1' is not text"),
    "word as key": ("true: x\nb:\n  ~: y\n", [(1, 1, "DT110"), (3, 3, "DT110")], "the key 'true' is not text"),
    "no key": ("a: {: x}\n", [(1, 5, "DT102")], "a value was expected"),
    "no key on top": (": x\n", [(1, 1, "DT102")], "a key was expected"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", [(3, 1, "DT104")], "already written on line 1"),
    "duplicate in another style": ('a: 1\n"a": 2\n', [(2, 1, "DT104")], "already written on line 1"),
    "nested duplicate": ("m:\n  k: 1\n  j: 2\n  k: 3\n", [(4, 3, "DT104")], "the key 'k' is already written on line 2"),
    "duplicate in braces": ("m: {é: 1, é: 2}\n", [(1, 11, "DT104")], "already written on line 1"),
    "infinite": ("a: .inf\nb: -.INF\nc: .NaN\n", [(1, 4, "DT109"), (2, 4, "DT109"), (3, 4, "DT109")], "finite"),
    "huge float": ("a: 7e12345\n", [(1, 4, "DT109")], "too large"),
    "long integer": (f"a: {'9' * 5000}\n", [(1, 4, "DT109")], "64 bits"),
    "integer over 64 bits": ("a: 9223372036854775808\nb: 0xFFFFFFFFFFFFFFFF\n", [(1, 4, "DT109"), (2, 4, "DT109")], ""),
    "tab as indentation": ("a:\n\tb: 1\n", [(2, 1, "DT107")], "a tab"),
    "tab after colon": ("a:\t1\n", [(1, 3, "DT107")], "a tab"),
    "tab in plain text": ("a: x\ty\n", [(1, 5, "DT107")], "a tab"),
    "tab in quotes": ("a: 'x\ty'\nb: \"x\ty\"\n", [(1, 6, "DT107"), (2, 6, "DT107")], "a tab"),
    "tab before comment": ("a: 1\t# c\n", [(1, 5, "DT107")], "a tab"),
    "tab on the line of |": ("a: |\t# c\n  x\ty\nb:\t2\n", [(1, 5, "DT107"), (3, 3, "DT107")], "a tab"),
    "tab begins block text": ("a: |\n  \tx\nb: |\n  y\tz\n", [(2, 3, "DT107")], "the first line of block text"),
    "tab before an error": ("a:\t1\nb: [\nc: |\n  \tx\n", [(1, 3, "DT107"), (3, 4, "DT102")], "a tab"),
    "NUL": ("a: x\0y\n", [(1, 5, "DT107")], "NUL (U+0000)"),
    "control characters": ("a: \x01\nb: \x7f\n# \x9b\n", [(1, 4, "DT107"), (2, 4, "DT107"), (3, 3, "DT107")], "U+0001"),
    "escape in terminal": ("a: \x1b[31m\n", [(1, 4, "DT107")], "U+001B"),
    "escaped control": ('a: "x\\x1by"\nb: "\\0"\n', [(1, 4, "DT107"), (2, 4, "DT107")], "also not escaped"),
    "escaped carriage return": ('a: "x\\r\\n"\n', [(1, 4, "DT107")], "carriage return"),
    "escaped control in key": ('"\\a": 1\n', [(1, 1, "DT107")], "U+0007"),
    "bidi override": ("a: x\u202ey\n", [(1, 5, "DT107")], "right-to-left override (U+202E)"),
    "bidi isolate in comment": ("a: 1 # \u2066\n", [(1, 8, "DT107")], "U+2066"),
    "escaped bidi": ('a: "\\u202E"\n', [(1, 4, "DT107")], "U+202E"),
    "line separator": ("a: x\u2028y\n", [(1, 5, "DT107")], "U+2028"),
    "next line": ("a: x\x85y\n", [(1, 5, "DT107")], "U+0085"),
    "lone carriage return": ("a: 1\rb: 2\n", [(1, 5, "DT107")], "carriage return without a line feed"),
    "BOM inside": ("a: x\ufeff\n", [(1, 5, "DT107")], "byte order mark"),
    "escaped surrogate": ('a: "\\ud83d\\ude00"\n', [(1, 7, "DT107")], "surrogate"),
    "raw surrogate": (b"a: \xed\xa0\x80\n", [(1, 4, "DT101")], "byte 0xED"),
    "latin-1": ("ä: 1\nb: éx".encode() + b"\xe9\n", [(2, 6, "DT101")], "byte 0xE9 is not UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), [(1, 1, "DT101")], "UTF-16"),
    "BOM": (b"\xef\xbb\xbfa: 1\n", [(1, 1, "DT101")], "byte order mark"),
    "BOM and more": (b"\xef\xbb\xbfa: &x 1\n", [(1, 1, "DT101"), (1, 4, "DT103")], "byte order mark"),
    "conflict": (
        "name: x\n<<<<<<< HEAD\nstatus: planned\n||||||| 1a2b\nstatus: blocked\n=======\nstatus: done\n>>>>>>> topic\n",
        [(2, 1, "DT106"), (4, 1, "DT106"), (6, 1, "DT106"), (8, 1, "DT106")],
        "the lines below are your side (HEAD)",
    ),
    "conflict with CRLF": (
        "<<<<<<< a b\r\nx: 1\r\n=======\r\n>>>>>>> c\r\n",
        [(1, 1, "DT106"), (3, 1, "DT106"), (4, 1, "DT106")],
        "your side (a b)",
    ),
    "unfinished conflict": ("<<<<<<< HEAD\na: 1\n", [(1, 1, "DT106")], "your side (HEAD)"),
    "base of a conflict": ("a: 1\n||||||| x\na: 2\n", [(2, 1, "DT106")], "what both sides started from (x)"),
    "left of a conflict": ("a: 1\n>>>>>>> x\n", [(2, 1, "DT106")], "the other side (x) ends here"),
    "empty": ("", [(1, 1, "DT108")], "empty"),
    "only comments": ("# a\n\n# b\n", [(1, 1, "DT108")], "empty"),
    "only a start": ("---\n", [(2, 1, "DT108")], "empty"),
    "two documents": ("a: 1\n---\nb: 2\n", [(2, 1, "DT108")], "a second document"),
    "list on top": ("- a\n- b\n", [(1, 1, "DT108")], "not a map"),
    "no colon on top": ("name x\nb: 1\n", [(1, 1, "DT108")], "not a map"),
    "scalar on top": ("just text\n", [(1, 1, "DT108")], "not a map"),
    "braces on top": ("{a: 1}\n", [(1, 1, "DT108")], "in braces"),
    "second colon": ("a: b: c\n", [(1, 5, "DT102")], "a second `:`"),
    "no colon": ("a: 1\nb\nc: 2\n", [(2, 1, "DT102")], "no `:`"),
    "open bracket": ("a: [1, 2\nb: 3\n", [(2, 2, "DT102")], "brackets"),
    "open brace": ("a: {b: 2\n", [(2, 1, "DT102")], "braces"),
    "open quote": ("a: 1\nb: 'x\nc: 2\n", [(2, 4, "DT102")], "a quote is not closed"),
    "open double quote": ('b: "x\n---\n', [(1, 4, "DT102")], "a quote is not closed"),
    "unknown escape": ('a: "\\y"\n', [(1, 5, "DT102")], "escape"),
    "bad start": ("a: `x`\n", [(1, 4, "DT102")], "cannot start"),
    "at": ("a: @x\n", [(1, 4, "DT102")], "cannot start"),
    "wrong indentation": ("a:\n    b: 1\n  c: 2\n", [(3, 3, "DT102")], "a key was expected"),
    "text after |": ("a: | x\n", [(1, 6, "DT102")], "after `|`"),
    "item beside value": ("a: - b\n", [(1, 4, "DT102")], "list item"),
    "empty flow": ("a: [,]\n", [(1, 5, "DT102")], "a value was expected"),
    "problems before an error": (
        "a: &x 1\na: 2\nb: [\n",
        [(1, 4, "DT103"), (2, 1, "DT104"), (4, 1, "DT102")],
        "anchors",
    ),
    "too large": (b"a: " + b"x" * MAX_BYTES, [(0, 0, "DT105")], "1 MiB"),
    "too deep": ("a: " + "[" * 32 + "]" * 32 + "\n", [(1, 35, "DT105")], "32 levels"),
    "too deep in a key": (
        "a: {" + "[" * 40 + "]" * 40 + ": 1}\n",
        [(1, 5, "DT103"), (1, 35, "DT105")],
        "cannot be a key",
    ),
    "too many nodes": ("a: [" + "1," * 20_000 + "]\n", [(1, 40001, "DT105")], "20000"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case: str) -> None:
    source, expected, message = BAD[case]
    doc = parse_document(source if isinstance(source, bytes) else source.encode(), "tasks/x.yaml")
    assert [(p.line, p.column, p.code) for p in doc.problems] == expected
    assert message in doc.problems[0].message
    assert doc.data is None
    assert all(p.path == "tasks/x.yaml" and p.hint and p.code in CODES for p in doc.problems)


def test_every_code_has_a_refusal() -> None:
    assert {code for _, problems, _ in BAD.values() for *_, code in problems} == CODES.keys()


# The oracle: YAML 1.2.2 section 10.3.2, written out by hand; `Ambiguous` where YAML 1.1 reads something else.
CORE: list[tuple[str, object]] = [
    *[(word, None) for word in ("", "~", "null", "Null", "NULL")],
    *[(word, True) for word in ("true", "True", "TRUE")],
    *[(word, False) for word in ("false", "False", "FALSE")],
    *[("0", 0), ("-0", 0), ("+12", 12), ("-7", -7), ("012", 12), ("0o17", 15), ("0x1F", 31), ("0xff", 255)],
    *[("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
    *[("1.10", 1.1), (".5", 0.5), ("5.", 5.0), ("-.5", -0.5), ("1e3", 1000.0), ("1.5E-3", 0.0015), ("7e2", 700.0)],
    *[(w, Ambiguous(w)) for w in ("y", "Y", "n", "N", "yes", "Yes", "YES", "no", "No", "NO", "=")],
    *[
        (w, Ambiguous(w))
        for w in ("on", "On", "ON", "off", "Off", "OFF", "<<", "0b1", "-0b1", "-0x1F", "1_000", "0x_1")
    ],
    *[(w, Ambiguous(w)) for w in ("12:30", "190:20:30", "12:30.5", "1_0.5", "2026-01-02", "2026-1-2")],
    *[(w, Ambiguous(w)) for w in ("2026-01-02T10:00:00Z", "2026-01-02 10:00:00.5 +02:00", "2026-01-02t10:00:00-5")],
    *[
        (w, w)
        for w in ("tRUE", "nULL", "yEs", "nil", "none", ".", "..", "1.0.0", "-", "+", "1e", "e1", "0o8", "0xg", "0b2")
    ],
    *[
        (w, w)
        for w in ("8080:80", "1.2.3.4", "12-30", "2026-01", "1,000", "1a", "a1", "web-7k2m9q", "3 apples", "${a}", "é")
    ],
    *[(w, w) for w in ("+a", ".a", "1__a", "12:3x", "2026-01-02x", "0.0.0", "1.5.", "agent:bob", "http://x/y#z")],
]


@pytest.mark.parametrize(("text", "value"), CORE)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    data = parse_document(f"a: {text}\nb:\n  - {text}\n".encode(), "x").data if text != "-" else {"a": "-", "b": ["-"]}
    assert data is not None
    for read in (data["a"], data["b"][0]):
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize("text", [text for text, _ in CORE if text])
def test_quoted_and_block_scalars_are_text(text: str) -> None:
    source = f"a: '{text}'\nb: \"{text}\"\nc: |-\n  {text}\nd: >-\n  {text}\n"
    data = parse_document(source.encode(), "x").data
    assert data == dict.fromkeys("abcd", text)
    assert all(type(value) is str for value in data.values())


def test_keys_that_yaml_1_1_misreads_are_text() -> None:
    data = parse_document(b"on: 1\nyes: 2\n2026-01-02: 3\n'1': 4\n\"\": 5\n'<<': 6\n", "x").data
    assert data == {"on": 1, "yes": 2, "2026-01-02": 3, "1": 4, "": 5, "<<": 6}


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("a: 1", {"a": 1}),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: |\n  x\ty\n  \tz\n", {"a": "x\ty\n\tz\n"}),
        ("a: |\n  <<<<<<< HEAD\n  =======\n  >>>>>>> x\n", {"a": "<<<<<<< HEAD\n=======\n>>>>>>> x\n"}),
        ('a: "\\t\\n\\u00e9\\U0001F600"\n', {"a": "\t\né😀"}),
        ("a: why? because\nb: '? x'\n# ? c\nd: |\n  ? e\n", {"a": "why? because", "b": "? x", "d": "? e\n"}),
        ("?a: 1\nb: x ? y\nc: |\n  x\ty\n", {"?a": 1, "b": "x ? y", "c": "x\ty\n"}),
        ("a: {x, y: , z: [1, {b: c}]}\n", {"a": {"x": None, "y": None, "z": [1, {"b": "c"}]}}),
        ("a:\r\n- x\r\n- |\r\n  y\r\n  z\r\n", {"a": ["x", "y\nz\n"]}),
        ("a: " + "[" * 31 + "]" * 31, None),
        ("a: [" + "{b: []}, " * 40 + "]\n", {"a": [{"b": []}] * 40}),
        ("a: 👩‍👩‍👧 \u200e\u05d0\n", {"a": "👩‍👩‍👧 \u200e\u05d0"}),
    ],
)
def test_what_is_allowed(source: str, data: object) -> None:
    doc = parse_document(source.encode(), "x")
    assert doc.problems == ()
    assert doc.data == data or data is None


def test_problems_are_capped() -> None:
    assert len(parse_document(b"a: &x 1\n" * 500, "x").problems) == 50


HOSTILE = {
    "brackets": b"[" * 200_000,
    "brackets in a value": b"a: " + b"[" * MAX_BYTES,
    "braces": b"a: " + b"{" * 1_000_000,
    "collection keys": b"{" * 13 + b"}" * 13 + b":" + b"?" * 12,
    "question marks": b"? " * 500_000,
    "dashes": b"- " * 500_000,
    "items": b"a:\n" + b"- \n" * 300_000,
    "keys": b"".join(b"k%d: v\n" % i for i in range(90_000)),
    "duplicates": b"a: 1\n" * 150_000,
    "tabs": b"a:\t1\n" * 200_000,
    "tabs and block text": b"".join(b"k%d: |\n  x\ty\n" % i for i in range(60_000)),
    "conflict marks": b"<<<<<<< x\n" * 100_000,
    "control characters": b"a: \x01" * 200_000,
    "bombs": b"a: &a [*a]\n" + b"b: &b [*a,*a,*a]\n" * 60_000,
    "tags": b"!x " * 300_000,
    "digits": b"a: " + b"9" * 1_000_000,
    "exponent": b"a: 1e" + b"9" * 1_000_000,
    "colons": b"a: 1" + b":1" * 500_000,
    "a long key": b"a" * 1_000_000 + b": 1",
    "deep blocks": b"".join(b" " * i + b"a:\n" for i in range(1400)),
    "directives": b"%FOO x\n" * 140_000,
    "documents": b"---\n" * 250_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_cost_little(case: str) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: other tests have had theirs
    before, start = memory("VmRSS"), time.process_time()
    parse_document(HOSTILE[case], "x")
    assert time.process_time() - start < 2
    assert memory("VmHWM") - before < 200 * 1024


def memory(name: str) -> int:
    """What this process has of that kind of memory now, in KiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0])


@given(st.binary(max_size=60) | st.text(alphabet="ab:-?[]{},&*!|>'\"%#\n\t \\<", max_size=60).map(str.encode))
def test_any_bytes_give_data_or_problems(content: bytes) -> None:
    doc = parse_document(content, "x")
    assert (doc.data is None) == bool(doc.problems)
    assert all(p.line >= 1 and p.column >= 1 for p in doc.problems)


# --- files -------------------------------------------------------------------------------------------------------


def test_reads_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: x\r\n")
    doc = read_document(tmp_path / "a.yaml", "tasks/a.yaml")
    assert doc == Document("tasks/a.yaml", b"name: x\r\n", {"name": "x"})
    assert doc.sha256 == hashlib.sha256(b"name: x\r\n").hexdigest()


def _link(path: Path) -> None:
    path.with_name("target").write_text("a: 1\n")
    path.symlink_to(path.with_name("target"))


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(100 * MAX_BYTES)


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (_link, "DT101", "symbolic link"),
        (Path.mkdir, "DT101", "not a regular file"),
        (os.mkfifo, "DT101", "not a regular file"),
        (lambda path: None, "DT101", "No such file"),
        (_sparse, "DT105", "1 MiB"),
    ],
)
def test_what_is_no_plain_file_is_a_problem(tmp_path: Path, make: object, code: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    make(path)  # type: ignore[operator]
    doc = read_document(path, "a.yaml")
    assert (doc.data, [p.code for p in doc.problems]) == (None, [code])
    assert message in doc.problems[0].message


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    _sparse(tmp_path / "a.yaml")
    tracemalloc.start()
    try:
        read_document(tmp_path / "a.yaml", "a.yaml")
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_unreadable_files_leave_no_descriptor_open(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        read_document(tmp_path, "a.yaml")
    assert len(list(descriptors.iterdir())) == before


# --- places ------------------------------------------------------------------------------------------------------

PLACES = """\
# head
name: Ship é it
due:
labels: [ui, 'it''s', "a\\tb"]
description: |
  first line
    second ${x} line

  last
folded: >
  one
  two
steps:
  - name: a
    if: |-2
       x
  -
    name: b
meta:
  é é: {k: v}
"""


@pytest.mark.parametrize(
    ("finding", "place"),
    [
        (Finding(("name",), "X", ""), (2, 7)),
        (Finding(("name",), "X", "", on_key=True), (2, 1)),
        (Finding(("name",), "X", "", offset=5), (2, 12)),
        (Finding(("due",), "X", ""), (3, 5)),
        (Finding(("labels",), "X", ""), (4, 9)),
        (Finding(("labels", 1), "X", ""), (4, 14)),
        (Finding(("labels", 1), "X", "", offset=3), (4, 19)),
        (Finding(("labels", 2), "X", "", offset=2), (4, 27)),
        (Finding(("labels", 7), "X", ""), (4, 1)),
        (Finding(("description",), "X", ""), (5, 14)),
        (Finding(("description",), "X", "", offset=0), (6, 3)),
        (Finding(("description",), "X", "", offset=20), (7, 12)),
        (Finding(("description",), "X", "", offset=33), (9, 5)),
        (Finding(("folded",), "X", "", offset=5), (10, 9)),
        (Finding(("steps",), "X", ""), (13, 1)),
        (Finding(("steps", 0, "if"), "X", "", offset=1), (16, 8)),
        (Finding(("steps", 1, "name"), "X", ""), (18, 11)),
        (Finding(("steps", 1, "missing"), "X", ""), (18, 5)),
        (Finding(("meta", "é é", "k"), "X", ""), (20, 12)),
        (Finding(("meta", "é é", "k", "deeper"), "X", ""), (20, 9)),
        (Finding(("missing", "x"), "X", ""), (2, 1)),
        (Finding((), "X", ""), (2, 1)),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_findings_get_their_place(finding: Finding, place: tuple[int, int], newline: str) -> None:
    doc = parse_document(PLACES.replace("\n", newline).encode(), "x.yaml")
    problem = doc.problem(finding)
    assert (problem.path, problem.line, problem.column, problem.code) == ("x.yaml", *place, "X")


def test_sources_are_what_is_written() -> None:
    doc = parse_document(b"a: 1.10\nb: ['no', 012]\nc:\n", "x")
    sources = [doc.source_of(loc) for loc in (("a",), ("b", 0), ("b", 1), ("c",), ("d",))]
    assert sources == ["1.10", "'no'", "012", "", ""]


# --- without libyaml -----------------------------------------------------------------------------------------------

SLOW = """
import sys
sys.modules["yaml._yaml"] = None
import yaml
assert not yaml.__with_libyaml__
from pathlib import Path
from dagtasks.store.documents import parse_document
for name in sys.argv[1:]:
    doc = parse_document(Path(name).read_bytes(), "x")
    print(ascii((doc.data, [(p.line, p.column, p.code) for p in doc.problems])))
"""


def test_the_slow_parser_gives_the_same_answers(tmp_path: Path) -> None:
    names = [str(path) for path in CORPUS]
    for number, case in enumerate(("duplicate key", "anchor", "conflict", "too deep", "escaped bidi", "BOM")):
        source = BAD[case][0]
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        names.append(str(path))
    run = subprocess.run([sys.executable, "-c", SLOW, *names], capture_output=True, text=True, check=True)
    docs = [parse_document(Path(name).read_bytes(), "x") for name in names]
    expected = [ascii((doc.data, [(p.line, p.column, p.code) for p in doc.problems])) for doc in docs]
    assert run.stdout.splitlines() == expected


def test_the_corpus_can_be_read() -> None:
    assert len(CORPUS) >= 10
    assert [p for path in CORPUS for p in read_document(path, path.name).problems] == []
