"""Engines: whether the one that the settings name answers."""

from __future__ import annotations

import asyncio

from dagtasks.engine.executor import make_executor
from dagtasks.settings import EngineSettings


def probe(settings: EngineSettings) -> str:
    """What answers, in a few words. Raises `EngineUnavailable` within a few seconds when nothing does."""
    executor = make_executor(settings)

    async def look() -> str:
        async with executor:
            return executor.note

    note = asyncio.run(look())
    return f"{settings.name} at {settings.host or 'the place that the SDK finds'} answers" + (
        f"; {note}" if note else ""
    )
