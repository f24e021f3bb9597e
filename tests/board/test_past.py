"""The board of a commit: what a clean clone has there, whatever the work tree is like."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dagtasks.board.build import build_site
from dagtasks.board.scaffold import write_board_files
from dagtasks.model.run import RunRecord
from dagtasks.store.project import Project
from tests.board.sample import sample_files, sample_runs, task_text
from tests.conftest import MakeProject, Result, git, write_files

COMMENT = '---\nauthor: ben\ndate: "2026-11-20T10:00:00Z"\n---\n\nOf then\n'
BANNER = re.compile(rb'<p class="dt-at">Board of commit .*?</p>')


def commit(root: Path, day: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{day}T12:00:00Z")
    monkeypatch.setenv("GIT_AUTHOR_DATE", f"{day}T12:00:00Z")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", f"on {day}")
    return git(root, "rev-parse", "HEAD")


def files_of(site: Path) -> dict[str, bytes]:
    """Each file of the site, without the line that says which commit it shows."""
    files = (path for path in site.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix(): BANNER.sub(b"", path.read_bytes()) for path in files}


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the tag `then`, and much that came later, committed and not."""
    made = project(sample_files())
    write_board_files(made.root, "Web site")
    then = {
        "site_src/guide.md": "Of then\n",
        "config/default.yaml": "site:\n  url: https://then.example/board\n",
        "tasks/web/comments/web-7k2m9q/20261120T100000Z-ab12.md": COMMENT,
        ".mailmap": "Anna Then <ann@example.org>\n",
    }
    write_files(made.root, then)
    commit(made.root, "2026-11-23", monkeypatch)
    git(made.root, "tag", "then")
    made.runs.publish([with_end("2026-11-23T11:59:59Z")])
    path = made.root / "tasks/web/web-7k2m9q.yaml"
    path.write_text(path.read_text().replace("in_progress", "completed"))
    later = {"site_src/guide.md": "Of now\n", "tasks/web/web-00000z.yaml": task_text("Later"), ".mailmap": ""}
    write_files(made.root, later)
    (made.root / "config/default.yaml").unlink()
    commit(made.root, "2026-11-25", monkeypatch)
    write_files(made.root, {"tasks/web/project.yaml": "name: Dirty\n", "tasks/web/web-00000x.yaml": "name: [\n"})
    git(made.root, "add", "tasks/web/web-00000x.yaml")
    return made.root


def with_end(moment: str) -> RunRecord:
    """A run that took a minute and ended then."""
    ended = datetime.fromisoformat(moment)
    begun = ended - timedelta(seconds=60)
    name = f"{begun:%Y%m%dt%H%M%S}-k3f9ab"
    return replace(sample_runs()[1], id=name, started_at=begun.strftime("%Y-%m-%dT%H:%M:%SZ"), duration=60.0)


def state(root: Path) -> list[object]:
    """Where the work tree stands, and what is in it."""
    told = [git(root, *words) for words in (("status", "--porcelain"), ("worktree", "list"), ("rev-parse", "HEAD"))]
    return [*told, (root / ".git/index").read_bytes(), files_of(root / "tasks")]


def test_it_is_what_a_clean_clone_has_there(root: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "then", str(root), str(clone))
    git(clone, "fetch", "--quiet", "origin", "+refs/dagtasks/*:refs/dagtasks/*")
    Project(root).runs.publish([with_end("2026-11-23T12:00:01Z")])
    git(root, "config", "core.sparseCheckout", "true")
    before = state(root)
    for name in ("post-checkout", "post-index-change"):
        write_files(root, {f".git/hooks/{name}": f"#!/bin/sh\ntouch {root}/hook-ran\nexit 1\n"})
        (root / ".git/hooks" / name).chmod(0o755)
    done = cli(root, "board", "build", "--at", "then", "--site-dir", str(tmp_path / "past"), "--strict")
    assert (done.code, done.err) == (0, "")
    assert not (root / "hook-ran").exists()
    assert state(root) == before
    past = files_of(tmp_path / "past")
    assert "r/20261123t115859-k3f9ab.html" in past
    assert past == files_of(build_site(clone, is_strict=True).site_dir)
    assert b"Of then" in past["guide.html"]
    assert b"Anna Then" in past["t/web-7k2m9q.html"]
    assert b"https://then.example/board/t/web-7k2m9q.html" in past["sitemap.xml"]


