"""What is kept of a step's files, and what is copied into the work tree; hostile names and links among them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from dagtasks.engine.executor import StepError
from dagtasks.engine.keeping import Artifact, export_files, keep_artifacts

Tree = dict[str, Any]


def make(folder: Path, tree: Tree) -> Path:
    """Files by path: text, `(text, mode)`, a `Path` for a link there, None for an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in tree.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        text, mode = content if isinstance(content, tuple) else (content, 0o644)
        if text is None:
            place.mkdir()
        elif isinstance(text, Path):
            place.symlink_to(text)
        else:
            place.write_text(text)
            place.chmod(mode)
    return folder


def keep(tmp_path: Path, tree: Tree, name: str = "c") -> Artifact:
    make(tmp_path / name / "artifacts/k", tree)
    return keep_artifacts(tmp_path / name, tmp_path / "store")["k"]


def code_of(error: pytest.ExceptionInfo[StepError]) -> str:
    return error.value.code


def test_artifacts_lie_in_the_store_by_their_digest(tmp_path: Path) -> None:
    make(tmp_path / "c/artifacts", {"one/a": "1234", "one/b/c": "56", "two/a": "7"})
    kept = keep_artifacts(tmp_path / "c", tmp_path / "store")
    assert {key: (kept[key].size, kept[key].files) for key in kept} == {"one": (6, 2), "two": (1, 1)}
    assert (tmp_path / "store" / kept["one"].digest / "b/c").read_text() == "56"
    assert re.fullmatch("[0-9a-f]{64}", kept["two"].digest)
    assert {place.name for place in (tmp_path / "store").iterdir()} == {one.digest for one in kept.values()}
    assert not list((tmp_path / "c/artifacts").iterdir())


def test_nothing_was_collected(tmp_path: Path) -> None:
    assert keep_artifacts(tmp_path / "none", tmp_path / "store") == {}


def test_equal_artifacts_are_kept_once(tmp_path: Path) -> None:
    tree = {"a": "1", "b/c": ("2", 0o755), "l": Path("a"), "e": None}
    first, second = keep(tmp_path, tree), keep(tmp_path, tree, "d")
    assert first == second
    assert not (tmp_path / "d/artifacts/k").exists()
    assert len(list((tmp_path / "store").iterdir())) == 1


