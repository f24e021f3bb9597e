"""What commands may import: start-up is what everybody waits for (02 section 8)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagtasks.store.comments import make_comment
from tests.conftest import BASIC_TEMPLATE, git, write_files

HEAVY = {
    "dagger",
    "pydantic",
    "yaml",
    "git",
    "rich",
    "watchdog",
    "mkdocs",
    "asyncio",
    "httpx",
    "re2",
    "importlib.metadata",
    "mcp",
}
UNUSED_BY_READING = {
    *("subprocess", "secrets", "hashlib", "tempfile", "traceback", "sqlite3", "dataclasses"),
    *("dagtasks.settings", "dagtasks.model.run", "dagtasks.planning.links", "dagtasks.service.saving"),
    *("dagtasks.service.fields", "dagtasks.store.updating", "dagtasks.store.judging", "dagtasks.store.rows"),
}
"""Not heavy one by one, but together they take as long as all the rest of a command that reads."""
UNUSED_BY_LISTS = {"json", "unicodedata", "textwrap", "dagtasks.store.reading", "dagtasks.store.comments"}

PROBE = """
import sys
from dagtasks import cli
code = cli.call(sys.argv[1:])
print("\\n".join(["", "exit:", str(code), "modules:", *sys.modules]))
"""


def modules_of(folder: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True, cwd=folder
    )
    assert "exit:\n0\n" in done.stdout, done.stderr
    return set(done.stdout.partition("modules:\n")[2].split())


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose files are old enough for their keys to be trusted, and a cache that knows them."""
    root = tmp_path_factory.mktemp("warm")
    git(root, "init", "--quiet")
    write_files(
        root,
        {
            "tasks/web/project.yaml": "name: Web\n",
            "tasks/web/phases/build.yaml": "name: Build\n",
            "tasks/web/web-000001.yaml": "name: One\nphase: build\n",
            "tasks/web/web-000002.yaml": "name: Two\ndepends_on: [web-000001]\ndescription: |\n  Text\n"
            "workflows:\n  check: {template: basic_task, parameters: {task_name: a, task_command: b}}\n",
            "tasks/web/comments/web-000002/1.md": make_comment("agent:x", datetime.now(UTC), "Fine").decode(),
            "templates/basic_task.yaml": BASIC_TEMPLATE,
        },
    )
    time.sleep(2.1)
    assert "yaml" in modules_of(root, "task", "list")
    return root


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["task", "--help"],
        ["task", "set", "--help"],
        ["mcp", "--help"],
        ["completion", "bash"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    imported = modules_of(tmp_path, *arguments)
    assert "dagtasks.cli" in imported
    assert not HEAVY & imported


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "list"],
        ["task", "list", "status:planned is:ready", "--sort", "-priority", "--json"],
        ["task", "next"],
        ["task", "next", "--explain"],
        ["task", "show", "web-000002"],
        ["task", "show", "000002", "--dependents", "--json"],
    ],
)
def test_reading_what_is_known_imports_nothing_heavy(arguments: list[str], warm: Path) -> None:
    imported = modules_of(warm, *arguments)
    assert "dagtasks.store.cache" in imported
    assert sorted((HEAVY | UNUSED_BY_READING) & imported) == []


def test_a_look_that_finds_nothing_imports_nothing_heavy(warm: Path) -> None:
    """Each commit waits for it."""
    modules_of(warm, "hooks", "run", "post-commit")
    imported = modules_of(warm, "hooks", "run", "post-commit")
    assert "dagtasks.service.dispatch" in imported
    assert not HEAVY & imported


def test_validate_reads_settings_only_once(warm: Path) -> None:
    modules_of(warm, "validate")
    assert sorted((HEAVY | UNUSED_BY_READING) & modules_of(warm, "validate")) == []


