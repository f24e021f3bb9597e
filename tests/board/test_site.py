"""The pages without chrome: what they say, that their links lead somewhere, that they are safe, small, repeatable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import pytest

from dagtasks.board.data import BoardData, Change, Comment
from dagtasks.board.forge import make_forge
from dagtasks.board.overview import Overview
from dagtasks.board.pages.home import home_page
from dagtasks.board.pages.press import BoardPage, Press, make_templates
from dagtasks.board.site import board_site
from dagtasks.board.uris import FEED
from dagtasks.errors import Problem, Severity
from dagtasks.model.run import Failure, RunRecord, StepRecord
from dagtasks.model.summary import BindingSummary, BrokenFile, CallSummary, TaskSummary
from dagtasks.model.values import RunState, Status, StepState
from dagtasks.planning.index import Index, build_index
from dagtasks.settings import ForgeSettings
from tests.board.hostile import HOSTILE, Page
from tests.board.sample import many_tasks, sample_data, sample_runs, task_id


@cache
def templates():
    return make_templates()


def render(data: BoardData) -> Mapping[str, str]:
    """All pages by address, the home page's part with them."""
    view = Overview(data)
    return body(view, [home_page(view), *board_site(view)])


def body(view: Overview, pages: Iterable[BoardPage]) -> Mapping[str, str]:
    """The bodies of these pages, by address."""
    press = Press(view, templates())
    return {page.uri: press.render(page, page.facts()).text for page in pages}


@cache
def sample() -> Mapping[str, str]:
    return render(sample_data())


@cache
def large() -> Mapping[str, str]:
    """A board of 2,000 tasks; of the tasks' own pages only some are made."""
    view = Overview(many_tasks(2000))
    pages = {page.uri: page for page in board_site(view)}
    kept = [page for n, page in enumerate(pages.values()) if not page.uri.startswith("t/") or n % 100 == 0]
    return {**dict.fromkeys(pages, ""), **body(view, [home_page(view), *kept])}


def words(uri: str) -> str:
    return " ".join(Page(sample()[uri]).words.split())


def dead_links(pages: Mapping[str, str]) -> list[tuple[str, str]]:
    """The links of a page that lead to no page of the site."""
    known = {*pages, FEED}
    return [
        (uri, link)
        for uri, text in pages.items()
        for link in Page(text).links
        if not urlsplit(link).scheme and normpath(join(dirname(uri), unquote(urlsplit(link).path))) not in known
    ]


SAYS = {
    "index.html": [
        "2 broken files",
        "tasks/web/web-5v0y4a.yaml",
        "Web site27 %",
        "3 completed",
        "2 ready to start",
        "Design",
        "0/4",
        "Ready to start",
        "Look at the bill for the cluster",
        "Latest runs",
        "test: Build the login page",
    ],
    "board.html": [
        "12 tasks, 2 ready to start",
        "Broken2",
        "Planned5",
        "In progress2",
        "Blocked1",
        "Completed3",
        "Cancelled1",
        "line 3:1",
        "DT102",
        "the list that begins in line 2 has no end",
        "2026-11-02 overdue",
        "CO",
    ],
    "p/web.html": [
        "3 of 11 done, 27 %",
        "The public site: accounts",
        "owner",
        "Tasks without a phase",
        "Broken task file",
    ],
    "p/web/build.html": ["Build", "Phase web/build", "0 of 4 done", "Store sessions on the server"],
    "t/web-7k2m9q.html": [
        "Build the login page",
        "What has to work",
        "Session[int]",
        "Depends on 1",
        "Draw the sign-in flow",
        "Needed by 2",
        "Write the page that explains accounts",
        "check template basic_task",
        "task_command",
        "npm test -- --run login",
        "dagtasks run web-7k2m9q check",
        "Runs 2",
        "StatusIn progress",
        "PriorityHigh",
        "2026-11-28",
        "q4",
        "- ben.okafor - Chen Li",
        "tasks/web/web-7k2m9q.yaml",
    ],
    "t/web-2r7v1y.html": ["Depends on 3", "waits for 2", "StatusPlanned"],
    "t/web-5v0y4a.html": ["web-5v0y4a cannot be read", "line 3:1", "dagtasks validate tasks/web/web-5v0y4a.yaml"],
    "list/all/1.html": ["All tasks12 tasks", "Tell everybody"],
    "list/blocked/1.html": ["Blocked1 task", "Send the mail that resets a password"],
    "problems.html": ["2 in 2 files", "DT122", "'soon' is not a status"],
    "runs.html": ["3 runs, newest first", "Running nightly"],
    "r/20261123t091500-k3f9ab.html": [
        "Failed after 1 min 14 s",
        "exit 1",
        "2 attempts",
        "cached",
        "the command ended with 1",
        "collected 212 items",
        "1 failed, 211 passed",
        "Omitted",
        "pytest 0.4.1",
        "9f2b1c7e00",
        "ann (manual)",
    ],
    "r/20261122t180000-z0q1cd.html": ["passed: 12 failed: 0", "npm test", "ann (task.started)"],
    "templates.html": ["2 workflow templates", "General", "Quality", "used by 1 task", "3 parameters"],
    "templates/basic_task.html": ["required", "minimum: 0 maximum: 5", "image: alpine:3.20", "Used by 1", "1.2.0"],
    "templates/pytest.html": ["It takes none.", "after install", "timeout: 10m", "report"],
}


