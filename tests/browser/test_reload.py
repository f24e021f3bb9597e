"""The preview: what is edited shows by itself in the page that is open."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.board.sample import task_text
from tests.board.test_serve import START, free_port, wait_for
from tests.browser.sites import demo_repository, large_repository
from tests.browser.watching import Watcher
from tests.conftest import Tell


@contextmanager
def preview(root: Path, uri: str) -> Iterator[str]:
    """`board serve` for the repository, and the address of that page."""
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen([sys.executable, "-c", START, address], cwd=root, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://{address}/{uri}", lambda page: "</html>" in page)
        yield f"http://{address}/{uri}"
    finally:
        server.terminate()
        server.wait(30)


def test_an_edit_and_an_error_and_its_mending_show_by_themselves(watcher: Watcher, tmp_path: Path):
    root = demo_repository(tmp_path / "demo")
    file = root / "tasks/web/web-4t9x30.yaml"
    with preview(root, "t/web-4t9x30.html") as url:
        page = watcher.open(url)
        for text, words in (
            (task_text("Pay the bill"), "Pay the bill"),
            ("name: [\n", "web-4t9x30 cannot be read"),
            (task_text("Well again"), "Well again"),
        ):
            file.write_text(text)
            page.get_by_role("heading", name=words, exact=True, level=1).wait_for(timeout=60_000)
        assert watcher.wrong == []


@pytest.mark.parametrize("count", [1000])
def test_how_long_an_edit_takes_to_show(watcher: Watcher, tmp_path: Path, tell: Tell, count: int):
    root = large_repository(tmp_path / "large", count)
    with preview(root, "t/web-000004.html") as url:
        page = watcher.open(url)
        times = []
        for number in range(5):
            begun = time.monotonic()
            (root / "tasks/web/web-000004.yaml").write_text(task_text(f"Edit {number}"))
            page.get_by_role("heading", name=f"Edit {number}", exact=True, level=1).wait_for(timeout=60_000)
            times.append(time.monotonic() - begun)
    tell(f"{count} tasks: an edit shows after {sorted(times)[2]:.2f} s (from {min(times):.2f} to {max(times):.2f})")
