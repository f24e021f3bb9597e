"""The canonical form: exact results, refusals, and that nothing but the order of lines changes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagtasks.errors import Conflict, DagtasksError, InvalidProject
from dagtasks.store.documents import parse_document
from dagtasks.store.emitter import make_document
from dagtasks.store.formatting import format_document

ORDER = ("name", "status", "labels", "description", "metadata")
CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.yaml"))


def formatted(text: str) -> str:
    return format_document(parse_document(text.encode(), "tasks/web/x.yaml"), ORDER).text


CASES = {
    "order and gaps": (
        "status: planned\nname: x\n\n\ndescription: d\nlabels:\nmetadata:\n\n\n",
        "name: x\n\nstatus: planned\n\nlabels:\n\ndescription: d\n\nmetadata:\n",
    ),
    "missing keys": ("name: x\n", "name: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n"),
    "unknown keys come last": (
        "zeta: 1\nname: x\nalpha: 2\nstatus:\nlabels:\ndescription:\nmetadata:\n",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n\nzeta: 1\n\nalpha: 2\n",
    ),
    "comments move along": (
        "# of the file\n\n# of status\nstatus: planned # s\n\n# of name\n\n# of name, too\nname: x\n# end\n",
        "# of the file\n\n# of name\n\n# of name, too\nname: x\n\n# of status\nstatus: planned # s\n\nlabels:\n\ndescription:\n\nmetadata:\n\n# end\n",
    ),
    "lists": (
        "name: x\nstatus:\nlabels: # why\n    # of b\n    - b # b\n\n    - 'a'\n    # end\ndescription:\nmetadata:\n",
        "name: x\n\nstatus:\n\nlabels: # why\n  - 'a'\n  # of b\n  - b # b\n  # end\n\ndescription:\n\nmetadata:\n",
    ),
    "lists in brackets": (
        'name: x\nstatus:\nlabels: [b, "no", a] # c\ndescription:\nmetadata:\n',
        'name: x\n\nstatus:\n\nlabels: # c\n  - a\n  - b\n  - "no"\n\ndescription:\n\nmetadata:\n',
    ),
    "an empty list": (
        "name: x\nstatus:\nlabels: []\ndescription:\nmetadata:\n",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n",
    ),
    "a list beside its key": (
        "name: x\nlabels:\n- b\n- a\nstatus:\ndescription:\nmetadata:\n",
        "name: x\n\nstatus:\n\nlabels:\n  - a\n  - b\n\ndescription:\n\nmetadata:\n",
    ),
    "metadata, deep": (
        "name: x\nstatus:\nlabels:\ndescription:\nmetadata:\n  b:\n    z: [2, 1]\n\n    # of y\n    y: |\n      # text\n\n      b\n  # of a\n  a: 1\n",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n  # of a\n  a: 1\n  b:\n    # of y\n    y: |\n      # text\n\n      b\n    z: [2, 1]\n",
    ),
    "text is left alone": (
        "name: x\ndescription: >-\n   b:   \n\n\n   - a\nstatus:\nlabels:\nmetadata: {b: 1, a: 2}",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription: >-\n   b:   \n\n\n   - a\n\nmetadata: {b: 1, a: 2}\n",
    ),
    "a map in braces over lines": (
        "name: x\nstatus:\nlabels:\ndescription:\nmetadata: {\n  b: 1,\n  a: 2\n}\n",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata: {\n  b: 1,\n  a: 2\n}\n",
    ),
    "text that keeps its empty lines": (
        "name: x\ndescription: |+\n  a\n\n\nstatus:\nlabels:\nmetadata:\n",
        "name: x\n\nstatus:\n\nlabels:\n\ndescription: |+\n  a\n\n\nmetadata:\n",
    ),
    "text that keeps empty lines and has none": (
        "name: x\nmetadata:\n  b: 1\n  a: |+\n    x\n\ndescription: |+\n  a\nstatus: y\nlabels:\n",
        "name: x\n\nstatus: y\n\nlabels:\n\ndescription: |+\n  a\nmetadata:\n  a: |+\n    x\n\n  b: 1\n",
    ),
    "text that ends with blanks": (
        "status:\nname: |\n  x\n     \nlabels:\ndescription:\nmetadata:\n",
        "name: |\n  x\n     \n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n",
    ),
    "a document start and end": (
        "--- # s\nstatus:\nname: x\n# e\n...\n  # f\n",
        "--- # s\nname: x\n\nstatus:\n\nlabels:\n\ndescription:\n\nmetadata:\n\n# e\n...\n# f\n",
    ),
    "comments that stand deeper": (
        "  # of status\nstatus:\nlabels:\n      # of b\n  - b\n  - a\nname: x\nmetadata:\n     # of n\n  n: 1\n  m: 2\n",
        "name: x\n\n# of status\nstatus:\n\nlabels:\n  - a\n  # of b\n  - b\n\ndescription:\n\nmetadata:\n  m: 2\n  # of n\n  n: 1\n",
    ),
    "a list in brackets over lines": (
        "name: x\nlabels: [\n  b,\n  a\n] # c\n",
        "name: x\n\nstatus:\n\nlabels: # c\n  - a\n  - b\n\ndescription:\n\nmetadata:\n",
    ),
    "a list in brackets above comments": (
        "name: x\nlabels: [b, a] # c\n  # d\n    # e\nstatus:\n",
        "name: x\n\nstatus:\n\nlabels: # c\n  - a\n  - b\n  # d\n  # e\n\ndescription:\n\nmetadata:\n",
    ),
    "brackets with comments and quotes in them": (
        "name: x\nextra: [it's, # don't\n  a]\n'status' : y\n",
        "name: x\n\n'status' : y\n\nlabels:\n\ndescription:\n\nmetadata:\n\nextra: [it's, # don't\n  a]\n",
    ),
    "CRLF": ("status: a\r\nname: x\r\nlabels:\r\ndescription:\r\nmetadata:", "name: x\r\n\r\nstatus: a\r\n\r\nlabels:\r\n\r\ndescription:\r\n\r\nmetadata:\r\n"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "want"), CASES.values(), ids=CASES)
def test_canonical(text: str, want: str) -> None:
    assert formatted(text) == want
    assert formatted(want) == want


def test_what_is_canonical_is_the_same_document() -> None:
    document = parse_document(formatted("name: x\n").encode(), "x")
    assert format_document(document, ORDER) is document


REFUSED = {
    "a comment in brackets": ("name: x\nlabels: [b, # c\n  a]\n", Conflict, "over several lines"),
    "lists in a list": ("name: x\nlabels: [b, [c]]\n", Conflict, "more than words"),
    "an item over lines": ("name: x\nlabels:\n  - a\n    b\n", Conflict, "more than a word"),
    "unreadable": ("name: [\n", InvalidProject, "cannot be read"),
    "text without a line end": ("name: x\ndescription: |\n  a", Conflict, "something else"),
}


@pytest.mark.parametrize(("text", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_with_the_reason(text: str, error: type[DagtasksError], reason: str) -> None:
    with pytest.raises(error, match=re.escape(reason)):
        formatted(text)


SCALARS = st.one_of(
    st.sampled_from(["a", "no", "1.10", "x: y", "# b", "l1\nl2\n", " l\n\nm", ""]), st.integers(0, 9), st.booleans()
)
DATA = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "status": SCALARS,
        "labels": st.lists(st.sampled_from(["b", "a", "no", "ü"]), max_size=4),
        "description": SCALARS,
        "metadata": st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from(["b", "a", "no"]), inner, max_size=3), max_leaves=6),
        "extra": SCALARS,
    },
)  # fmt: skip


@given(DATA)
@settings(max_examples=100, deadline=None)
def test_new_files_are_canonical(data: dict[str, Any]) -> None:
    text = make_document(data, ORDER).decode()
    if len(set(data.get("labels") or [])) == len(data.get("labels") or []):
        assert formatted(text) == text


@given(DATA, st.randoms())
@settings(max_examples=100, deadline=None)
def test_shuffled_files_become_canonical(data: dict[str, Any], random: Any) -> None:
    if len(set(data.get("labels") or [])) != len(data.get("labels") or []):
        return
    want = make_document(data, ORDER).decode()
    parts = re.split(r"\n\n(?=[a-z]+:)", want.removesuffix("\n"))
    random.shuffle(parts)
    gap = random.choice(["\n", "\n\n", "\n\n\n"])
    names = [*ORDER, *(name for name in data if name not in ORDER)]
    assert formatted(gap.join(parts) + "\n") == want or len(names) > len(ORDER) + 1


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_awkward_files_keep_their_data_and_comments_or_are_refused(path: Path) -> None:
    before = parse_document(path.read_bytes(), path.name)
    try:
        after = format_document(before, ORDER)
    except Conflict:
        return
    assert Counter(re.findall("#.*", after.text)) == Counter(re.findall("#.*", before.text))
    assert before.data is not None
    assert after.data is not None
    for key, value in before.data.items():
        same = sorted(value) if key in ("labels", "depends_on") and value else value
        assert after.data[key] == (same if same != [] else None) or after.data[key] == same
    assert format_document(after, ORDER) is after


def test_most_awkward_files_are_not_refused() -> None:
    refused = 0
    for path in CORPUS:
        try:
            format_document(parse_document(path.read_bytes(), path.name), ORDER)
        except Conflict:
            refused += 1
    assert refused <= len(CORPUS) // 3
