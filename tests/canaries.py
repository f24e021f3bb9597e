"""Canaries: values that stand for secrets in tests, and the search for what is left of them anywhere.

Written without a look at the masker, so that both do not share a mistake.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

CANARY = "Kanari/7+é\"q' $w&<N0t-a-Word>"
"""Each encoding of it looks different from every other."""

LEAST = 12
"""Bytes of an encoding that are a find: a secret that was cut in two before it was masked is one, too."""


def _base64_within(before: bytes, after: bytes) -> Callable[[str], bytes]:
    """Base64 of a text in which the value stands between other bytes."""
    return lambda value: base64.b64encode(before + value.encode() + after)


ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "base64": _base64_within(b"", b""),
    "base64 after one byte": _base64_within(b"u", b"~"),
    "base64 after two bytes": _base64_within(b"u:", b"}~"),
    "double base64": lambda value: base64.b64encode(base64.b64encode(value.encode())),
    "hex": lambda value: value.encode().hex().encode(),
    "URL": lambda value: quote(value, safe="").encode(),
    "JSON": lambda value: json.dumps(value).encode(),
    "shell": lambda value: shlex.quote(value).encode(),
}


class Find(NamedTuple):
    """Where a canary was found, and how it was encoded there."""

    place: str
    encoding: str


def find_canaries(*places: Path | bytes, canary: str = CANARY) -> list[Find]:
    """Every place that holds a part of the canary: files, folders with all below them, Git repositories with all
    their objects, or bytes.
    """
    finds = {encoding: _parts(encode(canary)) for encoding, encode in ENCODINGS.items()}
    return [
        Find(name, encoding)
        for name, content in _contents(places)
        for encoding, parts in finds.items()
        if any(part in content for part in parts)
    ]


def _parts(encoded: bytes) -> set[bytes]:
    """All parts of that length, without the ends of base64, which neighbours have a share in."""
    inner = encoded[4:-4]
    return {inner[start : start + LEAST] for start in range(len(inner) - LEAST + 1)}


def _contents(places: Iterable[Path | bytes]) -> Iterator[tuple[str, bytes]]:
    for place in places:
        if isinstance(place, bytes):
            yield "bytes", place
        elif place.is_dir():
            for path in sorted(place.rglob("*")):
                if path.is_file():
                    yield str(path), path.read_bytes()
                if path.name == ".git":
                    yield f"objects of {path}", _all_objects(path.parent)
        else:
            yield str(place), place.read_bytes()


def _all_objects(folder: Path) -> bytes:
    """What all objects of the repository hold, those that nothing refers to as well: files hold them compressed."""
    command = ["git", "-C", str(folder), "cat-file", "--batch", "--batch-all-objects", "--unordered"]
    return subprocess.run(command, capture_output=True, check=True).stdout
