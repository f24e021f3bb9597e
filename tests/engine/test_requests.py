"""What a request asks for beside its command, on every executor: mounts, secrets, and what is collected afterwards.

`$DT_ROOT/src` is the mount `/src` on each.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import Engine

from dagtasks.engine.executor import StepError
from dagtasks.planning.plan import ArtifactSpec, ExecRequest, Mounted


def request(command: str | tuple[str, ...], **fields: Any) -> ExecRequest:
    argv = command if isinstance(command, tuple) else ("sh", "-ec", command)
    return ExecRequest("s", 1, "alpine", argv, **fields)


def printed(engine: Engine, command: str | tuple[str, ...], **fields: Any) -> str:
    result = engine.execute(request(command, **fields))
    assert result.exit_code == 0, result.stderr.decode()
    return result.stdout.decode()


def git(root: Path, *argv: str) -> None:
    subprocess.run(["git", "-C", str(root), *argv], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with what is wanted in a step (names with `in`) and what is not (`out`)."""
    root = tmp_path / "repo"
    files = {
        ".gitignore": "out*\n*.log\nin-forced\n",
        "in-tracked": "1",
        "in-changed": "old",
        "in-forced": "ignored and added all the same",
        "in dir/in [odd]!*?\\ name ": "2",
        "in dir/in-run": "#!/bin/sh\necho ran",
        "out-ignored": "secret",
        "out-dir/deep/x": "secret",
        "in dir/out-[odd]!*?\\ name": "secret",
        "in dir/x.log": "secret",
        "config/.env": "secret",
        "nested/x": "of another repository",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "in dir/in-run").chmod(0o755)
    (root / "in-link").symlink_to("in-tracked")
    git(root, "init", "--quiet")
    git(root / "nested", "init", "--quiet")
    git(root, "add", "--force", "in-forced")
    git(root, "add", "in-tracked", "in-changed", "in dir", "in-link")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x")
    (root / "in-changed").write_text("new")
    (root / "in-untracked").write_text("3")
    (root / "in-deleted").write_text("")
    git(root, "add", "in-deleted")
    (root / "in-deleted").unlink()
    return root


LIST = "cd $DT_ROOT/src && find . ! -type d | sort"


def test_files_of_the_repository(engine: Engine, repository: Path) -> None:
    mounts = (Mounted("/src", "repo", str(repository)),)
    listed = printed(engine, LIST, mounts=mounts).splitlines()
    assert listed == [
        "./.gitignore",
        "./in dir/in [odd]!*?\\ name ",
        "./in dir/in-run",
        "./in-changed",
        "./in-forced",
        "./in-link",
        "./in-tracked",
        "./in-untracked",
    ]
    command = (
        "cd $DT_ROOT/src; cat in-changed in-link 'in dir/in [odd]!*?\\ name '; './in dir/in-run'; readlink in-link"
    )
    assert printed(engine, command, mounts=mounts) == "new12ran\nin-tracked\n"


def test_changes_to_the_files_of_the_repository_do_not_come_back(engine: Engine, repository: Path) -> None:
    mounts = (Mounted("/src", "repo", str(repository)),)
    before = sorted(repository.rglob("*"))
    command = "pwd | grep -q /src$; echo more >> in-tracked; echo x > new; rm in-changed; cat in-tracked new"
    assert printed(engine, command, mounts=mounts, workdir="/src") == "1more\nx\n"
    assert (repository / "in-tracked").read_text() == "1"
    assert sorted(repository.rglob("*")) == before


def test_a_change_is_seen_by_the_next_step(engine: Engine, repository: Path) -> None:
    mounts = (Mounted("/src", "repo", str(repository)),)
    for text in ("one", "two"):
        (repository / "in-changed").write_text(text)
        assert printed(engine, "cat in-changed", mounts=mounts, workdir="/src") == text


def test_a_folder_without_git(engine: Engine, tmp_path: Path) -> None:
    for path in ("a", "b/c", "config/.env", ".env.example"):
        (tmp_path / "plain" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / path).write_text("")
    mounts = (Mounted("/src", "repo", str(tmp_path / "plain")),)
    assert printed(engine, LIST, mounts=mounts).split() == ["./.env.example", "./a", "./b/c"]


