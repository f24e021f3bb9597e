"""Carries out command lines in processes of their own, under limits, and says what each took.

A server imports dagtasks once and forks for each command line, so that hundreds of them take seconds. Time is that of
the processor: a machine that is busy with other things makes no test fail.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

SECONDS = 2.0
MEGABYTES = 300
_SLACK = 5
"""On a machine that is shared, the same work takes more of the processor's time."""
_ADDRESSES = 2 * 1024**3


class Outcome(NamedTuple):
    """What a command line gave, and what it took: seconds of the processor, and memory."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


class Server:
    """Takes command lines."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.worst_seconds = self.worst_megabytes = 0.0

    def run(self, root: Path, *words: str | bytes, env: Mapping[str, str] | None = None) -> Outcome:
        """`dagtasks -C ROOT WORDS...`. It must not end as a bug or by a signal, and must stay within the limits."""
        request = {
            "words": [os.fsdecode(word) for word in ("-C", str(root), *words)],
            "env": {**os.environ, **(env or {})},
            "folder": str(self._folder),
        }
        stdin, stdout = self._pipes()
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        found = json.loads(stdout.readline())
        out, err = ((self._folder / name).read_bytes().decode() for name in ("out", "err"))
        outcome = Outcome(found["code"], out, err, found["seconds"], found["megabytes"])
        self._check(words, outcome)
        return outcome

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin
        assert self._process.stdout
        return self._process.stdin, self._process.stdout

    def _check(self, words: tuple[str | bytes, ...], outcome: Outcome) -> None:
        shown = f"{[word[:60] for word in words]}: {outcome.err[-2000:]}"
        assert outcome.code >= 0, f"signal {-outcome.code} ended {shown}"
        assert outcome.code != 3, f"a bug: {shown}"
        assert "Traceback" not in outcome.err, shown
        assert outcome.seconds < SECONDS * _SLACK, f"{outcome.seconds} s: {shown}"
        assert outcome.megabytes < MEGABYTES, f"{outcome.megabytes} MB: {shown}"
        self.worst_seconds = max(self.worst_seconds, outcome.seconds)
        self.worst_megabytes = max(self.worst_megabytes, outcome.megabytes)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """A server that keeps what commands print in the folder."""
    command = [sys.executable, "-m", "tests.hostile.bounded"]
    top = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=top) as process:
        yield Server(process, folder)
        assert process.stdin
        process.stdin.close()


def _serve_forever() -> None:
    import dagtasks.planning.template
    import dagtasks.service.checks
    import dagtasks.service.tasks
    import dagtasks.store.judging  # noqa: F401 - imported once, for all that are forked

    for line in sys.stdin.buffer:
        print(json.dumps(_carry_out(json.loads(line))), flush=True)


def _carry_out(request: dict[str, Any]) -> dict[str, float]:
    folder = Path(request["folder"])
    out, err = (os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("out", "err"))
    child = os.fork()
    if not child:
        _become(request, out, err)
    os.close(out)
    os.close(err)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}


def _become(request: dict[str, Any], out: int, err: int) -> None:
    from dagtasks.__main__ import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    os.environ.update(request["env"])
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    sys.argv = ["dagtasks", *request["words"]]
    try:
        main()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(3)


if __name__ == "__main__":
    _serve_forever()
