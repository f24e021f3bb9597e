from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
from dagtasks.store.fork import beside
parent = os.getpid()
def work():
    if os.getpid() != parent:
        os.write(1, b"child; ")
        {dies}
    return b"%d" % (os.getpid() == parent) * 300_000
try:
    with beside(work) as answer:
        {meanwhile}
        content = answer()
        print(len(content), content[:1])
except KeyError:
    print("stopped")
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left")
"""


@pytest.mark.parametrize(
    ("dies", "meanwhile", "printed"),
    [
        ("pass", "pass", "child; 300000 b'0'\n"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "pass", "child; 300000 b'1'\n"),
        ("1 / 0", "pass", "child; 300000 b'1'\n"),
        ("pass", "import time; time.sleep(0.5); raise KeyError", "child; stopped\n"),
    ],
)
def test_what_the_second_process_gives(dies: str, meanwhile: str, printed: str) -> None:
    program = PROGRAM.format(dies=dies, meanwhile=meanwhile)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == f"{printed}no child is left\n"


def test_with_threads_the_work_is_done_here() -> None:
    program = PROGRAM.format(dies="pass", meanwhile="pass").replace(
        "parent = os.getpid()",
        "parent = os.getpid()\nimport threading, time\nthreading.Thread(target=time.sleep, args=(1,)).start()",
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "300000 b'1'\nno child is left\n"
