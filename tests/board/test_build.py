"""Whole sites, built by MkDocs from real repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from dagtasks.board.build import build_site
from dagtasks.board.scaffold import write_board_files
from dagtasks.errors import Conflict, InvalidInput, InvalidProject, NotFound
from dagtasks.store.project import Project
from tests.board.hostile import HOSTILE, Page
from tests.board.sample import BROKEN, sample_files, sample_runs, task_text
from tests.conftest import MakeProject, git, write_files


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with two broken files, built once for all tests that only read."""
    root = tmp_path_factory.mktemp("read-only")
    write_files(root, {**sample_files(), **BROKEN})
    write_board_files(root, "Web site")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    git(root, *who, "commit", "--quiet", "--no-gpg-sign", "--message", "start")
    Project(root).runs.publish([run for run in sample_runs() if run.status.is_final])
    return build_site(root).site_dir


@pytest.fixture
def board(project: MakeProject):
    """A function that makes a repository of the sample, with runs and the files of a board; gives its root."""

    def make(files: dict[str, str] | None = None, name: str = "repository", **config: object) -> Path:
        made = project({**sample_files(), **(files or {})}, name)
        made.runs.publish([run for run in sample_runs() if run.status.is_final])
        write_board_files(made.root, "Web site")
        if config:
            path = made.root / "mkdocs.yml"
            path.write_text(path.read_text() + yaml.safe_dump(config))
        return made.root

    return make


def read(site: Path, uri: str) -> str:
    return (site / uri).read_text("utf-8")


