"""The keys of the REST API: a secret that is shown once, and what is kept of it (08, R25).

Only the digest of a key is kept, in the operator's state: outside of the repository, for its owner alone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple
from zlib import crc32

from dagtasks.errors import Conflict, DagtasksError
from dagtasks.store.operator import OperatorState

PREFIX = "dgt_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 30
"""Characters that are drawn: 178 bits."""
_CHECKSUM = 6
FORM = 1
_FILE = "keys.json"


class Key(NamedTuple):
    """What is kept of a key. Stamps are ISO 8601 in UTC; `user` is the author of what is changed with it.

    `last_used` is at most a minute older than the truth; None: never.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    user: str
    digest: str
    created_at: str
    expires_at: str
    last_used: str | None = None

    def is_active(self, now: str) -> bool:
        """Whether it opens anything at that time."""
        return now < self.expires_at


def make_secret() -> str:
    """A new key as its owner gets it: prefix, random characters, and a checksum by which scanners know it."""
    drawn = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return f"{PREFIX}{drawn}{_checksum(drawn)}"


def is_well_formed(text: str) -> bool:
    """Whether the text can be a key at all: no key of ours has another form or checksum."""
    drawn, checksum = text[len(PREFIX) : -_CHECKSUM], text[-_CHECKSUM:]
    is_whole = text.startswith(PREFIX) and len(drawn) == _RANDOM and set(drawn) <= set(_DIGITS)
    return is_whole and checksum == _checksum(drawn)


def _checksum(drawn: str) -> str:
    number, digits = crc32(drawn.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def digest_of(secret: str) -> str:
    """What is kept of the key. A plain hash will do: nobody can try out 178 random bits."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class KeyStore:
    """All keys of a repository. Raises `Conflict` when others could have written them, `WriteError`, `LockTimeout`."""

    def __init__(self, state: OperatorState) -> None:
        self._state = state

    def every(self) -> list[Key]:
        """All keys, the oldest first."""
        self._state.refuse_unsafe()
        path = self._state.folder / _FILE
        try:
            return _read(path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, LookupError) as error:
            hint = f"look at {path}; without that file there is no key, and new ones can be made"
            raise Conflict(f"the keys cannot be read: {error}", hint=hint) from error

    def find(self, secret: str) -> Key | None:
        """The key of that secret, whether it is active or not. How long it takes tells nothing of other keys."""
        wanted, found = digest_of(secret), None
        for key in self.every():
            if compare_digest(key.digest, wanted):
                found = key
        return found

    def change(self, make: Callable[[list[Key]], Iterable[Key]]) -> None:
        """Keep what `make` gives for the keys that there are now; nobody else changes them meanwhile."""
        with self._state.lock("keys.lock", "keys"):
            self._write(make(self.every()))

    def touch(self, of: str, now: str) -> None:
        """Keep when the key of that id was used. Nothing when it has gone, or cannot be kept."""

        def touched(keys: list[Key]) -> list[Key]:
            return [key._replace(last_used=now) if key.id == of else key for key in keys]

        # Who is let in must not be kept out by a full disk.
        with suppress(DagtasksError):
            self.change(touched)

    def _write(self, keys: Iterable[Key]) -> None:
        document = {"form": FORM, "keys": [key._asdict() for key in keys]}
        self._state.write(_FILE, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")


def _read(content: bytes) -> list[Key]:
    """Raises `ValueError`, `TypeError`, `LookupError` where it is not what we write."""
    data = json.loads(content)
    if data["form"] != FORM:
        raise ValueError(f"form {data['form']} is that of another version")
    return [Key(**{**row, "scopes": tuple(row["scopes"])}) for row in data["keys"]]
