"""A process that has imported dagtasks and forks itself for each command line: a start costs 5 ms and not 300.

Python and its imports change no file, so the calls that a command makes are the same as in a process of its own (a
test compares them). Requests and answers are a line of JSON each.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.tracer import Call, Interference, trace

ROOMS = ("cli", "service", "store", "planning", "language", "model")
OTHERS = ("dagtasks.engine.local", "dagtasks.engine.http", "re2", "difflib", "concurrent.futures.thread")
"""Modules that commands import late."""
DATES = {"GIT_AUTHOR_DATE": "1790000000 +0000", "GIT_COMMITTER_DATE": "1790000000 +0000"}
"""The same commit has the same id in each copy of a repository."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended (its exit code, negative: the signal that killed it), what it printed, and its calls."""

    code: int
    out: str
    err: str
    calls: Sequence[Call]


class Zygote:
    """Runs command lines of dagtasks; `with` ends it. `modules` are imported ahead, besides the usual ones."""

    def __init__(self, *modules: str) -> None:
        command = [sys.executable, "-B", "-m", "tests.crash.zygote", *OTHERS, *modules]
        folder = Path(__file__).parents[2]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(
        self,
        root: Path,
        words: Sequence[str],
        interference: Interference | None = None,
        *,
        without: Sequence[str] = (),
        only: Sequence[str] = ("",),
        is_own_process: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Carry out `dagtasks -C ROOT WORDS...`, with interference at one of its calls that change a file.

        Calls count when the path of their file contains one of `only` and none of `without`; writing to the terminal
        never counts.
        Without interference nothing is traced. With `is_own_process` Python is started anew.
        """
        request = {
            "arguments": ["-C", str(root), *words],
            "interference": None if interference is None else vars(interference),
            "without": list(without),
            "only": list(only),
            "is_own_process": is_own_process,
            "env": {**os.environ, **DATES, **(env or {})},
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return Outcome(answer["code"], answer["out"], answer["err"], [Call(*call) for call in answer["calls"]])


def serve() -> None:
    """Answer the requests of stdin."""
    import importlib
    from pkgutil import iter_modules

    import dagtasks

    names = [f"dagtasks.{room}" for room in ROOMS]
    names += [
        found.name for room in ROOMS for found in iter_modules([f"{dagtasks.__path__[0]}/{room}"], f"dagtasks.{room}.")
    ]
    for name in [*names, *sys.argv[1:]]:
        importlib.import_module(name)
    # What is not touched is not copied for each child.
    gc.disable()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    out, err = os.memfd_create("out"), os.memfd_create("err")
    terminal = {Path(f"/proc/self/fd/{descriptor}").readlink() for descriptor in (out, err)}

    def counts(call: Call) -> bool:
        if Path(call.path) in terminal or call.path == "/dev/null":
            return False
        is_wanted = any(part in call.path for part in request["only"])
        return is_wanted and not any(part in call.path for part in request["without"])

    def run() -> None:
        _carry_out(request, out, err)

    if request["interference"] is None:
        child = os.fork()
        if child == 0:
            run()
        status, calls = os.waitpid(child, 0)[1], []
    else:
        receiver, sender = os.pipe()
        tracer = os.fork()
        if tracer == 0:
            traced = trace(run, counts, Interference(**request["interference"]))
            with os.fdopen(sender, "w") as stream:
                json.dump([traced.status, traced.calls], stream)
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver) as stream:
            status, calls = json.load(stream)
        os.waitpid(tracer, 0)
    return {"code": os.waitstatus_to_exitcode(status), "out": _take(out), "err": _take(err), "calls": calls}


def _carry_out(request: Mapping[str, Any], out: int, err: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    os.environ.update(request["env"])
    if request["is_own_process"]:
        os.execv(sys.executable, [sys.executable, "-B", "-m", "dagtasks", *request["arguments"]])
    from dagtasks.__main__ import main

    sys.argv = ["dagtasks", *request["arguments"]]
    main()


def _take(descriptor: int) -> str:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    content = os.pread(descriptor, size, 0)
    os.close(descriptor)
    return content.decode("utf-8", "replace")


if __name__ == "__main__":
    serve()
