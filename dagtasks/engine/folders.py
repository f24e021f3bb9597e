"""The private folder of a local step: what it finds there, and what is taken from it afterwards."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from dagtasks.engine.collecting import Wanted, find_wanted, list_tree
from dagtasks.engine.executor import CAPTURE_LIMIT, StepError
from dagtasks.errors import GitError
from dagtasks.planning.plan import ExecRequest, Mounted
from dagtasks.store.git import find_git
from dagtasks.store.layout import ENV_FILE

ROOT_VARIABLE = "DT_ROOT"
"""Tells a step where its `/` lies: `$DT_ROOT/src` is the mount `/src` on every engine."""


class StepFolder:
    """Absolute paths of the request lie below `root`, which is made by `fill`."""

    def __init__(self, root: Path, request: ExecRequest) -> None:
        self.root = root
        self.workdir = below(root, request.workdir or "/")
        self._request = request
        self._mounts = sorted(request.mounts, key=lambda mount: mount.path)  # the outer before what lies in it

    def fill(self) -> None:
        """Put everything there that the step wants to find. Raises `StepError`."""
        try:
            self._fill()
        except (OSError, GitError) as error:
            raise StepError(
                "not_started", f"the folder of step {self._request.step} cannot be made: {error}"
            ) from error

    def _fill(self) -> None:
        self.root.mkdir()
        for mount in self._mounts:
            self._mount(mount)
        if self.workdir != self.root:
            self.workdir.mkdir(parents=True, exist_ok=True)
        for path, text in self._request.files.items():
            target = below(self.root, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")

    def argv(self) -> list[str]:
        """The arguments; those that name a file of the request, or a path in a mount, as they are here."""
        files = {path: str(below(self.root, path)) for path in self._request.files}
        return [files.get(item) or self._mounted(item) for item in self._request.argv or ()]

    def env(self) -> dict[str, str]:
        """The declared variables, in the same way; those called `DT_...` may name any path of the request."""
        own = self._own_paths()
        declared = {
            name: (own.get(value) if name.startswith("DT_") else None) or self._mounted(value)
            for name, value in self._request.env.items()
        }
        return {**declared, **self._request.secret_env, ROOT_VARIABLE: str(self.root)}

    def read_files(self) -> dict[str, bytes]:
        """The beginnings of the files that the request wants to read, as far as they are there."""
        found = {}
        for path in self._request.read_files:
            place = below(self.root if path.startswith("/") else self.workdir, path)
            if place.is_file():
                with place.open("rb") as file:
                    found[path] = file.read(CAPTURE_LIMIT)
        return found

    def collect(self) -> tuple[str, ...]:
        """Copy what the request wants to be kept; the keys of artifacts that are not there. Raises `StepError`."""
        wanted = find_wanted(self._request)
        return tuple([one.key for one in wanted if not self._collect(one) and one.kind == "artifact"])

    def _own_paths(self) -> dict[str, str]:
        """The absolute paths that the request itself names, and where they lie."""
        request = self._request
        folders = (posixpath.dirname(path) for path in request.read_files)
        named = [*request.files, *request.read_files, *folders, request.workdir or "/"]
        return {path: str(below(self.root, path)) for path in named if path.startswith("/") and path != "/"}

    def _mounted(self, text: str) -> str:
        is_inside = any(text == mount.path or text.startswith(f"{mount.path}/") for mount in self._mounts)
        return str(below(self.root, text)) if is_inside else text

    def _mount(self, mount: Mounted) -> None:
        place = self._claim(mount)
        match mount.kind:
            case "repo":
                copy_work_tree(Path(mount.source), place)
            case "artifact":
                check_artifact(mount)
                shutil.copytree(mount.source, place, symlinks=True, dirs_exist_ok=True)
            case "cache":
                _link_cache(Path(mount.source), place)
            case "secret":
                _write_secret(place, mount.value)

    def _claim(self, mount: Mounted) -> Path:
        """Where the mount goes. No link may lead there: what is put into a cache would stay."""
        place = below(self.root, mount.path)
        if place == self.root:
            raise StepError("mount_refused", "nothing can be mounted at / on the local engine")
        between = [folder for folder in place.parents if folder != self.root and folder.is_relative_to(self.root)]
        if any(folder.is_symlink() for folder in between):
            raise StepError("mount_refused", f"the mount {mount.path} lies in a cache, or behind a link")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _collect(self, wanted: Wanted) -> bool:
        """Copy what is wanted; whether it was there."""
        try:
            return self._copy(wanted)
        except OSError as error:
            raise wanted.refuse(str(error)) from error

    def _copy(self, wanted: Wanted) -> bool:
        place = self._find(wanted)
        if place is None:
            return False
        if not place.is_dir():
            _check_files(wanted, place.parent, [place.name])
            wanted.make_target()
            _copy_file(str(place), str(wanted.target / wanted.name))
            return True
        paths = wanted.choose(list_tree(place))
        if not paths and wanted.pattern:
            return False
        _check_files(wanted, place, paths)
        wanted.make_target()
        _copy_files(place, paths, wanted.target)
        return True

    def _find(self, wanted: Wanted) -> Path | None:
        """Where the wanted file, or folder, really lies; None when there is none."""
        place = Path(os.path.realpath(below(self.root, wanted.folder)))
        if not place.is_relative_to(os.path.realpath(self.root)):
            raise wanted.refuse("it lies in a cache, or a link leads out of the step's own folder")
        return place if place.is_dir() or (place.exists() and wanted.pattern is None) else None


def below(root: Path, path: str) -> Path:
    """The place of a path of the step inside its private folder; `..` does not lead out."""
    return root / posixpath.normpath("/" + path).lstrip("/")


def copy_work_tree(root: Path, target: Path) -> None:
    """Copy the files that Git tracks, and new ones that it does not ignore; where there is no Git, all.

    Links stay links. Submodules, other repositories below the root, and the settings of this machine are left out.
    """
    git = find_git(root)
    paths = git.work_files() if git else [path for path in list_tree(root) if not path.startswith(".git/")]
    target.mkdir(exist_ok=True)
    _copy_files(root, [path for path in paths if path != ENV_FILE and _is_file(f"{root}/{path}")], target)


def find_left_out(root: Path) -> list[str]:
    """What `copy_work_tree` leaves out, as paths relative to the root."""
    git = find_git(root)
    always = [".git", ENV_FILE]
    if git is None:
        return always
    others = [path for path in git.work_files() if (root / path).is_dir() and not (root / path).is_symlink()]
    return [*always, *git.ignored_files(), *others]


def check_artifact(mount: Mounted) -> None:
    """Raises `StepError` when the artifact to mount is not in the store any more."""
    if not Path(mount.source).is_dir():
        raise StepError("artifact_gone", f"the artifact for {mount.path} is not kept any more; was it pruned?")


def _is_file(path: str) -> bool:
    """Whether there is a regular file or a link."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _link_cache(source: Path, place: Path) -> None:
    source.mkdir(parents=True, exist_ok=True)
    _make_room(place)
    place.symlink_to(source)


