"""Pages that are as they were: the site that was built last is taken as it is, page by page, instead of a cache.

What a page is made of has a key. Where the last build noted the same key for it, and its file has not been touched
since, the new site gets a second name for that file (a hard link).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).parent


class Noted(NamedTuple):
    """What was noted of a page: its key, where ids of tasks in its prose lead, and its file (size, time of change)."""

    key: bytes
    links: Mapping[str, str | None]
    file: tuple[int, int]


class Reuse:
    """The pages of the site in the folder `old`, of which a build noted `known`; and notes of those of a new one."""

    def __init__(self, old: Path, known: object, find_uri: Callable[[str], str | None]) -> None:
        self._old = old
        self._known: Mapping[str, Any] = known if isinstance(known, Mapping) else {}
        self._find_uri = find_uri
        self.noted: dict[str, tuple[Any, ...]] = {}
        """To be given to the next build, in plain types."""

    def take(self, uri: str, key: bytes, target: Path) -> bool:
        """Put the old page in its place in the new site; False when there is none that could be the new one."""
        if uri not in self._known:
            return False
        noted = Noted(*self._known[uri])
        if noted.key != key or any(self._find_uri(name) != found for name, found in noted.links.items()):
            return False
        try:
            if _look_at(self._old / uri) != noted.file:
                return False
            _link(self._old / uri, target)
        except OSError:
            return False
        self.noted[uri] = tuple(noted)
        return True

    def note(self, uri: str, key: bytes, links: Mapping[str, str | None], path: Path) -> None:
        """Note a page that was just written."""
        self.noted[uri] = (key, dict(links), _look_at(path))


def _look_at(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except FileNotFoundError:
        new.parent.mkdir(parents=True, exist_ok=True)
        os.link(old, new)


def digest(*parts: str) -> bytes:
    """The digest of texts in this order."""
    made = blake2b(digest_size=16)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass")
        made.update(len(text).to_bytes(8))
        made.update(text)
    return made.digest()


def digest_of_code() -> str:
    """What is another when the code or a template of the board is."""
    files = sorted(path for path in _FOLDER.rglob("*") if path.suffix in (".py", ".html"))
    return digest(*(path.read_text("utf-8") for path in files)).hex()
