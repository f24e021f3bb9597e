from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git

Cli = Callable[..., Result]

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n\norder: 1\n",
    "tasks/web/web-000001.yaml": (
        "name: One\n\nstatus: planned # a remark\n\nlabels:\n  - ui\n\ndepends_on:\n\nmine: kept\n"
    ),
    "tasks/web/web-000002.yaml": "name: Two\n\nstatus: planned\n\npriority: high\n\ndepends_on:\n  - web-000001\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def test_create_prints_the_id_and_writes_every_key(root: Path, cli: Cli) -> None:
    made = cli(
        root,
        *("task", "create", "web", "--name", "Übung: 1", "--status", "blocked", "--priority", "high"),
        *("--assignee", "agent:x", "--phase", "build", "--label", "b,a", "--label", "a", "--depends-on", "000001"),
        *("--meta", "team=core", "--meta", "n=3", "--due", "2026-12-01", "--description", "-"),
        given="first\nsecond\n",
    )
    assert made.code == 0, made.err
    name = made.out.strip()
    assert (root / f"tasks/web/{name}.yaml").read_text() == (
        'name: "Übung: 1"\n\nstatus: blocked\n\npriority: high\n\nassignee: agent:x\n\nphase: build\n\n'
        'due: "2026-12-01"\n\nlabels:\n  - a\n  - b\n\ndepends_on:\n  - web-000001\n\n'
        'description: |\n  first\n  second\n\nmetadata:\n  "n": 3\n  team: core\n\nworkflows:\n'
    )
    assert git(root, "status", "--porcelain") == f"?? tasks/web/{name}.yaml"


