"""The site while it is served for its author: pages of the board are made when somebody asks for them.

So a build takes as long as MkDocs needs for pages of its own, however many tasks there are, and begins as soon as the
system tells of a change.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from dagtasks.store.watching import CHANGES

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

Make = Callable[[], object]
"""Puts a page into its place in the site."""


class Server(Protocol):
    """The server of MkDocs, as far as it is asked something here."""

    mount_path: str
    observer: Any

    def get_app(self) -> Any:
        """Who answers requests."""

    def set_app(self, application: Any) -> None:
        """Have somebody else answer them."""

    def watch(self, path: str) -> None:
        """Build again when something changes there."""

    def unwatch(self, path: str) -> None:
        """Do so no more."""


class Preview:
    """The pages that nobody has asked for yet. None is made while the site is being built."""

    def __init__(self) -> None:
        self._pages: dict[str, Make] = {}
        self._lock = Lock()
        self._is_closed = False

    def close(self) -> None:
        """A build begins; who asks for a page waits until `open`."""
        self._lock.acquire()
        self._is_closed = True

    def open(self, pages: Mapping[str, Make] | None = None) -> None:
        """The build has ended, and these are the pages by address. Without any it failed: pages are as they were."""
        if pages is not None:
            self._pages = {**pages}
        if self._is_closed:
            self._is_closed = False
            self._lock.release()

    def make(self, uri: str) -> None:
        """Have the page be there, if it is one of the board."""
        with self._lock:
            if make := self._pages.get(uri):
                make()
                del self._pages[uri]

    def serve(self, server: Server, watched: Iterable[str], more: Iterable[str]) -> None:
        """Make pages for that server, and tell it when files change. `watched` are paths that it watches already."""
        answer = server.get_app()

        def make_and_answer(environ: dict[str, Any], start_response: Any) -> Any:
            self.make(_uri_of(environ, server.mount_path))
            return answer(environ, start_response)

        server.set_app(make_and_answer)
        watched, more = [*watched], [*more]
        if observer := _find_observer([*watched, *more]):
            for path in watched:
                server.unwatch(path)
            server.observer = observer
            more = [*watched, *more]
        for path in more:
            server.watch(path)


def _uri_of(environ: Mapping[str, Any], mount: str) -> str:
    path: str = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "ignore")
    rest = path.removeprefix(mount)
    return posixpath.normpath("/" + (f"{rest}index.html" if path.endswith("/") else rest)).lstrip("/")


def _find_observer(paths: Iterable[str]) -> _Changes | None:
    """Who tells of changes at once; None when the system has no watches left: MkDocs looks twice a second by itself."""
    observer = _Changes()
    observer.start()
    try:
        for path in paths:
            observer.schedule(FileSystemEventHandler(), path, recursive=True)
    except OSError:
        observer.stop()
        return None
    return observer


class _Changes(Observer):  # type: ignore[misc,valid-type]
    """Tells of changes alone, and also of those of a file that is replaced by another of its name."""

    def start(self) -> None:
        """Begin; the server does so once more."""
        if not self.is_alive():
            super().start()

    def schedule(
        self, event_handler: FileSystemEventHandler, path: str, *, recursive: bool = False, **_: object
    ) -> ObservedWatch:
        """As `BaseObserver` says."""
        if not Path(path).is_dir():
            event_handler, path = _Named(event_handler, path), str(Path(path).parent)
        return super().schedule(event_handler, path, recursive=recursive, event_filter=CHANGES)  # type: ignore[no-any-return]


class _Named(FileSystemEventHandler):
    """Tells another handler of the events of one file."""

    def __init__(self, handler: FileSystemEventHandler, path: str) -> None:
        self._handler = handler
        self._path = path

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Tell it."""
        if self._path in (event.src_path, event.dest_path):
            self._handler.dispatch(event)
