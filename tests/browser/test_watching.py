"""What the other tests rely on: nothing that goes wrong on a page goes unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.sites import served
from tests.browser.watching import Watcher

POLICY = """<meta http-equiv="Content-Security-Policy" content="script-src 'self'">"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    with served(tmp_path) as url:
        yield tmp_path, url


@pytest.mark.parametrize(("body", "expected"), [
    ("<img src=http://evil.example/pixel.png>", "asks for http://evil.example/pixel.png"),
    ("<link rel=preconnect href=http://evil.example><link rel=stylesheet href=//evil.example/x.css>", "evil.example/x.css"),
    ("<script>fetch('http://127.0.0.2/')</script>", "asks for http://127.0.0.2/"),
    ("<img src=gone.png>", "404: "),
    ("<script>alert(1)</script>", "dialog 1"),
    ("<script>console.error('oh')</script>", "says oh"),
    ("<script>console.warn('hm')</script>", "says hm"),
    ("<script>nowhere()</script>", "error nowhere is not defined"),
    ("<script>Promise.reject(new Error('late'))</script>", "error late"),
    (POLICY + "<script>1</script>", "Content Security Policy"),
    (POLICY + "<a onclick='1' href=#>x</a>", "Content Security Policy"),
    ("<iframe srcdoc='<script>alert(2)</script>'></iframe>", "dialog 2"),
])  # fmt: skip
def test_what_goes_wrong_is_noted(folder: tuple[Path, str], watcher: Watcher, body: str, expected: str):
    place, url = folder
    (place / "page.html").write_text(f"<!doctype html><link rel=icon href=data:,><title>x</title>{body}")
    watcher.open(f"{url}/page.html")
    assert watcher.wait_for(lambda: expected in "\n".join(watcher.wrong)), watcher.wrong


def test_on_a_page_that_is_right_nothing_is_noted(folder: tuple[Path, str], watcher: Watcher):
    place, url = folder
    (place / "page.html").write_text("<!doctype html><link rel=icon href=data:,><title>x</title><img src=data:,>")
    watcher.open(f"{url}/page.html")
    assert watcher.wrong == []
    assert watcher.requests[0] == f"{url}/page.html"
