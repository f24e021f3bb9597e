from __future__ import annotations

import pytest

from dagtasks.board.prose import is_allowed, is_external, make_prose
from tests.board.hostile import HOSTILE, Page

KNOWN = {"web-7k2m9q": "../t/web-7k2m9q.html"}
prose = make_prose(KNOWN.get)

CASES = {
    "headings start at h3": ("## A\n\n# B", "<h3>A</h3>\n<h3>B</h3>\n"),
    "headings leave no level out": (
        "# A\n\n### B\n\n###### C\n\n### D\n\n## E",
        "<h3>A</h3>\n<h4>B</h4>\n<h5>C</h5>\n<h4>D</h4>\n<h4>E</h4>\n",
    ),
    "headings end at h6": (
        "".join(f"{'#' * n} A\n" for n in range(1, 7)),
        "<h3>A</h3>\n<h4>A</h4>\n<h5>A</h5>\n" + "<h6>A</h6>\n" * 3,
    ),
    "raw HTML is text": ("List<int> <b>x</b>", "<p>List&lt;int&gt; &lt;b&gt;x&lt;/b&gt;</p>\n"),
    "a task is linked": ("see web-7k2m9q.", '<p>see <a href="../t/web-7k2m9q.html">web-7k2m9q</a>.</p>\n'),
    "an unknown task is not": ("see web-000000", "<p>see web-000000</p>\n"),
    "no part of a longer word": (
        "my-web-7k2m9q web-7k2m9q-x a/web-7k2m9q",
        "<p>my-web-7k2m9q web-7k2m9q-x a/web-7k2m9q</p>\n",
    ),
    "not inside code": ("`web-7k2m9q`", "<p><code>web-7k2m9q</code></p>\n"),
    "not inside a link": (
        "[web-7k2m9q](a.html)",
        '<p><a href="a.html">web-7k2m9q</a></p>\n',
    ),
    "check boxes": ("- [ ] a\n- [x] b", "<ul>\n<li>☐ a</li>\n<li>☑ b</li>\n</ul>\n"),
    "other hosts": (
        "[x](https://a.example)",
        '<p><a href="https://a.example" rel="nofollow noopener noreferrer">x</a></p>\n',
    ),
    "a picture elsewhere is a link": (
        "![pixel](https://a.example/p.png)",
        '<p><a href="https://a.example/p.png" rel="nofollow noopener noreferrer">pixel</a></p>\n',
    ),
    "a picture of the site": ("![p](p.png)", '<p><img src="p.png" alt="p" loading="lazy"></p>\n'),
    "strike": ("~~a~~", "<p><s>a</s></p>\n"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_markdown_becomes_html(name):
    text, expected = CASES[name]
    assert prose(text) == expected


def test_tables_are_known():
    assert "<td>1</td>" in prose("| a |\n|---|\n| 1 |")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "> {}", "- {}", "# {}", "a {} b", "[{}](x)", "**{}**", "![{}](y.png)"])
def test_hostile_text_stays_text(text, frame):
    page = Page(prose(frame.format(text)))
    assert page.wrong == []
    assert page.remote() == []
    assert page.ids == []


@pytest.mark.parametrize(
    ("url", "allowed", "external"),
    [
        ("https://a.example", True, True),
        ("HTTP://a.example", True, True),
        ("mailto:a@b.example", True, True),
        ("guide.md", True, False),
        ("../a:b", True, False),
        ("#part", True, False),
        ("//a.example", True, True),
        ("/\\a.example", True, True),
        ("javascript:alert(1)", False, True),
        ("java\nscript:alert(1)", False, True),
        ("\x01javascript:alert(1)", False, True),
        ("data:text/html,x", False, True),
        ("ftp://a.example", False, True),
    ],
)
def test_addresses(url, allowed, external):
    assert is_allowed(url) is allowed
    assert is_external(url) is external


def test_long_and_deep_text_is_bounded():
    assert len(prose("x" * 200_000)) < 70_000
    assert prose("> " * 5000 + "deep").count("<blockquote>") <= 20
