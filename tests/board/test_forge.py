"""Links into forges: each is taken apart again, and has to say exactly what it was made of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit

import pytest

from dagtasks.board.build import build_site
from dagtasks.board.forge import LONGEST, Forge, find_address, find_kind, make_forge
from dagtasks.board.newtask import make_new_task
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import Press
from dagtasks.board.scaffold import write_board_files
from dagtasks.board.site import board_site
from dagtasks.settings import ForgeSettings
from tests.board.hostile import Page
from tests.board.sample import BROKEN, many_tasks, sample_data, sample_files
from tests.conftest import MakeProject, Result, git, write_files

HOSTS = {
    "github": "https://github.com/team/web",
    "gitlab": "https://gitlab.com/group/deeper/web",
    "gitea": "https://gitea.com/team/web",
    "forgejo": "https://codeberg.org/team/web",
}
BRANCHES = ("main", "feature/login#2", "100%/naïve", "a?b&c=d+e", "..%2f", "日本/q", "{path}")
PATHS = (
    "tasks/web/web-7k2m9q.yaml",
    "tasks/web/a b/ü?x=1#L3 & more+.yaml",
    "tasks/100%25/%2e%2e/'\"<b>.yaml",
    "tasks/{branch}/{value}.yaml",
    "tasks/\u202eback/\nline.yaml",
    "tasks/\udcff\udcfe.yaml",
)
TEXT = "name: Ü & Ö = 100 % + #1?\n\ndescription: |\n  <b>\n"


def forge_of(kind: str, branch: str = "main", **settings: str) -> Forge:
    return make_forge(ForgeSettings(**settings), origin=HOSTS[kind], branch=branch)


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def end_of(link: str, begin: str) -> bytes:
    """What follows the beginning in the path of the link, decoded; nothing in the link may be left as it is in a file."""
    assert re.fullmatch(r"[A-Za-z0-9/:?&=#%._~-]+", link), link
    path = urlsplit(link).path
    assert path.startswith(begin), link
    return unquote_to_bytes(path.removeprefix(begin))


BEGINS = {
    "github": ("/team/web/edit/", "/team/web/blob/", "/team/web/new/"),
    "gitlab": ("/group/deeper/web/-/edit/", "/group/deeper/web/-/blob/", "/group/deeper/web/-/new/"),
    "gitea": ("/team/web/_edit/", "/team/web/src/branch/", "/team/web/_new/"),
    "forgejo": ("/team/web/_edit/", "/team/web/src/branch/", "/team/web/_new/"),
}


@pytest.mark.parametrize("kind", HOSTS)
def test_links_to_a_file_hold_exactly_its_branch_and_path(kind: str) -> None:
    edit, view, _ = BEGINS[kind]
    for branch, path in itertools.product(BRANCHES, PATHS):
        forge = forge_of(kind, branch)
        expected = bytes_of(f"{branch}/{path}")
        assert end_of(forge.edit(path) or "", edit) == expected
        seen = urlsplit(forge.view(path, 12) or "")
        assert (end_of(seen.geturl(), view), seen.fragment, seen.query) == (expected, "L12", "")
        assert urlsplit(forge.edit(path) or "").fragment == ""


@pytest.mark.parametrize("kind", HOSTS)
def test_a_new_file_gets_exactly_its_path_and_text(kind: str) -> None:
    for branch, path in itertools.product(BRANCHES, PATHS):
        link = forge_of(kind, branch).new(path, TEXT) or ""
        rest = end_of(link, BEGINS[kind][2])
        query = parse_qs(urlsplit(link).query, strict_parsing=True, errors="surrogateescape")
        given = {name: values[0] for name, values in query.items()}
        name = {"github": "filename", "gitlab": "file_name"}.get(kind, "filename")
        folder = "" if kind in ("github", "gitlab") else "/" + path.rpartition("/")[0]
        assert rest == bytes_of(branch + folder)
        assert (folder[1:] + "/" + given[name] if folder else given[name]) == path
        assert given["content" if kind == "gitlab" else "value"] == TEXT
        assert urlsplit(link).netloc == urlsplit(HOSTS[kind]).netloc


@pytest.mark.parametrize("kind", HOSTS)
def test_only_ids_of_commits_lead_to_a_commit(kind: str) -> None:
    forge = forge_of(kind)
    deeper = "/-" if kind == "gitlab" else ""
    assert forge.commit("9f2b1c7e00aa11bb22cc") == f"{HOSTS[kind]}{deeper}/commit/9f2b1c7e00aa11bb22cc"
    assert [forge.commit(text) for text in (None, "", "HEAD", "../x", "9f2b1c7e\n", "9F2B1C7E")] == [None] * 6


def test_a_text_that_is_too_long_for_a_link_is_left_out() -> None:
    forge = forge_of("github")
    begin = len(forge.new("a.yaml", "") or "")
    longest = forge.new("a.yaml", "x" * (LONGEST - begin)) or ""
    assert len(longest) == LONGEST
    assert forge.new("a.yaml", "x" * (LONGEST - begin + 1)) == forge.new("a.yaml", "")
    assert len(forge.new("a.yaml", "ü" * 2000) or "") < 200


def test_addresses_of_the_settings_stand_in_for_those_of_a_kind() -> None:
    settings = {
        "edit_url": "https://git.example/edit/{branch}/{path}?at={branch}&file={path}",
        "new_url": "https://git.example/new?b={branch}&p={path}&v={value}#{path}",
    }
    forge = make_forge(ForgeSettings(**settings, branch="a/b#c"))
    assert forge.edit("x/y z.yaml") == "https://git.example/edit/a/b%23c/x/y%20z.yaml?at=a%2Fb%23c&file=x%2Fy%20z.yaml"
    assert forge.new("x/y", "a b") == "https://git.example/new?b=a%2Fb%23c&p=x%2Fy&v=a%20b#x%2Fy"
    assert (forge.name, forge.view("x", 1), forge.commit("9f2b1c7e")) == ("", None, None)
    both = forge_of("github", **settings)
    assert (both.name, both.edit("x")) == ("GitHub", "https://git.example/edit/main/x?at=main&file=x")
    assert both.commit("9f2b1c7e") == "https://github.com/team/web/commit/9f2b1c7e"


def test_without_a_branch_only_links_that_need_none_are_there() -> None:
    forge = forge_of("github", "")
    assert (forge.edit("x"), forge.view("x", 1), forge.new("x", "")) == (None, None, None)
    assert forge.commit("9f2b1c7e") is not None
    assert make_forge(ForgeSettings(edit_url="https://git.example/{path}")).edit("x") == "https://git.example/x"


def test_a_project_in_a_folder_of_the_repository_is_found_there() -> None:
    forge = make_forge(ForgeSettings(), origin=HOSTS["github"], branch="main", folder="sub folder/")
    assert forge.edit("tasks/x.yaml") == "https://github.com/team/web/edit/main/sub%20folder/tasks/x.yaml"


REMOTES = {
    "git@github.com:team/web.git": "https://github.com/team/web",
    "github.com:team/web": "https://github.com/team/web",
    "org-12@github.com:/team/web.git/": "https://github.com/team/web",
    "ssh://git@github.com/team/web.git": "https://github.com/team/web",
    "ssh://git@ssh.github.com:443/team/web.git": "https://github.com/team/web",
    "ssh://git@gitlab.example.org:2222/group/deeper/web.git": "https://gitlab.example.org/group/deeper/web",
    "https://ann:s3cret@github.com/team/web.git": "https://github.com/team/web",
    "https://x-access-token:s3cret@github.com/team/web": "https://github.com/team/web",
    "https://GitHub.com:443/team/web/": "https://github.com/team/web",
    "https://git.example.org:8443/team/web.git": "https://git.example.org:8443/team/web",
    "http://git.example.org:80/team/web.git": "http://git.example.org/team/web",
    "http://127.0.0.1:3000/team/web": "http://127.0.0.1:3000/team/web",
    "git://git.example.org:9418/team/web.git": "https://git.example.org/team/web",
    "git+ssh://git@git.example.org/~ann/web": "https://git.example.org/~ann/web",
    "https://git.example.org/team%20one/web": "https://git.example.org/team%20one/web",
    "git@git.example.org:team one/{path}?#.git": "https://git.example.org/team%20one/%7Bpath%7D%3F%23",
    "/srv/git/web.git": None,
    "../web": None,
    "file:///srv/git/web.git": None,
    "C:/git/web": None,
    "ann:s3cret@host:team/web": None,
    "ext::sh -c whoami": None,
    "javascript://github.com/%0aalert(1)": None,
    "https://git.example.org/../../x": None,
    "https://git.example.org/%2e%2e/x": None,
    "https://git.example.org": None,
    "https://[::1]/team/web": None,
    "https://[broken/team/web": None,
    "https://git.example.org:port/team/web": None,
    'https://git"onload=x.example.org/a': None,
    "": None,
}


@pytest.mark.parametrize("remote", REMOTES)
def test_the_page_of_a_repository_is_known_from_its_remote(remote: str) -> None:
    assert find_address(remote) == REMOTES[remote]
    assert "s3cret" not in repr(make_forge(ForgeSettings(kind="github"), origin=remote, branch="main"))


def test_the_kind_is_guessed_from_the_name_of_the_host_alone() -> None:
    kinds = {
        "https://github.com/a/b": "github",
        "https://github.example.org/a/b": "github",
        "https://octo.ghe.com/a/b": "github",
        "https://gitlab.example.org/a/b": "gitlab",
        "https://git.forgejo.example/a/b": "forgejo",
        "https://codeberg.org/a/b": "forgejo",
        "https://gitea.example.org/a/b": "gitea",
        "https://github/a/b": None,
        "https://mygithub.com/a/b": None,
        "https://git.example.org/github/gitlab": None,
        "https://bitbucket.org/a/b": None,
    }
    assert {url: find_kind(url) for url in kinds} == kinds
    assert make_forge(ForgeSettings(), origin="https://bitbucket.org/a/b", branch="main") == Forge(branch="main")


def test_settings_come_before_what_git_knows() -> None:
    settings = ForgeSettings(kind="gitlab", url="https://code.example.org/a/b.git/", branch="trunk")
    forge = make_forge(settings, origin=HOSTS["github"], branch="main")
    assert (forge.name, forge.edit("x")) == ("GitLab", "https://code.example.org/a/b/-/edit/trunk/x")
    assert forge == make_forge(settings)


# -- new tasks ------------------------------------------------------------------------------------------------------


def test_a_new_task_has_an_id_that_no_file_has_and_the_same_each_time() -> None:
    view = Overview(sample_data(forge=forge_of("github")))
    made = make_new_task(view, "web")
    assert made == make_new_task(Overview(sample_data(forge=forge_of("github"))), "web")
    assert made
    assert re.fullmatch("web-[0-9a-hjkmnp-tv-z]{6}", made.id)
    assert made.path == f"tasks/web/{made.id}.yaml"
    in_phase = make_new_task(view, "web", "build")
    assert in_phase
    assert in_phase.id != made.id
    assert "phase: build\n" in in_phase.text
    assert in_phase.command == ("dagtasks", "task", "create", "web", "--phase", "build", "--name", "New task")
    assert make_new_task(view, "gone") is None


def test_another_id_is_given_when_somebody_kept_the_last_one(project: MakeProject) -> None:
    ids: list[str] = []
    for _ in range(5):
        files = {f"tasks/web/{name}.yaml": "name: [broken\n" for name in ids}
        made = project({"tasks/web/project.yaml": "name: Web\n", **files}, f"repository{len(ids)}")
        found = make_new_task(Overview(sample_data(index=made.load())), "web")
        assert found
        assert found.id not in ids
        ids.append(found.id)


def test_two_builds_propose_two_ids_when_a_task_came_between() -> None:
    before, after = (make_new_task(Overview(many_tasks(count)), "web") for count in (10, 11))
    assert before
    assert after
    assert before.id != after.id


def test_in_a_full_folder_a_new_task_goes_deeper_as_those_of_the_command_do() -> None:
    made = make_new_task(Overview(many_tasks(600)), "web")
    assert made
    assert made.path == f"tasks/web/{made.id[-2:]}/{made.id}.yaml"


# -- whole sites ----------------------------------------------------------------------------------------------------

AWKWARD = "tasks/web/a b #1%/ü'$(id).yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample in a folder of a repository that has a remote, with broken files of awkward names; its site is built."""
    top = tmp_path_factory.mktemp("repository")
    root = top / "sub folder"
    write_files(root, {**sample_files(), **BROKEN, AWKWARD: "name: [\n"})
    write_board_files(root, "Web site")
    git(top, "init", "--quiet")
    git(top, "add", "--all")
    git(top, "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-q", "--message", "start")
    git(top, "remote", "add", "origin", "https://ann:s3cret@github.com/team/web.git")
    git(top, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/feature/x#1")
    build_site(root)
    return root


def pages_of(site: Path) -> Mapping[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text("utf-8"))
        for path in sorted(site.rglob("*.html"))
        if path.name != "404.html"
    }


