"""What those share who load one work tree again and again, and several at the same time: the requests of a server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagtasks.planning.index import Index
    from dagtasks.store.snapshot import Snapshot


class Shared:
    """A look at the files for all who wait for one, and the index for as long as no file has changed.

    `known` is the last snapshot with the index that was made of it. Its keys say of which files it is, so it proves as
    much as the one in the cache, and needs no reading.
    """

    def __init__(self) -> None:
        self.known: tuple[Snapshot, Index] | None = None
        self._turn = threading.Condition()
        self._begun = self._ended = 0
        self._is_looking = False
        self._last: Index | None = None

    def load(self, look: Callable[[], Index]) -> Index:
        """What `look` finds, in a look of somebody that began after this was asked. Raises as it does."""
        with self._turn:
            wanted = self._begun + 1
            self._turn.wait_for(lambda: self._ended >= wanted or not self._is_looking)
            if self._last is not None and self._ended >= wanted:
                return self._last
            self._begun = number = self._begun + 1
            self._is_looking = True
        try:
            found = look()
            with self._turn:
                self._last, self._ended = found, number
            return found
        finally:
            with self._turn:
                self._is_looking = False
                self._turn.notify_all()