def test_each_page_of_the_board_says_what_it_shows(root: Path, cli: Callable[..., Result]) -> None:
    short = git(root, "rev-parse", "then")[:10]
    assert cli(root, "board", "build", "--at", "then").code == 0
    pages = [path for path in (root / "site").rglob("*.html") if path.name not in ("404.html", "guide.html")]
    assert len(pages) > 20
    unsaid = [path for path in pages if f"Board of commit <code>{short}</code>" not in path.read_text()]
    assert unsaid == []


def test_what_is_wrong_there_is_told_and_not_what_is_wrong_here(root: Path, cli: Callable[..., Result]) -> None:
    git(root, "commit", "--quiet", "--message", "broken")
    write_files(root, {"tasks/web/web-00000x.yaml": "name: Whole\n"})
    done = cli(root, "board", "build", "--at", "HEAD")
    assert done.code == 1
    assert "tasks/web/web-00000x.yaml:2:1" in done.err


def test_an_unknown_commit_leaves_the_old_site(root: Path, cli: Callable[..., Result]) -> None:
    write_files(root, {"site/404.html": "old"})
    done = cli(root, "board", "build", "--at", "thn")
    assert (done.code, done.out) == (2, "")
    assert "there is no commit 'thn'" in done.err
    assert "then" in done.err
    assert files_of(root / "site") == {"404.html": b"old"}


def test_a_commit_from_before_the_board_has_one(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project({**sample_files(), "tasks/web/project.yaml": "name: Of then\n"}, "name-of-the-folder").root
    first = git(root, "rev-list", "--max-parents=0", "HEAD")
    assert cli(root, "board", "build", "--at", first, "--strict").code == 0
    home = (root / "site/index.html").read_text()
    assert "Of then" in home
    assert "name-of-the-folder" in home
    assert not (root / "mkdocs.yml").exists()


def test_a_repository_below_the_top_of_the_work_tree(project: MakeProject, cli: Callable[..., Result]) -> None:
    top = project({f"deep/er/{path}": text for path, text in sample_files().items()}).root
    root = top / "deep/er"
    assert cli(root, "board", "build", "--at", "HEAD").code == 0
    assert "Build the login page" in (root / "site/t/web-7k2m9q.html").read_text()
    write_files(top / "other", {"tasks/README.md": "none then\n"})
    done = cli(top / "other", "board", "build", "--at", "HEAD")
    assert done.code == 0
    assert "There is no project yet" in (top / "other/site/index.html").read_text()


@pytest.mark.slow
def test_the_same_commit_gives_the_same_bytes_anywhere(
    root: Path, tmp_path: Path, process: Callable[..., Result]
) -> None:
    clone = tmp_path / "else" / "where"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    git(clone, "fetch", "--quiet", "origin", "+refs/dagtasks/*:refs/dagtasks/*", "+refs/tags/*:refs/tags/*")
    git(clone, "remote", "remove", "origin")
    here = ["board", "build", "--diff", "then..HEAD", "--site-dir"]
    process(root, *here, str(tmp_path / "one"), env={"PYTHONHASHSEED": "1", "TZ": "UTC"})
    process(clone, "--no-cache", *here, str(tmp_path / "two"), env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"})
    one, two = (files_of(tmp_path / name) for name in ("one", "two"))
    assert {"diff.html", "feed.xml", "404.html", "changes.html", "index.html"} <= one.keys()
    assert one == two
