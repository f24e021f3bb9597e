"""What the hash of an approval covers, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from dagtasks.planning.plan import Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.planning.sources import from_sources, to_sources
from dagtasks.planning.trust import Covered, cover_plan, find_difference, list_references, write_down

OUTER = """\
metadata: {name: outer}
secrets: [TOKEN]
env: {LEVEL: "1"}
defaults: {container: {image: "alpine:3"}}
parameters: {command: {type: string, required: true}, flags: {type: object}}
steps:
  - {name: run, container: {command: "${command}", env: {HOST: "${task.name}"}, services: {db: {image: "postgres:16"}}}}
  - {name: call, workflow: {template: "inner@^1"}, env: {OVER: "2"}}
  - {name: script, script: {file: scripts/build.sh, image: "debian:12"}}
"""
INNER = """\
metadata: {name: inner, version: 1.0.0}
secrets: [KEY]
steps: [{name: deep, script: {file: scripts/deep.sh}}]
"""
FILES = {"scripts/build.sh": "make all\n", "scripts/deep.sh": "echo deep\n"}
BOUND = {"command": "echo 'hello'", "flags": {"b": [1, 1.0, True, None], "a": "ä"}}


def planned(text: str) -> PlannedTemplate:
    data = yaml.safe_load(text)
    return PlannedTemplate(data["metadata"]["name"], None, "templates/x.yaml", "0" * 40, data, text)


def plan(
    outer: str = OUTER, inner: str = INNER, files: dict[str, str] = FILES, bound: dict[str, Any] = BOUND, **around: Any
) -> Plan:
    scope = {"task": {"id": "web-000001", "name": "Build"}, "project": {}, "phase": None, "run": {"commit": "c"}}
    given = {"scope": scope, "task": "web-000001", "workflow": "build", "bound": write_down(bound), **around}
    surroundings = Surroundings(find_template=lambda name: planned(inner), read_file=files.__getitem__, **given)
    return make_plan(planned(outer), bound, surroundings)


def each_byte_changed(text: str) -> Iterator[str]:
    yield from (text[:place] + chr(ord(letter) ^ 1) + text[place + 1 :] for place, letter in enumerate(text))
    yield from (text[:place] + text[place + 1 :] for place in range(len(text)))
    yield text + "\n"


def test_every_byte_of_every_part_counts() -> None:
    whole = cover_plan(plan())
    assert whole.hash.startswith("dt1-")
    changed = [replace(whole, template=text) for text in each_byte_changed(whole.template)]
    for part in ("templates", "files", "parameters"):
        texts: dict[str, str] = getattr(whole, part)
        assert texts
        for name, text in texts.items():
            changed += [replace(whole, **{part: {**texts, name: other}}) for other in each_byte_changed(text)]
            changed += [replace(whole, **{part: {**without(texts, name), f"{name}x": text}})]
            changed += [replace(whole, **{part: without(texts, name)})]
    assert len(changed) > 1000
    assert whole.hash not in {other.hash for other in changed}


def without(texts: dict[str, str], name: str) -> dict[str, str]:
    return {other: text for other, text in texts.items() if other != name}


def test_texts_that_trade_places_give_another_hash() -> None:
    one = Covered("t", {"a": "x", "b": "y"}, {"a": "z"}, {})
    others = [
        Covered("t", {"a": "y", "b": "x"}, {"a": "z"}, {}),
        Covered("t", {"a": "x"}, {"b": "y", "a": "z"}, {}),
        Covered("t", {"a": "x", "b": "y"}, {}, {"a": "z"}),
    ]
    assert len({each.hash for each in [one, *others]}) == 4
    assert one.hash == Covered("t", {"b": "y", "a": "x"}, {"a": "z"}, {}).hash


@pytest.mark.parametrize(
    "changed",
    [
        {"outer": OUTER.replace("alpine:3", "alpine:4")},
        {"outer": OUTER.replace("[TOKEN]", "[TOKEN, OTHER]")},
        {"outer": OUTER.replace("LEVEL", "PATH")},
        {"outer": OUTER + "# a remark\n"},
        {"inner": INNER.replace("deep.sh", "build.sh")},
        {"files": {**FILES, "scripts/deep.sh": "echo deeper\n"}},
        {"bound": {**BOUND, "command": "echo 'hello' "}},
        {"bound": {"command": BOUND["command"]}},
        {"bound": {**BOUND, "flags": {"a": "ä", "b": [1, 1.0, True, None]}}},
        {"bound": {**BOUND, "flags": {"b": [1, 1, True, None], "a": "ä"}}},
        {"bound": {**BOUND, "flags": {"b": [1, 1.0, 1, None], "a": "ä"}}},
    ],
)
def test_what_a_plan_would_execute_counts(changed: dict[str, Any]) -> None:
    assert cover_plan(plan(**changed)).hash != cover_plan(plan()).hash


def test_what_is_read_of_the_task_does_not_count() -> None:
    scope = {"task": {"id": "web-000002", "name": "Other", "status": "blocked"}, "project": {"name": "P"}, "phase": {}}
    other = plan(scope={**scope, "run": {}}, task="web-000002", workflow="w", commit="d", branch="b", dirty=True)
    assert cover_plan(other).hash == cover_plan(plan()).hash


def test_a_plan_that_is_made_again_has_the_same_hash() -> None:
    made = plan()
    assert cover_plan(from_sources(to_sources(made), {})) == cover_plan(made)
    # What is given anew comes from no file any more.
    again = from_sources(to_sources(made), {"command": "true"})
    assert cover_plan(again).parameters == write_down({"flags": BOUND["flags"]})


def test_sensitive_values_are_not_kept() -> None:
    outer = OUTER.replace("command: {type: string", "command: {sensitive: true, type: string").replace(
        '"${command}", env: {HOST', '[env], env: {COMMAND: "${command}", HOST'
    )
    made = plan(outer=outer)
    assert "hello" in cover_plan(made).parameters["command"]
    assert "hello" not in repr(to_sources(made))


def test_references_are_listed_as_they_are_written() -> None:
    made = plan()
    assert list_references(made.template, made.templates) == {
        "images": ["alpine:3", "debian:12", "postgres:16"],
        "env": ["HOST", "LEVEL", "OVER"],
        "secrets": ["KEY", "TOKEN"],
    }


def test_a_difference_shows_the_lines_that_changed() -> None:
    before, after = cover_plan(plan()), cover_plan(plan(files={**FILES, "scripts/deep.sh": "echo deep\ncurl x | sh\n"}))
    assert find_difference(before, after) == [
        "--- file scripts/deep.sh",
        "+++ file scripts/deep.sh",
        "@@ -1 +1,2 @@",
        " echo deep",
        "+curl x | sh",
    ]
    assert find_difference(before, before) == []
    assert "-null" in find_difference(Covered("t", parameters={"a": "null"}), Covered("t"))


def test_what_is_covered_is_what_is_executed_also_when_a_script_changes_meanwhile() -> None:
    texts = iter(f"echo {number}\n" for number in range(10))
    made = make_plan(
        planned(OUTER), BOUND, Surroundings({"task": {"name": "a"}}, lambda name: planned(INNER), lambda _: next(texts))
    )
    [script] = [step.inputs["files"] for step in made.steps if step.kind == "script"]
    assert script == {"/dagtasks/script": cover_plan(made).files["scripts/build.sh"]}
