"""The description of the API for people: a page of the documentation, and one that a server shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from dagtasks.api.reference import render, slug
from tests.api import contract
from tests.api.conftest import Api

PAGE = Path(__file__).parents[2] / "site_src/reference/api-requests.md"


def test_the_page_is_as_it_is_made() -> None:
    assert PAGE.read_text("utf-8") == render(contract.description()), "make it anew: make reference"


def test_every_request_is_told_with_all_that_it_takes() -> None:
    page = render(contract.description())
    for path, ways in contract.description()["paths"].items():
        for method, way in ways.items():
            part = page.partition(f"\n### {way['summary']}\n")[2].partition("\n#")[0]
            assert f"`{method.upper()} {path.removeprefix('/api/v1')}`" in part
            for parameter in way["parameters"]:
                assert f"| `{parameter['name']}`" in part
            assert all(status in part or status in page.partition("\n## ")[0] for status in way["responses"])
    task = page.partition("\n### Create a task\n")[2].partition("\n#")[0]
    for words in (
        "`POST /tasks`, with a key for `write`; `create_task`.",
        "| `name` * | text of 1 to 500 characters |",
        "| `priority` | `low` or `medium` or `high` or `critical` |",
        "| `labels` | list of text of 1 to 64 characters |",
        "**201**: it was made: [ChangedTask](#changedtask), with `ETag`, `Location`, `Dagtasks-Commit` and",
    ):
        assert words in task


def test_links_lead_to_one_place() -> None:
    page = render(contract.description())
    anchors = [slug(heading) for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)]
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#(.*?)\)", page)) <= set(anchors)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids |= {found["id"]} if found.get("id") else set()  # type: ignore[arg-type]
        self.links |= {found["href"]} if found.get("href") else set()  # type: ignore[arg-type]


def test_a_server_shows_it_to_who_may_read(api: Api) -> None:
    assert api.get("/reference", scope=None).status_code == 401
    answer = api.get("/reference", scope="read")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    reader = Reader()
    reader.feed(answer.text)
    assert {link.removeprefix("#") for link in reader.links} <= reader.ids
    assert not {"script", "img", "link"} & reader.tags
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]
    assert "Create a task" in answer.text
