"""Fixtures: Chromium, sites that are built once, and pages on which nothing may go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.serving import Cookies, Served, opened, served_alone, sign_in
from tests.browser.sites import Site, built_site, demo_repository, large_repository, make_repository
from tests.browser.watching import SILENT, Watcher
from tests.conftest import isolate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
Visit = Callable[..., "Page"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine, which reaches no other one."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        pytest.skip(f"there is no Chromium: none of {', '.join(NAMES)} is on the PATH")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=SILENT)
        yield chromium
        chromium.close()


@pytest.fixture
def watcher(browser: Browser) -> Iterator[Watcher]:
    """A browser that notes what goes wrong; it is the test's to look at it."""
    made = Watcher(browser)
    yield made
    made.close()


@pytest.fixture
def visit(watcher: Watcher) -> Iterator[Visit]:
    """A function that opens a page of a site: `visit(demo, "board.html", color_scheme="dark")`.

    The other arguments are options of a Playwright context. The test fails at its end when anything went wrong on a
    page: a request to another host, an error or a warning on the console, a breach of the policy, a dialog, a dead link.
    """

    def open_page(site: Site, uri: str = "index.html", **options: Any) -> Page:
        return watcher.open(f"{site.url}/{uri}", **options)

    yield open_page
    watcher.close()
    assert watcher.wrong == []


@contextmanager
def built(factory: pytest.TempPathFactory, make: Callable[[Path], Path], diff: str | None = None) -> Iterator[Site]:
    """The site of the repository that `make` makes in the folder that it gets."""
    folder = factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, factory.mktemp("home"))
        make(folder)
        with built_site(folder, diff) as site:
            yield site


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with every kind of page, and with everything that may be wrong in a repository."""
    with built(tmp_path_factory, demo_repository) as site:
        yield site


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of 1,000 tasks."""
    with built(tmp_path_factory, lambda root: large_repository(root, 1000)) as site:
        yield site


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of a repository in which nothing was made yet."""
    with built(tmp_path_factory, lambda root: make_repository(root, [{"tasks/README.md": "Tasks\n"}])) as site:
        yield site


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`dagtasks serve` of one repository for all tests."""
    with served_alone(tmp_path_factory) as served:
        yield served


@pytest.fixture(scope="session")
def signed_in(browser: Browser, served: Served) -> Cookies:
    """What a browser has that was signed in with there."""
    return sign_in(browser, served)


@pytest.fixture
def page(watcher: Watcher, signed_in: Cookies) -> Iterator[Page]:
    """A page that is signed in, on which nothing may go wrong."""
    yield opened(watcher, signed_in)
    watcher.close()
    assert watcher.wrong == []