def test_create_with_json_gives_the_task(root: Path, cli: Cli) -> None:
    made = cli(root, "task", "create", "web", "--name", "Three", "--json")
    data = json.loads(made.out)
    assert (data["schema"], data["kind"], data["data"]["name"], data["data"]["status"]) == (
        1,
        "task",
        "Three",
        "planned",
    )
    assert (root / data["data"]["path"]).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["task", "create", "web", "--name", ""], 2, "`name`"),
        (["task", "create", "web", "--name", "a\nb"], 2, "must be one line"),
        (["task", "create", "wbe", "--name", "x"], 5, "there is no project 'wbe'\n  there is: web"),
        (["task", "create", "web", "--name", "x", "--status", "doing"], 2, "there is: planned, in_progress"),
        (["task", "create", "web", "--name", "x", "--priority", "top"], 2, "there is: low, medium, high, critical"),
        (["task", "create", "web", "--name", "x", "--phase", "nope"], 5, "there is no phase 'web/nope'"),
        (["task", "create", "web", "--name", "x", "--depends-on", "nope"], 5, "there is no task 'nope'"),
        (["task", "create", "web", "--name", "x", "--due", "soon"], 2, "is not a date"),
        (
            ["task", "create", "web", "--name", "x", "--status", "in_progress", "--depends-on", "000001"],
            6,
            "open tasks",
        ),
        (["task", "create", "web", "--name", "x", "--meta", "novalue"], 2, "is not KEY=VALUE"),
        (["task", "show", "nope"], 5, "there is no task 'nope'"),
        (["task", "show", "web-00000"], 5, "fits 2 tasks"),
        (["task", "set", "000001", "nonsense"], 2, "is not field=value"),
        (["task", "set", "000001", "statu=x"], 2, "there is no field 'statu'"),
        (["task", "set", "000001", "status=doing"], 2, "there is: planned"),
        (["task", "set", "000001", "labels.x=1"], 2, "labels is no map"),
        (["task", "set", "000001", "name+=x"], 2, "is no list"),
        (["task", "set", "000001", "name="], 2, "`name` is required"),
        (["task", "set", "000002", "status=completed"], 6, "depends on open tasks: web-000001 (planned)"),
        (["task", "set", "000001", "depends_on+=000002"], 6, "circle: web-000001 -> web-000002 -> web-000001"),
        (["task", "set", "000001", "depends_on+=000001"], 6, "circle: web-000001 -> web-000001"),
        (["task", "delete", "000001", "--yes"], 6, "web-000002 depends on web-000001"),
        (["task", "delete", "000002"], 2, "say --yes"),
        (["task", "list", "status:doing"], 2, "there is: blocked"),
        (["task", "list", "--sort", "colour"], 2, "cannot be sorted by 'colour'"),
        (["project", "create", "Web", "--name", "x"], 2, "is no key for a project"),
        (["project", "create", "web", "--name", "x"], 6, "is there already"),
        (["project", "delete", "web", "--yes"], 6, "project web still holds web-000001"),
        (["phase", "create", "web", "Build", "--name", "x"], 2, "is not PROJECT/KEY"),
        (["phase", "show", "web/nope"], 5, "there is no phase 'web/nope'"),
    ],
)
def test_what_is_refused_changes_nothing(root: Path, cli: Cli, arguments: list[str], code: int, message: str) -> None:
    done = cli(root, *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert git(root, "status", "--porcelain") == ""


def test_errors_with_json_are_documents(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "show", "nope", "--json")
    assert done.out == ""
    document = json.loads(done.err)
    assert (document["type"], document["status"], document["exit"]) == ("NotFound", 404, 5)


def test_set_changes_only_its_bytes(root: Path, cli: Cli) -> None:
    done = cli(
        root, "task", "set", "web-000001", "status=in_progress", "labels+=api", "metadata.team=core", "due=2026-12-31"
    )
    out = "web-000001: status planned -> in_progress, labels += api, metadata.team = core, due = 2026-12-31\n"
    assert done.out == out
    assert (root / "tasks/web/web-000001.yaml").read_text() == (
        'name: One\n\nstatus: in_progress # a remark\n\ndue: "2026-12-31"\n\nlabels:\n  - api\n  - ui\n\ndepends_on:\n\n'
        "metadata:\n  team: core\n\nmine: kept\n"
    )


def test_the_same_value_writes_and_commits_nothing(root: Path, cli: Cli) -> None:
    before = (root / "tasks/web/web-000001.yaml").stat()
    done = cli(root, "task", "set", "000001", "status=planned", "labels+=ui", "--commit")
    assert (done.code, done.out) == (0, "web-000001: status = planned, labels += ui (nothing to change)\n")
    assert (root / "tasks/web/web-000001.yaml").stat().st_mtime_ns == before.st_mtime_ns
    assert git(root, "rev-list", "--count", "HEAD") == "1"


def test_commit_holds_exactly_our_file(root: Path, cli: Cli) -> None:
    (root / "other.txt").write_text("mine")
    git(root, "add", "other.txt")
    done = cli(root, "task", "set", "000001", "status=in_progress", "--commit")
    head = git(root, "rev-parse", "--short=10", "HEAD")
    assert done.out == f"web-000001: status planned -> in_progress [{head}]\n"
    assert git(root, "show", "--format=%s", "--name-only").split("\n\n") == [
        "web-000001: status planned -> in_progress",
        "tasks/web/web-000001.yaml",
    ]
    assert git(root, "status", "--porcelain") == "A  other.txt"


def test_a_file_with_edits_of_others_is_saved_and_not_committed(root: Path, cli: Cli) -> None:
    path = root / "tasks/web/web-000001.yaml"
    path.write_text(path.read_text().replace("One", "Mine"))
    done = cli(root, "task", "set", "000001", "status=in_progress", "--commit")
    assert done.code == 6
    assert "nothing was committed; the change is saved" in done.err
    assert "name: Mine\n\nstatus: in_progress" in path.read_text()
    assert git(root, "rev-list", "--count", "HEAD") == "1"


def test_the_setting_commits_and_the_option_overrules_it(root: Path, cli: Cli) -> None:
    (root / "config").mkdir()
    (root / "config/default.yaml").write_text("commit: true\n")
    assert "[" in cli(root, "task", "set", "000001", "priority=low").out
    assert "[" not in cli(root, "task", "set", "000001", "priority=high", "--no-commit").out


def test_dry_run_says_what_and_does_nothing(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "set", "000001", "status=in_progress", "--dry-run")
    assert done.out == "would: web-000001: status planned -> in_progress (tasks/web/web-000001.yaml)\n"
    assert git(root, "status", "--porcelain") == ""


def test_open_dependencies_can_be_overruled_visibly(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "set", "000002", "status=completed", "--ignore-dependencies")
    assert (done.code, done.err) == (0, "note: web-000002 depends on open tasks: web-000001 (planned)\n")


def test_deleted_tasks_can_be_brought_back(root: Path, cli: Cli) -> None:
    path = root / "tasks/web/web-000001.yaml"
    content = path.read_text() + "# not committed\n"
    path.write_text(content)
    done = cli(root, "task", "delete", "000001", "--detach", "--yes")
    assert done.code == 0
    assert not path.exists()
    assert "depends_on:\n" in (root / "tasks/web/web-000002.yaml").read_text()
    assert "web-000002 no longer depends on web-000001" in done.err
    blob = done.err.split("git cat-file blob ")[1].split(" > ")[0]
    assert git(root, "cat-file", "blob", blob) + "\n" == content


def test_next_and_its_reasons(root: Path, cli: Cli) -> None:
    assert [task["id"] for task in cli(root, "task", "next", "--json").json] == ["web-000001"]
    explained = cli(root, "task", "next", "--explain")
    assert "web-000002  waits for web-000001 (planned)  Two" in explained.out
    cli(root, "task", "set", "000001", "status=completed")
    assert [task["id"] for task in cli(root, "task", "next", "--all", "--json").json] == ["web-000002"]


def test_a_broken_file_is_told_and_the_others_are_listed(root: Path, cli: Cli) -> None:
    (root / "tasks/web/web-000003.yaml").write_text("name: [\n")
    done = cli(root, "task", "list")
    assert done.code == 1
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["web-000001", "web-000002"]
    assert "tasks/web/web-000003.yaml:2:1: DT102" in done.err
    assert cli(root, "task", "list", "is:invalid", "--json").json == [
        {"id": "web-000003", "project": "web", "path": "tasks/web/web-000003.yaml", "invalid": True}
    ]
    shown = cli(root, "task", "show", "web-000003")
    assert (shown.code, shown.out) == (7, "")
    assert "DT102" in shown.err
    assert cli(root, "task", "set", "000003", "status=planned").code == 7


def test_show(root: Path, cli: Cli) -> None:
    data = cli(root, "task", "show", "000002", "--json").json
    assert (data["waiting"], data["ready"], data["open_dependencies"]) == (True, False, ["web-000001"])
    text = cli(root, "task", "show", "000001", "--dependents").out
    assert text.startswith("One\n\nid          web-000001\nstatus      planned (ready)\n")
    assert "dependents  web-000002\n" in text


def test_data_cannot_drive_the_terminal(root: Path, cli: Cli) -> None:
    (root / "tasks/web/web-000003.yaml").write_text('name: "a\\u0007b"\n')
    assert "\x07" not in cli(root, "task", "list").out + cli(root, "task", "list").err


def test_outside_of_any_repository(tmp_path: Path, cli: Cli) -> None:
    done = cli(tmp_path, "task", "list")
    assert done.code == 4
    assert "dagtasks init" in done.err


def test_a_subfolder_is_enough(root: Path, cli: Cli) -> None:
    assert cli(root / "tasks/web/phases", "task", "list", "--json").json


def test_projects_and_phases(root: Path, cli: Cli) -> None:
    assert cli(root, "project", "create", "ops", "--name", "Operations", "--meta", "team=core").code == 0
    assert cli(root, "phase", "create", "ops", "run", "--name", "Run").code == 0
    assert cli(root, "phase", "create", "ops", "later", "--name", "Later").code == 0
    assert [phase["order"] for phase in cli(root, "phase", "list", "ops", "--json").json] == [1, 2]
    assert cli(root, "phase", "set", "ops/run", "order=3", "name=Run it").code == 0
    assert [phase["key"] for phase in cli(root, "phase", "list", "ops", "--json").json] == ["later", "run"]
    assert cli(root, "project", "set", "ops", "metadata.team=", "description=x").code == 0
    assert cli(root, "project", "show", "ops", "--json").json["metadata"] == {}
    assert cli(root, "phase", "delete", "ops/run", "--yes").code == 0
    assert cli(root, "phase", "delete", "ops/later", "--yes").code == 0
    assert cli(root, "project", "delete", "ops", "--yes").code == 0
    assert [one["key"] for one in cli(root, "project", "list", "--json").json] == ["web"]
    assert git(root, "status", "--porcelain") == ""


def test_answers_of_changes_say_what_was_done(root: Path, cli: Cli) -> None:
    def state(*options: str) -> tuple[list[str], bool, bool]:
        document = json.loads(cli(root, "task", "set", "000001", "status=blocked", "--json", *options).out)
        return document["changed"], document["commit"] is not None, document["dry_run"]

    path = "tasks/web/web-000001.yaml"
    assert state("--dry-run") == ([path], False, True)
    assert state() == ([path], False, False)
    assert state() == ([], False, False)
    assert state("--commit") == ([path], True, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task", "foo"], "no such command 'foo'; there is: claim, comment, create, delete,"),
        (["task", "list", "-label:ui"], "write -- before a query that begins with -"),
    ],
)
def test_wrong_command_lines_say_the_right_one(root: Path, cli: Cli, arguments: list[str], message: str) -> None:
    done = cli(root, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    document = json.loads(cli(root, *arguments, "--json").err)
    assert (document["type"], document["exit"]) == ("InvalidInput", 2)
