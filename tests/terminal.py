"""The program on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path


def on_terminal(root: Path, *arguments: str, given: str = "", **variables: str) -> str:
    """What `dagtasks` prints to a terminal at which somebody types what is given."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "DAGTASKS_ENGINE": "local", **variables}
    command = [sys.executable, "-m", "dagtasks", "-C", str(root), *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.write(ours, given.encode())
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
        process.wait()
    os.close(ours)
    return seen.decode("utf-8", "replace")
