"""The cache against its oracle: whatever happens to the files or to the cache, the answer is the one without it."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagtasks.planning.index import Index
from dagtasks.store.around import load_around, load_description, load_details
from dagtasks.store.cache import Cache, find_cache
from dagtasks.store.loading import load_index
from dagtasks.store.project import Project
from tests.conftest import BASIC_TEMPLATE, MakeProject, Result, git, write_files

SIZE = 400
MARGIN_NS = 20_000_000
"""As short as the clock of files allows, so that both trusted and young files are met without much waiting."""

IDS = ("web-00000a", "web-00000b", "web-00000c", "ops-00000d")


def padded(text: str) -> bytes:
    """The text at one size for all: changes that no size gives away."""
    return (text + "#" + "." * SIZE)[: SIZE - 1].encode() + b"\n"


CONTENTS = [
    padded(text)
    for text in (
        "name: One\n",
        "name: Two\nstatus: completed\n",
        "name: Two\n# moved down\n\nstatus: in_progress\ndepends_on: [web-00000a, web-zzzzzz]\n",
        "name: Two\nstatus: in_progress\ndepends_on: [web-00000a, web-zzzzzz]\n",
        "name: Three\ndepends_on:\n  - web-00000b\n  - ops-00000d\nmetadata: {estimate: 3, answer: no, at: [1.5, null]}\n",
        "name: Four\nphase: build\npriority: critical\nlabels: [ui]\ncolour: red\n",
        "name: Five\nworkflows:\n  check: {template: basic_task, parameters: {task_name: no, task_command: 1}}\n",
        "name: Waits\ndepends_on: [web-00000a]\n",
        "name: Begun\nstatus: in_progress\ndepends_on: [web-00000c, web-00000b]\ndue: 2026-12-01\n",
        "name: Waits\npriority: critical\ndepends_on: [web-00000b]\n",
        "name: Five\nworkflows:\n  check: {template: gone, parameters: {list: [no, yes]}}\ndescription: |\n  Text\n",
        "name: [broken\n",
        "status: planned\n",
    )
]
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "templates/basic_task.yaml": BASIC_TEMPLATE,
}


class Place(NamedTuple):
    """A repository and where files of it may be."""

    root: Path

    def task(self, number: int) -> Path:
        return self.root / "tasks" / IDS[number].partition("-")[0] / f"{IDS[number]}.yaml"

    @property
    def cache(self) -> Path:
        return self.root / ".git/dagtasks/cache"


def write(place: Place, number: int, content: int) -> None:
    place.task(number).parent.mkdir(parents=True, exist_ok=True)
    if place.task(number).is_symlink():
        place.task(number).unlink()
    place.task(number).write_bytes(CONTENTS[content])


def write_and_restore_times(place: Place, number: int, content: int) -> None:
    if not place.task(number).is_file():
        return
    before = place.task(number).stat()
    write(place, number, content)
    os.utime(place.task(number), ns=(before.st_atime_ns, before.st_mtime_ns))


def write_for_the_future(place: Place, number: int, content: int) -> None:
    write(place, number, content)
    future = time.time_ns() + 3600 * 10**9
    os.utime(place.task(number), ns=(future, future))


def write_long_ago(place: Place, number: int, content: int) -> None:
    write(place, number, content)
    os.utime(place.task(number), ns=(10**18, 10**18))


def rename_over(place: Place, number: int, content: int) -> None:
    temp = place.root / "temp"
    temp.write_bytes(CONTENTS[content])
    place.task(number).parent.mkdir(parents=True, exist_ok=True)
    temp.replace(place.task(number))


def swap(place: Place, number: int, other: int) -> None:
    one, two = place.task(number), place.task(other % len(IDS))
    if one != two and one.exists() and two.exists():
        times = one.lstat(), two.lstat()
        one.rename(place.root / "temp")
        two.rename(one)
        (place.root / "temp").rename(two)
        for path, found in zip((one, two), times, strict=True):
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def link_to(place: Place, number: int, other: int) -> None:
    path = place.task(number)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(place.task(other % len(IDS)))


def link_hard(place: Place, number: int, other: int) -> None:
    if place.task(other % len(IDS)).is_file() and not place.task(number).exists():
        place.task(number).parent.mkdir(parents=True, exist_ok=True)
        place.task(number).unlink(missing_ok=True)
        os.link(place.task(other % len(IDS)), place.task(number))


def link_folder(place: Place, *_: int) -> None:
    (place.root / "tasks/web").mkdir(parents=True, exist_ok=True)
    (place.root / "tasks/web/linked").unlink(missing_ok=True)
    (place.root / "tasks/web/linked").symlink_to(place.root / "tasks/ops")


def put_a_copy_elsewhere(place: Place, number: int, content: int) -> None:
    folder = place.task(number).parent / "deep"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / place.task(number).name).write_bytes(CONTENTS[content])


def odd_name(place: Place, number: int, content: int) -> None:
    names = ("web-1.yaml", "web-00000x.yml", ".web-00000y.yaml", "notes.txt")
    (place.root / "tasks/web").mkdir(parents=True, exist_ok=True)
    (place.root / "tasks/web" / names[number]).write_bytes(CONTENTS[content])
    (place.root / "tasks/web/w\udcff.yaml").write_bytes(CONTENTS[content])


def delete(place: Place, number: int, _: int) -> None:
    place.task(number).unlink(missing_ok=True)


def delete_folder(place: Place, number: int, _: int) -> None:
    shutil.rmtree(place.task(number).parent, ignore_errors=True)


def change_project(place: Place, number: int, _: int) -> None:
    write_files(
        place.root, {f"tasks/{('web', 'ops')[number % 2]}/project.yaml": ("name: X\n", "nam: X\n")[number // 2]}
    )


def change_template(place: Place, number: int, _: int) -> None:
    text = BASIC_TEMPLATE.replace("required: true", "required: false") if number % 2 else BASIC_TEMPLATE
    write_files(
        place.root, {"templates/basic_task.yaml": text, "templates/gone.yaml": text.replace("basic_task", "gone")}
    )
    if number > 1:
        (place.root / "templates/gone.yaml").unlink()


def commit(place: Place, *_: int) -> None:
    git(place.root, "add", "--all")
    git(place.root, "commit", "--quiet", "--allow-empty", "--message", "more")


def check_out(place: Place, number: int, _: int) -> None:
    commit(place)
    commits = git(place.root, "rev-list", "--all").split()
    git(place.root, "checkout", "--quiet", "--detach", commits[number % len(commits)])


def stash(place: Place, *_: int) -> None:
    git(place.root, "stash", "push", "--quiet", "--include-untracked")


def unstash(place: Place, *_: int) -> None:
    if git(place.root, "stash", "list"):
        git(place.root, "reset", "--hard", "--quiet")
        subprocess.run(["git", "-C", str(place.root), "stash", "pop", "--quiet"], capture_output=True, check=False)
        git(place.root, "reset", "--quiet")


def let_time_pass(*_: int | Place) -> None:
    time.sleep(2 * MARGIN_NS / 1e9)


def part_of_cache(place: Place, content: int) -> Path:
    """One of its files: now the snapshot, now another."""
    parts = sorted(place.cache.glob("[!.]*"))
    return parts[content % len(parts)] if parts and content % 2 else place.cache / "snapshot"


def truncate_cache(place: Place, number: int, content: int) -> None:
    if (part := part_of_cache(place, content)).exists():
        os.truncate(part, part.stat().st_size * number // len(IDS))


def damage_cache(place: Place, number: int, content: int) -> None:
    if (part := part_of_cache(place, content)).exists():
        with part.open("r+b") as file:
            file.seek(part.stat().st_size * (number + content) // (len(IDS) + len(CONTENTS)))
            file.write(b"garbage!" * 4)


def replace_cache_by_garbage(place: Place, *_: int) -> None:
    place.cache.mkdir(parents=True, exist_ok=True)
    for name in ("snapshot", *(f"{kind}-{number}" for kind in "rd" for number in ("other", *range(256)))):
        (place.cache / name).write_bytes(b"no cache " * 1000)


def keep_cache(place: Place, *_: int) -> None:
    if place.cache.exists():
        shutil.copytree(place.cache, place.root / ".git/kept", dirs_exist_ok=True)


def take_kept_cache(place: Place, *_: int) -> None:
    if (place.root / ".git/kept").exists():
        shutil.copytree(place.root / ".git/kept", place.cache, dirs_exist_ok=True)


def take_part_of_kept_cache(place: Place, _: int, content: int) -> None:
    """What a power cut can leave: some files as they were before."""
    part = part_of_cache(place, content)
    if (place.root / ".git/kept" / part.name).exists():
        shutil.copy2(place.root / ".git/kept" / part.name, part)


def delete_part_of_cache(place: Place, _: int, content: int) -> None:
    part_of_cache(place, content).unlink(missing_ok=True)


def delete_cache(place: Place, *_: int) -> None:
    shutil.rmtree(place.cache, ignore_errors=True)


Change = Callable[[Place, int, int], Any]
EDITS: list[Change] = [
    *(write, write_and_restore_times, write_for_the_future, write_long_ago, rename_over, swap),
    *(link_to, link_hard, link_folder, put_a_copy_elsewhere, odd_name, delete, delete_folder),
    *(change_project, change_template, commit, check_out, stash, unstash),
]
ACCIDENTS: list[Change] = [
    *(truncate_cache, damage_cache, replace_cache_by_garbage, keep_cache, take_kept_cache, take_part_of_kept_cache),
    *(delete_part_of_cache, delete_cache),
]
steps = st.tuples(
    st.sampled_from([*EDITS, write, write_and_restore_times, let_time_pass, let_time_pass, *ACCIDENTS]),
    st.integers(0, len(IDS) - 1),
    st.integers(0, len(CONTENTS) - 1),
)


def load(place: Place, path: Path | None) -> tuple[Index, list[object]]:
    """The whole index, and what commands about one task see."""
    cache = Cache(path, margin_ns=MARGIN_NS)
    index = load_index(place.root, cache)
    parts: list[object] = [load_around(place.root, text, cache) for text in (*IDS, "00000a", "web", "zz")]
    parts += [load_details(place.root, task.path, cache) for task in index.tasks.values()]
    parts += [load_description(place.root, task, cache) for task in index.tasks.values()]
    return index, [[*index.tasks], index.startable, *parts]


@pytest.fixture(scope="module")
def template_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Ann")
    git(root, "config", "user.email", "ann@example.org")
    write_files(root, FILES)
    place = Place(root)
    for number in range(len(IDS)):
        write(place, number, 2 * number)
    commit(place)
    git(root, "branch", "start")
    for number in range(len(IDS)):
        write(place, number, 2 * number + 1)
    commit(place)
    return root


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_the_cache_changes_no_answer(
    count: int, template_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @example([(write, 0, 6), (write, 1, 0)]).via("a word that YAML could misread is checked again")
    @example([(write, 0, 3), (write, 0, 2)]).via("the same problem on another line")
    @settings(max_examples=count, deadline=None)
    @given(changes=st.lists(steps, min_size=1, max_size=8))
    def check(changes: list[tuple[Change, int, int]]) -> None:
        place = Place(tmp_path_factory.mktemp("case") / "repository")
        shutil.copytree(template_repository, place.root, symlinks=True)
        load(place, place.cache)
        for change, number, content in changes:
            change(place, number, content)
            assert load(place, place.cache) == load(place, None), change.__name__
        shutil.rmtree(place.root)

    check()


def test_an_edit_that_no_time_stamp_shows_is_seen(project: MakeProject) -> None:
    """Same size, mtime put back, and so soon that ctime may be the same, too."""
    repository = project({**FILES, "tasks/web/web-00000a.yaml": padded("name: A\n")})
    path = repository.root / "tasks/web/web-00000a.yaml"
    for number in range(100):
        before = path.stat()
        with path.open("r+b") as file:
            file.write(padded(f"name: B{number % 7}\n"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert repository.load().tasks["web-00000a"].name == f"B{number % 7}"


def test_an_edit_without_any_time_stamp_is_seen(project: MakeProject) -> None:
    """A page of a mapped file that was written can be written again: the kernel stamps only the first time."""
    repository = project({**FILES, "tasks/web/web-00000a.yaml": padded("name: AA\n")})
    path = repository.root / "tasks/web/web-00000a.yaml"
    same_stamp = 0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        for number in range(10):
            content[:8] = b"name: B" + str(number).encode()
            repository.load()
            before = path.stat()
            content[:8] = b"name: C" + str(number).encode()
            same_stamp += path.stat().st_ctime_ns == before.st_ctime_ns
            assert repository.load().tasks["web-00000a"].name == f"C{number}"
            assert repository.load_around("web-00000a").tasks["web-00000a"].name == f"C{number}"
    assert same_stamp


def test_a_key_is_trusted_when_it_is_old_enough(project: MakeProject) -> None:
    repository = project({**FILES, "tasks/web/web-00000a.yaml": padded("name: A\n")})
    place = Place(repository.root)
    path = "tasks/web/web-00000a.yaml"
    cache = Cache(place.cache, margin_ns=MARGIN_NS)
    load_index(place.root, cache)
    let_time_pass()
    load_index(place.root, cache)
    record = cache.records([path])[path]
    found = (place.root / path).stat()
    assert record.key == (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    write_for_the_future(place, 0, 0)
    let_time_pass()
    load_index(place.root, cache)
    assert cache.records([path])[path].key is None


@pytest.mark.parametrize("old", [b"Mended by a disk", b"Written by a disk"])
def test_what_a_disk_did_to_the_cache_is_not_shown(old: bytes, project: MakeProject) -> None:
    text = padded("name: Mended by a disk\ndescription: Written by a disk\n")
    repository = project({**FILES, "tasks/web/web-00000a.yaml": text})
    place = Place(repository.root)
    want = load(place, None)
    load(place, place.cache)
    parts = [part for part in place.cache.iterdir() if old in part.read_bytes()]
    assert parts
    for part in parts:
        part.write_bytes(part.read_bytes().replace(old, old.swapcase()))
        assert load(place, place.cache) == want


def test_details_of_older_bytes_are_not_shown(project: MakeProject) -> None:
    """A power cut can leave some pages of the cache as they were before."""
    repository = project({**FILES, "tasks/web/web-00000a.yaml": padded("name: A\ndescription: Old\n")})
    place = Place(repository.root)
    repository.load()
    keep_cache(place)
    (place.root / "tasks/web/web-00000a.yaml").write_bytes(padded("name: A\ndescription: New\n"))
    row = repository.load().tasks["web-00000a"]
    for part in (place.root / ".git/kept").glob("d-*"):
        shutil.copy2(part, place.cache)
    assert repository.load_description(row) == "New"
    assert repository.load_details("tasks/web/web-00000a.yaml")["description"] == "New"


@pytest.mark.parametrize(
    "arguments", [["task", "list"], ["task", "next", "--all"], ["task", "next", "--explain"], ["validate"]]
)
def test_no_cache_prints_the_same_bytes(arguments: list[str], project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project({**FILES, **{f"tasks/web/web-{n:06}.yaml": text for n, text in enumerate(CONTENTS)}}).root
    for options in ([], ["--json"]):
        want = cli(root, "--no-cache", *arguments, *options)
        assert want.out
        assert not (root / ".git/dagtasks/cache").exists()
        assert cli(root, *arguments, *options) == want
        assert cli(root, *arguments, *options) == want
        shutil.rmtree(root / ".git/dagtasks/cache")


def test_two_processes_read_what_one_reads(project: MakeProject, process: Callable[..., Result]) -> None:
    repository = project({f"tasks/web/web-{n:06}.yaml": CONTENTS[n % 2 or -1] for n in range(1100)})
    in_two = process(repository.root, "validate", "--json")
    assert not in_two.err
    want = [problem.to_json() for problem in Project(repository.root, use_cache=False).load().problems]
    assert in_two.json == want


@pytest.mark.parametrize("obstacle", ["cache is a file", "snapshot is a folder", "folder is a file", "no git"])
def test_a_cache_that_cannot_be_used_disturbs_nobody(
    obstacle: str, project: MakeProject, cli: Callable[..., Result]
) -> None:
    root = project({**FILES, "tasks/web/web-00000a.yaml": CONTENTS[0]}).root
    want = cli(root, "--no-cache", "task", "list")
    cli(root, "task", "list")
    cache = root / ".git/dagtasks/cache"
    if obstacle == "cache is a file":
        shutil.rmtree(cache)
        cache.write_text("")
    elif obstacle == "snapshot is a folder":
        (cache / "snapshot").unlink()
        (cache / "snapshot").mkdir()
    elif obstacle == "folder is a file":
        shutil.rmtree(cache.parent)
        cache.parent.write_text("")
    else:
        shutil.rmtree(root / ".git")
    assert cli(root, "task", "list") == want


def test_a_wrong_cache_is_made_anew(project: MakeProject) -> None:
    repository = project({**FILES, "tasks/web/web-00000a.yaml": CONTENTS[0]})
    place = Place(repository.root)
    for accident in (replace_cache_by_garbage, delete_part_of_cache, delete_cache):
        accident(place, 0, 0)
        repository.load()
        assert "tasks/web/web-00000a.yaml" in Cache(place.cache).records(), accident.__name__
        assert Cache(place.cache).snapshot(), accident.__name__


def test_names_that_are_no_text_are_kept_like_others(project: MakeProject) -> None:
    path = "tasks/web/w\udcff/web-00000a.yaml"
    repository = project({path: padded("name: A\ndescription: Text\n")})
    place = Place(repository.root)
    for _ in range(2):
        assert load(place, place.cache) == load(place, None)
        cache = Cache(place.cache)
        record = cache.records([path])[path]
        assert cache.detail(path, record.digest) == {"description": "Text", "workflows": {}}


def test_roots_and_work_trees_have_a_cache_each(project: MakeProject) -> None:
    repository = project({"sub/tasks/web/web-00000a.yaml": CONTENTS[0], "tasks/web/web-00000b.yaml": CONTENTS[0]})
    git(repository.root, "worktree", "add", "--quiet", "../second")
    places = {}
    for root in (repository.root, repository.root / "sub", repository.root.parent / "second"):
        found = Project(root)
        assert found.load() == found.load() == Project(root, use_cache=False).load()
        places[find_cache(root, found.get_git())] = root
    assert len(places) == 3
    assert all(path.exists() for path in places)
    said = git(repository.root.parent / "second", "rev-parse", "--path-format=absolute", "--git-path", "dagtasks/cache")
    assert Path(said) in places


LOAD_AGAIN_AND_AGAIN = """
import sys, itertools
from pathlib import Path
from dagtasks.store.project import Project
root = Path(sys.argv[1])
for round in itertools.count():
    for path in sorted(root.glob("tasks/web/*.yaml"))[int(sys.argv[2])::7]:
        path.write_text(f"name: Round {round}\\ndepends_on: [web-zzzzzz]\\n")
    Project(root).load()
    print("ready", flush=True)
