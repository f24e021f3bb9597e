"""Every page as a browser sees it: no request leaves, the policy holds, links lead somewhere, on disk as well."""

from __future__ import annotations

from tests.browser.conftest import Visit
from tests.browser.sites import Site


def test_no_page_asks_another_host_or_breaks_its_policy(visit: Visit, demo: Site):
    page = visit(demo)
    for uri in demo.pages:
        page.goto(f"{demo.url}/{uri}")
