"""A second process of our own, for work that can be done meanwhile. Threads would only take turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

Work = Callable[[], bytes]


@contextmanager
def beside(work: Work) -> Iterator[Work]:
    """Begin the work in a second process, and give a function that waits for what comes of it.

    Where there cannot be such a process, and when it dies, the function does the work itself. Call it once.
    """
    # Forking a process that has threads can leave locks held for ever.
    pipe = os.pipe() if threading.active_count() == 1 and len(os.sched_getaffinity(0)) > 1 else None
    child = _fork(work, *pipe) if pipe else None
    if not pipe or not child:
        yield work
        return
    unfinished = [child]
    try:
        with os.fdopen(pipe[0], "rb") as stream:

            def answer() -> bytes:
                content = stream.read()
                _, status = os.waitpid(unfinished.pop(), 0)
                return work() if status else content

            yield answer
    finally:
        for process in unfinished:
            os.waitpid(process, 0)


def _fork(work: Work, receiver: int, sender: int) -> int | None:
    """The new process; None, with the pipe closed, when there are too many processes already."""
    try:
        child = os.fork()
    except OSError:
        os.close(receiver)
        child = None
    if child == 0:
        os.close(receiver)
        _answer(work, sender)
    os.close(sender)
    return child


def _answer(work: Work, sender: int) -> NoReturn:
    """What the second process does. It must not leave the way it came: the stack above it is its parent's."""
    try:
        content = work()
        with os.fdopen(sender, "wb") as stream:
            stream.write(content)
        os._exit(0)
    finally:
        os._exit(1)
