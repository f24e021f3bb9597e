"""One suite for every executor. The cases are templates; see the files beside for how they read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import Engine, Ran

SCENARIOS = Path(__file__).with_name("scenarios")


def read_cases() -> Iterator[Any]:
    for path in sorted(SCENARIOS.glob("*.yaml")):
        for name, case in yaml.safe_load(path.read_text()).items():
            yield pytest.param(case, id=f"{path.stem}: {name}")


@pytest.mark.parametrize("case", list(read_cases()))
def test_scenario(case: dict[str, Any], engine: Engine) -> None:
    ran = engine.perform(case)
    assert seen(ran, case["expect"]) == case["expect"]


def seen(ran: Ran, wanted: dict[str, Any]) -> dict[str, Any]:
    """What the case asks for, as it was."""
    record = ran.record.to_json()
    found: dict[str, Any] = {key: record[key] for key in wanted if key in ("status", "outputs", "warnings")}
    if "error" in wanted:
        found["error"] = record["error"] and record["error"]["code"]
    if "steps" in wanted:
        found["steps"] = {name: seen_step(ran, name, fields) for name, fields in wanted["steps"].items()}
    return found


def seen_step(ran: Ran, name: str, wanted: dict[str, Any] | str) -> dict[str, Any] | str:
    step = json.loads(json.dumps(ran.step(name).to_json()))
    step["message"] = step["error"] and step["error"]["message"]
    step["error"] = step["error"] and step["error"]["code"]
    return str(step["state"]) if isinstance(wanted, str) else {key: step[key] for key in wanted}
