from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/web/web-000001.yaml": "name: [broken\n",
    "tasks/web/web-0000a2.yaml": "name: Two\n",
    "templates/greet.yaml": "metadata:\n",
    "templates/greet.test.yaml": "cases: []\n",
}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dagtasks ta", ["task"]),
        ("dagtasks task show web-0", ["web-000001", "web-0000a2"]),
        ("dagtasks task set web-000001 sta", ["status="]),
        ("dagtasks task set web-000001 status=c", ["status=completed", "status=cancelled"]),
        ("dagtasks task create w", ["web"]),
        ("dagtasks phase show web", ["web/build"]),
        ("dagtasks template show g", ["greet"]),
        ("dagtasks task list --status b", ["blocked"]),
    ],
)
def test_the_shell_is_offered_real_names(words: str, offered: list[str], project: MakeProject) -> None:
    root: Path = project(FILES).root
    asked = {"_DAGTASKS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from dagtasks.__main__ import main; main()"],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, **asked},
        check=False,
    )
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered, done.stderr
