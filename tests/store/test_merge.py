"""The merge of two versions field by field: exact results, and properties against a model of what a merge is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dagtasks.errors import Conflict
from dagtasks.model.summary import TASK_KEYS
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.edits import add_item, set_value
from dagtasks.store.emitter import is_same, make_document
from dagtasks.store.merge import WHOLE_FILE, Marks, main, merge

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.yaml"))

TASK = """\
# The head of the file.
name: Ship the login page

status: planned

priority: high # as Bo said

assignee:

labels:
  - bug
  - ui

depends_on:

description: |
  One.

  Two.

  Three.

metadata:
  area: web
  size: 3

workflows:
  check:
    template: basic_task
    parameters:
      task_name: login
      args: [a, b]
    run_on:
      - in_progress
"""


def changed(*changes: tuple[str, str], text: str = TASK) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


Change = tuple[str, str]
# name -> changes of one side, changes of the other, changes that the merge holds
CLEAN: dict[str, tuple[list[Change], list[Change], list[Change]]] = {
    "neighbours": (
        [("status: planned", "status: blocked")],
        [("priority: high", "priority: low")],
        [("status: planned", "status: blocked"), ("priority: high", "priority: low")],
    ),
    "value and comment": (
        [("priority: high", "priority: low")],
        [("as Bo said", "as Cy said")],
        [("priority: high # as Bo", "priority: low # as Cy")],
    ),
    "the same change": ([("planned", "blocked")], [("planned", "blocked")], [("planned", "blocked")]),
    "the same value, written differently": ([("planned", '"blocked"')], [("planned", "blocked")], [("planned", '"blocked"')]),
    "one gap of a list": (
        [("  - bug\n", "  - bug\n  - css\n")],
        [("  - bug\n", "  - bug\n  - api\n  - nav\n")],
        [("  - bug\n", "  - bug\n  - api\n  - css\n  - nav\n")],
    ),
    "added and removed": ([("  - ui\n", "  - ui\n  - web\n")], [("  - ui\n", "")], [("  - ui\n", "  - web\n")]),
    "both removed the last ones": (
        [("  - bug\n", "")],
        [("  - ui\n", "")],
        [("labels:\n  - bug\n  - ui\n", "labels:\n")],
    ),
    "the first item of both": (
        [("depends_on:\n", "depends_on:\n  - web-000002\n")],
        [("depends_on:\n", "depends_on:\n  - web-000001\n")],
        [("depends_on:\n", "depends_on:\n  - web-000001\n  - web-000002\n")],
    ),
    "the first item of both, one in brackets": (
        [("depends_on:\n", "depends_on: [web-000002] # c\n")],
        [("depends_on:\n", "depends_on:\n    - web-000001\n")],
        [("depends_on:\n", "depends_on: # c\n    - web-000001\n    - web-000002\n")],
    ),
    "a list put into brackets": (
        [("labels:\n  - bug\n  - ui\n", "labels: [bug, ui]\n")],
        [("  - bug\n", "  - bug\n  - css\n")],
        [("  - bug\n", "  - bug\n  - css\n")],
    ),
    "a comment on an item": (
        [("  - bug\n", "  - bug # really\n")],
        [("  - bug\n", "  - api\n  - bug\n")],
        [("  - bug\n", "  - api\n  - bug # really\n")],
    ),
    "neighbours in a map": (
        [("area: web", "area: app")],
        [("size: 3", "size: 5")],
        [("area: web\n  size: 3", "area: app\n  size: 5")],
    ),
    "one gap of a map": (
        [("  area: web\n", "  area: web\n  bore: 1\n")],
        [("  area: web\n", "  area: web\n  axle: 2\n  note: |\n    # no comment\n")],
        [("  area: web\n", "  area: web\n  axle: 2\n  bore: 1\n  note: |\n    # no comment\n")],
    ),
    "a key removed, its neighbour changed": (
        [("  area: web\n", "")],
        [("size: 3", "size: 5")],
        [("  area: web\n  size: 3", "  size: 5")],
    ),
    "deep in a map": (
        [("task_name: login", "task_name: logout")],
        [("- in_progress", "- completed\n      - in_progress"), ("      args", "      more: 1\n      args")],
        [
            ("task_name: login", "task_name: logout\n      more: 1"),
            ("- in_progress", "- completed\n      - in_progress"),
        ],
    ),
    "another workflow on each side": (
        [("      - in_progress\n", "      - in_progress\n  lint:\n    template: basic_task\n")],
        [("      - in_progress\n", "      - in_progress\n  deploy:\n    template: basic_task\n")],
        [
            (
                "      - in_progress\n",
                "      - in_progress\n  deploy:\n    template: basic_task\n  lint:\n    template: basic_task\n",
            )
        ],
    ),
    "text far apart": (
        [("One.", "One!")],
        [("Three.", "Three!\n  Four.")],
        [("One.", "One!"), ("Three.", "Three!\n  Four.")],
    ),
    "comments": (
        [("# The head", "# The new head")],
        [("status: planned", "# why?\nstatus: planned")],
        [("# The head", "# The new head"), ("status: planned", "# why?\nstatus: planned")],
    ),
    "an unknown key on each side": (
        [("metadata:", "zeta: [1,\n  2]\n\nmetadata:")],
        [("metadata:", "alpha: 'x'\n\nmetadata:")],
        [("metadata:", "alpha: 'x'\n\nzeta: [1,\n  2]\n\nmetadata:")],
    ),
    "a key removed": ([("assignee:\n\n", "")], [("status: planned", "status: blocked")], [("assignee:\n\n", ""), ("status: planned", "status: blocked")]),
    "other gaps": (
        [("\n\nassignee", "\n\n\nassignee")],
        [("\n\nassignee", "\n\n\n\nassignee")],
        [("\n\nassignee", "\n\n\n\nassignee")],
    ),
    "words in no order at one place": (
        [("  - ui\n", "  - ui\n  - z\n  - a\n")],
        [("  - ui\n", "  - ui\n  - y\n  - b\n")],
        [("  - ui\n", "  - ui\n  - y\n  - b\n  - z\n  - a\n")],
    ),
    "a list of free data, both add": (
        [("area: web", "area: web\n  who:\n    - ann\n    - bo")],
        [("area: web", "area: web\n  who:\n    - ann\n    - cy")],
        [("area: web", "area: web\n  who:\n    - ann\n    - bo\n    - cy")],
    ),
    "a list indented deeper": (
        [("  - bug\n  - ui\n", "    - bug\n    - ui\n")],
        [("  - bug\n", "  - bug\n  - css\n")],
        [("  - bug\n  - ui\n", "    - bug\n    - css\n    - ui\n")],
    ),
    "moved keys": (
        [("name: Ship the login page\n\nstatus: planned\n", "status: planned\n\nname: Ship the login page\n")],
        [("planned", "blocked")],
        [("name: Ship the login page\n\nstatus: planned\n", "status: blocked\n\nname: Ship the login page\n")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "both"), CLEAN.values(), ids=CLEAN)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_clean(ours: list[Change], theirs: list[Change], both: list[Change], newline: str, is_swapped: bool) -> None:
    sides = [changed(*ours), changed(*theirs)]
    base, one, other, want = (
        text.replace("\n", newline).encode() for text in (TASK, *sides[:: -1 if is_swapped else 1], changed(*both))
    )
    assert merge(base, one, other) == (want, ())


# name -> changes of one side, of the other, the fields in conflict, the text with marks
CONFLICTS: dict[str, tuple[list[Change], list[Change], list[str], list[Change]]] = {
    "a scalar": (
        [("planned", "blocked")],
        [("planned", "completed"), ("area: web", "area: app")],
        ["status"],
        [
            (
                "status: planned\n",
                "<<<<<<< ours\nstatus: blocked\n||||||| base\nstatus: planned\n=======\nstatus: completed\n>>>>>>> theirs\n",
            ),
            ("area: web", "area: app"),
        ],
    ),
    "in a map": (
        [("area: web", "area: app")],
        [("area: web", "area: db"), ("size: 3", "size: 4")],
        ["metadata.area"],
        [
            (
                "  area: web\n",
                "<<<<<<< ours\n  area: app\n||||||| base\n  area: web\n=======\n  area: db\n>>>>>>> theirs\n",
            ),
            ("size: 3", "size: 4"),
        ],
    ),
    "a line of text": (
        [("Two.", "2."), ("One.", "1.")],
        [("Two.", "II.")],
        ["description"],
        [
            ("One.", "1."),
            ("  Two.\n", "<<<<<<< ours\n  2.\n||||||| base\n  Two.\n=======\n  II.\n>>>>>>> theirs\n"),
        ],
    ),
    "changed and removed": (
        [("  area: web\n", "")],
        [("area: web", "area: db")],
        ["metadata.area"],
        [("  area: web\n", "<<<<<<< ours\n||||||| base\n  area: web\n=======\n  area: db\n>>>>>>> theirs\n")],
    ),
    "filled on both sides": (
        [("assignee:", "assignee: ann")],
        [("assignee:", "assignee: bo")],
        ["assignee"],
        [
            (
                "assignee:\n",
                "<<<<<<< ours\nassignee: ann\n||||||| base\nassignee:\n=======\nassignee: bo\n>>>>>>> theirs\n",
            )
        ],
    ),
    "changed, and removed with the comment above": (
        [("assignee:", "# by hand\nassignee:")],
        [("assignee:\n\n", "")],
        ["assignee"],
        [
            (
                "assignee:\n",
                "<<<<<<< ours\n# by hand\nassignee:\n||||||| base\nassignee:\n=======\n>>>>>>> theirs\n",
            ),
        ],
    ),
    "a number and text": (
        [("size: 3", "size: 4")],
        [("size: 3", 'size: "4"')],
        ["metadata.size"],
        [
            (
                "  size: 3\n",
                '<<<<<<< ours\n  size: 4\n||||||| base\n  size: 3\n=======\n  size: "4"\n>>>>>>> theirs\n',
            )
        ],
    ),
    "a map indented deeper": (
        [("  area: web\n  size: 3\n", "    area: web\n    size: 3\n")],
        [("  area: web\n", "  area: app\n")],
        ["metadata"],
        [
            (
                "  area: web\n  size: 3\n",
                "<<<<<<< ours\n    area: web\n    size: 3\n||||||| base\n  area: web\n  size: 3\n=======\n  area: app\n  size: 3\n>>>>>>> theirs\n",
            )
        ],
    ),
    "an ordered list": (
        [("args: [a, b]", "args: [a, b, c]")],
        [("args: [a, b]", "args: [a, b, d]")],
        ["workflows.check.parameters.args"],
        [
            (
                "      args: [a, b]\n",
                "<<<<<<< ours\n      args: [a, b, c]\n||||||| base\n      args: [a, b]\n=======\n      args: [a, b, d]\n>>>>>>> theirs\n",
            )
        ],
    ),
    "a list and something else": (
        [("labels:\n  - bug\n  - ui\n", "labels: many\n")],
        [("  - ui\n", "")],
        ["labels"],
        [
            (
                "labels:\n  - bug\n  - ui\n",
                "<<<<<<< ours\nlabels: many\n||||||| base\nlabels:\n  - bug\n  - ui\n=======\nlabels:\n  - bug\n>>>>>>> theirs\n",
            )
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "fields", "marked"), CONFLICTS.values(), ids=CONFLICTS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_conflicts(
    ours: list[Change], theirs: list[Change], fields: list[str], marked: list[Change], newline: str
) -> None:
    texts = (TASK, changed(*ours), changed(*theirs), changed(*marked))
    base, one, other, want = (text.replace("\n", newline).encode() for text in texts)
    assert merge(base, one, other) == (want, tuple(fields))


def test_two_tasks_made_with_one_id_are_never_blended() -> None:
    merged = merge(b"", b"name: a\n\nstatus: planned\n", b"name: b\n\nstatus: planned\n")
    assert merged.conflicts == (WHOLE_FILE,)
    assert merged.content.decode() == (
        "<<<<<<< ours\nname: a\n\nstatus: planned\n||||||| base\n=======\nname: b\n\nstatus: planned\n>>>>>>> theirs\n"
    )


# What cannot be taken apart safely is merged by lines, as Git does it: base, ours, theirs, what comes out.
UNCLEAR = {
    "no YAML": ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
    "an open quote": ('a: "x\nb: 1\nc: y"\nd: 1\n', 'a: "x\nb: 1\nc: z"\nd: 1\n', 'a: "x\nb: 1\nc: y"\nd: 2\n', None),
    "a key twice": ("a: 1\nb: 1\na: 2\n", "a: 3\nb: 1\na: 2\n", "a: 1\nb: 1\na: 4\n", "a: 3\nb: 1\na: 4\n"),
    "an anchor": ("a: &x 1\n\nb: 2\n", "a: &x 3\n\nb: 2\n", "a: &x 1\n\nb: 4\n", "a: &x 3\n\nb: 4\n"),
    "not UTF-8": ("a: \udcff\n\nb: 1\n", "a: \udcfe\n\nb: 1\n", "a: \udcff\n\nb: 2\n", "a: \udcfe\n\nb: 2\n"),
    "mixed line ends": ("a: 1\r\nb: 1\nc: 1\n", "a: 2\r\nb: 1\nc: 1\n", "a: 1\r\nb: 1\nc: 2\n", "a: 2\r\nb: 1\nc: 2\n"),
    "mixed line ends side by side": ("a: 1\r\nb: 1\n", "a: 2\r\nb: 1\n", "a: 1\r\nb: 2\n", None),
    "an open bracket": ("a: [x\nb: 1\nc: y]\nd: 1\n", "a: [x\nb: 1\nc: z]\nd: 1\n", "a: [x\nb: 1\nc: y]\nd: 2\n", None),
    "words behind quotes": ('a: "x" y\nb: 1\n', 'a: "z" y\nb: 1\n', 'a: "x" y\nb: 2\n', None),
    "an anchor side by side": ("a: &x 1\nb: 2\n", "a: &x 3\nb: 2\n", "a: &x 1\nb: 4\n", None),
    "a second document": ("a: 1\n...\nb: 1\n", "a: 2\n...\nb: 1\n", "a: 1\n---\nb: 1\n", None),
    "marks in it": ("<<<<<<< x\na: 1\n", "<<<<<<< y\na: 1\n", "<<<<<<< x\na: 1\nb: 2\n", "<<<<<<< y\na: 1\nb: 2\n"),
}  # fmt: skip


@pytest.mark.parametrize(("base", "ours", "theirs", "want"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_unclear_is_merged_by_lines(base: str, ours: str, theirs: str, want: str | None) -> None:
    merged = merge(*(text.encode("utf-8", "surrogateescape") for text in (base, ours, theirs)))
    if want is None:
        assert merged.conflicts == (WHOLE_FILE,)
    else:
        assert merged == (want.encode("utf-8", "surrogateescape"), ())


@pytest.mark.parametrize(
    "ends", [(True, True, False), (True, False, True), (False, True, False), (False, False, False)]
)
def test_the_final_newline_is_merged_too(ends: tuple[bool, bool, bool]) -> None:
    def side(text: str, has_end: bool) -> bytes:
        return (text + "\n" * has_end).encode()

    merged = merge(
        side("a: 1\nb: 1\nc: 1", ends[0]), side("a: 2\nb: 1\nc: 1", ends[1]), side("a: 1\nb: 2\nc: 1", ends[2])
    )
    assert merged == (side("a: 2\nb: 2\nc: 1", ends[1] if ends[1] != ends[0] else ends[2]), ())


def test_a_text_that_comes_to_be_the_last_keeps_its_line_end() -> None:
    merged = merge(b"a: x\nb: |-\n  y", b"a: x", b"a: |\n  1\n  2\nb: |-\n  y")
    assert merged == (b"a: |\n  1\n  2\n", ())


def test_a_text_with_its_empty_lines_gets_no_more_of_them() -> None:
    base = b"a: |+\n  x\n\nb: 1\nc: 1\n\nd: 1\n"
    assert merge(base, b"a: |+\n  x\n\nc: 1\n\nd: 1\n", b"a: |+\n  x\n\nb: 1\n\nd: 1\n").content == (
        b"a: |+\n  x\n\nd: 1\n"
    )


def test_blanks_that_are_part_of_a_text_stay_with_it() -> None:
    base = b"a: |-\n  x\n    \n\nb: 1\n"
    merged = merge(base, b"a: |-\n  x\n    \n", base + b"\nc: 1\n")
    assert merged == (b"a: |-\n  x\n    \n\nc: 1\n", ())


def test_blanks_of_a_gap_do_not_become_part_of_a_text() -> None:
    base = b"a: 1\n      \nb: 1\n"
    merged = merge(base, b"a: |\n  x\n      \nb: 1\n".replace(b"      ", b""), base.replace(b"b: 1", b"b: 2"))
    assert parse_document(merged.content, "x").data == {"a": "x\n", "b": 2}


def test_a_key_that_comes_to_stand_below_kept_text_brings_no_empty_line() -> None:
    base = b"a: |+\n  x\nb: 1\n"
    merged = merge(base, base + b"\nc: 1\n", b"a: |+\n  x\n")
    assert merged == (b"a: |+\n  x\nc: 1\n", ())


def test_kept_text_is_known_from_lines_of_text_that_look_like_it() -> None:
    base = b"m:\n  a: |+\n    x |\n\nb: 1\n\nc: 1\n"
    merged = merge(base, base.replace(b"b: 1", b"b: 2"), base.replace(b"c: 1", b"c: 2"))
    assert merged == (b"m:\n  a: |+\n    x |\n\nb: 2\n\nc: 2\n", ())


def test_a_merge_that_would_leave_nothing_is_a_conflict() -> None:
    for head, tail in ((b"", b""), (b"", b"\n# c\n"), (b"---\n", b"")):
        merged = merge(*(head + text + tail for text in (b"a: 1\n\nb: 1\n", b"a: 1\n", b"b: 1\n")))
        assert merged.conflicts == (WHOLE_FILE,)
        assert b"a: 1\n" in merged.content
        assert b"b: 1\n" in merged.content


def test_a_conflict_does_not_end_the_last_line_of_a_text() -> None:
    base = b"a: 1\nb: |\n  x"
    merged = merge(base, b"a: 2\nb: |\n  x", b"a: 3\nb: |\n  x")
    assert merged.conflicts == ("a",)
    assert merged.content.endswith(b"b: |\n  x")


def test_gaps_round_a_comment_are_no_conflict() -> None:
    base = b"a: 1\n\n# c\n\n\nb: 1\n"
    merged = merge(base, base.replace(b"\n\n# c", b"\n\n\n# c"), base.replace(b"\n\n# c", b"\n# c"))
    assert merged == (base.replace(b"\n\n# c", b"\n\n\n# c"), ())


@pytest.mark.parametrize("key", ["-k", "?k", "k#k", "a:b", "'q' ", '"x: y"', "two words", "日本", "it's"])
def test_keys_of_all_kinds(key: str) -> None:
    base = f"---\n{key}: 1\nb: 1\n"
    merged = merge(
        *(text.encode() for text in (base, base.replace(f"{key}: 1", f"{key}: 2"), base.replace("b: 1", "b: 2")))
    )
    assert merged == (f"---\n{key}: 2\nb: 2\n".encode(), ())


def test_brackets_over_lines_and_the_end_of_the_document() -> None:
    base = b"---\na: [\n  1,\n]\nb: 1\nc: 1\n...\n# end\n"
    merged = merge(base, base.replace(b"b: 1", b"b: 2"), base.replace(b"c: 1", b"c: 2"))
    assert merged == (b"---\na: [\n  1,\n]\nb: 2\nc: 2\n...\n# end\n", ())


def test_lines_keep_their_order_below_text_with_its_empty_lines() -> None:
    base = b"a: |+\n  x\n# c\n\nb: 1\nc: 1\n"
    merged = merge(base, base.replace(b"b: 1", b"b: 2"), base.replace(b"c: 1", b"c: 2"))
    assert merged == (b"a: |+\n  x\n# c\n\nb: 2\nc: 2\n", ())


def test_an_empty_map_in_braces_is_filled() -> None:
    base = b"metadata:\n  a: {}\n"
    merged = merge(base, b"metadata:\n  a:\n    x: 1\n", b"metadata:\n  a:\n    y: 1\n")
    assert merged == (b"metadata:\n  a:\n    x: 1\n    y: 1\n", ())


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "field"),
    [
        ("labels: [a, a]\n", "labels: [a, a, b]\n", "labels: [a, a, c]\n", "labels"),
        ("metadata:\n  at: [1, 2]\n", "metadata:\n  at: [1, 3]\n", "metadata:\n  at: [4, 2]\n", "metadata.at"),
    ],
)
def test_lists_that_may_be_no_sets_are_not_blended(base: str, ours: str, theirs: str, field: str) -> None:
    assert merge(base.encode(), ours.encode(), theirs.encode()).conflicts == (field,)


def test_depth_beyond_the_dialect_is_merged_by_lines() -> None:
    def deep(value: str) -> bytes:
        return "".join(f"{' ' * level}k:\n" for level in range(900)).encode() + f"{' ' * 900}k: {value}\n".encode()

    merged = merge(deep("1"), deep("2"), deep("3"))
    assert merged.content.count(b"<<<<<<<") == 1
    assert len(merged.content.splitlines()) == 907


def test_marks_can_be_longer_and_named() -> None:
    merged = merge(b"a: 1\n", b"a: 2\n", b"a: 3\n", Marks(9, "root", "HEAD", "topic"))
    assert merged.content == b"<<<<<<<<< HEAD\na: 2\n||||||||| root\na: 1\n=========\na: 3\n>>>>>>>>> topic\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: " + " " * 300_000 + "b\n",
        "a" * 300_000 + "\n",
        'a: "' + '\\"' * 150_000 + "\n",
        "a: [" + "," * 300_000 + "\n",
        "a:\n" + "".join("  " * depth + "a:\n" for depth in range(1, 700)),
        "description: |\n" + "  x\n\n" * 60_000,
        "description: |\n" + "".join(f"  {n % 7}\n" for n in range(60_000)),
    ],
    ids=["blanks", "one word", "escapes", "commas", "deep", "two lines", "seven lines"],
)  # fmt: skip
def test_hostile_files_are_no_trouble(text: str) -> None:
    half = len(text) // 2
    ours, theirs = text + "z: 1\n", "y: 1\n" + text[:half] + text[half + 5 :]
    # 2 s is the limit of the whole program; a quadratic step would need minutes.
    code = "import sys, dagtasks.store.merge as m; m.merge(*(open(n, 'rb').read() for n in sys.argv[1:]))"
    run_merge(code, text, ours, theirs)


def run_merge(code: str, *texts: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, str(number)) for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            name.write_text(text)
        subprocess.run([sys.executable, "-c", code, *map(str, names)], check=True, timeout=6)


def test_the_driver_needs_the_standard_library_only() -> None:
    probe = "import sys; sys.path.append(sys.argv[1]); import dagtasks.store.merge; print(*sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe, str(root)], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - sys.stdlib_module_names <= {"dagtasks", "__main__"}
    assert not {"subprocess", "inspect", "asyncio", "tempfile"} & loaded


def test_main_rewrites_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [tmp_path / name for name in ("base", "ours", "theirs")]
    for name, value in zip(names, "123", strict=True):
        name.write_text(f"a: {value}\n\nb: {'4' if value == '3' else '0'}\n")
    assert main([*map(str, names), "8", "tasks/web/web-1.yaml", "%S", "HEAD", ""]) == 1
    assert names[1].read_text() == (
        "<<<<<<<< HEAD\na: 2\n|||||||| base\na: 1\n========\na: 3\n>>>>>>>> theirs\n\nb: 4\n"
    )
    assert capsys.readouterr().err == "dagtasks: tasks/web/web-1.yaml: both sides changed a\n"
    names[1].write_text("a: 1\n\nb: 0\n# c\n")
    assert main([str(name) for name in names]) == 0
    assert names[1].read_text() == "a: 3\n\nb: 4\n# c\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "ours", "theirs"]


# --- properties ---------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["ann", "bo", "planned", "no", "1.10", "x: y", "a # b", "", "'", "ü", "[", "- x"])
LABELS = st.lists(st.sampled_from(["api", "bug", "css", "doc", "no", "ui", "x y", "12"]), unique=True, max_size=4).map(
    sorted
)
TEXTS = st.lists(st.sampled_from(["a", "# b", "  c", "- d", "e: f", "", "<x"]), max_size=5).map("\n".join)
MAPS = st.dictionaries(st.sampled_from("abcde"), st.one_of(WORDS, st.integers(0, 9), st.none()), max_size=4)
TASKS = st.fixed_dictionaries(
    {
        "name": WORDS,
        "status": WORDS,
        "assignee": WORDS,
        "labels": LABELS,
        "description": TEXTS,
        "metadata": MAPS,
        "workflows": st.dictionaries(st.sampled_from(["check", "lint"]), MAPS, max_size=2),
    }
)
GONE = object()


def canonical(data: dict[str, Any]) -> bytes:
    return make_document({key: value if value else None for key, value in data.items()}, TASK_KEYS)


@st.composite
def three_tasks(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A task, and two versions of it in which some of the fields are others."""
    base, one, other = draw(TASKS), draw(TASKS), draw(TASKS)
    return base, *(
        {key: side[key] if draw(st.booleans()) else base[key] for key in base}
        for side in (one, other)
    )  # fmt: skip