@pytest.mark.parametrize("uri", SAYS)
def test_a_page_says(uri):
    said = words(uri)
    assert [phrase for phrase in SAYS[uri] if phrase not in said] == []


def test_every_link_leads_to_a_page():
    assert dead_links(sample()) == []


def test_every_task_template_run_phase_and_broken_file_has_its_page():
    data = sample_data()
    index = data.index
    expected = {f"t/{task}.html" for task in index.tasks} | {f"t/{file.id}.html" for file in index.broken}
    expected |= {f"r/{run.id}.html" for run in data.runs} | {f"templates/{name}.html" for name in index.templates}
    expected |= {f"p/{phase}.html" for phase in index.phases}
    assert expected <= set(sample())


def test_the_same_data_gives_the_same_bytes():
    assert render(sample_data()) == sample()


def test_an_empty_repository_says_how_to_begin():
    pages = render(BoardData(index=Index(), read_description=lambda _: pytest.fail("there is no task")))
    assert "dagtasks project create" in pages["index.html"]
    assert dead_links(pages) == []


# -- broken and odd repositories ------------------------------------------------------------------------------------


def test_a_dependency_without_a_file_is_named_and_one_with_a_broken_file_is_linked():
    rows = [
        TaskSummary("web-000001", "web", "tasks/web/web-000001.yaml", "A", depends_on=("web-000002", "web-000003")),
        BrokenFile("tasks/web/web-000003.yaml", "task", "web-000003", "web"),
    ]
    pages = render(BoardData(index=build_index(rows, []), read_description=lambda _: ""))
    page = Page(pages["t/web-000001.html"])
    assert "web-000002there is no such task" in page.words
    assert "../t/web-000003.html" in page.links
    assert "../t/web-000001.html" in Page(pages["t/web-000003.html"]).links
    assert dead_links(pages) == []


def test_a_cycle_of_dependencies_is_shown_as_it_is():
    rows = [
        TaskSummary(f"web-00000{n}", "web", f"tasks/web/web-00000{n}.yaml", f"T{n}", depends_on=(f"web-00000{3 - n}",))
        for n in (1, 2)
    ]
    pages = render(BoardData(index=build_index(rows, []), read_description=lambda _: ""))
    assert "../t/web-000002.html" in Page(pages["t/web-000001.html"]).links


def test_a_project_without_its_own_file_has_a_page():
    row = TaskSummary("web-000001", "web", "tasks/web/web-000001.yaml", "A", phase="gone")
    pages = render(BoardData(index=build_index([row], []), read_description=lambda _: ""))
    assert "Project web" in " ".join(Page(pages["p/web.html"]).words.split())
    assert dead_links(pages) == []


