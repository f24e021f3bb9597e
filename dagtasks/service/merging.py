"""Merging: the merge driver of a clone, conflicts that Git left, and edits that a merge lost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dagtasks.errors import GitError, Problem, Severity
from dagtasks.planning.merges import BlobChange, LostEdit, find_lost_edits
from dagtasks.store.files import write_file
from dagtasks.store.git import Git, init_repository
from dagtasks.store.layout import TASKS, Kind, place
from dagtasks.store.merge import merge
from dagtasks.store.merges import (
    Merging,
    find_base,
    is_shallow,
    is_untouched,
    read_blobs,
    read_changes,
    read_merges,
    read_unmerged,
    without_labels,
)
from dagtasks.store.project import Project
from dagtasks.store.writer import Writer

ATTRIBUTES = ("/tasks/**/*.yaml merge=dagtasks",)
"""Lines that `.gitattributes` gets: which files Git hands to the driver. Clones without the driver merge by lines."""

_CONFIG = "merge.dagtasks."
_NAME = "dagtasks: field by field"

# Python ends with 1 for many reasons of its own; 3 says that the driver itself has put marks into the file.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv.pop(1)); from dagtasks.store.merge import main; "
    "sys.exit(3 if main(sys.argv[1:]) else 0)"
)
_FALLBACK = (
    "echo 'dagtasks: the merge driver did not run, so this file is merged line by line; see: dagtasks doctor' >&2; "
    "exec git merge-file --diff3 --marker-size=%L -L ours -L base -L theirs %A %O %B"
)


# --- the driver ---------------------------------------------------------------------------------------------------


def driver_command(python: str = sys.executable, package: Path | None = None) -> str:
    """The command for `merge.dagtasks.driver`. Where it cannot run, Git's own merge of lines takes its place.

    It calls this Python and this installation by their paths (no PATH, no environment, no site-packages needed).
    """
    folder = package or Path(__file__).resolve().parents[2]
    words = [python, "-I", "-S", "-c", _PROGRAM, str(folder)]
    quoted = " ".join(shlex.quote(word) for word in words).replace("%", "%%")
    return f"{quoted} %O %A %B %L %P %S %X %Y; case $? in 0) exit 0;; 3) exit 1;; esac; {_FALLBACK}"


def configure_driver(project: Project) -> bool:
    """Name the driver in the configuration of this clone. False when it was named so already."""
    git = project.get_git()
    wanted = {"name": _NAME, "driver": driver_command()}
    if all(git.find("config", "--get", _CONFIG + key) == value for key, value in wanted.items()):
        return False
    with Writer(project, "init") as writer:
        for key, value in wanted.items():
            writer.configure(_CONFIG + key, value)
    return True


class DriverState(NamedTuple):
    """How the driver of this clone fares: ok, note (not in use) or wrong, what was found, and what to do."""

    state: str
    found: str
    hint: str = ""


def check_driver(git: Git) -> DriverState:
    """Whether Git would use the driver here, found out by a real merge in a scratch repository."""
    command = git.find("config", "--get", f"{_CONFIG}driver")
    if not command:
        return DriverState("note", "not set up in this clone: Git merges line by line", "set it up: dagtasks init")
    asked = git.read("check-attr", "merge", "--", f"{TASKS}/x/x-000000.yaml")
    if not asked.endswith(": dagtasks"):
        return DriverState("note", "no line in .gitattributes names it", "add it: dagtasks init")
    try:
        with TemporaryDirectory() as name:
            merged = _merge_sample(Path(name), command)
    except GitError as error:
        return DriverState("wrong", f"the configured command fails: {error.message}", "set it up again: dagtasks init")
    if merged != _MERGED:
        return DriverState("wrong", "the configured command merges a sample wrongly", "set it up again: dagtasks init")
    return DriverState("ok", "merged a sample field by field")


def _sample(*labels: str) -> bytes:
    return "".join(["name: x\n\nlabels:\n", *(f"  - {label}\n" for label in labels)]).encode()


_MERGED = _sample("a", "b", "c", "z")


def _merge_sample(folder: Path, command: str) -> bytes:
    init_repository(folder)
    git = Git(folder, folder / ".git")
    (folder / ".git/info").mkdir(exist_ok=True)
    (folder / ".git/info/attributes").write_text("* merge=dagtasks\n")
    base = _commit_sample(git, _sample("a", "z"))
    ours, theirs = (_commit_sample(git, _sample("a", label, "z"), base) for label in ("b", "c"))
    tree = git.write("-c", f"{_CONFIG}driver={command}", "merge-tree", "--write-tree", ours, theirs)
    return git.read_bytes("cat-file", "blob", f"{tree}:sample.yaml")


def _commit_sample(git: Git, content: bytes, *parents: str) -> str:
    blob = git.write("hash-object", "-w", "--stdin", given=content)
    tree = git.write("mktree", given=f"100644 blob {blob}\tsample.yaml\n".encode())
    identity = ("-c", "user.name=dagtasks", "-c", "user.email=dagtasks@localhost")
    follows = [word for parent in parents for word in ("-p", parent)]
    return git.write(*identity, "commit-tree", tree, *follows, "-m", "sample")


# --- conflicts that Git left --------------------------------------------------------------------------------------


class Resolved(NamedTuple):
    """What became of an unmerged file: merged, conflict (marks round `fields`), edited (left alone), deleted."""

    path: str
    state: str
    fields: tuple[str, ...] = ()
    hint: str = ""


class ResolveSettings(NamedTuple):
    """How `resolve` works: `stage` puts what merged clean into the index, `overwrite` takes edited files, too."""

    stage: bool = True
    overwrite: bool = False
    dry_run: bool = False


def resolve(project: Project, paths: Sequence[str], settings: ResolveSettings) -> list[Resolved]:
    """Merge every unmerged file below `tasks/` field by field, from the versions that Git keeps of it."""
    git = project.get_git()
    with Writer(project, "resolve") as writer:
        unmerged = {path: blobs for path, blobs in read_unmerged(git, *(paths or (TASKS,))).items() if _is_ours(path)}
        contents = read_blobs(git, (blob for blobs in unmerged.values() for blob in blobs.values()))
        return [
            _resolve(project, writer, path, {stage: contents[blob] for stage, blob in blobs.items()}, settings)
            for path, blobs in sorted(unmerged.items())
        ]


def _is_ours(path: str) -> bool:
    found = place(path)
    return found is not None and found.kind is not Kind.TEMPLATE


def _resolve(
    project: Project, writer: Writer, path: str, versions: Mapping[int, bytes], settings: ResolveSettings
) -> Resolved:
    if 2 not in versions or 3 not in versions:
        side = "your side" if 2 not in versions else "the other side"
        return Resolved(path, "deleted", hint=f"{side} deleted it; keep it: git add {path}; delete it: git rm {path}")
    git, file = project.get_git(), project.root / path
    merged = merge(versions.get(1, b""), versions[2], versions[3])
    now = file.read_bytes() if file.is_file() else versions[2]
    is_done = without_labels(now) == without_labels(merged.content)
    if not is_done and not settings.overwrite and not is_untouched(git, now, versions):
        hint = f"it was edited since the merge; keep that: git add {path}; merge anew: dagtasks resolve --overwrite"
        return Resolved(path, "edited", hint=hint)
    if settings.dry_run:
        return _resolved(path, merged.conflicts)
    kept = "" if is_done else _replace(git, file, now, merged.content)
    if not merged.conflicts and settings.stage:
        writer.stage(path)
    return _resolved(path, merged.conflicts, kept)


def _resolved(path: str, conflicts: tuple[str, ...], hint: str = "") -> Resolved:
    return Resolved(path, "conflict" if conflicts else "merged", conflicts, hint)


def _replace(git: Git, file: Path, now: bytes, content: bytes) -> str:
    """Write the file; what it held stays in Git. Returns how to look at that."""
    blob = git.write("hash-object", "-w", "--stdin", given=now)
    write_file(file, content)
    return f"before: git cat-file blob {blob[:12]}"


# --- edits that a merge lost --------------------------------------------------------------------------------------


def find_lost(project: Project, since: str = "HEAD^1") -> list[Problem]:
    """What the merges after the commit `since` lost: a task that one side deleted and the other one edited.

    Raises `GitError` when there is no such commit.
    """
    git = project.get_git()
    found = list(check_mergings(project, read_merges(git, since)))
    if is_shallow(git):
        hint = "fetch the whole history: git fetch --unshallow"
        message = "this clone is shallow, so not every merge could be compared with what it comes from"
        found.append(Problem(TASKS, 0, 0, "DT403", message, hint, Severity.NOTE))
    return found


def check_mergings(project: Project, mergings: Iterable[Merging]) -> Iterator[Problem]:
    """What these merges lost."""
    return (problem for merging in mergings for problem in _check_merging(project, merging))


def _check_merging(project: Project, merging: Merging) -> Iterator[Problem]:
    git = project.get_git()
    first, *others = merging.parents
    for other in others:
        base = find_base(git, first, other)
        if base is None:
            continue
        ours, theirs, merged = (read_changes(git, base, end, TASKS) for end in (first, other, merging.commit))
        for lost in find_lost_edits(ours, theirs, merged):
            yield from _lost_problems(project, lost, (first, other), merged)


def _lost_problems(
    project: Project, lost: LostEdit, parents: tuple[str, str], merged: Mapping[str, BlobChange]
) -> Iterator[Problem]:
    deleting, editing = parents[lost.deleted_by][:10], parents[1 - lost.deleted_by][:10]
    back = f"bring the task back: git checkout {editing} -- {lost.path}"
    misled = [path for path in lost.into if _blob_now(project, path) == merged[path].after]
    for path in misled:
        message = (
            f"a merge put the edit of {lost.path}, which one side deleted, into this file, which that side had made"
        )
        hint = f"see what came in: git diff {deleting} -- {path}; {back}"
        yield Problem(path, 0, 0, "DT401", message, hint)
    if not misled and not (project.root / lost.path).exists():
        message = "a merge left this task deleted, though one side had edited it"
        yield Problem(lost.path, 0, 0, "DT402", message, back, Severity.WARNING)


def _blob_now(project: Project, path: str) -> str | None:
    file = project.root / path
    return project.blob_id(file.read_bytes()) if file.is_file() else None
