"""A browser whose every request, word and error is noted, and what of that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

SILENT = ("--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
"""Chromium as root, which finds no host but this machine: what a page asks for is noted and never sent."""


class Watcher:
    """Opens pages and notes what they ask for (`requests`) and what goes wrong (`wrong`).

    Wrong is: a request to another host, an answer of 400 or more, a word on the console that warns, a script's error,
    a breach of the page's policy, and a dialog.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.requests: list[str] = []
        self.wrong: list[str] = []

    def open(self, url: str, **options: Any) -> Page:
        """A page in a browser of its own, with these options of a Playwright context, at that address."""
        context = self._browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self._contexts.append(context)
        context.on("request", lambda request: self._see_request(request.url))
        context.on("response", lambda answer: self._check(answer.status < 400, f"{answer.status}: {answer.url}"))
        context.on("console", lambda word: self._check(word.type not in ("error", "warning"), f"says {word.text}"))
        context.on("weberror", lambda error: self._check(False, f"error {error.error}"))
        context.on("dialog", self._close)
        page = context.new_page()
        page.goto(url)
        return page

    def _see_request(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        self._check(parts.hostname in (None, "127.0.0.1"), f"asks for {url}")

    def _close(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _check(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.wrong.append(what)

    def wait_for(self, is_so: Callable[[], bool]) -> bool:
        """Whether something becomes so while the pages go on."""
        deadline = time.monotonic() + 20
        while not is_so() and time.monotonic() < deadline:
            self._contexts[-1].pages[-1].wait_for_timeout(10)
        return is_so()

    def close(self) -> None:
        """Close all pages; what they still had to say is noted."""
        for context in self._contexts:
            context.close()