def test_warnings_are_shown_on_the_task_and_not_as_broken():
    data = sample_data()
    path = data.index.tasks["web-4t9x30"].path
    problem = Problem(path, 4, 1, "DT125", "unknown key 'prio'", "did you mean 'priority'?", Severity.WARNING)
    pages = render(replace(data, problems=[problem]))
    assert "unknown key 'prio'" in Page(pages["t/web-4t9x30.html"]).words
    assert "unknown key" not in pages["board.html"]


def test_templates_of_any_shape_are_shown():
    shapes = {"steps": "no list", "parameters": ["no map"], "outputs": 3, "finally": [None, "text", {"name": 5}]}
    pages = render(sample_data(templates={"basic_task": shapes, "pytest": {"parameters": {"a": None}}}))
    assert "in the end" in pages["templates/basic_task.html"]


def test_child_runs_are_linked_both_ways_and_kept_off_the_list():
    parent = replace(sample_runs()[1], children=("20261122t180001-child1",), retry_of="gone")
    child = replace(sample_runs()[1], id="20261122t180001-child1", parent=parent.id, task=None)
    pages = render(sample_data(runs=[parent, child]))
    assert f"../r/{child.id}.html" in Page(pages[f"r/{parent.id}.html"]).links
    assert f"../r/{parent.id}.html" in Page(pages[f"r/{child.id}.html"]).links
    assert "1 run," in " ".join(Page(pages["runs.html"]).words.split())
    assert dead_links(pages) == []


def test_records_of_runs_that_cannot_be_read_are_named():
    problems = [
        Problem(f"refs/dagtasks/runs:2026/11/x{n}.json", 0, 0, "DT404", f"no record {n}", f"see: git show x{n}")
        for n in range(25)
    ]
    pages = render(sample_data(run_problems=problems))
    runs, listed = (" ".join(Page(pages[uri]).words.split()) for uri in ("runs.html", "problems.html"))
    assert "no record 19" in runs
    assert "no record 20" not in runs
    assert "and 5 more" in runs
    assert "27 in 27 files, as dagtasks validate and dagtasks runs list list them" in listed
    assert "refs/dagtasks/runs:2026/11/x24.json" in listed
    assert dead_links(pages) == []


def test_what_starts_a_workflow_by_itself_is_named():
    row = TaskSummary("web-000001", "web", "tasks/web/web-000001.yaml", "A")
    row = row._replace(workflows=(BindingSummary("check", "gone", run_on=("completed",)),))
    page = Page(render(BoardData(build_index([row], []), lambda _: ""))["t/web-000001.html"])
    assert "Starts by itself on completed" in page.words
    assert "gone: there is no such template" in page.words


def test_comments_are_shown_as_markdown():
    comments = {"web-7k2m9q": [Comment("ben", "2026-11-20T10:00:00Z", "Looks **good**, see web-4t9x30")]}
    page = render(sample_data(comments=comments))["t/web-7k2m9q.html"]
    assert "<strong>good</strong>" in page
    assert "../t/web-4t9x30.html" in Page(page).links


def test_the_steps_of_a_template_are_drawn_when_they_are_sound():
    steps = [{"name": name, "container": {"image": "alpine", "command": "true"}} for name in ("build", "test")]
    data = {"metadata": {"name": "basic_task"}, "type": "containerized_workflow", "steps": steps}
    steps[1]["depends_on"] = ["build"]
    body = render(replace(sample_data(), templates={"basic_task": data}))["templates/basic_task.html"]
    assert body.count('class="dt-edge"') == 1
    assert "test (container)" in body
    path = sample_data().index.templates["basic_task"].path
    wrong = [Problem(path, 1, 1, "DT301", "circle")]
    steps[0]["depends_on"] = ["test"]
    for found in (
        replace(sample_data(), templates={"basic_task": {"steps": 1}}),
        replace(sample_data(), problems=wrong, templates={"basic_task": data}),
    ):
        assert "dt-graph" not in render(found)["templates/basic_task.html"]


