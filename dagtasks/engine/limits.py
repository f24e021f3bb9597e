"""What a run shares with its children: places for running steps, the end of its time, how many steps it may have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dagtasks.engine.executor import StepError

MAX_STEPS = 1000
"""Steps of a run, those of its children and the items of loops counted."""


class Deadline:
    """When something has to end, of the loop's clock; never later than what is around it."""

    def __init__(self, seconds: float | None, outer: Deadline | None = None) -> None:
        self._at = asyncio.get_running_loop().time() + seconds if seconds is not None else None
        self._outer = outer

    def when(self) -> float | None:
        """The moment, or None when there is none."""
        outer = self._outer.when() if self._outer else None
        return min((at for at in (self._at, outer) if at is not None), default=None)

    def postpone(self, seconds: float) -> None:
        """Have it later, here and around: time that does not count has passed."""
        if self._at is not None:
            self._at += seconds
        if self._outer:
            self._outer.postpone(seconds)

    def is_over(self) -> bool:
        """Whether the moment has come."""
        at = self.when()
        return at is not None and asyncio.get_running_loop().time() >= at


class Counter:
    """Counts the steps of a run and its children."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, count: int) -> None:
        """Count more; raises `StepError` above the limit."""
        self._count += count
        if self._count > MAX_STEPS:
            raise StepError("too_many_steps", f"a run has at most {MAX_STEPS} steps, with those of its children")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run. Places are taken from the inner run to the outer, so nobody waits in a circle."""

    places: tuple[asyncio.Semaphore, ...] = ()
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    counter: Counter = field(default_factory=Counter)

    def within(self, max_parallel: int | None, timeout: float | None) -> Limits:
        """These limits, and those of a part of the run."""
        own = (asyncio.Semaphore(max_parallel),) if max_parallel else ()
        return Limits((*own, *self.places), Deadline(timeout, self.deadline), self.counter)

    def for_cleanup(self, seconds: float) -> Limits:
        """The same places, with a time of their own: what clears away may go on when the run's time is over."""
        return Limits(self.places, Deadline(seconds), self.counter)
