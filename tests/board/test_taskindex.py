"""The index of all tasks that the board's page loads. What queries make of it is tested in tests/browser/test_query.py."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from dagtasks.board.overview import Overview
from dagtasks.board.taskindex import TaskIndex
from dagtasks.planning.index import build_index
from tests.board.hostile import HOSTILE
from tests.board.sample import many_tasks, sample_data

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
WORDS = [
    "add",
    "check",
    "change",
    "find",
    "make",
    "move",
    "read",
    "remove",
    "show",
    "test",
    "write",
    "the",
    "a",
    "of",
    "for",
    "to",
    "in",
    "cache",
    "page",
    "form",
    "board",
    "log",
    "list",
]


def read(index: TaskIndex) -> dict[str, Any]:
    """What the script sets."""
    before, _, data = index.text.partition("=")
    assert before == "self.dagtasksTasks"
    return json.loads(data.removesuffix(";\n"))


def test_it_holds_every_task_and_broken_file_once():
    data = read(Overview(sample_data()).task_index)
    known = sample_data().index
    assert data["ids"] == sorted(known.tasks)
    assert data["names"][9] == "Build the login page"
    assert data["statuses"][int(data["status"][9])] == "in_progress"
    assert data["priorities"][int(data["priority"][9])] == "high"
    assert data["people"][data["assignee"][9] - 1][:2] == ["ann", "AN"]
    assert [data["labels"][label] for label in data["sets"][data["set"][9]]] == list(known.tasks["web-7k2m9q"].labels)
    assert data["broken"] == [[file.id, "web", file.path] for file in known.broken]


def test_the_same_data_gives_the_same_bytes_and_other_data_another_address():
    first = Overview(sample_data()).task_index
    assert Overview(sample_data()).task_index == first
    index = sample_data().index
    rows = [row._replace(name="Another") if row.id == "web-7k2m9q" else row for row in index.tasks.values()]
    assert Overview(replace(sample_data(), index=build_index(rows, []))).task_index.uri != first.uri


def test_a_task_costs_few_bytes():
    chance = Random(1)
    rows = [
        row._replace(
            id=f"{row.project}-{''.join(chance.choices(ALPHABET, k=6))}",
            name=" ".join(chance.choices(WORDS, k=chance.randint(3, 9))).capitalize(),
            metadata={"team": chance.choice(("core", "web"))} if chance.random() < 0.2 else {},
        )
        for row in many_tasks(10_000).index.tasks.values()
    ]
    text = Overview(replace(many_tasks(1), index=build_index(rows, []))).task_index.text.encode()
    assert len(text) / len(rows) < 130
    assert len(gzip.compress(text, 6)) / len(rows) < 25


@pytest.mark.parametrize("text", [*HOSTILE, "\u2028 \u2029 \ufeff", "__proto__"])
def test_hostile_text_ends_no_script_and_comes_out_as_it_was(text: str):
    index = sample_data().index
    row = index.tasks["web-7k2m9q"]._replace(
        name=text, assignee=text, labels=(text,), phase=text, metadata={text: {text: text}}
    )
    made = Overview(replace(sample_data(), index=index._replace(tasks={row.id: row}))).task_index
    assert not set(made.text) & set("<>&\u2028\u2029\u202e\ud800\x1b\x9b")
    made.text.encode()
    data = read(made)
    assert (data["names"], data["labels"], data["people"][0][0]) == ([text], [text], text)
    assert data["phases"][-1][1] == text
    if "." not in text:
        assert data["metadata"] == [[f"{text}.{text}", [0], [text]]]


def test_only_what_can_be_asked_for_of_metadata_is_in_it():
    metadata = {
        "a": None,
        "b": [1, None, [2], {"c": 3}],
        "c.d": 4,
        "e": {"f": {"g": True, "h": 1.0}},
        "long": "x" * 201,
        "i": [],
    }
    index = sample_data().index
    rows = [row._replace(metadata=metadata if n in (3, 5) else {}) for n, row in enumerate(index.tasks.values())]
    data = read(Overview(replace(sample_data(), index=build_index(rows, []))).task_index)
    assert data["metadata"] == [
        ["b", [3, 2], ["1", "1"]],
        ["e.f.g", [3, 2], ["true", "true"]],
        ["e.f.h", [3, 2], ["1.0", "1.0"]],
    ]
