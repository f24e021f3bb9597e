"""The preview: a real server on a loopback port, watching real files."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
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
        (root / "tasks/web/web-4t9x30.yaml").write_text(task_text("Pay the bill"))
        wait_for(url, lambda page: "Pay the bill" in page)
        (root / "tasks/web/web-4t9x30.yaml").write_text("name: [\n")
        wait_for(url, lambda page: "cannot be read" in page)
        (root / "tasks/web/web-4t9x30.yaml").write_text(task_text("Well again"))
        wait_for(url, lambda page: "Well again" in page)
        assert not (root / "site").exists()
    finally:
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert f"Serving on http://{address}/" in said
    assert "tasks/web/web-4t9x30.yaml:2:1: DT102" in said


@pytest.mark.slow
def test_what_is_new_replaced_or_gone_is_shown(project: MakeProject):
    root = project(sample_files()).root
    write_board_files(root)
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen([sys.executable, "-c", START, address], cwd=root, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://{address}/board.html", lambda page: "web-4t9x30" in page)
        replace(root / "tasks/web/web-zzzzzz.yaml", task_text("Quite new"))
        wait_for(f"http://{address}/t/web-zzzzzz.html", lambda page: "Quite new" in page)
        wait_for(f"http://{address}/board.html", lambda page: "Quite new" in page)
        (root / "tasks/web/web-zzzzzz.yaml").unlink()
        wait_for(f"http://{address}/board.html", lambda page: "</html>" in page and "Quite new" not in page)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://{address}/t/web-zzzzzz.html", timeout=30)
        config = root / "mkdocs.yml"
        for name in ("Once", "Twice"):  # the file that was watched is gone after the first time
            replace(config, re.sub("(?m)^site_name:.*", f"site_name: {name}", config.read_text()))
            wait_for(f"http://{address}/board.html", lambda page, name=name: f"{name}</title>" in page)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


@pytest.mark.slow
def test_without_watches_it_is_seen_a_little_later(project: MakeProject):
    limit = "echo 2 > /proc/sys/user/max_inotify_watches"
    unshared = ["unshare", "--user", "--map-root-user", "sh", "-c", f'{limit} && exec "$@"', "sh"]
    if subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no limit for a few processes can be set here")
    root = project(sample_files()).root
    write_board_files(root)
    address = f"127.0.0.1:{free_port()}"
    command = [*unshared, sys.executable, "-c", START, address]
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://{address}/t/web-4t9x30.html", lambda page: "Look at the bill" in page)
        replace(root / "tasks/web/web-4t9x30.yaml", task_text("Pay the bill"))
        wait_for(f"http://{address}/t/web-4t9x30.html", lambda page: "Pay the bill" in page)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def replace(path: Path, text: str) -> None:
    """Write the file as most editors do."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)
