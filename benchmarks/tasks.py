"""Make a repository of generated tasks: always the same for the same number."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from dagtasks.model.summary import TASK_KEYS
from dagtasks.service.setup import init
from dagtasks.store.emitter import make_document

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PHASES = ("plan", "build", "test", "ship", "run")
PROJECTS = ("web", "api", "ops", "doc")


def make_id(project: str, number: int) -> str:
    digits = ""
    for _ in range(6):
        number, digit = divmod(number * 7 + 3, 32)
        digits += ALPHABET[digit]
    return f"{project}-{digits}"


def make_repository(root: Path, count: int) -> list[str]:
    """Write and commit the repository; gives the ids of the tasks."""
    init(root)
    for project in PROJECTS:
        folder = root / "tasks" / project
        (folder / "phases").mkdir(parents=True)
        (folder / "project.yaml").write_text(f"name: Project {project}\n\ndescription:\n\nmetadata:\n")
        for order, phase in enumerate(PHASES):
            (folder / "phases" / f"{phase}.yaml").write_text(f"name: {phase}\n\ndescription:\n\norder: {order}\n")
    ids = _write_tasks(root, count)
    for arguments in (["add", "--all"], ["commit", "--quiet", "--message", "generated"]):
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True)
    return ids


def _write_tasks(root: Path, count: int) -> list[str]:
    dice = random.Random(count)
    ids: list[str] = []
    used: set[str] = set()
    number = 0
    while len(ids) < count:
        name = make_id(PROJECTS[number % len(PROJECTS)], number * 2_654_435_761 % (1 << 28))
        number += 1
        if name in used:
            continue
        used.add(name)
        project = name.partition("-")[0]
        folder = root / "tasks" / project / (name[-2:] if count > 1000 else "")
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_bytes(make_document(_task(dice, ids, len(ids)), TASK_KEYS))
        ids.append(name)
    return ids


def _task(dice: random.Random, earlier: list[str], number: int) -> dict[str, object]:
    status = dice.choice(("planned", "planned", "in_progress", "completed", "completed", "blocked"))
    needs = dice.sample(earlier[-50:], k=min(len(earlier), dice.choice((0, 0, 1, 1, 2)))) if status == "planned" else []
    return {
        "name": f"Task number {number}: {dice.choice(('build', 'mend', 'measure', 'write'))} it",
        "status": status,
        "priority": dice.choice(("low", "medium", "high", "critical")),
        "assignee": dice.choice(("ann", "bo", "agent:one", None)),
        "phase": dice.choice(PHASES),
        "due": None,
        "labels": sorted(dice.sample(("api", "ui", "docs", "bug", "test"), k=2)),
        "depends_on": sorted(needs),
        "description": f"What is to be done in task {number}.\n\n- first\n- then `second`\n",
        "metadata": {"estimate": dice.randint(1, 8), "team": dice.choice(("core", "edge"))},
    }
