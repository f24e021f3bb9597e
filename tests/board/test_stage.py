"""The board as plain files, written through the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

from tests.board.hostile import Page
from tests.board.sample import BROKEN, sample_files, sample_runs, task_text
from tests.conftest import MakeProject, Result, write_files

PROBE = "import sys; from dagtasks import cli; code = cli.call(sys.argv[1:]); print('mkdocs' in sys.modules, code)"


@pytest.fixture
def root(project: MakeProject) -> Path:
    made = project(
        {**sample_files(), **BROKEN, "tasks/web/web-00000h.yaml": task_text("</title><script>alert(1)</script>")}
    )
    made.runs.publish([run for run in sample_runs() if run.status.is_final])
    return made.root


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_all_pages_are_there_and_lead_to_each_other_from_disk(
    root: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    done = cli(root, "board", "stage", str(tmp_path / "out"))
    assert done.code == 1  # of the broken files
    assert f"pages in {tmp_path / 'out'}" in done.out
    found = files_of(tmp_path / "out")
    assert {"index.html", "board.html", "t/web-7k2m9q.html", "t/web-5v0y4a.html", "404.html"} <= found.keys()
    ElementTree.fromstring(found["feed.xml"])
    for uri in [uri for uri in found if uri.endswith(".html")]:
        page = Page(found[uri].decode())
        assert (uri, page.wrong, page.remote()) == (uri, [], [])
        assert b"Content-Security-Policy" in found[uri]
        assert b"ROOT" not in found[uri]
        places = [urlsplit(link).path for link in [*page.links, *page.loads] if not urlsplit(link).scheme]
        folder = "" if uri == "404.html" else dirname(uri)
        at = {normpath(join(folder, unquote(place).lstrip("/"))) for place in places if place}
        assert (uri, at - found.keys()) == (uri, set())
    task = Page(found["t/web-7k2m9q.html"].decode())
    assert task.title.startswith("Build the login page")
    assert {"../index.html", "../board.html"} <= set(task.links)


def test_it_needs_no_mkdocs_and_nothing_that_init_writes(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, "-C", str(root), "board", "stage", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False 1"
    assert not (root / "mkdocs.yml").exists()


def test_the_style_knows_the_dark(root: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    cli(root, "board", "stage", str(tmp_path / "out"))
    [style] = (tmp_path / "out/assets/dagtasks").glob("board.*.css")
    text = style.read_text()
    dark = text.partition("@media (prefers-color-scheme: dark) { :root {")[2]
    assert "--dt-text: #e4e8ee" in dark
    assert text.count("{") == text.count("}")
    assert style.name in (tmp_path / "out/board.html").read_text()


def test_it_takes_the_place_of_an_older_one_and_of_nothing_else(
    root: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    out = tmp_path / "out"
    cli(root, "board", "stage", str(out))
    before = files_of(out)
    (out / "left.html").write_text("old")
    cli(root, "board", "stage", str(out))
    assert files_of(out) == before
    write_files(tmp_path, {"mine/letter.txt": "dear"})
    for folder, code in {tmp_path / "mine": 6, root: 2, root.parent: 2}.items():
        done = cli(root, "board", "stage", str(folder))
        assert (done.code, done.out) == (code, "")
    assert files_of(tmp_path / "mine") == {"letter.txt": b"dear"}


def test_the_address_of_the_site_is_in_what_needs_it(root: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    write_files(root, {"config/default.yaml": "site:\n  url: https://tasks.example/some/board\n"})
    cli(root, "board", "stage", str(tmp_path / "out"))
    assert "https://tasks.example/some/board/changes.html" in (tmp_path / "out/feed.xml").read_text()
    links = Page((tmp_path / "out/404.html").read_text()).links
    assert {link for link in links if not link.startswith("/some/board/")} == set()
