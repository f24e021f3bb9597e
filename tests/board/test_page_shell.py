"""The chrome round a page: what is left out of it, and what stays."""

from __future__ import annotations

import pytest

from dagtasks.board.shell import tidy

EMPTY = """<div class="md-sidebar md-sidebar--secondary" data-md-type="toc" {}>
  <div class="md-sidebar__scrollwrap">
    <div class="md-sidebar__inner">
      <nav aria-label="Table of contents">
        {}
      </nav>
    </div>
  </div>
</div>"""


@pytest.mark.parametrize(("chrome", "want"), [
    ("<p>\n    one\n\n  <b>two</b> three</p>", "<p>\none\n<b>two</b> three</p>"),
    ("<pre>\n    one\n  two</pre>\n  <p>", "<pre>\n    one\n  two</pre>\n<p>"),
    ("<script>f(`\n  <svg xmlns='x'>\n`)</script>", "<script>f(`\n  <svg xmlns='x'>\n`)</script>"),
    ('<svg xmlns="http://www.w3.org/2000/svg" width="1"><path/></svg>', '<svg width="1"><path/></svg>'),
    ("<p>" + EMPTY.format("hidden", "") + "</p>", "<p></p>"),
])  # fmt: skip
def test_what_says_nothing_is_left_out(chrome: str, want: str):
    assert tidy(chrome) == want


@pytest.mark.parametrize("bar", [EMPTY.format("", ""), EMPTY.format("hidden", '<a href="#x">X</a>')])
def test_a_bar_that_is_seen_or_leads_somewhere_stays(bar: str):
    kept = tidy(bar)
    assert kept.replace("\n", "") == "".join(line.strip() for line in bar.splitlines())
