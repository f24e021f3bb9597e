"""A run on a terminal: what is under way stands at the bottom and changes in place, what ended goes up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dagtasks.cli.output import printable
from dagtasks.cli.progress import MARKS, seconds, step_line, what_runs, why_it_waits
from dagtasks.model.run import (
    RunChanged,
    RunEvent,
    RunStarted,
    StepChanged,
    StepFinished,
    StepOutput,
    StepStarted,
)
from dagtasks.model.values import StepState

REFRESHES = 8
"""A second."""
MOST_ROWS = 12
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(slots=True)
class _Row:
    """A step that is under way; `line` is the last that it printed, `rest` what came after it."""

    name: str
    since: float = field(default_factory=time.monotonic)
    attempt: int = 1
    waits: str = ""
    line: str = ""
    rest: bytes = b""

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        printed = [line for line in [*lines, self.rest] if line.strip()]
        if printed:
            self.line = printed[-1].decode("utf-8", "replace")
        self.rest = self.rest[-1000:]

    def show(self, width: int) -> Text:
        elapsed = time.monotonic() - self.since
        sign = "…" if self.waits else SPINNER[int(elapsed * REFRESHES) % len(SPINNER)]
        again = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        text = Text(f"  {sign} {printable(self.name)}{again} {seconds(elapsed)} ", style="yellow" if self.waits else "")
        text.append(printable(self.waits or self.line), style="dim")
        text.truncate(max(width - 1, 10), overflow="ellipsis")
        return text


class LiveProgress:
    """A listener that shows a run on the terminal of stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._live = Live(
            get_renderable=self._render, console=self._console, refresh_per_second=REFRESHES, transient=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: RunEvent) -> None:
        """Show the event; a terminal that went away ends no run."""
        try:
            self._live.start()  # not before: somebody may be asked something until a run begins
            for line in self._take(event):
                self._console.print(line)
        except OSError:
            self._live.stop()

    def _take(self, event: RunEvent) -> Iterator[Text]:
        match event:
            case RunStarted(record=record):
                yield Text(f"run {record.id}: {printable(what_runs(record))}")
            case RunChanged(status=status) if event.process != {}:
                yield Text(f"run {event.run}: {status}", style="yellow")
            case StepStarted(step=step, attempt=attempt):
                row = self._rows.setdefault((event.run, step), _Row(step))
                row.attempt, row.waits = attempt, ""
            case StepChanged(step=step):
                row = self._rows.setdefault((event.run, step), _Row(step))
                row.waits = why_it_waits(event) if event.state is not StepState.RUNNING else ""
            case StepOutput(step=step):
                self._rows.setdefault((event.run, step), _Row(step)).take(event.data)
            case StepFinished(result=result):
                self._rows.pop((event.run, result.name), None)
                colour = MARKS.get(result.state, ("", "white"))[1]
                yield Text(f"  {step_line(result, in_colour=False)}", style=colour)
            case _:
                return

    def _render(self) -> Group:
        rows = list(self._rows.values())
        shown = [row.show(self._console.width) for row in rows[-MOST_ROWS:]]
        more = [Text(f"  and {len(rows) - MOST_ROWS} more", style="dim")] if len(rows) > MOST_ROWS else []
        return Group(*more, *shown)