def test_a_task_has_a_graph_of_what_is_around_it():
    drawn = re.findall(r'<a href="\.\./t/(web-\w+)\.html" tabindex="-1"', sample()["t/web-7k2m9q.html"])
    tasks = sample_data().index
    near = {"web-7k2m9q"}
    for other in (lambda name: tasks.tasks[name].depends_on, lambda name: tasks.dependents.get(name, ())):
        first = [*other("web-7k2m9q")]
        near |= {*first, *(name for each in first for name in other(each))}
    assert sorted(drawn) == sorted(name for name in near if name in tasks.tasks)
    assert len(drawn) > 3
    alone = next(row.id for row in tasks.tasks.values() if not row.depends_on and not tasks.dependents.get(row.id))
    assert "dt-graph" not in sample()[f"t/{alone}.html"]


def test_the_graph_of_everything_has_all_that_depend_on_each_other_and_says_so_as_a_list():
    body = sample()["graph.html"]
    drawn = re.findall(r'class="dt-edge[^>]* d="([^"]+)"', body)
    assert "".join(drawn).count("M") == sum(
        need in sample_data().index.tasks for row in sample_data().index.tasks.values() for need in row.depends_on
    )
    assert "Store sessions on the server" in words("graph.html")
    assert "depends on" in words("graph.html")
    assert dead_links(sample()) == []


def test_a_large_graph_is_one_of_phases_that_lead_to_their_own():
    body = large()["graph.html"]
    assert "dt-is-group" in body
    assert body.count('tabindex="-1"') == len([uri for uri in large() if uri.startswith("g/")]) > 1
    assert len(body) < 400_000
    sizes = [len(text) for uri, text in large().items() if uri.startswith("g/")]
    assert max(sizes) < 400_000
    assert (
        dead_links(
            {uri: text for uri, text in large().items() if uri[:2] in ("g/", "t/") or uri == "graph.html"}
            | dict.fromkeys(set(large()) - {"graph.html"}, "")
        )
        == []
    )


def test_without_dependencies_there_is_a_word_instead_of_a_graph():
    index = sample_data().index
    rows = [row._replace(depends_on=()) for row in index.tasks.values()]
    body = render(replace(sample_data(), index=build_index(rows, [])))["graph.html"]
    assert "No task depends on another" in body
    assert '<svg class="dt-graph"' not in body


def test_the_past_is_told_on_the_pages_of_a_task_and_of_all_changes():
    made = Change(
        "2026-11-02T10:00:00Z", "Ann", "a" * 40, "begin", {"name": (None, "Old"), "status": (None, "planned")}
    )
    edit = {"status": ("planned", "in_progress"), "labels": (["ux"], ["ui", "ux"]), "description": ("a\n", "b\nc\n")}
    edited = Change("2026-11-20T10:00:00Z", "agent:x", "b" * 40, "start it", edit)
    gone = Change("2026-11-21T10:00:00Z", "Ann", "c" * 40, "tidy", {"name": ("Gone for good", None)})
    changes = {"web-7k2m9q": [edited, made], "web-zzzzzz": [gone], "web-8m3q7t": [edited]}
    pages = render(sample_data(changes=changes))
    task = " ".join(Page(pages["t/web-7k2m9q.html"]).words.split())
    for words in (
        "agent:x",
        "bbbbbbbbbb",
        "statusplanned -> in_progress",
        "labels+ui",
        "2 lines added, 1 line removed",
    ):
        assert words.replace(" ", "") in task.replace(" ", "")
    assert task.index("agent:x") < task.index("created")
    page = Page(pages["changes.html"])
    feed = " ".join(page.words.split())
    assert feed.index("tidy") < feed.index("start it") < feed.index("begin")
    assert "Gone for good" in feed
    assert {"t/web-7k2m9q.html", "t/web-8m3q7t.html"} <= set(page.links)
    assert dead_links(pages) == []


