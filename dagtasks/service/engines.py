"""Engines: whether the one that the settings name answers."""

from __future__ import annotations

import asyncio

from dagtasks.engine.executor import make_executor
from dagtasks.engine.hosts import find_host
from dagtasks.engine.stopping import cancelled_by_signals, run_stoppable
from dagtasks.errors import EngineUnavailable
from dagtasks.settings import EngineSettings

PROBE_SECONDS = 12.0


def probe(settings: EngineSettings) -> str:
    """What answers, in a few words. Raises `EngineUnavailable` within a few seconds when nothing does.

    A first start that has to fetch the engine takes longer than that; a run waits for it, this does not.
    """
    executor = make_executor(settings)

    async def look() -> str:
        with cancelled_by_signals():
            async with asyncio.timeout(PROBE_SECONDS), executor:
                return executor.note

    try:
        note = run_stoppable(look())
    except TimeoutError:
        message = f"no {settings.name} engine answered within {PROBE_SECONDS:g} seconds"
        raise EngineUnavailable(message, hint="a run waits longer: dagtasks run --engine dagger") from None
    where = "" if settings.name == "local" else f" at {find_host(settings) or 'the place that the SDK finds'}"
    return f"{settings.name}{where} answers" + (f"; {note}" if note else "")
