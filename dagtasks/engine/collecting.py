"""What a step left that is wanted: which files a path or pattern means, and how much it may be.

Both executors put it below `ExecRequest.collect_to` by these rules; `keeping` takes it from there.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagtasks.engine.executor import StepError
from dagtasks.planning.plan import ExecRequest

MOST_BYTES = 100_000_000
MOST_FILES = 1000
"""Of files, and of folders, too."""
REFUSED = {"artifact": "artifact_refused", "export": "export_refused"}
TOO_BIG = {"artifact": "artifact_too_big", "export": "export_too_big"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files to collect into `target`. `folder` and `pattern` are the parts of an absolute path with `*` in it; without
    one `folder` is the whole path, of a folder or a file, and `pattern` is None."""

    kind: Literal["artifact", "export"]
    key: str
    path: str
    target: Path
    folder: str
    pattern: re.Pattern[str] | None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.folder)

    def choose(self, paths: Iterable[str]) -> list[str]:
        """Those of the paths below the folder that are meant; of a folder that is meant, also what lies in it."""
        if self.pattern is None:
            return list(paths)
        return [path for path in paths if self.pattern.fullmatch(path.rstrip("/"))]

    def refuse(self, reason: str) -> StepError:
        """The error that says what cannot be kept of it, and why."""
        return StepError(REFUSED[self.kind], f"{self.kind} {self.path}: {reason}")

    def make_target(self) -> None:
        """Make the folder to collect into; an earlier try may have left one."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir(parents=True)

    def check_size(self, files: int, folders: int, size: int) -> None:
        """Raises `StepError` when it is more than is kept."""
        if max(files, folders) > MOST_FILES:
            raise self._too_big(f"{MOST_FILES} files or folders")
        if size > MOST_BYTES:
            raise self._too_big(f"{MOST_BYTES} bytes")

    def _too_big(self, limit: str) -> StepError:
        message = f"{self.kind} {self.path} has more than {limit}; pack or narrow it"
        return StepError(TOO_BIG[self.kind], message)


def find_wanted(request: ExecRequest) -> list[Wanted]:
    """All that the request wants to be collected."""
    if request.collect_to is None:
        return []
    to = Path(request.collect_to)
    exports = [_wanted("export", str(n), path, to / "exports", request) for n, path in enumerate(request.exports)]
    specs = request.artifacts.items()
    return [*(_wanted("artifact", key, spec.path, to / "artifacts", request) for key, spec in specs), *exports]


def _wanted(kind: Literal["artifact", "export"], key: str, path: str, to: Path, request: ExecRequest) -> Wanted:
    whole = posixpath.normpath(posixpath.join("/", request.workdir or "/", path))
    folder, pattern = _split(whole)
    return Wanted(kind, key, path, to / key, folder, pattern)


def _split(path: str) -> tuple[str, re.Pattern[str] | None]:
    parts = path.lstrip("/").split("/")
    first = next((place for place, part in enumerate(parts) if "*" in part), None)
    if first is None:
        return path, None
    return "/" + "/".join(parts[:first]), _compile(parts[first:])


def _compile(parts: list[str]) -> re.Pattern[str]:
    """`*` is any text within a name, a part `**` any number of folders, none too."""
    text = ""
    for part in parts[:-1]:
        text += "(?:[^/]+/)*" if part == "**" else _name(part) + "/"
    last = "[^/]+" if parts[-1] == "**" else _name(parts[-1])
    return re.compile(f"{text}{last}(?:/.*)?", re.DOTALL)


def _name(part: str) -> str:
    return "[^/]*".join(re.escape(piece) for piece in re.split(r"\*+", part))


def list_tree(folder: Path) -> Iterator[str]:
    """All below the folder, relative to it; folders end in `/`. No link is followed."""
    for parent, folders, files in os.walk(folder):
        place = Path(parent).relative_to(folder)
        for name in folders:
            yield f"{place / name}" if (Path(parent) / name).is_symlink() else f"{place / name}/"
        for name in files:
            yield f"{place / name}"


def measure_tree(folder: Path) -> int:
    """The bytes of all files below the folder, which may change meanwhile."""
    size = 0
    for path in list_tree(folder):
        with suppress(OSError):
            size += 0 if path.endswith("/") else (folder / path).lstat().st_size
    return size
