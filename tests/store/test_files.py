from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from dagtasks.errors import Conflict, LockTimeout
from dagtasks.store.files import LOCK_HELD, Changed, WriteError, digest_of, hold_lock, remove_file, write_file


def test_write_makes_folders_and_leaves_no_temp_file(tmp_path: Path) -> None:
    write_file(tmp_path / "a/b/c.yaml", b"one")
    write_file(tmp_path / "a/b/c.yaml", b"two")
    assert (tmp_path / "a/b/c.yaml").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c.yaml"]


def test_write_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_bytes(b"")
    path.chmod(0o750)
    write_file(path, b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_write_refuses_a_symlink_and_keeps_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link.yaml").symlink_to(target)
    with pytest.raises(Conflict, match="not a regular file"):
        write_file(tmp_path / "link.yaml", b"x")
    assert target.read_text() == "mine"


def test_a_write_that_fails_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match=r"cannot write .*file/below"):
        write_file(tmp_path / "file/below", b"y")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("theirs", ["theirs", None])
def test_what_somebody_changed_since_it_was_read_stays(theirs: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("read")
    base = digest_of(path)
    path.unlink()
    if theirs:
        path.write_text(theirs)
    with pytest.raises(Changed, match="changed by somebody else"):
        write_file(path, b"ours", base=base)
    assert [file.read_text() for file in tmp_path.iterdir()] == ([theirs] if theirs else [])


def test_a_file_that_must_not_be_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_file(path, b"ours", base="")
    with pytest.raises(Changed):
        write_file(path, b"again", base="")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["ours"]
    write_file(path, b"again", base=digest_of(path))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["again"]


def test_remove_takes_an_empty_folder_along(tmp_path: Path) -> None:
    write_file(tmp_path / "deep/one", b"")
    write_file(tmp_path / "full/one", b"")
    write_file(tmp_path / "full/two", b"")
    remove_file(tmp_path / "deep/one")
    remove_file(tmp_path / "full/one")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def _hold(path: Path, ready: Path) -> None:
    with hold_lock(path, "the other"):
        ready.write_text("")
        time.sleep(60)


def test_a_held_lock_names_its_holder_and_is_free_when_that_dies(tmp_path: Path) -> None:
    lock, ready = tmp_path / "state/lock", tmp_path / "ready"
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(lock, ready))
    holder.start()
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(LockTimeout, match=rf"process {holder.pid} \(the other\)"), hold_lock(lock, "me", seconds=0.1):
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with hold_lock(lock, "me", seconds=0.1):
        assert f"process {os.getpid()} (me)" in lock.read_text()


def test_a_folder_can_be_the_lock(tmp_path: Path) -> None:
    with hold_lock(tmp_path, "me"), pytest.raises(LockTimeout), hold_lock(tmp_path, "again", seconds=0):
        pass


def test_what_runs_under_the_lock_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    with hold_lock(lock, "me"):
        monkeypatch.setenv(LOCK_HELD, str(lock))
        with hold_lock(lock, "hook", seconds=0):
            pass


def _count_up(lock: Path, number: Path) -> None:
    for _ in range(25):
        with hold_lock(lock, "count"):
            write_file(number, str(int(number.read_text()) + 1).encode())


def test_no_update_is_lost_under_the_lock(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(tmp_path / "lock", number)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert number.read_text() == "100"