def links_of(page: Page, begin: str) -> list[str]:
    return [link for link in page.links if urlsplit(link).path.startswith(begin)]


def test_every_page_of_a_file_leads_to_it(root: Path) -> None:
    site = root / "site"
    pages = pages_of(site)
    assert "s3cret" not in "".join((site / uri).read_text("utf-8") for uri in pages)
    shown = {
        "t/web-7k2m9q.html": "tasks/web/web-7k2m9q.yaml",
        "t/web-5v0y4a.html": "tasks/web/web-5v0y4a.yaml",
        "p/web.html": "tasks/web/project.yaml",
        "p/web/build.html": "tasks/web/phases/build.yaml",
        "templates/pytest.html": "templates/pytest.yaml",
        "problems.html": AWKWARD,
        "board.html": AWKWARD,
    }
    for uri, path in shown.items():
        found = {unquote(urlsplit(link).path) for link in links_of(pages[uri], "/team/web/edit/")}
        assert f"/team/web/edit/feature/x#1/sub folder/{path}" in found, uri
    head = git(root, "rev-parse", "HEAD")
    commit = f"https://github.com/team/web/commit/{head}"
    assert {uri for uri, page in pages.items() if commit in page.links} >= {"board.html", "changes.html", "index.html"}
    lines = [urlsplit(link) for link in links_of(pages["t/web-5v0y4a.html"], "/team/web/blob/")]
    assert [(unquote(link.path), link.fragment) for link in lines][:1] == [
        ("/team/web/blob/feature/x#1/sub folder/tasks/web/web-5v0y4a.yaml", "L3")
    ]


