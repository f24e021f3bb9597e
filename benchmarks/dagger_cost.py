"""What a run through Dagger costs over a bare script that asks the Dagger SDK for the same: `python
benchmarks/dagger_cost.py [PAIRS]`, with DAGTASKS_TEST_ENGINE_HOST naming an engine.

Both are whole processes, from the start of Python to its end. They take turns, so that a busy machine burdens both;
figures are medians. Budget: at most 10 % and 0.3 s more by the clock. "CPU" is the time of all processors that the
process and the CLI of Dagger, its child, took: it shows what is ours when others use the machine, too.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

BARE = """
import asyncio, secrets, sys
import dagger

async def step(client, places, name):
    async with places:
        container = client.container().from_("alpine:3").with_env_variable("NONCE", secrets.token_hex(8))
        done = await container.with_exec(["echo", name], expect=dagger.ReturnType.ANY).sync()
        code, out, err = await asyncio.gather(done.exit_code(), done.stdout(), done.stderr())
        assert (code, out) == (0, name + "\\n"), err

async def main(shape, count):
    places = asyncio.Semaphore(1 if shape == "chain" else 4)
    async with dagger.Connection() as client:
        await asyncio.gather(*(step(client, places, f"s{number}") for number in range(count)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
CASES = (("chain", 1), ("chain", 5), ("chain", 20), ("side by side", 20))
PAIRS = 9
BUDGET = 1.10, 0.3


class Cost(NamedTuple):
    """Seconds by the clock and of the processors."""

    clock: float
    cpu: float


def template_of(shape: str, count: int) -> str:
    step = "  - {{name: s{n}, {needs}container: {{image: 'alpine:3', command: [echo, s{n}]}}}}\n"
    needs = "" if shape == "chain" else "depends_on: [], "
    steps = "".join(step.format(n=number, needs=needs) for number in range(count))
    return f"metadata: {{name: bench}}\nmax_parallel: 4\nsteps:\n{steps}"


def measure(command: list[str], environment: dict[str, str]) -> Cost:
    """What the process costs. Raises when it fails."""
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=-3, stderr=-3) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return Cost(time.perf_counter() - begun, used.ru_utime + used.ru_stime)


def make_repository(folder: Path, shape: str, count: int) -> None:
    (folder / "templates").mkdir()
    (folder / "tasks").mkdir()
    (folder / "templates/bench.yaml").write_text(template_of(shape, count))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def compare(shape: str, count: int, pairs: int, host: str) -> str:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as name:
        make_repository(Path(name), shape, count)
        environment = {**os.environ, "DAGTASKS_ENGINE_HOST": host, "_EXPERIMENTAL_DAGGER_RUNNER_HOST": host}
        ours = [sys.executable, "-m", "dagtasks", "-C", name, "run", "--template", "bench"]
        bare = [sys.executable, "-c", BARE, shape, str(count)]
        for command in (ours, bare):
            measure(command, environment)
        found = [(measure(ours, environment), measure(bare, environment)) for _ in range(pairs)]
    mine, theirs = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in zip(*found, strict=True))
    more = statistics.median(our.clock - its.clock for our, its in found)
    limit = theirs.clock * (BUDGET[0] - 1) + BUDGET[1]
    verdict = "reached" if more <= limit else "MISSED"
    return (
        f"{shape:13} {count:3}  {theirs.clock:6.2f} s  {mine.clock:6.2f} s  {more:+6.2f} s of {limit:.2f} s  {verdict}"
        f"   CPU {theirs.cpu:.2f} and {mine.cpu:.2f} s"
    )


def main() -> None:
    host = os.environ.get("DAGTASKS_TEST_ENGINE_HOST")
    if not host:
        raise SystemExit("DAGTASKS_TEST_ENGINE_HOST names no Dagger engine")
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    print(f"{pairs} pairs; steps, bare script, dagtasks, what is more (median of the pairs' differences) of the budget")
    for shape, count in CASES:
        print(compare(shape, count, pairs, host), flush=True)


if __name__ == "__main__":
    main()