@pytest.mark.parametrize("arguments", [["project", "list"], ["phase", "show", "web/build"]])
def test_projects_and_phases_are_shown_without_what_is_heavy(arguments: list[str], warm: Path) -> None:
    assert not HEAVY & modules_of(warm, *arguments)


@pytest.mark.parametrize("arguments", [["task", "list", "--limit", "5"], ["task", "next"]])
def test_a_short_list_imports_what_it_shows(arguments: list[str], warm: Path) -> None:
    assert not UNUSED_BY_LISTS & modules_of(warm, *arguments)


def test_set_looks_at_nothing_but_the_task_and_what_it_needs(tmp_path: Path) -> None:
    """Beside it lie a file that cannot be read and another with the same id: who walks through the tree finds them."""
    git(tmp_path, "init", "--quiet")
    tasks = {"web-000001": "name: One\n", "web-000002": "name: Two\ndepends_on: [web-000001]\n"}
    write_files(tmp_path, {f"tasks/web/{name}.yaml": text for name, text in tasks.items()})
    write_files(
        tmp_path, {"tasks/web/deep/web-000002.yaml": "name: Same id\n", "tasks/ops/ops-000001.yaml": "name: [\n"}
    )
    cache = tmp_path / ".git/dagtasks/cache"
    assert "dagtasks.store.loading" not in modules_of(tmp_path, "task", "set", "web-000002", "priority=high")
    assert not any(b"ops-000001" in part.read_bytes() for part in cache.iterdir())
    assert "dagtasks.store.loading" in modules_of(tmp_path, "task", "set", "web-000001", "depends_on=")
    assert any(b"ops-000001" in part.read_bytes() for part in cache.iterdir())


def test_create_looks_at_nothing_but_the_project_and_what_the_task_needs(tmp_path: Path) -> None:
    """Beside it lies a file that cannot be read: who walks through the tree finds it."""
    git(tmp_path, "init", "--quiet")
    files = {
        "project": "name: W\n",
        "phases/build": "name: B\n",
        "web-000001": "name: One\n",
        "web-000002": "name: [\n",
    }
    write_files(tmp_path, {f"tasks/web/{name}.yaml": text for name, text in files.items()})
    cache = tmp_path / ".git/dagtasks/cache"
    create = ("task", "create", "web", "--name", "New", "--phase", "build", "--depends-on")
    assert "dagtasks.store.loading" not in modules_of(tmp_path, *create, "000001")
    assert not any(b"web-000002" in part.read_bytes() for part in cache.iterdir())


def test_a_shell_completes_ids_without_reading_files(warm: Path) -> None:
    variables = {"_DAGTASKS_COMPLETE": "bash_complete", "COMP_WORDS": "dagtasks task show web-", "COMP_CWORD": "3"}
    program = (
        "import sys; from dagtasks import cli\ntry: cli.root.main(prog_name='dagtasks')\nfinally: print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=warm,
        env={**os.environ, **variables},
    )
    assert "plain,web-000001\nplain,web-000002\n" in done.stdout
    assert not (HEAVY | {"dagtasks.store.cache"}) & set(done.stdout.split())


def test_a_list_starts_no_engine_and_no_board(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    imported = modules_of(tmp_path, "task", "list")
    assert not {"dagger", "git", "rich", "watchdog", "mkdocs", "asyncio", "httpx"} & imported


def test_no_plugins_of_pydantic_are_looked_for(tmp_path: Path) -> None:
    packages = {
        "meddler.py": "print('meddling')\nplugin = None\n",
        "meddler-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: meddler\nVersion: 1\n",
        "meddler-1.dist-info/entry_points.txt": "[pydantic]\nmeddler = meddler:plugin\n",
    }
    write_files(tmp_path, {f"packages/{name}": text for name, text in packages.items()})
    write_files(tmp_path, {"tasks/web/project.yaml": "name: Web\n"})
    command = [sys.executable, "-m", "dagtasks", "-C", str(tmp_path), "--no-cache", "validate"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "packages")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "meddling" not in done.stdout
