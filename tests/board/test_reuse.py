"""Pages taken from the site that was built last: never one that would be another if it were made now."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dagtasks.board.build import build_site
from dagtasks.board.scaffold import write_board_files
from tests.board.sample import sample_files, sample_runs
from tests.conftest import MakeProject, Result, git, write_files

COMMENT = '---\nauthor: ben\ndate: "2026-11-24T10:00:00Z"\n---\n\nSee {}\n'


@pytest.fixture
def root(project: MakeProject) -> Path:
    made = project(sample_files())
    made.runs.publish([run for run in sample_runs() if run.status.is_final])
    write_board_files(made.root, "Web site")
    commit(made.root)
    return made.root


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "-q", "--allow-empty", "--message", "edit")


def pages(site: Path) -> dict[str, tuple[int, bytes]]:
    """Each generated page with the file that it is and what that holds."""
    found = [path for path in site.rglob("*.html") if path.name not in ("index.html", "404.html")]
    return {path.relative_to(site).as_posix(): (path.stat().st_ino, path.read_bytes()) for path in found}


def made_anew(before: dict[str, tuple[int, bytes]], after: dict[str, tuple[int, bytes]]) -> set[str]:
    return {uri for uri, (number, _) in after.items() if before.get(uri, (0, b""))[0] != number}


def assert_is_as_if_made_anew(root: Path) -> None:
    whole = build_site(root, root.parent / "anew", is_fresh=True).site_dir
    texts = [{uri: text for uri, (_, text) in pages(site).items()} for site in (root / "site", whole)]
    assert texts[0] == texts[1]


def test_nothing_is_made_anew_when_nothing_changed(root: Path) -> None:
    first = pages(build_site(root).site_dir)
    assert made_anew(first, pages(build_site(root).site_dir)) == set()
    assert made_anew(first, pages(build_site(root, is_fresh=True).site_dir)) == set(first)


def test_without_the_cache_all_are_made_anew(root: Path, cli: Callable[..., Result]) -> None:
    assert cli(root, "board", "build").code == 0
    first = pages(root / "site")
    assert cli(root, "--no-cache", "board", "build").code == 0
    after = pages(root / "site")
    assert made_anew(first, after) == set(first)
    assert {uri: text for uri, (_, text) in first.items()} == {uri: text for uri, (_, text) in after.items()}


def test_two_processes_make_the_same_site_as_one(root: Path) -> None:
    def build(site: str, processors: set[int]) -> dict[str, tuple[int, bytes]]:
        # In a process of its own: one that has threads, as this one may, is not forked.
        command = [sys.executable, "-m", "dagtasks", "board", "build", "--site-dir", site]
        affinity = partial(os.sched_setaffinity, 0, processors)
        subprocess.run(command, cwd=root, check=True, capture_output=True, preexec_fn=affinity)
        return pages(root / site)

    write_files(
        root, {f"tasks/web/web-{number:06}.yaml": f"name: Task {number}, as web-7k2m9q\n" for number in range(120)}
    )
    commit(root)
    alone = build("alone", {0})
    both = build("both", os.sched_getaffinity(0))
    assert {uri: text for uri, (_, text) in both.items()} == {uri: text for uri, (_, text) in alone.items()}
    assert made_anew(both, build("both", os.sched_getaffinity(0))) == set()


@pytest.mark.slow
def test_the_second_process_ends_with_a_build_that_is_killed(root: Path) -> None:
    write_files(root, {f"tasks/web/web-{number:06}.yaml": f"name: Task {number}\n" for number in range(900)})
    build = subprocess.Popen([sys.executable, "-m", "dagtasks", "board", "build"], cwd=root, stderr=subprocess.DEVNULL)
    staging = root / f".site.{build.pid}.tmp"
    while not list(staging.glob("t/*.html")):
        assert build.poll() is None
        time.sleep(0.01)
    second = [int(child) for child in Path(f"/proc/{build.pid}/task/{build.pid}/children").read_text().split()]
    build.kill()
    build.wait()
    written = len(list(staging.glob("t/*.html")))
    while any(Path(f"/proc/{child}").exists() for child in second):
        time.sleep(0.01)
    assert len(list(staging.glob("t/*.html"))) - written < 50
    assert build_site(root).site_dir.is_dir()
    assert not staging.exists()


BUILD = """
import jinja2, pathlib
from dagtasks.board.build import build_site

compile_template = jinja2.Environment._compile

def tell(environment, source, filename):
    print(pathlib.Path(filename).name)
    return compile_template(environment, source, filename)