def model_merge(base: Any, ours: Any, theirs: Any, path: tuple[str, ...] = ()) -> tuple[Any, set[str]]:
    """What the merge must say, and the fields in conflict: the meaning of a merge, without any text."""
    if ours == theirs or base == theirs:
        return ours, set()
    if base == ours:
        return theirs, set()
    if path == ("labels",):
        base, ours, theirs = (set(side or []) for side in (base, ours, theirs))
        return sorted((ours & theirs) | ((ours | theirs) - base)), set()
    if base is GONE and GONE not in (ours, theirs):
        return model_merge(None, ours, theirs, path)  # an empty value is as good as none
    maps = [side or {} for side in (base, ours, theirs)]
    if all(isinstance(side, dict) for side in maps) and GONE not in (ours, theirs):
        return model_merge_maps(maps, path)
    return None, {".".join(path)}


def model_merge_maps(maps: list[dict[str, Any]], path: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
    merged: dict[str, Any] = {}
    conflicts: set[str] = set()
    for name in sorted({*maps[1], *maps[2]}):
        value, found = model_merge(*(side.get(name, GONE) for side in maps), (*path, name))
        conflicts |= found
        if value is not GONE and not found:
            merged[name] = value
    return merged, conflicts


def resolved(content: bytes, side: str) -> dict[str, Any]:
    """The data when every conflict is decided for one side."""
    pattern = r"^<{7} ours\n(.*?)^\|{7} base\n.*?^={7}\n(.*?)^>{7} theirs\n"
    text = re.sub(pattern, r"\1" if side == "ours" else r"\2", content.decode(), flags=re.DOTALL | re.MULTILINE)
    document = parse_document(text.encode(), "merged")
    assert document.data is not None, (text, document.problems)
    return document.data


def without_empty(data: Any) -> Any:
    return {key: value for key, value in data.items() if value or value == 0} if isinstance(data, dict) else data


def at(data: Any, name: str) -> Any:
    for step in name.split("."):
        data = (data or {}).get(step)
    return data


@given(three_tasks())
@settings(max_examples=300, deadline=None)
def test_the_merge_says_what_the_model_says(tasks: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    base, ours, theirs = tasks
    contents = [canonical(task) for task in tasks]
    merged = merge(*contents)
    want, conflicts = model_merge(base, ours, theirs)
    event("conflict" if conflicts else "clean")
    # Text is merged by lines, and a workflow that one side removes is compared whole: both are finer or
    # coarser than the model, which is asked about everything else.
    found = {name for name in merged.conflicts if name != "description"}
    assert found == {name for name in conflicts if name != "description"}
    for side, data in (("ours", ours), ("theirs", theirs)):
        got = resolved(merged.content, side)
        for name in base:
            if name == "description":
                continue
            if not any(field.partition(".")[0] == name for field in conflicts):
                assert (without_empty(got[name]) or None) == (without_empty(want[name]) or None), name
        for field in found:
            assert at(got, field) == (at(data, field) or None) or at(got, field) == at(data, field)


@given(three_tasks())
@settings(max_examples=200, deadline=None)
def test_sides_can_be_swapped_and_merging_again_changes_nothing(
    tasks: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    base, ours, theirs = (canonical(task) for task in tasks)
    merged, mirrored = merge(base, ours, theirs), merge(base, theirs, ours)
    assert set(merged.conflicts) == set(mirrored.conflicts)
    assert resolved(merged.content, "ours") == resolved(mirrored.content, "theirs")
    if not merged.conflicts:
        assert merged.content == mirrored.content
        assert merge(base, merged.content, theirs).content == merged.content
        assert merge(theirs, merged.content, theirs).content == merged.content


VALUES = st.sampled_from(["x", "no", 1, None, "l1\nl2\n", ["a", "b"], {"k": "v", "z": [1]}, "a # b", " lead\n x"])
DOCUMENTS = [document for path in CORPUS if (document := parse_document(path.read_bytes(), path.name)).data]


@st.composite
def edited(draw: st.DrawFn, document: Document) -> tuple[str, Document]:
    """A key of the document (or a new one), and the document with an edit there, made as commands make it."""
    assert document.data is not None
    key = draw(st.sampled_from([*document.data, "new_a", "new_b"]))
    now = document.data.get(key)
    try:
        if isinstance(now, dict) and now and draw(st.booleans()):
            return key, set_value(document, (key, draw(st.sampled_from([*now, "new"]))), draw(VALUES))
        if isinstance(now, list) and now and draw(st.booleans()):
            return key, add_item(document, (key,), draw(st.sampled_from(["aa", "zz"])))
        return key, set_value(document, (key,), draw(VALUES))
    except Conflict:
        return key, document


@given(st.sampled_from(DOCUMENTS), st.data())
@settings(max_examples=200, deadline=None)
def test_edits_of_two_fields_of_awkward_files_are_both_kept(base: Document, data: st.DataObject) -> None:
    (key, ours), (other, theirs) = data.draw(edited(base)), data.draw(edited(base))
    if key == other:
        return
    merged = merge(base.content, ours.content, theirs.content)
    assert merged.conflicts == ()
    assert merged == merge(base.content, theirs.content, ours.content)
    want = {
        **(base.data or {}),
        **{k: doc.data[k] for k, doc in ((key, ours), (other, theirs)) if k in (doc.data or {})},
    }
    assert is_same(parse_document(merged.content, base.path).data, want)


@given(st.sampled_from(CORPUS), st.data())
@settings(max_examples=150, deadline=None)
def test_of_lines_added_to_awkward_files_none_is_lost(path: Path, data: st.DataObject) -> None:
    """Comments added anywhere by both sides: each stands in the merge, whatever the file looks like."""
    base = path.read_bytes()
    if not base.endswith(b"\n"):
        base += b"\r\n" if b"\r\n" in base else b"\n"
    lines = base.splitlines(keepends=True)
    places = [data.draw(st.integers(0, len(lines)), label=side) for side in ("ours", "theirs")]
    newline = b"\r\n" if b"\r\n" in base else b"\n"
    sides = [
        b"".join([*lines[:place], b"# note of " + who + newline, *lines[place:]])
        for who, place in zip((b"ours", b"theirs"), places, strict=True)
    ]
    merged = merge(base, *sides)
    assert merged.content.count(b"# note of ours") == 1
    assert merged.content.count(b"# note of theirs") == 1
    if not merged.conflicts:
        left = [line for line in merged.content.splitlines() if not line.startswith(b"# note of")]
        assert left == base.splitlines()