def test_paths_in_mounts_are_arguments_and_variables(engine: Engine, repository: Path) -> None:
    mounts = (Mounted("/src", "repo", str(repository)),)
    env = {"FILE": "/src/in-tracked", "FOLDER": "/src", "OTHER": "/srcs/x", "BOTH": "/src:/src"}
    if engine.name != "double":  # which maps whole paths only
        assert printed(engine, ("cat", "/src/in-tracked"), mounts=mounts) == "1"
        assert printed(engine, "cat $FILE $FOLDER/in-tracked; echo $OTHER $BOTH", env=env, mounts=mounts) == (
            "11/srcs/x /src:/src\n"
        )


def test_a_cache_is_kept(engine: Engine, tmp_path: Path) -> None:
    def mounts(key: str, folder: str = "caches") -> tuple[Mounted, ...]:
        return (Mounted("/deep/cache", "cache", str(tmp_path / folder / key), key),)

    command = "cat $DT_ROOT/deep/cache/x 2>/dev/null || true; echo more >> $DT_ROOT/deep/cache/x"
    seen = [printed(engine, command, mounts=mounts(key)) for key in ("one", "one", "two", "one")]
    assert seen == ["", "more\n", "", "more\nmore\n"]
    assert printed(engine, command, mounts=mounts("one", "another")) == ""


def test_an_artifact_is_there_and_stays_as_it_is(engine: Engine, tmp_path: Path) -> None:
    store = tmp_path / "digest"
    (store / "b").mkdir(parents=True)
    (store / "b/run").write_text("#!/bin/sh\necho ran")
    (store / "b/run").chmod(0o755)
    (store / "link").symlink_to("b/run")
    mounts = (Mounted("/in/wheel", "artifact", str(store)),)
    command = "cd $DT_ROOT/in/wheel; ./b/run; readlink link; echo changed > b/run; cat link"
    assert printed(engine, command, mounts=mounts) == "ran\nb/run\nchanged\n"
    assert printed(engine, "$DT_ROOT/in/wheel/b/run", mounts=mounts) == "ran\n"


def test_an_artifact_that_was_pruned(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="pruned") as caught:
        engine.execute(request("true", mounts=(Mounted("/in", "artifact", str(tmp_path / "gone")),)))
    assert caught.value.code == "artifact_gone"


def test_secrets(engine: Engine) -> None:
    token, key = f"s3cret {secrets.token_hex(8)}\n ü'\"", f"{secrets.token_hex(8)}\n"
    mounts = (Mounted("/run/secrets/key", "secret", value=key),)
    command = 'printf %s "$TOKEN" | od -An -tx1; cd $DT_ROOT/run/secrets; ls -l key | cut -c1-10; od -An -tx1 key'
    shown = printed(engine, command, secret_env={"TOKEN": token}, mounts=mounts).split("-r--------")
    assert [bytes.fromhex(part) for part in shown] == [token.encode(), key.encode()]


def test_a_new_value_under_the_name_of_a_secret(engine: Engine) -> None:
    command = "printf %s $TOKEN | od -An -tx1; od -An -tx1 $DT_ROOT/key"
    for value in ("first-secret", "second-secret"):
        mounts = (Mounted("/key", "secret", value=value),)
        shown = printed(engine, command, secret_env={"TOKEN": value}, mounts=mounts)
        assert bytes.fromhex(shown) == value.encode() * 2


