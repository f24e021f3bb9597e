"""Files, secrets and artifacts of a run, from the command line, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]

SECRET = "correct-horse-battery"

TEMPLATE = """\
metadata: {name: files}
secrets: [TOKEN]
parameters:
  pin: {type: string, sensitive: true, required: true}
  fail: {type: boolean, default: false}
steps:
  - name: build
    container:
      image: "alpine:latest"
      command: [sh, -c, "mkdir -p out && cp \\"$SRC/src/a.txt\\" out/copy.txt && echo $TOKEN-$PIN"]
      workdir: /work
      env: {SRC: /src, TOKEN: "${secrets.TOKEN}", PIN: "${pin}"}
      mounts: [{path: /src, repo: ro}]
      export: [{from: /work/out/copy.txt, to: got/copy.txt}]
    artifacts: {out: {path: /work/out}}
  - name: use
    container:
      image: "alpine:latest"
      command: [sh, -c, "cat \\"$IN/copy.txt\\"; cat \\"$TOK\\"; test $FAIL = false"]
      env: {IN: /in, TOK: /run/token, FAIL: "${fail}"}
      mounts: [{path: /in, artifact: "${steps.build.artifacts.out}"}, {path: /run/token, secret: TOKEN}]
outputs:
  hash: {value: "${hash_files('src/*.txt')}"}
"""


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_SECRET_TOKEN", SECRET)
    return project({"templates/files.yaml": TEMPLATE, "src/a.txt": "hello\n"}).root


def canaries(root: Path) -> list[str]:
    """The files of the repository, and of what Git keeps, that hold a secret."""
    found = [str(path) for path in root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    objects = git(root, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)").splitlines()
    blobs = [line.split()[0] for line in objects if line.endswith(" blob")]
    return found + [blob for blob in blobs if SECRET in git(root, "cat-file", "blob", blob)]


def test_files_secrets_and_artifacts(root: Path, cli: Cli, engine: str) -> None:
    ran = cli(root, "run", "--yes", "--template", "files", "--param", "pin=four-five-six", "--json")
    assert ran.code == 0, ran.err
    run = ran.json
    assert run["engine"] == engine
    assert run["parameters"] == {"pin": "***", "fail": False}
    assert [step["output"] for step in run["steps"]] == ["***-***", "hello\n***"]
    assert (root / "got/copy.txt").read_text() == "hello\n"
    assert run["steps"][0]["artifacts"]["out"]["files"] == 1
    assert len(run["outputs"]["hash"]) == 64
    assert canaries(root) == []
    assert SECRET not in ran.out + ran.err
    assert "four-five-six" not in ran.out + ran.err + cli(root, "runs", "logs", run["id"]).out


def test_a_retry_takes_over_artifacts_that_are_still_there(root: Path, cli: Cli, engine: str) -> None:
    first = cli(
        root, "run", "--yes", "--template", "files", "--param", "pin=four-five-six", "--param", "fail=true", "--json"
    ).json
    again = ("runs", "retry", first["id"], "--yes", "--param", "pin=four-five-six", "--param", "fail=false", "--json")
    second = cli(root, *again).json
    assert [step["reused_from"] for step in second["steps"]] == [first["id"], None]
    assert second["status"] == "succeeded"
    for artifact in (root / ".git/dagtasks/artifacts").iterdir():
        artifact.rename(root / "elsewhere")
    third = cli(root, *again).json
    assert ([step["reused_from"] for step in third["steps"]], third["status"]) == ([None, None], "succeeded")


def test_what_a_run_needs_is_asked_before_it_begins(
    root: Path, cli: Cli, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGTASKS_SECRET_TOKEN")
    refused = cli(root, "run", "--yes", "--template", "files", "--param", "pin=four-five-six")
    assert (refused.code, "TOKEN: nobody says where it comes from" in refused.err) == (2, True)
    root_template = TEMPLATE.replace('image: "alpine:latest"', 'image: "alpine:latest"\n      privileged: true', 1)
    write_files(root, {"templates/files.yaml": root_template})
    refused = cli(root, "run", "--yes", "--template", "files", "--param", "pin=four-five-six")
    assert (refused.code, "build would have all rights on the machine" in refused.err) == (6, True)
    assert cli(root, "runs", "list", "--json").json == []
