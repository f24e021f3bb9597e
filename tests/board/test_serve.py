"""The preview: a real server on a loopback port, watching real files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from dagtasks.board.scaffold import write_board_files
from tests.board.sample import sample_files, task_text
from tests.conftest import MakeProject

START = (
    "import sys; from pathlib import Path; from dagtasks.board.build import serve_site; "
    "serve_site(Path(), sys.argv[1], lambda line: print(line, flush=True))"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, is_right: Callable[[str], bool]) -> str:
    """The page at the address as soon as it is right."""
    deadline = time.monotonic() + 60
    page = ""
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=30) as answer:
                page = answer.read().decode()
        except URLError:
            page = ""
        if is_right(page):
            return page
        time.sleep(0.2)
    raise AssertionError(f"{url} never became right: {page[:300]}")


@pytest.mark.slow
def test_a_changed_task_is_shown_and_a_broken_one_does_not_stop_the_preview(project: MakeProject):
    root = project(sample_files()).root
    write_board_files(root)
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen([sys.executable, "-c", START, address], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://{address}/t/web-4t9x30.html"
        first = wait_for(url, lambda page: "Look at the bill" in page)
        assert "Content-Security-Policy" not in first
        assert "livereload" in first
        change(root / "tasks/web/web-4t9x30.yaml", task_text("Pay the bill"))
        wait_for(url, lambda page: "Pay the bill" in page)
        change(root / "tasks/web/web-4t9x30.yaml", "name: [\n")
        wait_for(url, lambda page: "cannot be read" in page)
        change(root / "tasks/web/web-4t9x30.yaml", task_text("Well again"))
        wait_for(url, lambda page: "Well again" in page)
        assert not (root / "site").exists()
    finally:
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert f"Serving on http://{address}/" in said
    assert "tasks/web/web-4t9x30.yaml:2:1: DT102" in said


def change(path: Path, text: str) -> None:
    """Write the file so that a poll of its times must see it."""
    path.write_text(text)
    later = time.time() + 2
    os.utime(path, (later, later))
