"""The board of `serve`: what is published, as files are now, for browsers that were signed in with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from dagtasks.api.app import make_app
from dagtasks.api.desk import Server
from dagtasks.api.gate import Guesses
from dagtasks.api.sessions import SECONDS, Sessions
from dagtasks.board.scaffold import write_board_files
from dagtasks.service import boards
from dagtasks.service.boards import LiveBoard
from dagtasks.service.keys import Grant, Person, Scope
from dagtasks.store.project import Project
from tests.api.conftest import FILES, Api, Client
from tests.conftest import MakeProject, write_files

PAGE = {"Accept": "text/html,*/*;q=0.8"}
HERE = {"Origin": "http://127.0.0.1:8321"}
SCRIPT = re.compile(r'<script type="module" src="(/|(?:\.\./)*)assets/dagtasks/live\.js"></script>')


@dataclass
class Browser:
    """Somebody who may have signed in."""

    api: Api
    board: LiveBoard
    codes: list[str]
    now: list[float]
    cookie: dict[str, str] = field(default_factory=dict)

    def sign_in(self, code: str | None = None) -> httpx.Response:
        answer = self.ask("GET", f"/sign-in?code={self.codes[-1] if code is None else code}", headers=PAGE)
        if answer.status_code == 303:
            self.cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        return answer

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: object) -> httpx.Response:
        return self.api.client.request(method, path, headers={**self.cookie, **(headers or {})}, **options)

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path, headers=PAGE)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        return SCRIPT.sub("", answer.text)


MakeBrowser = Callable[..., Browser]


@pytest.fixture
def make_browser(project: MakeProject) -> Iterator[MakeBrowser]:
    with ExitStack() as stack:

        def make(files: dict[str, str] | None = None) -> Browser:
            made = project({**FILES, **(files or {})})
            write_board_files(made.root)
            codes: list[str] = []
            now = [1000.0]
            grant = Grant("browser", Person("Ann", "ann@example.org"), frozenset(Scope))
            sessions = Sessions(grant, codes.append, lambda: now[0])
            sessions.offer()
            board = LiveBoard(Project(made.root))
            stack.callback(board.close)
            server = Server(Project(made.root), lambda _: None, board=board, sessions=sessions)
            app = make_app(server, (), Guesses(lambda: now[0]))
            return Browser(Api(made.root, Client(stack.enter_context(start_blocking_portal()), app)), board, codes, now)

        yield make


@pytest.fixture
def browser(make_browser: MakeBrowser) -> Browser:
    made = make_browser()
    made.sign_in()
    return made


# -- signing in -----------------------------------------------------------------------------------------------------


def test_a_link_lets_in_once_and_each_use_gives_the_next(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    refused = browser.get("/")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "not signed in" in refused.text
    assert "Web" not in refused.text
    answer = browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    assert re.fullmatch(
        r"dagtasks-8321=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", answer.headers["set-cookie"]
    )
    assert browser.get("/board.html").status_code == 200
    assert len({*browser.codes}) == 2
    again = make_browser_of(browser).sign_in(browser.codes[0])
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
    assert "it has been used" in again.text
    assert make_browser_of(browser).sign_in(browser.codes[1]).status_code == 303
    assert browser.get("/board.html").status_code == 200


def make_browser_of(browser: Browser) -> Browser:
    """Another browser, at the same server."""
    return Browser(browser.api, browser.board, browser.codes, browser.now)


def test_no_page_is_shown_to_others(browser: Browser) -> None:
    stranger = make_browser_of(browser)
    paths = ["/", "/board.html", "/404.html", "/feed.xml", "/assets/dagtasks/live.js", "/nothing", "/api/v1/tasks"]
    assert [stranger.get(path).status_code for path in paths] == [401] * len(paths)
    assert [stranger.ask("GET", path).json()["status"] for path in paths] == [401] * len(paths)
    with_key = {"X-API-Key": browser.api.key("read"), **PAGE}
    assert stranger.ask("GET", "/board.html", with_key).status_code == 200


def test_a_session_ends(browser: Browser) -> None:
    browser.now[0] += SECONDS - 1
    assert browser.get("/").status_code == 200
    browser.now[0] += 1
    assert browser.get("/").status_code == 401
    assert browser.ask("GET", "/api/v1/tasks").headers["content-type"] == "application/problem+json"


def test_whoever_guesses_links_has_to_wait(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    codes = [browser.sign_in(code).status_code for code in ("", "x", *["y"] * 9)]
    assert codes == [401] * 10 + [429]
    assert browser.sign_in().status_code == 303


def test_the_cookie_of_another_server_of_the_machine_does_not_count(browser: Browser) -> None:
    other = {"Cookie": browser.cookie["Cookie"].replace("8321", "8322")}
    assert browser.api.client.request("GET", "/", headers={**PAGE, **other}).status_code == 401
    assert (
        browser.api.client.request("GET", "/", headers={**PAGE, "Cookie": "a=\x7f;;=; dagtasks-8321"}).status_code
        == 401
    )


def test_a_browser_may_do_all_that_a_key_may_but_from_our_pages_alone(browser: Browser) -> None:
    tag = browser.ask("GET", "/api/v1/tasks/web-000001").headers["etag"]
    path, body = "/api/v1/tasks/web-000001", {"json": {"status": "blocked"}}
    wrong = [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {**HERE, "Sec-Fetch-Site": "cross-site"}]
    assert [browser.ask("PATCH", path, {**one, "If-Match": tag}, **body).status_code for one in wrong] == [403] * 4
    assert browser.ask("GET", path, {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert (
        browser.ask("PATCH", path, {**HERE, "Sec-Fetch-Site": "same-origin", "If-Match": tag}, **body).status_code
        == 200
    )
    assert "status: blocked" in (browser.api.root / "tasks/web/web-000001.yaml").read_text()


# -- pages ----------------------------------------------------------------------------------------------------------


def test_it_is_the_board_that_is_published(browser: Browser) -> None:
    """Byte for byte, but for the script."""
    built = boards.build(Project(browser.api.root)).site
    pages = sorted((path.relative_to(built).as_posix() for path in built.rglob("*.*") if path.is_file()), reverse=True)
    assert len(pages) > 20
    differing = [uri for uri in pages if SCRIPT.sub("", browser.ask("GET", f"/{uri}").text) != read(built / uri)]
    assert differing == []
    assert boards.build(Project(browser.api.root)).pages == sum(uri.endswith(".html") for uri in pages)
    settings = browser.page("/dagtasks/settings.html")
    assert "<h1>Settings</h1>" in settings
    assert 'href="../api/v1/reference"' in settings
    assert "Create a task" in browser.page("/api/v1/reference")
    assert not [uri for uri in pages if "settings" in uri]


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_what_is_written_shows_at_once(browser: Browser) -> None:
    assert "Half past" not in browser.page("/board.html")
    made = browser.ask("POST", "/api/v1/tasks", HERE, json={"project": "web", "name": "Half past two"})
    assert made.status_code == 201, made.text
    name = made.json()["id"]
    assert "Half past two" in browser.page("/board.html")
    assert "Half past two" in browser.page(f"/t/{name}.html")
    index = re.search(r"assets/dagtasks/tasks-\w+\.js", browser.page("/board.html"))
    assert index
    assert "Half past two" in browser.ask("GET", f"/{index[0]}").text
    gone = browser.ask("DELETE", f"/api/v1/tasks/{name}", {**HERE, "If-Match": made.headers["etag"]})
    assert gone.status_code in (200, 204), gone.text
    assert "Half past two" not in browser.page("/board.html")
    assert browser.get(f"/t/{name}.html").status_code == 404


def test_what_others_write_shows_when_the_watcher_has_rung(browser: Browser) -> None:
    assert "Quite another" not in browser.page("/t/web-000001.html")
    write_files(browser.api.root, {"tasks/web/web-000001.yaml": "name: Quite another\n"})
    browser.board.notice()
    assert "Quite another" in browser.page("/t/web-000001.html")
    assert "Quite another" in browser.page("/")
    write_files(browser.api.root, {"tasks/web/web-000001.yaml": "name: [\n"})
    browser.board.notice()
    assert "cannot be read" in browser.page("/t/web-000001.html")
    write_files(browser.api.root, {"tasks/web/web-000001.yaml": "name: Well again\n"})
    browser.board.notice()
    assert "Well again" in browser.page("/t/web-000001.html")


def test_pages_that_people_wrote_and_the_configuration_show_too(browser: Browser) -> None:
    root = browser.api.root
    write_files(root, {"site_src/index.md": "# Quite a start\n", "site_src/more.md": "# Some more\n"})
    assert "Quite a start" in browser.page("/")
    assert "Some more" in browser.page("/more.html")
    config = (root / "mkdocs.yml").read_text()
    write_files(root, {"mkdocs.yml": f"{config}\nnonsense: [\n"})
    broken = browser.get("/board.html")
    assert (broken.status_code, broken.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "mkdocs.yml is wrong" in broken.text
    assert browser.ask("GET", "/api/v1/tasks").status_code == 200
    write_files(root, {"mkdocs.yml": re.sub("site_name: .*", "site_name: Another name", config)})
    assert "Another name" in browser.page("/board.html")


def test_scripts_and_redirects_are_found_also_below_a_prefix(browser: Browser) -> None:
    """A proxy may show the board below another address."""
    assert [SCRIPT.search(browser.get(uri).text)[1] for uri in ("/", "/board.html", "/t/web-000001.html")] == [
        "",
        "",
        "../",
    ]
    assert SCRIPT.search(browser.get("/no/such/page.html").text)[1] == "/"


def test_addresses_without_a_page(browser: Browser) -> None:
    missing = browser.get("/nothing/here.html")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "board.html" in missing.text
    for path in ("/..%2f..%2f..%2fetc/passwd", "/t/..%2f..%2f..%2fetc/passwd", "/assets/dagtasks/live/../../x", "/%00"):
        assert browser.get(path).status_code in (400, 404), path
    assert browser.ask("GET", "/api/v1/nothing").headers["content-type"] == "application/problem+json"
    assert browser.get("/assets").headers["location"] == "assets/"
    assert browser.get("/assets/").status_code == 404
    assert browser.ask("HEAD", "/board.html").status_code == 200
    assert browser.ask("POST", "/board.html", HERE).status_code == 405


def test_pages_keep_their_policy_and_are_framed_by_nobody(browser: Browser) -> None:
    answer = browser.get("/board.html")
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "default-src 'none'; script-src 'self'" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
