"""What was answered to requests that may come again: kept for a day, so that whoever asks twice has it done once."""

from __future__ import annotations

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from dagtasks.errors import Conflict
from dagtasks.store.files import remove_file, write_file, writing
from dagtasks.store.git import Git

KEPT = timedelta(hours=24)
FORM = 1


class Reply(NamedTuple):
    """An answer as it was sent: status, headers and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class OtherRequest(Conflict):
    """The name was used for another request."""

    status = 422


class Request:
    """A request that is being done, and nobody else does it meanwhile; `known` is what was answered to it before."""

    def __init__(self, path: Path, descriptor: int, fingerprint: str, now: datetime) -> None:
        self._path = path
        self._descriptor = descriptor
        self._fingerprint = fingerprint
        self._now = now
        self.known: Reply | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def begin(self) -> None:
        """Keep that it is being done, unless it was done already.

        Raises `OtherRequest`, `WriteError`, and `Conflict` where who did it died before its end was kept.
        """
        found = _read(self._path)
        if found is None or self._now - found.at >= KEPT:
            return self._write(None)
        if found.fingerprint != self._fingerprint:
            raise OtherRequest("the name was used for another request", hint="use a name of its own for each request")
        if found.reply is None:
            hint = "look whether it was done; if not, ask again under another name"
            raise Conflict("the server ended while it did this, so nobody knows whether it was done", hint=hint)
        self.known = found.reply
        return None

    def finish(self, reply: Reply) -> None:
        """Keep what was answered. Raises `WriteError`."""
        self._write(reply)

    def forget(self) -> None:
        """Nothing was done, so it may be tried again. Raises `WriteError`."""
        if self._path.exists():
            remove_file(self._path)

    def _write(self, reply: Reply | None) -> None:
        told = reply and {**reply._asdict(), "body": b64encode(reply.body).decode()}
        document = {"form": FORM, "at": self._now.isoformat(), "fingerprint": self._fingerprint, "reply": told}
        write_file(self._path, json.dumps(document).encode() + b"\n", mode=0o600)


class Replies:
    """The answers that are kept for a repository."""

    def __init__(self, git: Git) -> None:
        self._folder = git.state_dir / "replies"

    def open(self, name: Iterable[str], fingerprint: str, now: datetime) -> Request:
        """The request of that name, held until its context ends. Raises `Conflict` while somebody else does it."""
        path = self._folder / f"{sha256(chr(0).join(name).encode('utf-8', 'surrogateescape')).hexdigest()}.json"
        lock = path.with_suffix(".lock")
        with writing(lock):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep(now)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Conflict("the same request is being done just now", hint="ask again when it has ended") from None
        os.utime(descriptor)  # it is in use, so nobody sweeps it away
        return Request(path, descriptor, fingerprint, now)

    def _sweep(self, now: datetime) -> None:
        """Remove what is older than it is kept; a lock goes later than what it guards."""
        before = (now - 2 * KEPT).timestamp()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry.path).unlink()


class _Kept(NamedTuple):
    at: datetime
    fingerprint: str
    reply: Reply | None


def _read(path: Path) -> _Kept | None:
    """What is kept; None when there is nothing, or nothing that can be read."""
    with suppress(OSError, ValueError, TypeError, LookupError):
        data = json.loads(path.read_bytes())
        told = data["reply"]
        headers = tuple((str(name), str(value)) for name, value in told["headers"]) if told else ()
        reply = Reply(int(told["status"]), headers, b64decode(told["body"])) if told else None
        if data["form"] == FORM:
            return _Kept(datetime.fromisoformat(data["at"]), str(data["fingerprint"]), reply)
    return None
