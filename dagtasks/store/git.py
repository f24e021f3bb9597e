"""Git, through the `git` program: the folders of a repository, and the verbs that dagtasks needs.

Argv lists only; git's own repository variables never leak in; reads run no hook, no monitor and no filter of the
repository's configuration that can be switched off. GitPython is used in `store/history.py` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from dagtasks.errors import GitError

if TYPE_CHECKING:
    import subprocess

READ_ONLY = (
    "--no-optional-locks",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "safe.bareRepository=explicit",
    # `git diff` would lock the index to note what it found unchanged, whatever --no-optional-locks says.
    "-c",
    "diff.autoRefreshIndex=false",
)
WRITE = ("--literal-pathspecs", "-c", "core.fsync=committed", "-c", "safe.bareRepository=explicit")


UNTRACKED = "??"
"""What `git status` says of a file that Git does not track."""


class Head(NamedTuple):
    """Where the work tree stands. `commit` is None before the first commit, `branch` None when HEAD is detached."""

    commit: str | None
    branch: str | None


class Git:
    """A repository's work tree, seen from `root` (which may lie below the top of the work tree).

    `index_file` is the index to work with where Git itself works with another than the usual one.
    """

    def __init__(self, root: Path, git_dir: Path, index_file: Path | None = None) -> None:
        self.root = root
        self.git_dir = git_dir
        self._index = {"GIT_INDEX_FILE": str(index_file)} if index_file else {}

    @cached_property
    def common_dir(self) -> Path:
        """The folder that all work trees of the repository share."""
        pointer = self.git_dir / "commondir"
        return (self.git_dir / _read_pointer(pointer)).resolve() if pointer.is_file() else self.git_dir

    @property
    def state_dir(self) -> Path:
        """The folder of our local state: runs, logs, journals, the lock."""
        return self.common_dir / "dagtasks"

    def read(self, *arguments: str, given: bytes | None = None) -> str:
        """What a git command that changes nothing prints, without the last newline. Raises `GitError`."""
        return _text(self._run([*READ_ONLY, *arguments], given=given))

    def read_bytes(self, *arguments: str, given: bytes | None = None) -> bytes:
        """What a git command that changes nothing prints. Raises `GitError`."""
        return self._run([*READ_ONLY, *arguments], given=given).stdout

    def find(self, *arguments: str) -> str | None:
        """What a read command prints, or None when it fails (the thing asked for is not there).

        Raises `GitError` when it was killed: then nothing is known.
        """
        done = self._start([*READ_ONLY, *arguments])
        if done.returncode < 0:
            raise _error(arguments, done)
        return None if done.returncode else _text(done)

    def write(self, *arguments: str, given: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """What a git command that changes the repository prints, without the last newline. Raises `GitError`."""
        return _text(self._run([*WRITE, *arguments], given=given, env=env))

    def hear(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What a git command that changes the repository, and its hooks, say on stderr. Raises `GitError`."""
        return self._run([*WRITE, *arguments], env=env).stderr.decode("utf-8", "replace")

    def read_blobs(self, names: Sequence[str]) -> Iterator[bytes]:
        """What the blobs hold, one after the other, in the order of their names (an id, or `REVISION:PATH`).

        One process reads them all. Raises `GitError` at one that is not there.
        """
        if not names:
            return
        import subprocess
        from tempfile import TemporaryFile, gettempdir

        from dagtasks.store.files import append, writing

        # Git takes the names from a file and not from us: nobody has to write and read at the same time.
        with TemporaryFile(buffering=0) as given, TemporaryFile() as errors:
            with writing(Path(gettempdir())):
                append(given, "".join(f"{name}\n" for name in names).encode())
                given.seek(0)
            with subprocess.Popen(
                self._command([*READ_ONLY, "cat-file", "--batch", "--buffer"]),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**clean_environment(), **self._index},
            ) as process:
                for name in names:
                    yield _read_blob(name, process.stdout, errors)

    def read_sizes(self, names: Sequence[str]) -> list[int]:
        """How many bytes each of the blobs holds; 0 for one that is not there."""
        given = "".join(f"{name}\n" for name in names).encode()
        sizes = self.read("cat-file", "--batch-check=%(objectsize)", "--buffer", given=given) if names else ""
        return [int(size) if size.isdigit() else 0 for size in sizes.splitlines()]

    def find_commit(self, revision: str) -> str | None:
        """The id of the commit that the text means, as `HEAD^` or the name of a branch; None when it means none."""
        return self.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def head(self) -> Head:
        """The commit and branch that are checked out. Read from Git's files where they say it; else Git is asked."""
        if head := self._read_head():
            return head
        found = self.find("rev-parse", "--quiet", "HEAD^{commit}", "--symbolic-full-name", "HEAD")
        commit, _, name = (found or "").partition("\n")
        name = name or self.find("symbolic-ref", "--quiet", "HEAD") or "HEAD"
        return Head(commit or None, None if name == "HEAD" else name.removeprefix("refs/heads/"))

    def watch_refs(self, *names: str) -> object:
        """What is another whenever HEAD or one of these refs is. Files are looked at, and no process is started."""
        head = _read_if_there(self.git_dir / "HEAD")
        target = os.fsdecode(head.removeprefix(b"ref: ").strip()) if head.startswith(b"ref: ") else ""
        loose = [_read_if_there(self.common_dir / name) for name in (target, *names) if name]
        packed = _read_if_there(self.common_dir / "reftable" / "tables.list"), _stamp(self.common_dir / "packed-refs")
        return head, loose, packed

    def _read_head(self) -> Head | None:
        """What two small files say, if they are of the kind that Git has written for ever; a process takes 10 ms."""
        file = self.git_dir / "HEAD"
        with suppress(OSError):
            text = "" if file.is_symlink() else _read_pointer(file)
            branch = text.removeprefix("ref: refs/heads/")
            if branch == text:
                return Head(text, None) if _is_id(text) else None
            commit = _read_pointer(self.common_dir / "refs" / "heads" / branch)
            return Head(commit, branch) if _is_id(commit) else None
        return None

    def standing(self) -> tuple[Head, bool]:
        """What is checked out, and whether anything below the root differs from that, new files too; in one command."""
        options = ("--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--untracked-files=normal", "--no-renames")
        lines = [line for line in self.read("status", *options, "--", ".").split("\0") if line]
        told = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
        commit, branch = told["branch.oid"], told["branch.head"]
        head = Head(None if commit == "(initial)" else commit, None if branch == "(detached)" else branch)
        return head, len(lines) > len(told)

    def changed_paths(self, *paths: str) -> list[str]:
        """The paths, relative to the root, that differ from HEAD in the index or the work tree, new ones too."""
        return sorted(self.changes(*paths))

    def changes(self, *paths: str) -> dict[str, str]:
        """The same paths, each with the two letters that `git status` has for it."""
        text = self.read(
            "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", *(paths or (".",))
        )
        return {entry[3:].removeprefix(self.prefix): entry[:2] for entry in text.split("\0") if entry}

    @cached_property
    def prefix(self) -> str:
        """The path from the top of the work tree to the root, with a `/` at its end; "" at the top."""
        return self.read("rev-parse", "--show-prefix")

    def content_id(self, without: str) -> str:
        """Stands for all files below the root as they are now, but for those that Git ignores and one folder."""
        from hashlib import sha256

        listing = (self.find("ls-tree", "-z", "HEAD") or "").split("\0")
        facts = [entry for entry in listing if entry and entry.rpartition("\t")[2] != without]
        for path in self.changed_paths():
            if path.partition("/")[0] != without:
                file = self.root / path
                facts.append(f"{path}\0{sha256(file.read_bytes()).hexdigest() if file.is_file() else ''}")
        return sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()

    def work_files(self) -> list[str]:
        """What Git tracks below the root, and new files that it does not ignore, relative to the root.

        A submodule, or another repository in the work tree, is one entry; deleted files are still there.
        """
        return sorted(set(self._list_files("--cached", "--others")))

    def ignored_files(self) -> list[str]:
        """What lies in the work tree and is ignored, relative to the root; a whole folder ends in `/`."""
        return self._list_files("--others", "--ignored", "--directory")

    def _list_files(self, *which: str) -> list[str]:
        return self.read("ls-files", "-z", "--exclude-standard", *which).split("\0")[:-1]

    def blob_id(self, content: bytes) -> str:
        """Git's id of the bytes, without storing them."""
        return blob_id(content, self._object_format)

    @cached_property
    def _object_format(self) -> str:
        """The name of the digest that ids are made with; Git reads it from this one file, too, without includes."""
        import re

        config = (self.common_dir / "config").read_text("utf-8", "replace")
        return "sha256" if re.search(r"^\s*objectformat\s*=\s*sha256\s*$", config, re.I | re.M) else "sha1"

    def tracks(self, path: str) -> bool:
        """Whether Git tracks the path."""
        return bool(self.read("ls-files", "-z", "--", path))

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["git", "-C", str(self.root), *arguments]

    def _run(
        self, arguments: Sequence[str], *, given: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        done = self._start(arguments, given=given, env=env)
        if done.returncode:
            raise _error(arguments, done)
        return done

    def _start(
        self, arguments: Sequence[str], *, given: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        import subprocess  # commands that only read files start no process

        try:
            return subprocess.run(
                self._command(arguments),
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                env={**clean_environment(), **self._index, **(env or {})},
                check=False,
            )
        except OSError as error:
            raise GitError(f"git cannot be started: {error.strerror}", hint="see: dagtasks doctor") from error


def _is_id(text: str) -> bool:
    return len(text) in (40, 64) and not text.strip("0123456789abcdef")


def blob_id(content: bytes, digest: str = "sha1") -> str:
    """The id that Git gives the bytes in a repository of that kind."""
    from hashlib import new

    return new(digest, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _read_if_there(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _stamp(path: Path) -> object:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def _text(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def _read_blob(name: str, stream: IO[bytes] | None, errors: IO[bytes]) -> bytes:
    """The next blob that `git cat-file --batch` prints."""
    assert stream  # noqa: S101 - for the type
    *_, kind, size = stream.readline().split() or [b"", b""]
    if kind != b"blob":
        errors.seek(0)
        printed = errors.read().decode("utf-8", "replace").strip()
        message = f"git has no file {name}" + (f": {printed}" if printed else "")
        raise GitError(message, hint="find out what is missing: git fsck")
    content = stream.read(int(size))
    stream.read(1)
    return content


def _error(arguments: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> GitError:
    verb = next((word for word in arguments if word.isalpha() or ("-" in word[1:-1] and word[0] != "-")), "git")
    printed = done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
    return GitError(f"git {verb} ended with {done.returncode}: {printed or 'it printed nothing'}")


def clean_environment() -> dict[str, str]:
    """Our environment without the variables that point git at another repository, and with fixed language.

    Identity, configuration, ssh and askpass variables stay: without them the author would be lost.
    """
    local = local_variables()
    environment = {key: value for key, value in os.environ.items() if key not in local}
    return {**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def local_variables() -> frozenset[str]:
    """The variables that point git at another repository (`git rev-parse --local-env-vars`).

    Git is asked only when there is any variable of its own at all.
    """
    return _ask_local_variables() if any(name.startswith("GIT_") for name in os.environ) else frozenset()


@cache
def _ask_local_variables() -> frozenset[str]:
    """Git's answer, which stays the same while we live."""
    import subprocess

    done = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=False)
    return frozenset(done.stdout.split())


def find_git(root: Path) -> Git | None:
    """The repository that the folder lies in, or None. Reads a few files; starts no process."""
    for folder in (root, *root.parents):
        git_dir = _git_dir(folder / ".git")
        if git_dir:
            return Git(root, git_dir)
    return None


_POINTER_BYTES = 8192
"""No path is longer."""


def _git_dir(pointer: Path) -> Path | None:
    if pointer.is_dir():
        return pointer if (pointer / "HEAD").exists() else None
    if not pointer.is_file():
        return None
    text = _read_pointer(pointer)
    if not text.startswith("gitdir:"):
        return None
    # Where there is no repository we must not begin to keep something.
    found = os.path.realpath(pointer.parent / text.removeprefix("gitdir:").strip())
    return Path(found) if os.path.exists(f"{found}/HEAD") else None  # noqa: PTH110 - no error for any name


def _read_pointer(file: Path) -> str:
    """The path that a file of Git holds, without the newline; "" when it can be none."""
    with file.open("rb") as opened:
        text = os.fsdecode(opened.read(_POINTER_BYTES))
    return "" if "\0" in text else text.strip()


def init_repository(path: Path) -> None:
    """Make the folder a Git repository with the branch `main`: at once, so that no half of one is ever there."""
    if (path / ".git").exists():
        # What another git left of a repository is for git to mend.
        Git(path, path / ".git").write("init", "--quiet", "--initial-branch=main")
        return
    import shutil

    scratch = path / ".git.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    Git(scratch, scratch / ".git").write("init", "--quiet", "--initial-branch=main")
    (scratch / ".git").rename(path / ".git")
    scratch.rmdir()


def check_out(git: Git, commit: str, folder: Path) -> Git:
    """Put the files of the commit into the empty folder, as a clean clone of the repository would have them there.

    The folder then is a work tree of the same repository at that commit, which the repository itself knows nothing of:
    nobody has to clear anything away but the folder. No hook runs.
    """
    from dagtasks.store.files import write_file

    # What `git worktree add` would write, but outside of the repository.
    write_file(folder / ".git" / "HEAD", f"{commit}\n".encode())
    write_file(folder / ".git" / "commondir", os.fsencode(git.common_dir) + b"\n")
    there = Git(folder, folder / ".git")
    there.read("read-tree", "--reset", "-u", commit)
    return there


def run_editor(file: Path, folder: Path) -> None:
    """Let the user edit the file, with the editor that Git would take in the folder. Raises `GitError` when that fails.

    It has our terminal; what it prints into a pipe goes to stderr, because stdout is for the answer.
    """
    import signal
    import subprocess

    hint = "set VISUAL or EDITOR, or: git config core.editor"
    try:
        editor = Git(folder, folder).read("var", "GIT_EDITOR")
    except GitError as error:
        raise GitError(f"no editor is known here: {error.message}", hint=hint) from None
    stdout = None if os.isatty(1) else 2
    # ^C in the terminal reaches us, too, and is meant for the editor. A handler, unlike SIG_IGN, is not inherited.
    kept = [(one, signal.signal(one, lambda *_: None)) for one in (signal.SIGINT, signal.SIGQUIT)]
    try:
        # As git does it: the editor is a command of the shell. The shell, too, leaves ^C to the editor.
        command = f'trap : INT QUIT; {editor} "$@"'
        done = subprocess.run(["sh", "-c", command, editor, str(file)], stdout=stdout, check=False)
    finally:
        for one, handler in kept:
            signal.signal(one, handler)
    if done.returncode:
        raise GitError(f"the editor `{editor}` ended with {done.returncode}", hint=hint)
