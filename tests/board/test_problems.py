"""The page of problems shows what `dagtasks validate` lists."""

from __future__ import annotations

import yaml

from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import Press
from dagtasks.board.site import board_site
from dagtasks.board.source import load_board
from dagtasks.planning.lint import CODES_OF_LINTS
from dagtasks.service.checks import validate
from dagtasks.store.project import Project
from tests.board.hostile import Page
from tests.board.sample import BROKEN, sample_files
from tests.conftest import MakeProject, write_files

WRONG = {
    "config/webhooks.yaml": "webhooks:\n  chat:\n    url: https://chat.example\n    project: nowhere\n",
    "tasks/web/comments/web-7k2m9q/20261126T100000Z-aaaa.md": "no front matter\n",
}


def find_on_page(project: Project) -> tuple[list[str], str]:
    view = Overview(load_board(project))
    page = next(page for page in board_site(view) if page.uri == "problems.html")
    words = Page(Press(view).render(page, page.facts()).text).words
    return sorted(problem.path for found in view.problems.values() for problem in found), words


def test_the_page_shows_what_validate_lists(project: MakeProject) -> None:
    made = project({**sample_files(), **BROKEN, **WRONG})
    listed = validate(made)
    assert WRONG.keys() | BROKEN.keys() <= {problem.path for problem in listed}
    paths, words = find_on_page(made)
    assert paths == sorted(problem.path for problem in listed)
    assert all(path in words for path in WRONG)
    assert "there is no project 'nowhere'" in words


def test_remarks_that_the_repository_switches_off_are_not_shown(project: MakeProject) -> None:
    files = {
        "templates/go.yaml": """metadata: {name: go}
parameters:
  command: {type: string}
steps:
  - name: run
    container: {image: "alpine:3", command: "${command}"}
"""
    }
    made = project({**sample_files(), **files})
    shown, _ = find_on_page(made)
    assert "templates/go.yaml" in shown
    write_files(made.root, {"config/default.yaml": yaml.safe_dump({"lint": {"off": sorted(CODES_OF_LINTS)}})})
    assert "templates/go.yaml" not in find_on_page(Project(made.root))[0]