OTHERS: dict[str, Tree] = {
    "content": {"a": "2", "b": "1"},
    "name": {"a": "1", "c": "1"},
    "executable": {"a": ("1", 0o755), "b": "1"},
    "a link with that text": {"a": "1", "b": Path("1")},
    "a folder": {"a": "1", "b": None},
    "in a folder": {"x/a": "1", "b": "1"},
    "one more": {"a": "1", "b": "1", "c": ""},
    "an empty folder more": {"a": "1", "b": "1", "c": None},
    "names run together": {"a": "1", "b\n": "1"},
    "nothing": {},
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_artifacts_have_another_digest(other: str, tmp_path: Path) -> None:
    assert keep(tmp_path, {"a": "1", "b": "1"}).digest != keep(tmp_path, OTHERS[other], "d").digest


def test_the_digest_does_not_change(tmp_path: Path) -> None:
    """Records name artifacts by it."""
    kept = keep(tmp_path, {"a": "1", "b/x": ("2", 0o755), "l": Path("a")})
    assert kept.digest == "5b5b48ee41dc00ec43487d78170971c1c83c2a394d6a0f95d030deaa4254d44e"


def test_modes_become_those_of_git(tmp_path: Path) -> None:
    make(tmp_path / "c/artifacts/k/d", {}).chmod(0o700)
    (tmp_path / "c/artifacts/k").chmod(0o700)
    kept = keep(tmp_path, {"a": ("", 0o601), "b": ("", 0o4750), "d/c": ("", 0o666)})
    paths = ("", "a", "b", "d", "d/c")
    modes = {path: stat.S_IMODE((tmp_path / "store" / kept.digest / path).stat().st_mode) for path in paths}
    assert modes == {"": 0o755, "a": 0o644, "b": 0o755, "d": 0o755, "d/c": 0o644}


def test_modes_do_not_tell_artifacts_apart_otherwise(tmp_path: Path) -> None:
    assert keep(tmp_path, {"a": ("1", 0o600)}) == keep(tmp_path, {"a": ("1", 0o664)}, "d")


LINKS_OUT: dict[str, Tree] = {
    "up": {"l": Path("..")},
    "far up": {"d/l": Path("../../x")},
    "absolute": {"l": Path("/etc/passwd")},
    "through a link to the top": {"a/b/top": Path("../.."), "a/b/l": Path("top/../x")},
    "dangling": {"l": Path("../none")},
    "into another artifact": {"l": Path("../other/secret")},
}


@pytest.mark.parametrize("way", LINKS_OUT)
def test_no_link_leads_out(way: str, tmp_path: Path) -> None:
    make(tmp_path / "c/artifacts", {"other/secret": ""})
    with pytest.raises(StepError, match=r"artifact k: .*l is a link that leads out") as caught:
        keep(tmp_path, LINKS_OUT[way])
    assert code_of(caught) == "artifact_refused"


def test_an_absolute_link_leads_out_once_the_folder_is_moved(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="leads out"):
        keep(tmp_path, {"a": "1", "l": tmp_path / "c/artifacts/k/a"})


def test_links_inside_are_kept(tmp_path: Path) -> None:
    kept = keep(
        tmp_path,
        {"d/a": "1", "x": Path("d/a"), "d/y": Path("../x"), "later": Path("none"), "f": Path("d"), "o": Path("o")},
    )
    assert (tmp_path / "store" / kept.digest / "d/y").read_text() == "1"
    assert kept.files == 6


def test_what_is_no_file_is_not_kept(tmp_path: Path) -> None:
    make(tmp_path / "c/artifacts/k", {})
    os.mkfifo(tmp_path / "c/artifacts/k/pipe")
    with pytest.raises(StepError, match="pipe is neither") as caught:
        keep_artifacts(tmp_path / "c", tmp_path / "store")
    assert code_of(caught) == "artifact_refused"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_store_on_another_file_system(tmp_path: Path) -> None:
    import tempfile

    make(tmp_path / "c/artifacts/k", {"a": "1", "l": Path("a")})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        kept = keep_artifacts(tmp_path / "c", Path(folder))["k"]
        assert [place.name for place in Path(folder).iterdir()] == [kept.digest]
        assert (Path(folder) / kept.digest / "l").read_text() == "1"


def export(tmp_path: Path, trees: list[Tree], exports: list[tuple[str, str]], work: Tree | None = None) -> list[str]:
    make(tmp_path / "root", work or {})
    for number, tree in enumerate(trees):
        make(tmp_path / "c/exports" / str(number), tree)
    return export_files(tmp_path / "c", exports, tmp_path / "root")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


EXPORTS: dict[str, tuple[Tree, tuple[str, str], dict[str, str]]] = {
    "a file": ({"a.txt": "1"}, ("/src/a.txt", "docs/b.txt"), {"docs/b.txt": "1"}),
    "a file into a folder": ({"a.txt": "1"}, ("/src/a.txt", "docs/"), {"docs/a.txt": "1"}),
    "a file to the top": ({"a.txt": "1"}, ("/src/a.txt", "."), {"a.txt": "1"}),
    "a folder": ({"a": "1", "d/b": "2"}, ("/src/out", "./docs//new/"), {"docs/new/a": "1", "docs/new/d/b": "2"}),
    "a folder with one file": ({"a": "1"}, ("/src/out", "docs"), {"docs/a": "1"}),
    "a pattern": ({"a.md": "1"}, ("/src/*.md", "docs"), {"docs/a.md": "1"}),
    "a folder to the top": ({"a": "1", "b": "2"}, ("/src/out", "."), {"a": "1", "b": "2"}),
    "names that look like Git's": ({".gitignore": "1", "git": "2"}, ("/o", "."), {".gitignore": "1", "git": "2"}),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_exports(case: str, tmp_path: Path) -> None:
    tree, pair, expected = EXPORTS[case]
    assert export(tmp_path, [tree], [pair]) == sorted(expected)
    assert contents(tmp_path / "root") == expected


def test_exports_replace_files_and_leave_others(tmp_path: Path) -> None:
    work = {"docs/a": ("old", 0o640), "docs/b": "mine"}
    assert export(tmp_path, [{"a": "new", "x": ("#!", 0o700)}], [("/out", "docs")], work) == ["docs/a", "docs/x"]
    assert contents(tmp_path / "root") == {"docs/a": "new", "docs/b": "mine", "docs/x": "#!"}
    modes = [stat.S_IMODE((tmp_path / "root/docs" / name).stat().st_mode) for name in "ax"]
    assert modes == [0o640, 0o755]


HOSTILE_TARGETS = (
    "../x", "a/../../x", "a/../b", "..", "/etc/x", "//etc/x", "a\0b",
    ".git/hooks/x", ".GIT/hooks/x", "a/.git/config", ".git", "git~1/x", "GIT~1/x", ".git./x", ".git /x", ".git. ./x",
    ".git::$INDEX_ALLOCATION/x", ".g\u200cit/x", ".git\ufeff/x", "x\\.git\\y", "\u202e.Git/x",
    "config/.env", "CONFIG/.Env", "config/.env.", "./config//.env", "config/.env\u200c",
)  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE_TARGETS)
def test_no_export_to_such_a_place(target: str, tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        export(tmp_path, [{"good": "1"}, {"a.txt": "1"}], [("/good", "good"), ("/src/a.txt", target)])
    assert code_of(caught) == "export_refused"
    assert contents(tmp_path / "root") == {}


@pytest.mark.parametrize("name", [".git/hooks/x", "d/.GIT/x", "git~1/x", ".git\u200c/x", "config/.env"])
def test_no_name_in_a_folder_leads_to_such_a_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        export(tmp_path, [{"a": "1", name: "1"}], [("/out", ".")])
    assert code_of(caught) == "export_refused"
    assert contents(tmp_path / "root") == {}


def test_exports_do_not_go_through_symlinks(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", {"a": "safe"})
    work = {"folder": outside, "file": outside / "a", "d/deep": outside, "plain": "1"}
    for to in ("folder/a", "file", "d/deep/a", "plain/a", "folder"):
        with pytest.raises(StepError) as caught:
            export(tmp_path, [{"a": "bad"}], [("/a", to)], work if not (tmp_path / "root").exists() else None)
        assert code_of(caught) == "export_refused"
    assert contents(outside) == {"a": "safe"}


@pytest.mark.parametrize(
    "tree", [{"l": Path("/etc/passwd")}, {"l": Path("a"), "a": "1"}, {"d": None, "d/l": Path("..")}]
)
def test_links_are_not_exported(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="only regular files") as caught:
        export(tmp_path, [tree], [("/out", "docs")])
    assert code_of(caught) == "export_refused"
    assert contents(tmp_path / "root") == {}


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="something else than a file"):
        export(tmp_path, [{"a": "1"}], [("/a", "docs")], {"docs/x": "1"})


def test_two_exports_of_one_file(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="two files"):
        export(tmp_path, [{"a": "1"}, {"b": "2"}], [("/a", "x"), ("/b", "./x")])
    assert contents(tmp_path / "root") == {}


def test_an_export_below_another(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="below it"):
        export(tmp_path, [{"a": "1"}, {"b": "2"}], [("/a", "x"), ("/b", "x/y/z")])
    assert contents(tmp_path / "root") == {}


def test_an_export_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"left no /out.*docs") as caught:
        export(tmp_path, [], [("/out", "docs")])
    assert code_of(caught) == "export_missing"


def test_a_write_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="too long") as caught:
        export(tmp_path, [{"a": "1"}], [("/a", "d/" + "x" * 300)])
    assert code_of(caught) == "export_failed"