MAKE = """
mkdir -p dist/deep/deeper empty 'odd [x]'
printf 12 > dist/a.whl; printf 345 > dist/b.whl; printf 6 > dist/deep/c.whl; printf 7 > dist/deep/deeper/d.txt
printf '#!' > dist/run; chmod 755 dist/run; printf 8 > 'odd [x]/ *y!'; printf 9 > .hidden.whl
ln -s a.whl dist/latest.whl; ln -s dist linked; ln -s deep dist/also
"""
ARTIFACTS: dict[str, tuple[str, dict[str, str]]] = {
    "a file": ("/app/dist/a.whl", {"a.whl": "12"}),
    "a relative file": ("dist/a.whl", {"a.whl": "12"}),
    "a file behind a link": ("/app/dist/latest.whl", {"latest.whl": "12"}),
    "a folder": (
        "/app/dist",
        {"a.whl": "12", "b.whl": "345", "deep/c.whl": "6", "deep/deeper/d.txt": "7", "run": "#!", "latest.whl": "12"},
    ),
    "a folder behind a link": ("linked/deep/", {"c.whl": "6", "deeper/d.txt": "7"}),
    "an empty folder": ("/app/empty", {}),
    "names in a folder": ("/app/dist/*.whl", {"a.whl": "12", "b.whl": "345", "latest.whl": "12"}),
    "names that begin with a dot": ("/app/*.whl", {".hidden.whl": "9"}),
    "names in any folder": (
        "**/*.whl",
        {".hidden.whl": "9", **{f"dist/{n}": t for n, t in {"a.whl": "12", "b.whl": "345", "deep/c.whl": "6", "latest.whl": "12"}.items()}},
    ),
    "folders": ("/app/dist/d*", {"deep/c.whl": "6", "deep/deeper/d.txt": "7"}),
    "a folder in the middle": ("/app/*/deep/*.whl", {"dist/deep/c.whl": "6"}),
    "all below": ("/app/dist/deep/**", {"c.whl": "6", "deeper/d.txt": "7"}),
    "odd names": ("/app/odd*/*", {"odd [x]/ *y!": "8"}),
}  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def collected(engine: Engine, to: Path, command: str, **fields: Any) -> tuple[str, ...]:
    result = engine.execute(request(command, workdir="/app", collect_to=str(to), **fields))
    assert result.exit_code == 0, result.stderr.decode()
    return result.missing


def test_artifacts(engine: Engine, tmp_path: Path) -> None:
    specs = {f"k{number}": ArtifactSpec(path) for number, (path, _) in enumerate(ARTIFACTS.values())}
    assert collected(engine, tmp_path / "to", MAKE, artifacts=specs) == ()
    found = {name: contents(tmp_path / f"to/artifacts/k{number}") for number, name in enumerate(ARTIFACTS)}
    assert found == {name: files for name, (_, files) in ARTIFACTS.items()}
    folder = tmp_path / "to/artifacts/k3"
    assert [os.access(folder / name, os.X_OK) for name in ("run", "a.whl")] == [True, False]
    assert [(folder / name).readlink() for name in ("latest.whl", "also")] == [Path("a.whl"), Path("deep")]


def test_what_an_earlier_try_left_is_gone(engine: Engine, tmp_path: Path) -> None:
    for name in "ab":
        assert collected(engine, tmp_path, f"mkdir out; touch out/{name}", artifacts={"k": ArtifactSpec("out")}) == ()
    assert list(contents(tmp_path / "artifacts/k")) == ["b"]


def test_artifacts_that_are_not_there(engine: Engine, tmp_path: Path) -> None:
    paths = ("none", "/app/none/*", "*.whl", "/nowhere/**/x", "file/below", "file/*")
    specs = {f"k{number}": ArtifactSpec(path) for number, path in enumerate(paths)}
    missing = collected(engine, tmp_path / "to", "touch file", artifacts={**specs, "there": ArtifactSpec("file")})
    assert missing == tuple(specs)
    assert [path.name for path in (tmp_path / "to/artifacts").iterdir()] == ["there"]


def test_exports(engine: Engine, tmp_path: Path) -> None:
    exports = ("/app/dist", "dist/a.whl", "none", "/app/**/*.txt")
    assert collected(engine, tmp_path / "to", MAKE, exports=exports) == ()
    found = {path.name: sorted(contents(path)) for path in sorted((tmp_path / "to/exports").iterdir())}
    assert found["1"] == ["a.whl"]
    assert found["3"] == ["dist/deep/deeper/d.txt"]
    assert sorted(found) == ["0", "1", "3"]
    assert len(found["0"]) == 6


def test_nothing_is_collected_of_a_step_that_failed(engine: Engine, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"artifacts": {"k": ArtifactSpec("x")}, "collect_to": str(tmp_path / "to")}
    assert engine.execute(request("touch x; exit 3", workdir="/app", **fields)).exit_code == 3
    assert not (tmp_path / "to").exists()


def test_an_exit_code_that_counts_as_success(engine: Engine, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"artifacts": {"k": ArtifactSpec("x")}, "collect_to": str(tmp_path / "to")}
    result = engine.execute(request("touch x; exit 3", workdir="/app", success_exit_codes=(0, 3), **fields))
    assert (result.exit_code, (tmp_path / "to/artifacts/k/x").exists()) == (3, True)


