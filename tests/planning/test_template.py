"""What can be known to be wrong with a template before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dagtasks.errors import Loc
from dagtasks.model.template import TRANSLATIONS
from dagtasks.planning.reading import hint_for
from dagtasks.planning.template import check_template
from dagtasks.store.documents import parse_document

CASES = yaml.safe_load((Path(__file__).parent / "cases/checks.yaml").read_text("utf-8"))["cases"]
LEVELS = {"": "error", "warning: ": "warning", "note: ": "note"}


def problems(text: str) -> list[str]:
    """What is found in the template."""
    document = parse_document(text.encode(), "t.yaml")
    assert document.data is not None, document.problems
    found = sorted(document.problems_for(check_template("t.yaml", document.data)[1]))
    prefixes = {level: prefix for prefix, level in LEVELS.items()}
    return [prefixes[p.severity] + str(p).removeprefix("t.yaml:") for p in found]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_problems(case: dict[str, Any]) -> None:
    assert problems(case["template"]) == case["problems"]


TOP: Loc = ()
STEP: Loc = ("steps", 0)
FINALLY: Loc = ("finally", 1)
CONTAINER, SCRIPT, API, WORKFLOW, RETRY = (
    (*STEP, part) for part in ("container", "script", "api", "workflow", "retry")
)
HINTS: list[tuple[str, dict[Loc, str]]] = [
    ("needs|depends|dependencies|runAfter", {STEP: "write `depends_on`", CONTAINER: "`depends_on` is a key of a step"}),
    ("when|runIf|preconditions", {TOP: "write `if`", FINALLY: "write `if`", API: "`if` is a key of a step"}),
    (
        "run|cmd|cmds|commands",
        {
            TOP: "`command` is a key of `container`",
            ("defaults",): "write `container.command`",
            STEP: "write `container.command`",
            CONTAINER: "write `command`",
            (*CONTAINER, "services", "container", "ready"): "write `command`",
            SCRIPT: "write `source`",
        },
    ),
    ("uses|call|templateRef", {STEP: "write `workflow.template`", WORKFLOW: "write `template`"}),
    (
        "with|inputs|params",
        {TOP: "write `parameters`", STEP: "write `workflow.parameters`", WORKFLOW: "write `parameters`"},
    ),
    ("withItems|withParam|for|loop|across", {STEP: "write `foreach`", TOP: "`foreach` is a key of a step"}),
    ("strategy", {STEP: "write `matrix`"}),
    ("onExit|ensure|defer|exitHandler", {TOP: "write `finally`", STEP: "`finally` is a key of the top level"}),
    ("retryStrategy|retry_policy|retries", {STEP: "write `retry`", ("defaults",): "write `retry`"}),
    ("attempts|maxAttempts|max_retries", {STEP: "write `retry.max_attempts`", RETRY: "write `max_attempts`"}),
    (
        "timeout_sec|timeout-minutes|activeDeadlineSeconds",
        {TOP: "write `timeout`", STEP: "write `timeout`", CONTAINER: "`timeout` is a key of a step"},
    ),
    (
        "continue-on-error|allowFailure|allow_failure|ignore_error",
        {STEP: "write `continue_on_error`", SCRIPT: "`continue_on_error` is a key of a step"},
    ),
    ("jobs|tasks|stages", {TOP: "write `steps`"}),
    ("environment|vars", {TOP: "write `env`", CONTAINER: "write `env`", API: "`env` is a key of a step"}),
    (
        "working-directory|working_dir|workingDir|dir",
        {STEP: "write `container.workdir`", SCRIPT: "write `workdir`"},
    ),
    ("volumes|volumeMounts", {STEP: "write `container.mounts`", SCRIPT: "write `mounts`"}),
    ("max-parallel|maxParallel|parallelism", {TOP: "write `max_parallel`", STEP: "write `max_parallel`"}),
    ("fail-fast|failFast", {TOP: "write `fail_fast`", STEP: "write `fail_fast`"}),
    ("name", {TOP: "write `metadata.name`", CONTAINER: "`name` is a key of `metadata`"}),
    ("image", {TOP: "`image` is a key of `container`", STEP: "write `container.image`"}),
    ("url", {STEP: "write `api.url`"}),
    ("metod", {STEP: "did you mean 'api.method'?", API: "did you mean 'method'?"}),
    ("timeuot", {TOP: "did you mean 'timeout'?", ("parameters", "timeout"): ""}),
    ("zzz", {TOP: "", ("metadata",): "there is: annotations, category, description, name, tags, version"}),
]


@pytest.mark.parametrize(("words", "hints"), HINTS, ids=[words for words, _ in HINTS])
def test_an_unknown_key_is_told_in_the_words_of_templates(words: str, hints: dict[Loc, str]) -> None:
    for word in words.split("|"):
        assert {loc: hint_for(word, loc) for loc in hints} == hints


def test_every_word_of_other_engines_has_its_hints() -> None:
    assert {word for words, _ in HINTS for word in words.split("|")} >= TRANSLATIONS.keys()