def _write_secret(place: Path, value: str) -> None:
    _make_room(place)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(value)


def _make_room(place: Path) -> None:
    """Remove what the copy of the repository has at the place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _check_files(wanted: Wanted, folder: Path, paths: list[str]) -> None:
    """Raises `StepError` when it is too much, or something is no file."""
    folders = sum(path.endswith("/") for path in paths)
    found: Mapping[str, os.stat_result] = {path: (folder / path).lstat() for path in paths if not path.endswith("/")}
    wanted.check_size(len(found), folders, sum(one.st_size for one in found.values()))
    for path, one in found.items():
        if not (stat.S_ISREG(one.st_mode) or stat.S_ISLNK(one.st_mode)):
            raise wanted.refuse(f"{path} is neither a file nor a folder")


def _copy_files(folder: Path, paths: list[str], target: Path) -> None:
    """Copy files, links and folders (which end in `/`) by their relative paths."""
    made = {""}
    for path in paths:
        parent = path.rstrip("/") if path.endswith("/") else posixpath.dirname(path)
        if parent not in made:
            (target / parent).mkdir(parents=True, exist_ok=True)
            made.add(parent)
        if not path.endswith("/"):
            _copy_file(f"{folder}/{path}", f"{target}/{path}")


def _copy_file(source: str, target: str) -> None:
    """Copy a regular file with its mode, or a link. A repository has many, so this makes few calls."""
    try:
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        Path(target).symlink_to(Path(source).readlink())
        return
    try:
        _copy_content(reading, target)
    finally:
        os.close(reading)


def _copy_content(reading: int, target: str) -> None:
    found = os.fstat(reading)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, found.st_mode & 0o777)
    try:
        place = 0
        while place < found.st_size and (count := os.sendfile(writing, reading, place, found.st_size - place)):
            place += count
    finally:
        os.close(writing)