@pytest.mark.parametrize(("changed", "is_broken", "word"), [
    ({}, False, "reformatted"),
    ({}, True, "unreadable"),
    ({"name": ("A", None)}, False, "deleted"),
])  # fmt: skip
def test_a_change_without_fields_has_a_word(changed, is_broken, word):
    change = Change("2026-11-02T10:00:00Z", "Ann", "a" * 40, "x", changed, is_broken)
    assert word in Page(render(sample_data(changes={"web-7k2m9q": [change]}))["t/web-7k2m9q.html"]).words


def test_of_many_changes_the_latest_are_told():
    edit = {"priority": ("low", "high")}
    changes = [Change(f"2026-11-02T10:{n:02}:00Z", "Ann", f"{n:040}", f"edit number {n}", edit) for n in range(60)][
        ::-1
    ]
    pages = render(sample_data(changes={"web-7k2m9q": changes, "web-8m3q7t": changes}, is_shallow=True))
    assert "and 40 older" in Page(pages["t/web-7k2m9q.html"]).words
    assert "60 commits" in Page(pages["changes.html"]).words
    assert "shallow clone" in Page(pages["changes.html"]).words


@pytest.mark.parametrize(("due", "status", "late"), [
    ("2026-11-22", Status.PLANNED, True),
    ("2026-11-23", Status.PLANNED, False),
    ("2026-11-22", Status.COMPLETED, False),
])  # fmt: skip
def test_overdue_is_what_was_due_before_the_commit(due, status, late):
    row = TaskSummary("web-000001", "web", "tasks/web/web-000001.yaml", "A", due=due, status=status)
    data = BoardData(build_index([row], []), lambda _: "", as_of="2026-11-23T12:00:00Z")
    assert ("dt-is-overdue" in render(data)["board.html"]) is late


# -- hostile texts --------------------------------------------------------------------------------------------------


def hostile_data(text: str) -> BoardData:
    """The text in every place that people can write to."""
    line = text.replace("\n", " ")
    known = sample_data()
    row = known.index.tasks["web-7k2m9q"]._replace(
        name=line,
        assignee=line,
        labels=(line,),
        depends_on=(line,),
        metadata={line: text, "list": [text], "map": {line: text}},
        workflows=(BindingSummary("check", line, {line: text}, (line,)),),
    )
    web = known.index.projects["web"]._replace(name=line, description=text, metadata={line: text})
    phase = known.index.phases["web/build"]._replace(name=line, description=text)
    template = known.index.templates["basic_task"]._replace(
        description=text, category=line, tags=(line,), version=line, calls=(CallSummary("steps", 0, line, line),)
    )
    index = known.index._replace(
        tasks={row.id: row},
        projects={"web": web},
        phases={"web/build": phase},
        templates={"basic_task": template},
        broken=(BrokenFile(f"tasks/web/{line}.yaml", "task", line, "web"),),
    )
    problems = [Problem(f"tasks/web/{line}.yaml", 1, 1, "DT102", text, text), Problem(row.path, 1, 1, "DT1", text)]
    data = {"parameters": {line: {"type": line, "default": text, "description": text, "enum": [text]}}}
    step = {"name": line, "description": text, "if": text, "depends_on": [line], "container": {"command": text}}
    raw = {**data, "steps": [step], "finally": [step], "outputs": {line: {"value": text}}, "timeout": text}
    comments = {row.id: [Comment(line, line, text)]}
    edit = {
        "name": (None, line),
        "labels": (None, [line]),
        "description": (text, line),
        "metadata": ({line: text}, text),
    }
    changes = [Change("2026-11-20T10:00:00Z", line, line, line, fields) for fields in ({line: (text, line)}, edit)]
    return replace(
        known,
        index=index,
        problems=problems,
        read_description=lambda _: text,
        templates={"basic_task": raw},
        runs=[hostile_run(text, line)],
        comments=comments,
        changes={row.id: changes, line: changes},
        commit=line,
        forge=make_forge(ForgeSettings(), origin="git@github.com:team/web.git", branch=line, folder=f"{line}/"),
    )