def tree(folder: Path) -> dict[str, str]:
    """Every file below the folder with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_sound_repository_builds_without_a_warning(board):
    root = board()
    built = build_site(root, is_strict=True)
    assert built.warnings == []
    assert built.site_dir == root / "site"
    assert "Build the login page" in read(built.site_dir, "t/web-7k2m9q.html")
    assert "1 failed, 211 passed" in read(built.site_dir, "r/20261123t091500-k3f9ab.html")
    assert "27 %" in read(built.site_dir, "index.html")
    assert git(root, "rev-parse", "HEAD")[:10] in read(built.site_dir, "board.html")


def test_comments_and_the_past_come_from_files_and_from_git(board):
    comment = {
        "tasks/web/comments/web-7k2m9q/20261124T100000Z-ab12.md": '---\nauthor: ben\ndate: "2026-11-24T10:00:00Z"\n---\n\nLooks **good**\n'
    }
    root = board(comment)
    git(root, "add", "--all")
    git(root, "commit", "-q", "--message", "start")
    path = root / "tasks/web/web-7k2m9q.yaml"
    path.write_text(path.read_text().replace("priority: high", "priority: critical"))
    git(root, "commit", "-q", "--all", "--message", "this is urgent")
    site = build_site(root, is_strict=True).site_dir
    task = read(site, "t/web-7k2m9q.html")
    assert "Looks <strong>good</strong>" in task
    assert "high -&gt; critical" in task
    assert "this is urgent" in read(site, "changes.html")
    assert "In progress or blocked the longest" in read(site, "statistics.html")
    again = build_site(root, root / "again").site_dir
    assert tree(again) == tree(site)


def test_every_link_and_asset_is_there_and_nothing_comes_from_another_host(site):
    files = set(tree(site))
    for uri in [name for name in files if name.endswith(".html") and name != "404.html"]:
        page = Page(read(site, uri))
        assert (uri, page.remote()) == (uri, [])
        places = [urlsplit(link).path for link in [*page.links, *page.loads] if not urlsplit(link).scheme]
        missing = [place for place in places if place and normpath(join(dirname(uri), unquote(place))) not in files]
        assert (uri, missing) == (uri, [])


def test_mkdocs_itself_builds_it(board):
    root = board()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    mine = build_site(root, root / "other").site_dir
    assert tree(root / "site") == tree(mine)


def test_the_same_commit_gives_the_same_bytes(board, monkeypatch):
    root = board(BROKEN, site_url="https://tasks.example/board/")
    first = tree(build_site(root).site_dir)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert tree(build_site(root, root / "again").site_dir) == first
    assert "SOURCE_DATE_EPOCH" not in os.environ


def test_errors_in_files_are_warnings_and_fail_a_strict_build(board):
    root = board(BROKEN)
    built = build_site(root)
    assert len(built.warnings) == 2
    assert all(any(path in line for line in built.warnings) for path in BROKEN)
    assert "web-6w1z5b cannot be read" in read(built.site_dir, "t/web-6w1z5b.html")
    before = tree(built.site_dir)
    with pytest.raises(InvalidProject, match="web-5v0y4a"):
        build_site(root, is_strict=True)
    assert tree(built.site_dir) == before


def test_lesser_problems_are_no_warnings(board):
    root = board({"tasks/web/web-7w0y4a.yaml": task_text("Odd", prio="high")})
    built = build_site(root, is_strict=True)
    assert built.warnings == []
    assert "prio" in Page(read(built.site_dir, "t/web-7w0y4a.html")).words


# -- the old site -----------------------------------------------------------------------------------------------------


def test_a_failed_build_leaves_the_old_site_and_no_rest(board):
    root = board()
    before = tree(build_site(root).site_dir)
    names = sorted(path.name for path in root.iterdir())
    (root / "site_src/index.md").write_text("---\ntemplate: gone.html\n---\n")
    with pytest.raises(InvalidProject, match=r"gone\.html"):
        build_site(root)
    assert tree(root / "site") == before
    assert sorted(path.name for path in root.iterdir()) == names


def test_a_new_build_takes_the_place_of_the_old_one(board):
    root = board()
    build_site(root)
    inode = (root / "site").stat().st_ino
    (root / "tasks/web/web-4t9x30.yaml").unlink()
    build_site(root)
    assert not (root / "site/t/web-4t9x30.html").exists()
    assert (root / "site").stat().st_ino != inode
    assert list(root.glob(".site*")) == []


def test_what_killed_builds_left_is_cleared_away(board):
    root = board()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (root / f".site.{child.pid}.tmp/t").mkdir(parents=True)
    (root / f".site.{os.getppid()}.tmp").mkdir()
    build_site(root)
    assert [path.name for path in root.glob(".site*")] == [f".site.{os.getppid()}.tmp"]


def test_a_folder_with_something_else_in_it_is_never_replaced(board):
    root = board()
    with pytest.raises(Conflict, match="no built site"):
        build_site(root, root / "tasks")
    for place in (root, root.parent):
        with pytest.raises(InvalidInput, match="the repository lies there"):
            build_site(root, place)
    assert (root / "tasks/web/project.yaml").exists()


def test_without_a_configuration_the_way_to_one_is_named(project):
    with pytest.raises(NotFound) as raised:
        build_site(project(sample_files()).root)
    assert "dagtasks board init" in raised.value.hint


def test_a_wrong_configuration_is_reported(board):
    root = board(theme_typo=1)
    (root / "mkdocs.yml").write_text("site_name: x\nplugins: [no_such_plugin]\ndocs_dir: site_src\n")
    with pytest.raises(InvalidProject, match="no_such_plugin"):
        build_site(root)


# -- hand-written pages ---------------------------------------------------------------------------------------------


def test_links_from_hand_written_pages_are_checked(board):
    root = board()
    (root / "site_src/guide.md").write_text("[good](t/web-7k2m9q.html) and [the board](board.html)\n")
    build_site(root, is_strict=True)
    (root / "site_src/guide.md").write_text("[bad](t/web-000000.html)\n")
    with pytest.raises(InvalidProject, match="web-000000"):
        build_site(root, is_strict=True)


def test_a_page_that_would_be_overwritten_is_named(board):
    root = board()
    (root / "site_src/board.md").write_text("mine\n")
    with pytest.raises(InvalidProject, match=r"board\.md would become board\.html"):
        build_site(root)


def test_without_an_index_and_a_nav_there_is_still_a_way_in(board):
    root = board()
    (root / "site_src/index.md").rename(root / "site_src/guide.md")
    text = (root / "mkdocs.yml").read_text()
    (root / "mkdocs.yml").write_text(re.sub(r"nav:\n(  - .*\n)+", "", text))
    site = build_site(root, is_strict=True).site_dir
    links = Page(read(site, "index.html")).links
    assert {"board.html", "list/all/1.html", "runs.html", "templates.html"} <= set(links)
    assert "Latest runs" in read(site, "index.html")


def test_directory_urls_change_nothing_for_the_board(board):
    root = board()
    text = (root / "mkdocs.yml").read_text()
    (root / "mkdocs.yml").write_text(text.replace("use_directory_urls: false", "use_directory_urls: true"))
    site = build_site(root, is_strict=True).site_dir
    assert "../assets/dagtasks/board." in read(site, "t/web-7k2m9q.html")
    assert 'href="../board.html"' in read(site, "t/web-7k2m9q.html")


ACTIVE = re.compile(r'md-tabs__item--active">\s*<a href="([^"]*)"')


def with_tabs(root):
    text = (root / "mkdocs.yml").read_text()
    (root / "mkdocs.yml").write_text(text.replace("# - navigation.tabs", "- navigation.tabs"))
    return root


def test_the_navigation_shows_where_a_page_belongs(board):
    site = build_site(with_tabs(board()), is_strict=True).site_dir
    assert ACTIVE.findall(read(site, "board.html")) == ["board.html"]
    assert ACTIVE.findall(read(site, "t/web-7k2m9q.html")) == ["../board.html"]
    assert ACTIVE.findall(read(site, "runs.html")) == ["board.html"]
    assert ACTIVE.findall(read(site, "p/web.html")) == ["../index.html"]


def test_a_part_of_the_board_can_have_an_entry_of_its_own(board):
    root = with_tabs(board())
    text = (root / "mkdocs.yml").read_text()
    (root / "mkdocs.yml").write_text(text.replace("nav:\n", "nav:\n  - Tasks: list/all/1.html\n"))
    site = build_site(root, is_strict=True).site_dir
    assert ACTIVE.findall(read(site, "list/blocked/1.html")) == ["../../list/all/1.html"]
    assert ACTIVE.findall(read(site, "runs.html")) == ["board.html"]


def test_each_part_of_the_board_leads_to_the_others(site):
    places = {"board.html", "list/all/1.html", "runs.html", "templates.html", "changes.html", "statistics.html"}
    for uri in places | {"index.html", "t/web-7k2m9q.html"}:
        links = {normpath(join(dirname(uri), link)) for link in Page(read(site, uri)).links}
        assert (uri, places - links) == (uri, set())
    assert '<a href="../list/all/1.html" aria-current="true">Tasks</a>' in read(site, "t/web-7k2m9q.html")


def test_generated_pages_stay_out_of_the_theme_s_search(site):
    found = json.loads(read(site, "search/search_index.json"))["docs"]
    assert {entry["location"].partition("#")[0] for entry in found} == {"index.html"}
    assert not list(site.rglob("shell*"))


# -- sitemap, canonical addresses -----------------------------------------------------------------------------------


def test_a_sitemap_lists_the_board_where_its_address_is_known(board):
    site = build_site(board(site_url="https://tasks.example/board/")).site_dir
    places = re.findall("<loc>(.*?)</loc>", read(site, "sitemap.xml"))
    assert "https://tasks.example/board/t/web-7k2m9q.html" in places
    assert len(places) == len(set(places))
    page = read(site, "t/web-7k2m9q.html")
    assert '<link rel="canonical" href="https://tasks.example/board/t/web-7k2m9q.html">' in page


def test_dates_are_the_commit_s_and_not_today_s(board, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-02T03:04:05Z")
    site = build_site(board(site_url="https://tasks.example/")).site_dir
    assert set(re.findall("<lastmod>(.*?)</lastmod>", read(site, "sitemap.xml"))) == {"2020-01-02"}
    assert '<time datetime="2020-01-02T03:04:05Z">2020-01-02 03:04 UTC</time>' in read(site, "board.html")


def test_without_an_address_there_are_none(site):
    assert "<loc>" not in read(site, "sitemap.xml")
    assert "canonical" not in read(site, "board.html")


# -- addresses without a page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "root"), [("https://tasks.example/some/board/", "/some/board/"), ("", "/")])
def test_an_address_without_a_page_leads_back_from_any_depth(address, root, board):
    built = build_site(board(**({"site_url": address} if address else {}))).site_dir
    page = Page(read(built, "404.html"))
    assert "There is no such page" in page.words
    places = [link for link in [*page.links, *page.loads] if not urlsplit(link).netloc and not link.startswith("#")]
    assert [place for place in places if not place.startswith(root)] == []
    below = {urlsplit(place).path.removeprefix(root) or "index.html" for place in places}
    assert {"board.html", "list/all/1.html", "changes.html", "index.html"} <= below
    assert below - set(tree(built)) == set()
    assert "Content-Security-Policy" in read(built, "404.html")
    assert page.wrong == []


# -- records of runs ------------------------------------------------------------------------------------------------


def test_a_record_of_a_run_that_cannot_be_read_fails_no_build(board, monkeypatch):
    root = board()
    (root / "junk").write_text("{}")
    blob = git(root, "hash-object", "-w", "junk")
    git(root, "read-tree", "--index-output=.git/other", "refs/dagtasks/runs")
    monkeypatch.setenv("GIT_INDEX_FILE", str(root / ".git/other"))
    git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},2026/11/20261123t000000-aaaaaa.json")
    commit = git(root, "commit-tree", "-m", "junk", git(root, "write-tree"))
    monkeypatch.delenv("GIT_INDEX_FILE")
    git(root, "update-ref", "refs/dagtasks/runs", commit)
    built = build_site(root, is_strict=True)
    assert built.warnings == []
    for uri in ("runs.html", "problems.html"):
        assert "git show refs/dagtasks/runs:2026/11/20261123t000000-aaaaaa.json" in read(built.site_dir, uri)


# -- hostile texts in real files ------------------------------------------------------------------------------------


def test_hostile_names_are_inert_in_the_whole_page(board, site):
    texts = [re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "", text) for text in HOSTILE]
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    files = {
        f"tasks/web/web-hst{letters[n // 32]}{letters[n % 32]}0.yaml": task_text(
            text, description=text, labels=[text[:64]], assignee=text[:100], metadata={"k": text}
        )
        for n, text in enumerate(texts)
    }
    files["tasks/web/project.yaml"] = yaml.safe_dump({"name": texts[1], "description": texts[0]})
    root = board(files, site_name="</title><script>alert(1)</script>\"'")
    built = build_site(root).site_dir
    clean = Page(read(site, "board.html"))
    seen = 0
    for path in built.rglob("*.html"):
        page = Page(path.read_text("utf-8"))
        assert (path.name, page.wrong) == (path.name, [])
        assert len(page.scripts) <= len(clean.scripts)
        assert not any("alert(1)" in code for code in page.scripts)
        seen += path.parent.name == "t"
    assert seen >= len(HOSTILE)


def test_titles_of_hand_written_pages_cannot_reach_others(board):
    root = board()
    (root / "mkdocs.yml").write_text(re.sub(r"nav:\n(  - .*\n)+", "", (root / "mkdocs.yml").read_text()))
    head = "---\ntitle: '<img src=x onerror=alert(1)>'\ndescription: '\"><script>alert(1)</script>'\n---\ntext\n"
    (root / "site_src/bad.md").write_text(head)
    site = build_site(root).site_dir
    for uri in ("board.html", "t/web-7k2m9q.html", "bad.html"):
        assert [name for name in Page(read(site, uri)).wrong if "onerror" in name] == []
        assert "<script>alert" not in read(site, uri)


def test_the_policy_names_exactly_the_scripts_of_the_page(site):
    for uri in ("index.html", "board.html", "t/web-7k2m9q.html", "p/web/build.html", "r/20261122t180000-z0q1cd.html"):
        text = read(site, uri)
        policy = re.search(r'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        assert policy, uri
        named = set(re.findall(r"'sha256-([^']+)'", policy[1]))
        inline = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert named == {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in inline}
        assert "default-src 'none'; script-src 'self' " in policy[1]


def test_the_policy_can_be_switched_off(board):
    root = board()
    text = (root / "mkdocs.yml").read_text().replace("  - dagtasks\n", "  - dagtasks:\n      csp: false\n")
    (root / "mkdocs.yml").write_text(text)
    assert "Content-Security-Policy" not in read(build_site(root).site_dir, "board.html")


# -- the first files ------------------------------------------------------------------------------------------------


def test_board_files_are_written_once_and_never_over_others(tmp_path):
    write_files(tmp_path, {"site_src/index.md": "mine\n"})
    assert write_board_files(tmp_path, 'A "quoted": name') == [tmp_path / "mkdocs.yml"]
    assert (tmp_path / "site_src/index.md").read_text() == "mine\n"
    assert 'site_name: "A \\"quoted\\": name"' in (tmp_path / "mkdocs.yml").read_text()
    assert write_board_files(tmp_path) == []