jinja2.Environment._compile = tell
build_site(pathlib.Path.cwd())
"""


def test_templates_are_compiled_once(root: Path) -> None:
    def build() -> set[str]:
        done = subprocess.run([sys.executable, "-c", BUILD], cwd=root, check=True, capture_output=True, text=True)
        return set(done.stdout.split())

    assert {"task.html", "board.html", "base.html"} <= build()
    (root / "tasks/web/web-7k2m9q.yaml").write_text("name: Another\n")
    # The theme's search asks for two texts of the language, in an environment of its own.
    assert build() <= {"language.html", "en.html"}


def test_an_edit_makes_the_pages_anew_that_show_it(root: Path) -> None:
    first = pages(build_site(root).site_dir)
    path = root / "tasks/web/web-7k2m9q.yaml"
    path.write_text(path.read_text().replace("priority: high", "priority: low"))
    anew = made_anew(first, pages(build_site(root).site_dir))
    assert {"t/web-7k2m9q.html", "board.html", "list/all/1.html", "p/web.html"} <= anew
    assert len(anew) < len(first) / 2
    assert_is_as_if_made_anew(root)


def test_a_new_task_is_linked_from_the_prose_that_names_it(root: Path) -> None:
    write_files(root, {"tasks/web/comments/web-8m3q7t/20261124T100000Z-ab12.md": COMMENT.format("web-000000")})
    first = pages(build_site(root).site_dir)
    assert b"../t/web-000000.html" not in first["t/web-8m3q7t.html"][1]
    write_files(root, {"tasks/web/web-000000.yaml": "name: New\n"})
    site = build_site(root).site_dir
    assert b"../t/web-000000.html" in (site / "t/web-8m3q7t.html").read_bytes()
    assert "t/web-9n4r8v.html" not in made_anew(first, pages(site))


@pytest.mark.parametrize("harm", ["touched", "gone", "replaced by a link", "notes are garbage", "another folder"])
def test_what_somebody_did_to_the_site_is_not_taken(harm: str, root: Path) -> None:
    site = build_site(root).site_dir
    page = site / "t/web-7k2m9q.html"
    if harm == "touched":
        page.write_text("harmed")
    elif harm == "gone":
        page.unlink()
    elif harm == "replaced by a link":
        page.rename(site / "other.html")
        page.symlink_to(site / "other.html")
    elif harm == "notes are garbage":
        for notes in (root / ".git/dagtasks/cache").glob("board-*"):
            notes.write_bytes(b"garbage")
    else:
        site.rename(root / "moved")
    build_site(root)
    assert "Build the login page" in page.read_text()
    assert not page.is_symlink()
    assert_is_as_if_made_anew(root)


@pytest.mark.parametrize("what", ["nav", "site_name", "site_url"])
def test_other_settings_make_other_pages(what: str, root: Path) -> None:
    build_site(root)
    path = root / "mkdocs.yml"
    text = path.read_text()
    edits = {
        "nav": text.replace("nav:\n", "nav:\n  - Runs: runs.html\n"),
        "site_name": text.replace("Web site", "Other site"),
        "site_url": f"{text}\nsite_url: https://tasks.example/\n",
    }
    path.write_text(edits[what])
    build_site(root)
    assert_is_as_if_made_anew(root)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_edited_the_site_is_as_if_it_were_made_anew(seed: int, root: Path) -> None:
    dice = random.Random(seed)
    for number in range(6):
        for _ in range(dice.randrange(1, 4)):
            edit(root, dice, number)
        if dice.random() < 0.5:
            commit(root)
        build_site(root)
        assert_is_as_if_made_anew(root)


def edit(root: Path, dice: random.Random, number: int) -> None:
    tasks = sorted((root / "tasks/web").glob("web-*.yaml"))
    path = dice.choice(tasks)
    choice = dice.choice(["set", "set", "set", "new", "delete", "break", "comment", "project", "phase", "template"])
    if choice == "set":
        data = path.read_text()
        old = dice.choice(["name:", "status:", "priority:", "due:"])
        lines = [line for line in data.splitlines(keepends=True) if not line.startswith(old)]
        new = {
            "name:": f"name: Named {number}",
            "status:": f"status: {dice.choice(['planned', 'completed', 'blocked'])}",
        }
        path.write_text("".join(lines) + new.get(old, f"# {number}") + "\n")
    elif choice == "new":
        needs = f"depends_on: [{path.stem}]\n" if dice.random() < 0.5 else ""
        write_files(
            root, {f"tasks/web/web-{number:06}.yaml": f"name: New {number}\n{needs}description: see {path.stem}\n"}
        )
    elif choice == "delete" and len(tasks) > 4:
        path.unlink()
    elif choice == "break":
        path.write_text("name: [\n")
    elif choice == "comment":
        where = f"tasks/web/comments/{path.stem}/20261124T1000{number:02}Z-ab12.md"
        write_files(root, {where: COMMENT.format(dice.choice(tasks).stem)})
    elif choice == "project":
        write_files(root, {"tasks/web/project.yaml": f"name: Web {number}\n"})
    elif choice == "phase":
        write_files(root, {"tasks/web/phases/build.yaml": f"name: Build {number}\n"})
    else:
        write_files(root, {"templates/fresh.yaml": f"metadata: {{name: fresh, description: T {number}}}\n"})


def test_a_build_of_plain_mkdocs_that_fails_leaves_no_old_pages(root: Path) -> None:
    build_site(root)
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    (root / "site_src/board.md").write_text("mine\n")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q"], cwd=root, env=environment, check=False)
    assert done.returncode
    assert not (root / "site/.dagtasks").exists()


def test_plain_mkdocs_takes_pages_from_the_folder_that_it_overwrites(root: Path) -> None:
    def build() -> dict[str, tuple[int, bytes]]:
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q"], cwd=root, env=environment, check=True)
        return pages(root / "site")

    first = build()
    assert made_anew(first, build()) == set()
    assert not (root / "site/.dagtasks").exists()
    assert_is_as_if_made_anew(root)
