"""A server as a process, with a client that may do everything, and waiting for what happens in others."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.api.conftest import make_key

SECONDS = 60.0


def wait_until(is_done: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := is_done():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


class Served:
    """A server that runs, and a client with a key that may do everything. `said` is what it printed of itself."""

    def __init__(self, root: Path, *options: str, key: str = "") -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dagtasks", "-C", str(root), "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        line = next(line for line in self.process.stderr if "serving at" in line)
        found = re.search(r"http://\S+:(\d+)", line)
        assert found
        self.said: list[str] = []
        self._reader = threading.Thread(target=self.said.extend, args=(self.process.stderr,))
        self._reader.start()  # else it would wait for somebody to read, once there is much
        self.port = int(found[1])
        self.headers = {"Authorization": f"Bearer {key or make_key(root, 'admin')}"}
        address = f"http://127.0.0.1:{self.port}/api/v1"
        self.client = httpx.Client(base_url=address, headers=self.headers, timeout=SECONDS)

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(SECONDS)
        self.client.close()
        self._reader.join()
        if self.process.stderr:
            self.process.stderr.close()
        return code
