"""Which listener shows a run: in place on a terminal, else line by line, or as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from dagtasks.cli.progress import Progress
from dagtasks.model.run import RunEvent


def show_run(*, as_json: bool) -> AbstractContextManager[Callable[[RunEvent], None]]:
    """A listener that shows on stderr what happens in a run."""
    if as_json or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Progress(as_json=as_json)
    from dagtasks.cli.live import LiveProgress  # rich, which only terminals need

    return LiveProgress()