TOO_BIG = {
    "bytes": "mkdir out; dd if=/dev/zero of=out/a bs=1 count=0 seek=60000000; cp -l out/a out/b",
    "files": "mkdir out; i=0; while [ $i -lt 1001 ]; do : > out/$i; i=$((i+1)); done",
    "folders": "mkdir out; cd out; i=0; while [ $i -lt 1001 ]; do mkdir $i; i=$((i+1)); done",
}


@pytest.mark.parametrize("way", TOO_BIG)
@pytest.mark.parametrize("path", ["/app/out", "/app/out/*"])
def test_what_is_too_big_is_not_collected(way: str, path: str, engine: Engine, tmp_path: Path) -> None:
    command = f"{TOO_BIG[way]} 2>/dev/null"
    for kind, wanted in {"artifact": {"artifacts": {"k": ArtifactSpec(path)}}, "export": {"exports": (path,)}}.items():
        with pytest.raises(StepError, match="has more than 1000") as caught:
            collected(engine, tmp_path / "to", command, **wanted)
        assert caught.value.code == f"{kind}_too_big"
        assert contents(tmp_path / "to") == {}


def test_as_much_as_is_allowed(engine: Engine, tmp_path: Path) -> None:
    command = "mkdir out; cd out; i=0; while [ $i -lt 999 ]; do : > $i; i=$((i+1)); done; mkdir d; ln -s 1 l"
    assert collected(engine, tmp_path / "to", command, artifacts={"k": ArtifactSpec("out")}) == ()
    assert len(list((tmp_path / "to/artifacts/k").iterdir())) == 1001


def test_one_file_that_is_too_big(engine: Engine, tmp_path: Path) -> None:
    command = "dd if=/dev/zero of=x bs=1 count=0 seek=100000001 2>/dev/null"
    with pytest.raises(StepError) as caught:
        collected(engine, tmp_path / "to", command, artifacts={"k": ArtifactSpec("x")})
    assert caught.value.code == "artifact_too_big"


def test_nothing_is_collected_out_of_a_cache(engine: Engine, tmp_path: Path) -> None:
    if engine.name == "double":
        pytest.skip("it has no volumes")
    mounts = (Mounted("/cache", "cache", str(tmp_path / "cache"), "k"),)
    with pytest.raises(StepError) as caught:
        collected(
            engine, tmp_path / "to", "touch $DT_ROOT/cache/x", mounts=mounts, artifacts={"k": ArtifactSpec("/cache")}
        )
    assert caught.value.code == "artifact_refused"


def test_a_step_without_network_is_refused(engine: Engine) -> None:
    with pytest.raises(StepError, match="network") as caught:
        engine.execute(request("true", network="none"))
    assert caught.value.code == "network_not_isolated"


def test_a_step_on_the_host(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("seen")
    fields: dict[str, Any] = {
        "on_host": True,
        "artifacts": {"k": ArtifactSpec("x")},
        "collect_to": str(tmp_path / "to"),
    }
    result = engine.execute(request(f"cat {tmp_path}/here; echo > x", **fields))
    assert (result.stdout, result.image, (tmp_path / "to/artifacts/k/x").exists()) == (b"seen", None, True)


def test_a_privileged_step_runs(engine: Engine) -> None:
    assert printed(engine, "echo ran", privileged=True) == "ran\n"


def test_an_image_that_is_always_fetched(engine: Engine) -> None:
    assert printed(engine, "echo ran", pull="always") == "ran\n"


def test_mounts_in_mounts(engine: Engine, repository: Path, tmp_path: Path) -> None:
    mounts = (
        Mounted("/src/in dir/key", "secret", value="hidden"),
        Mounted("/src/.cache", "cache", str(tmp_path / "cache"), "k"),
        Mounted("/src", "repo", str(repository)),
    )
    command = "cd $DT_ROOT/src; od -An -tx1 'in dir/key'; cat in-tracked; touch .cache/x; ls .cache"
    secret, rest = printed(engine, command, mounts=mounts).split("\n", 1)
    assert (bytes.fromhex(secret), rest) == (b"hidden", "1x\n")