def hostile_run(text: str, line: str) -> RunRecord:
    step = StepRecord(
        line,
        StepState.FAILED,
        output=text,
        stderr=text,
        outputs={line: text},
        error=Failure(line, text),
        image=line,
        child=line,
    )
    return RunRecord(
        id=line,
        template={"name": line, "version": line},
        engine=line,
        started_at=line,
        status=RunState.FAILED,
        task=line,
        workflow=line,
        parameters={line: text},
        outputs={line: [text]},
        steps=(step,),
        error=Failure(line, text),
        trigger=line,
        actor=line,
        commit=line,
        branch=line,
        retry_of=line,
        parent=None,
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_wherever_it_stands(text):
    for uri, body in render(hostile_data(text)).items():
        page = Page(body)
        assert (uri, page.wrong) == (uri, [])
        assert (uri, page.remote()) == (uri, [])
        assert (uri, page.scripts) == (uri, [])
        assert [name for name in page.ids if not name.startswith("dt-")] == [], uri
        assert not set(body) & set("\x00\x07\x1b\x9b\u202e\u2066\ud800"), uri
        assert not uri.startswith(("/", ".")), uri
        assert ".." not in uri
        body.encode()


def test_what_was_written_can_still_be_read():
    pages = render(hostile_data("a < b & List<int> \"quoted\" 'single'"))
    for uri in ("board.html", "t/web-7k2m9q.html", "p/web.html", "templates/basic_task.html"):
        assert "a < b & List<int> \"quoted\" 'single'" in Page(pages[uri]).words


# -- size -----------------------------------------------------------------------------------------------------------


def test_no_page_is_large_and_the_board_keeps_to_its_budget():
    sizes = {uri: len(text.encode()) for uri, text in large().items()}
    assert max(sizes.values()) < 400_000
    assert sizes["board.html"] < 250_000
    assert large()["board.html"].count("<article") == 5 * 40 + 1  # and the one that the page copies


def test_long_lists_lead_on_and_hold_every_task_once():
    pages = large()
    assert dead_links(pages) == []
    assert "Show all 400" in pages["board.html"]
    listed = [
        link for uri in sorted(pages) if uri.startswith("list/all/") for link in Page(pages[uri]).links if "/t/" in link
    ]
    assert sorted(listed) == sorted(f"../../t/{task_id(n)}.html" for n in range(2000))


def test_a_long_project_shows_200_tasks_and_leads_to_the_rest():
    page = Page(large()["p/web.html"])
    assert len([link for link in page.links if link.startswith("../t/")]) == 200
    assert "../list/project-web/1.html" in page.links
    assert "All 1000 tasks" in page.words


def test_a_task_that_all_others_need_and_a_run_that_printed_a_lot_stay_small():
    hub = TaskSummary("web-000000", "web", "tasks/web/web-000000.yaml", "Hub")
    others = [
        TaskSummary(f"web-{n:06d}", "web", f"tasks/web/web-{n:06d}.yaml", "x" * 500, depends_on=(hub.id,))
        for n in range(1, 3000)
    ]
    step = StepRecord("s", StepState.FAILED, attempts=1, output="é" * 1_000_000, stderr="<" * 10_000)
    steps = tuple(replace(step, name=f"s{n}") for n in range(300))
    run = RunRecord("20261123t091500-k3f9ab", {"name": "x"}, "local", "2026-11-23T09:15:00Z", steps=steps)
    pages = render(BoardData(build_index([hub, *others], []), lambda _: "", runs=[run]))
    assert "and 2899 more" in pages["t/web-000000.html"]
    assert "dagtasks runs logs 20261123t091500-k3f9ab s299" in pages[f"r/{run.id}.html"]
    assert max(len(text.encode()) for text in pages.values()) < 800_000
