"""The page of what changed: from real commits, through the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from jinja2 import Environment

from dagtasks.board.data import BoardData, Compared
from dagtasks.board.overview import Overview
from dagtasks.board.pages.difference import difference_pages
from dagtasks.board.pages.press import Press, make_templates
from dagtasks.planning.changes import find_events
from tests.board.hostile import HOSTILE, Page
from tests.board.sample import many_tasks, task_text
from tests.conftest import MakeProject, Result, git, write_files

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/web/phases/old.yaml": "name: Old\n",
    "tasks/web/web-000001.yaml": task_text("One"),
    "tasks/web/web-000002.yaml": task_text("Two", depends_on=["web-000001"]),
    "tasks/web/web-000003.yaml": task_text("Three", description="a\nb\nc\nd\ne\nf\ng\n", priority="low"),
    "tasks/web/web-000004.yaml": task_text("Four"),
    "tasks/web/web-000005.yaml": task_text("Five"),
    "tasks/web/web-000006.yaml": task_text("Six"),
    "tasks/web/web-000007.yaml": task_text("Seven"),
    "tasks/ops/project.yaml": "name: Ops\n",
    "tasks/ops/ops-000001.yaml": task_text("Pay"),
    "tasks/ops/ops-000003.yaml": task_text("Move", status="in_progress"),
    "tasks/ops/ops-000004.yaml": task_text("Waits as before", depends_on=["ops-000003"]),
    "tasks/ops/ops-00000b.yaml": "name: [\n",
}
LATER = {
    "tasks/web/project.yaml": "name: Web site\n",
    "tasks/web/web-000001.yaml": task_text("One", status="completed"),
    "tasks/web/web-000003.yaml": task_text("Drei", description="a\nb\nc\nd\ne\nF\ng\n", priority="high"),
    "tasks/web/web-000004.yaml": task_text("Four", depends_on=["web-000003"], assignee="ann"),
    "tasks/web/web-000005.yaml": task_text("Five", status="blocked"),
    "tasks/web/web-000006.yaml": task_text("Six", phase="build", workflows={"check": {"template": "gone"}}),
    "tasks/web/web-000008.yaml": task_text("Eight", depends_on=["web-000007"]),
    "tasks/web/web-000009.yaml": "name: [\n",
    "tasks/ops/ops-000001.yaml": "name: [\n",
    "tasks/ops/ops-000003.yaml": task_text("Move", depends_on=["web-000004"]),
}


@pytest.fixture
def root(project: MakeProject, cli: Callable[..., Result]) -> Path:
    """A repository with a branch `feature`, and a later commit on `main`."""
    made = project(FILES).root
    git(made, "checkout", "--quiet", "-b", "feature")
    write_files(made, LATER)
    for gone in ("web-000007.yaml", "phases/old.yaml"):
        (made / "tasks/web" / gone).unlink()
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "feature")
    git(made, "checkout", "--quiet", "main")
    write_files(made, {"tasks/ops/ops-000002.yaml": task_text("Only on main")})
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "main")
    cli(made, "board", "init")
    return made


def read(root: Path, uri: str = "diff.html") -> str:
    return (root / "site" / uri).read_text("utf-8")


def words(text: str) -> str:
    return " ".join(Page(re.sub("<(?=/?(p|li|h.|dt|dd|ins|del|a|span|summary)\\b)", " <", text)).words.split())


def test_a_pull_request_in_words(root: Path, cli: Callable[..., Result]) -> None:
    done = cli(root, "board", "build", "--diff", "main...feature")
    assert done.code == 1  # of the files that are broken there
    assert "tasks/web/web-000009.yaml" in done.err
    said = words(read(root))
    expected = [
        f"from {git(root, 'merge-base', 'main', 'feature')[:10]} to {git(root, 'rev-parse', 'feature')[:10]}",
        "dagtasks diff main...feature",
        "Blocked 1",
        "Deleted 2",
        "Completed 1",
        "Created 1",
        "Has to wait now 2",
        "Can be started now 1",
        "Moved 1",
        "New dependencies 3",
        "2 broken files",
        "tasks/web/web-000009.yaml",
        "tasks/ops/ops-000001.yaml",
        "New problems",
        "there is no template",
        "web-000001 Completed status planned -> completed",
        "Two web-000002 Can be started now waited for web-000001",
        "Drei web-000003 Changed name Three -> Drei priority low -> high description d e - f + F g",
        "Four web-000004 Has to wait now assignee (none) -> ann waits for web-000003 depends on Drei",
        "Six web-000006 Moved phase (none) -> build workflow check created, template gone",
        "Seven web-000007 Deleted",
        "Move ops-000003 Has to wait now status in_progress -> planned",
        "Eight web-000008 Created depends on Seven",
        "Old phase web/old Deleted",
        "Web site project web Changed name Web -> Web site",
    ]
    assert [phrase for phrase in expected if phrase not in said] == []
    assert [word for word in ("Only on main", "Waits as before", "ops-00000b") if word in said] == []
    assert said.index("web-000005 Blocked") < said.index("web-000007 Deleted") < said.index("web-000001 Completed")


def test_it_comes_with_the_board_of_the_second_side_and_every_page_leads_to_it(
    root: Path, cli: Callable[..., Result]
) -> None:
    cli(root, "board", "build", "--diff", "main..feature")
    assert "Only on main" in words(read(root))
    assert f"Board of commit <code>{git(root, 'rev-parse', 'feature')[:10]}</code>" in read(root, "board.html")
    assert 'href="../diff.html">Difference</a>' in read(root, "t/web-000008.html")
    assert 'href="diff.html" aria-current="true">Difference</a>' in read(root)
    links = [link for link in Page(read(root)).links if not link.startswith("http")]
    assert [link for link in links if not (root / "site" / link.partition("#")[0]).exists()] == []
    assert "t/web-000008.html" in links
    assert "t/web-000007.html" not in links


def test_one_commit_alone_is_compared_with_the_files_as_they_are(root: Path, cli: Callable[..., Result]) -> None:
    write_files(root, {"tasks/web/web-00000a.yaml": task_text("Not committed")})
    cli(root, "board", "build", "--diff", "HEAD")
    said = words(read(root))
    assert "to the files as they are" in said
    assert "Not committed web-00000a Created Can be started now" in said
    assert "Board of commit" not in read(root, "board.html")
    cli(root, "board", "build")
    assert not (root / "site/diff.html").exists()
    assert "diff.html" not in read(root, "t/web-000001.html") + read(root, "index.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--diff", "main..nope"], "there is no commit 'nope'"),
        (["--diff", "main..feature", "--at", "main"], "leave out --at"),
    ],
)
def test_what_cannot_be_compared_leaves_the_old_site(
    arguments: list[str], message: str, root: Path, cli: Callable[..., Result]
) -> None:
    write_files(root, {"site/404.html": "", "site/board.html": "old"})
    done = cli(root, "board", "build", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert read(root, "board.html") == "old"


# -- from data ------------------------------------------------------------------------------------------------------


@cache
def templates() -> Environment:
    return make_templates()


def compare(before: BoardData, after: BoardData) -> str:
    """The page of what changed between two boards."""
    events = find_events(before.index, after.index)
    view = Overview(replace(after, compared=Compared("a..b", "0" * 40, before.index, events)))
    [page] = difference_pages(view)
    return Press(view, templates()).render(page, page.facts()).text


def test_nothing_changed() -> None:
    assert "Nothing changed." in words(compare(many_tasks(2), many_tasks(2)))


def test_many_changes_make_no_large_page() -> None:
    before = many_tasks(10)
    page = compare(before, many_tasks(2000))
    assert len(page.encode()) < 400_000
    assert "and 1790 more" in words(page)
    assert "Created 1990" in words(page)


def test_what_there_is_no_room_for_is_said_to_be_left_out() -> None:
    data = many_tasks(60)
    tasks = {name: task._replace(name=f"{task.name}!") for name, task in data.index.tasks.items()}
    text = "".join(f"{n} {'x' * 250}\n" for n in range(50))
    index = data.index._replace(tasks=tasks)
    events = [
        event._replace(changed={**event.changed, "description": (None, text)})
        for event in find_events(data.index, index)
    ]
    view = Overview(replace(data, index=index, compared=Compared("a..b", "0", data.index, events)))
    [page] = difference_pages(view)
    made = Press(view, templates()).render(page, page.facts()).text
    assert len(made.encode()) < 400_000
    assert words(made).count("What changed in it is too much for this page.") == 49


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text: str) -> None:
    data = many_tasks(3)
    tasks = {
        name: task._replace(name=text, assignee=text, metadata={text: text}) for name, task in data.index.tasks.items()
    }
    index = data.index._replace(tasks=tasks)
    events = [
        event._replace(changed={**event.changed, "description": (f"a\n{text}", f"{text}\n{text}\nb")})
        for event in find_events(data.index, index)
    ]
    view = Overview(replace(data, index=index, compared=Compared(text, text, data.index, events)))
    [page] = difference_pages(view)
    assert Page(Press(view, templates()).render(page, page.facts()).text).wrong == []


def test_long_texts_are_cut_and_too_long_ones_counted() -> None:
    data = many_tasks(1)
    [task] = data.index.tasks.values()
    index = data.index._replace(tasks={task.id: task._replace(priority=task.priority, name="New")})
    [event] = find_events(data.index, index)

    def page_with(old: str, new: str) -> str:
        changed = {**event.changed, "description": (old, new)}
        compared = Compared("a..b", "0", data.index, [event._replace(changed=changed)])
        view = Overview(replace(data, index=index, compared=compared))
        [page] = difference_pages(view)
        return words(Press(view, templates()).render(page, page.facts()).text)

    assert "and 40 more lines" in page_with("", "".join(f"line {n}\n" for n in range(100)))
    assert "description 5000 lines added" in page_with("", "x\n" * 5000)
    assert "description 1 line added" in page_with("", "short")
