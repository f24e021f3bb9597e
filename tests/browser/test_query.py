"""A query means the same on the board as on the command line: the same tasks in the same order, and the same errors."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import date
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dagtasks.board.overview import Overview
from dagtasks.board.scripts import FOLDER
from dagtasks.board.source import load_board
from dagtasks.errors import InvalidInput, NotFound
from dagtasks.service.views import list_matching
from dagtasks.store.project import Project
from tests.browser.queries import LABELS, PEOPLE, near_query, random_files, random_query, random_sort
from tests.conftest import git, write_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TODAY = date(2026, 11, 23)
SEED = 20261126
ASK = """cases => {
  const {readTable, select, QueryError} = dagtasksQuery, table = readTable(dagtasksTasks);
  return cases.map(([query, sort]) => {
    try {
      const found = select(table, query, sort, "2026-11-23");
      return [...found.tasks, ...found.broken].map(each => each.id);
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      return [error.message, error.hint].join(" | ");
    }
  });
}"""


class Repository(NamedTuple):
    """A random repository, and a page that knows its tasks."""

    project: Project
    page: Page

    def ask_command(self, query: str, sort: str) -> list[str] | str:
        """The ids that `task list` gives, or what it says."""
        try:
            return [row["id"] for row in list_matching(self.project, query, TODAY, sort=sort).data]
        except (InvalidInput, NotFound) as error:
            return f"{error.message} | {error.hint}"

    def differences(self, cases: list[tuple[str, str]]) -> list[tuple[object, ...]]:
        """Where the page gives another answer than the command."""
        answers = self.page.evaluate(ASK, [list(case) for case in cases])
        expected = [self.ask_command(*case) for case in cases]
        return [found for found in zip(cases, expected, answers, strict=True) if found[1] != found[2]]


@pytest.fixture(scope="module")
def repository(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    root = tmp_path_factory.mktemp("random")
    write_files(root, random_files(Random(SEED)))
    git(root, "init", "--quiet")  # a place for the cache
    project = Project(root)
    page = browser.new_page()
    page.add_script_tag(path=FOLDER / "query.js")
    page.add_script_tag(content=Overview(load_board(project)).task_index.text)
    yield Repository(project, page)
    page.close()


def test_200_random_queries_have_the_same_answer(repository: Repository):
    chance = Random(SEED)
    ids = sorted(repository.project.load().tasks)
    cases = [(random_query(chance, ids), random_sort(chance)) for _ in range(200)]
    assert repository.differences(cases) == []
    kinds = Counter(
        type(answer).__name__ if answer else "nothing" for answer in (repository.ask_command(*case) for case in cases)
    )
    assert min(kinds[kind] for kind in ("list", "str", "nothing")) > 15, kinds


def test_hints_name_the_same_near_names(repository: Repository):
    chance = Random(SEED)
    known = {"label": LABELS, "assignee": PEOPLE, "id": sorted(repository.project.load().tasks)}
    cases = [(near_query(chance, known), "id") for _ in range(200)]
    assert repository.differences(cases) == []
    assert sum("near: " in repository.ask_command(*case) for case in cases) > 50


@pytest.mark.parametrize("query", [
    "", "-", "--", "---", "-" * 20_001 + "label:ui", "--is:open", "@", "-@", ":", "a:b:c", "label:", "label:,", "id:", 'id:""', "id:web", "id:0", "id:z", "label:nothing-near-at-all", "-label:aera-1",
    '"', '"a\\"', 'x"y z"w', '"status:planned"', "is:invalid", "-is:invalid", "is:invalid,open", "due:2026-1-1", "due:<٢٠٢٦-١١-٢٣", "assignee:'",
    "assignee:\"it's\\\"\"", "assignee:\\", "assignee:\u00a0\u2028x", "assignee:\x07\u200b\U000e0001é\u0378", "label:" + "area-1" * 40, "STRASSE", "straße",
    "σίσυφοσ", "ﬁ", "FI", "fi", "ISTANBUL", "i̇stanbul", "IRMAK", "ꭰ", "日", "𝔘", "𐐨X", "ǆ", "\ufeff", "a\x1cb", "a\x1fb", "phase:None", "phase:web/None",
])  # fmt: skip
def test_odd_queries_have_the_same_answer(repository: Repository, query: str):
    assert repository.differences([(query, "name"), (query, "-phase")]) == []


def test_letters_are_alike_as_they_are_in_python(repository: Repository):
    known = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")
    ]
    folded = repository.page.evaluate("known => known.map(dagtasksQuery.fold)", known)
    assert [
        (hex(ord(letter)), found) for letter, found in zip(known, folded, strict=True) if letter.casefold() != found
    ] == []


def test_what_the_page_writes_in_quotes_is_read_as_it_was(repository: Repository):
    words = ["a", "", 'in"ch', "a b", "x,y", "back\\slash", '\\"', "a:b", "\u00a0", "-x"]
    read = "words => words.map(word => dagtasksQuery.splitValues(dagtasksQuery.quote(word))[0])"
    assert repository.page.evaluate(read, words) == words