"""


def start_loader(root: Path, offset: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOAD_AGAIN_AND_AGAIN, str(root), str(offset)], stdout=subprocess.PIPE, text=True
    )


def test_kills_in_the_middle_of_writing_leave_a_right_cache(project: MakeProject) -> None:
    repository = project({f"tasks/web/web-{n:06}.yaml": CONTENTS[0] for n in range(60)})
    for number in range(6):
        loader = start_loader(repository.root, number)
        assert loader.stdout
        assert loader.stdout.readline() == "ready\n"
        time.sleep(0.013 * number)
        loader.send_signal(signal.SIGKILL)
        loader.communicate()
        assert repository.load() == Project(repository.root, use_cache=False).load()


def test_processes_at_once_do_not_disturb_one_another(project: MakeProject) -> None:
    repository = project({f"tasks/web/web-{n:06}.yaml": CONTENTS[0] for n in range(30)})
    loaders = [start_loader(repository.root, number) for number in range(3)]
    for loader in loaders:
        assert loader.stdout
        for _ in range(5):
            assert loader.stdout.readline() == "ready\n"
            repository.load()
    for loader in loaders:
        assert loader.poll() is None
        loader.kill()
        loader.communicate()
    assert repository.load() == Project(repository.root, use_cache=False).load()


def test_settings_that_changed_are_read_again(project: MakeProject, cli: Callable[..., Result]) -> None:
    """Also when neither size nor time of the file shows it, and with a user's own file that comes and goes."""
    repository = project({**FILES, "config/default.yaml": padded("commit: true\n")})
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "dagtasks/config.yaml"
    path, contents = repository.root / "config/default.yaml", ("commit: true\n", "commit: eggs\n", "colour: red\n")
    for number in range(12):
        before = path.stat()
        with path.open("r+b") as file:
            file.write(padded(contents[number % 3]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if number % 5 == 3:
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text("nonsense: 1\n")
        else:
            own.unlink(missing_ok=True)
        want = cli(repository.root, "--no-cache", "validate")
        assert ("default.yaml:1" in want.out, str(own) in want.out) == (number % 3 > 0, number % 5 == 3)
        assert cli(repository.root, "validate") == want
        assert cli(repository.root, "validate") == want


def test_settings_that_are_known_are_not_read_again(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project({**FILES, "config/default.yaml": "commit: eggs\n"}).root
    os.utime(root / "config/default.yaml", ns=(10**18, 10**18))
    want = cli(root, "validate")
    end = time.monotonic() + 20
    while not (root / ".git/dagtasks/cache/settings").exists():
        assert cli(root, "validate") == want
        assert time.monotonic() < end
        time.sleep(0.1)
    assert cli(root, "validate") == want
