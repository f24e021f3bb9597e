"""The signals that ask this process to stop: they cancel what it does, so that it can tidy up."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Value = TypeVar("Value")


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """In the main thread ^C, SIGTERM and SIGHUP cancel the task that is in the block, each time one comes."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in STOPPING_SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in STOPPING_SIGNALS:
            loop.remove_signal_handler(number)


def run_stoppable(main: Coroutine[Any, Any, Value]) -> Value:
    """What the coroutine returns. Raises `KeyboardInterrupt` when it was cancelled."""
    try:
        return asyncio.run(main)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
