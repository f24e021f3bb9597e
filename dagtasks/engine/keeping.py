"""What a step left, brought to where it stays: artifacts into a store, exports into the work tree.

All of it is data that somebody else made. Nothing is unpacked, followed or run here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dagtasks.engine.collecting import list_tree
from dagtasks.engine.executor import StepError
from dagtasks.errors import DagtasksError
from dagtasks.store.files import write_file
from dagtasks.store.layout import ENV_FILE

CHUNK = 1 << 20
IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Code points that file systems of Apple leave out of names."""
GIT_FOLDER = re.compile(r"\.git|git~\d+")


@dataclass(frozen=True, slots=True)
class Artifact:
    """What was kept: the digest of a folder (SHA-256, hex), the bytes of its files, and how many they are."""

    digest: str
    size: int
    files: int


def keep_artifacts(collected: Path, store: Path) -> dict[str, Artifact]:
    """Move what was collected as artifacts into the store, `store/<digest>/`; by key, what is there now.

    The digest says paths, contents, which files are executable, and where links lead. Of two that are equal one is
    kept. Modes become 644 or 755, as in Git. Raises `StepError` for a link that leads out of its folder, and for what
    is neither file, folder nor link.
    """
    folder = collected / "artifacts"
    if not folder.is_dir():
        return {}
    store.mkdir(parents=True, exist_ok=True)
    return {place.name: _keep(place, store) for place in sorted(folder.iterdir())}


def _keep(folder: Path, store: Path) -> Artifact:
    digest, size, files = hashlib.sha256(), 0, 0
    paths = sorted(path.rstrip("/") for path in list_tree(folder))
    for path in paths:
        _check_kept(folder, path)
    folder.chmod(0o755)
    for path in paths:
        place = folder / path
        kind, content = _settle(place)
        digest.update(b"%s %s %s\0" % (kind, content.encode(), os.fsencode(path)))
        if kind != b"d":
            files += 1
            size += place.lstat().st_size
    _move(folder, store / digest.hexdigest())
    return Artifact(digest.hexdigest(), size, files)


def _check_kept(folder: Path, path: str) -> None:
    mode = (folder / path).lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise StepError("artifact_refused", f"artifact {folder.name}: {path} is neither a file nor a folder")
    if stat.S_ISLNK(mode) and not _is_inside(folder, folder / path):
        raise StepError("artifact_refused", f"artifact {folder.name}: {path} is a link that leads out of it")


def _is_inside(folder: Path, link: Path) -> bool:
    """Whether the link, followed to its end, stays in the folder, wherever the folder lies."""
    return not link.readlink().is_absolute() and Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder))


def _settle(place: Path) -> tuple[bytes, str]:
    """What lies at the place (d, f, x or l) and the digest of its content; its mode is made one of two."""
    mode = place.lstat().st_mode
    if stat.S_ISLNK(mode):
        return b"l", hashlib.sha256(os.fsencode(place.readlink())).hexdigest()
    is_executable = bool(mode & 0o100)
    place.chmod(0o755 if is_executable or stat.S_ISDIR(mode) else 0o644)
    if stat.S_ISDIR(mode):
        return b"d", "-"
    with place.open("rb") as file:
        return b"x" if is_executable else b"f", hashlib.file_digest(file, "sha256").hexdigest()


def _move(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # the same is there already
            shutil.rmtree(folder)
            return
        if error.errno != errno.EXDEV:
            raise
        near = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
        shutil.copytree(folder, near, symlinks=True)
        shutil.rmtree(folder)
        _move(near, target)


def export_files(collected: Path, exports: Sequence[tuple[str, str]], root: Path) -> list[str]:
    """Copy what was collected as exports (`from`, `to`) into the work tree; the paths written, relative to the root.

    A file goes to `to`, or into it when `to` ends in `/`; what a folder holds, and what a pattern means, goes below
    `to`. Everything is checked before the first write, and each file is the old or the new one. The caller holds the
    lock of the repository. Raises `StepError`.
    """
    try:
        copies = _find_copies(collected, exports)
        _check_copies(copies, root)
        for target, place in sorted(copies.items()):
            write_file(root / target, place.read_bytes(), mode=0o755 if place.stat().st_mode & 0o100 else None)
    except (DagtasksError, OSError) as error:
        raise StepError("export_failed", f"a file of the step could not be copied: {error}") from error
    return sorted(copies)


def _find_copies(collected: Path, exports: Sequence[tuple[str, str]]) -> dict[str, Path]:
    """Where each file is to be written, relative to the root, and where it lies."""
    copies: dict[str, Path] = {}
    for number, (source, to) in enumerate(exports):
        for target, place in _copies(collected / "exports" / str(number), source, to):
            if target in copies:
                raise _refused(target, "two files would be written there")
            copies[target] = place
    return copies


def _check_copies(copies: Mapping[str, Path], root: Path) -> None:
    folders = {str(folder) for target in copies for folder in PurePosixPath(target).parents}
    for target, place in copies.items():
        if target in folders:
            raise _refused(target, "other files would be written below it")
        _check_source(target, place)
        _check_target(root, target)


def _copies(folder: Path, source: str, to: str) -> Iterator[tuple[str, Path]]:
    """Each file to copy, with its path in the work tree."""
    if not folder.is_dir():
        raise StepError("export_missing", f"the step left no {source}, which is to be copied to {to}")
    name = PurePosixPath(source).name
    found = [path for path in list_tree(folder) if not path.endswith("/")]
    is_file = found == [name] and not to.endswith("/") and _normal(to)
    for path in found:
        yield _normal(to if is_file else f"{to}/{path}"), folder / path


def _normal(path: str) -> str:
    """The path with one spelling; what leads out stays as it is, to be refused."""
    if path.startswith("/"):
        return path
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _check_source(target: str, place: Path) -> None:
    if not stat.S_ISREG(place.lstat().st_mode):
        raise _refused(target, "only regular files are copied into the work tree")


def _check_target(root: Path, target: str) -> None:
    parts = target.split("/")
    if not target or target.startswith("/") or ".." in parts or "\0" in target:
        raise _refused(target, "it is not a path inside the repository")
    if any(_is_git_folder(part) for part in parts):
        raise _refused(target, "nothing is written into Git's own folder")
    if "/".join(map(_plain, parts)) == ENV_FILE:
        raise _refused(target, "it holds the settings of this machine")
    _check_place(root, target, parts)


def _check_place(root: Path, target: str, parts: list[str]) -> None:
    folder = root
    for part in parts[:-1]:
        folder /= part
        if folder.is_symlink():
            raise _refused(target, f"{folder.relative_to(root)} is a symlink")
        if folder.exists() and not folder.is_dir():
            raise _refused(target, f"{folder.relative_to(root)} is not a folder")
    place = folder / parts[-1]
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise _refused(target, "there is something else than a file")


def _is_git_folder(name: str) -> bool:
    """Whether any file system takes the name for `.git`: capitals, ignorable code points, short names, streams."""
    return any(GIT_FOLDER.fullmatch(_plain(part)) for part in name.split("\\"))


def _plain(name: str) -> str:
    return IGNORABLE.sub("", name).partition(":")[0].rstrip(". ").casefold()


def _refused(target: str, reason: str) -> StepError:
    return StepError("export_refused", f"{target} cannot be written: {reason}")