def test_what_the_links_to_new_tasks_hold_is_valid(root: Path, cli: Callable[..., Result]) -> None:
    pages = pages_of(root / "site")
    links = {link for page in pages.values() for link in links_of(page, "/team/web/new/")}
    assert len(links) == 4  # the project and its three phases
    assert len(links_of(pages["board.html"], "/team/web/new/")) == 1
    ids = set()
    for link in links:
        assert unquote(urlsplit(link).path) == "/team/web/new/feature/x#1"
        query = {name: values[0] for name, values in parse_qs(urlsplit(link).query, strict_parsing=True).items()}
        path = query["filename"].removeprefix("sub folder/")
        assert not (root / path).exists()
        ids.add(Path(path).stem)
        write_files(root, {path: query["value"]})
        assert "0 errors, 0 warnings, 0 notes" in cli(root, "validate", path).out
        assert cli(root, "fmt", "--check", path).code == 0
    assert len(ids) == 4


def test_commands_are_quoted_for_a_shell(root: Path) -> None:
    page = Page(next((root / "site/t").glob("*~*.html")).read_text("utf-8"))
    assert """dagtasks validate 'tasks/web/a b #1%/ü'"'"'$(id).yaml'""" in page.words


def test_other_settings_make_the_pages_anew_that_hold_links(root: Path) -> None:
    write_files(root, {"config/default.yaml": "forge:\n  url: https://gitlab.com/a/b\n  branch: trunk\n"})
    pages = pages_of(build_site(root).site_dir)
    link = "https://gitlab.com/a/b/-/edit/trunk/sub%20folder/tasks/web/web-7k2m9q.yaml"
    assert link in pages["t/web-7k2m9q.html"].links
    assert [uri for uri, page in pages.items() if any("github.com" in link for link in page.links)] == []


def test_without_a_forge_there_are_only_commands() -> None:
    press = Press(Overview(sample_data()))
    bodies = [Page(press.render(page, page.facts()).text) for page in board_site(press.overview)]
    assert [link for body in bodies for link in body.links if urlsplit(link).netloc.count("git")] == []
    assert any("dagtasks task create web --name 'New task'" in body.words for body in bodies)
    assert any("dagtasks task set web-7k2m9q status=completed" in body.words for body in bodies)
    assert any("p/web.html#dt-new" in body.links for body in bodies)
    assert [body.ids.count("dt-new") for body in bodies if "dt-new" in body.ids] == [1] * 4
