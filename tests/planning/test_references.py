"""What a call names, and which versions it takes."""

from __future__ import annotations

import itertools

import pytest

from dagtasks.model.summary import TemplateSummary
from dagtasks.planning.references import (
    Reference,
    ReferenceFault,
    find_called,
    parse_reference,
    parse_version,
    satisfies,
)

TEMPLATES = {
    row.name: row
    for row in (
        TemplateSummary("publish", "templates/ci/publish.yaml", "script_workflow", "1.4.0"),
        TemplateSummary("draft", "templates/draft.yaml", "script_workflow", None),
    )
}

ORDER = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 2.0.0 2.1.0 2.1.1"
"""The example of semantic versioning 2.0.0, section 11."""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("publish", Reference("publish")),
        ("publish@1.2.3", Reference("publish", "1.2.3")),
        ("publish@^1.2", Reference("publish", "^1.2")),
        ("publish@ >=1.2 <3 ", Reference("publish", ">=1.2 <3")),
        ("templates/ci/publish.yaml", Reference(path="templates/ci/publish.yaml")),
    ],
)
def test_a_reference_is_a_name_a_version_or_a_path(text: str, wanted: Reference) -> None:
    assert parse_reference(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no name"),
        ("Publish", "no name"),
        ("publish@", "missing"),
        ("publish@latest", "no version"),
        ("publish@^", "no version"),
        ("publish@1.2.3.4", "no version"),
        ("publish@01.2.3", "no version"),
        ("publish@1 || 2", "no version"),
        ("publish@^1.2-beta", "no version"),
        ("publish@^1@2", "no version"),
        ("@^1", "no name"),
        ("publish.yaml", "no path"),
        ("/templates/publish.yaml", "no path"),
        ("templates/../publish.yaml", "no path"),
        ("templates//publish.yaml", "no path"),
        ("templates/publish.yml", "no path"),
        ("shared/publish.yaml", "no path"),
        ("${which}", "known before"),
        ("a" * 300, "at most"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, message: str) -> None:
    with pytest.raises(ReferenceFault, match=message):
        parse_reference(text)


def test_versions_have_the_order_of_semantic_versioning() -> None:
    versions = [parse_version(text) for text in ORDER.split()]
    assert versions == sorted(versions)
    assert all(low < high for low, high in itertools.pairwise(versions))
    assert parse_version("1.0.0+a") == parse_version("1.0.0+b")


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "v1.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+", "1.2.x", "٣.0.0"]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ReferenceFault, match="no version"):
        parse_version(text)


@pytest.mark.parametrize(
    ("wanted", "taken", "refused"),
    [
        ("1.2.3", "1.2.3 1.2.3+build", "1.2.4 1.2.2 1.2.3-rc.1"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("1.2", "1.2.0 1.2.9", "1.1.9 1.3.0 1.2.0-rc.1"),
        ("1.x", "1.0.0 1.9.9", "0.9.9 2.0.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("1", "1.0.0 1.9.9", "2.0.0"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-rc.1 1.5.0-rc.1"),
        ("^1.2", "1.2.0 1.9.9", "1.1.9 2.0.0"),
        ("^1", "1.0.0", "0.9.9 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.1 0.9.0", "1.0.0"),
        ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.4 1.2.3 1.4.0", "1.2.3-beta.1 1.2.4-beta.2"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        (">=1.2 <3", "1.2.0 2.9.9", "1.1.9 3.0.0"),
        (">=1.2, <3", "1.2.0", "3.0.0"),
        (">= 1.2", "1.2.0 9.0.0", "1.1.9"),
        (">1.2", "1.3.0", "1.2.0 1.2.9"),
        (">1.2.3", "1.2.4", "1.2.3"),
        (">1", "2.0.0", "1.9.9"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("<1.2", "1.1.9", "1.2.0"),
        ("", "0.0.1 7.0.0-rc.1", ""),
    ],
)
def test_a_range_takes_versions(wanted: str, taken: str, refused: str) -> None:
    assert [version for version in taken.split() if not satisfies(version, wanted)] == []
    assert [version for version in refused.split() if satisfies(version, wanted)] == []


def test_a_template_without_a_version_is_taken_when_none_is_asked_for() -> None:
    assert satisfies(None, "")
    assert not satisfies(None, ">=0.0.0")


@pytest.mark.parametrize("text", ["publish", "publish@^1.2", "templates/ci/publish.yaml"])
def test_a_template_is_found(text: str) -> None:
    assert find_called(text, TEMPLATES).name == "publish"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("publsh", "there is no template 'publsh'", "did you mean 'publish'?"),
        ("publish@^2", "template publish is 1.4.0, and ^2 is wanted", "templates/ci/publish.yaml"),
        ("draft@^2", "template draft has no `version`, and ^2 is wanted", "templates/draft.yaml"),
        ("templates/ci/publsh.yaml", "there is no template file 'templates/ci/publsh.yaml'", "ci/publish.yaml"),
    ],
)
def test_a_template_that_is_not_there_is_named(text: str, message: str, hint: str) -> None:
    with pytest.raises(ReferenceFault) as caught:
        find_called(text, TEMPLATES)
    assert caught.value.message == message
    assert hint in caught.value.hint
