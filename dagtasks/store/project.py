"""A repository that uses dagtasks: where its root is, its settings, and everything that its files say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagtasks.errors import (
    MAX_PROBLEMS,
    InvalidInput,
    InvalidProject,
    Problem,
    ProjectNotFound,
    has_errors,
)
from dagtasks.model.names import choose_from
from dagtasks.store.files import hold_lock, read_file
from dagtasks.store.git import Git, blob_id, find_git
from dagtasks.store.layout import DEFAULT_SETTINGS, ENGINE_SETTINGS, ENV_FILE, TASKS

if TYPE_CHECKING:
    from dagtasks.model.summary import TaskSummary
    from dagtasks.model.task import Task
    from dagtasks.planning.index import Index
    from dagtasks.settings import Layer, Settings
    from dagtasks.store.cache import Cache
    from dagtasks.store.documents import Document
    from dagtasks.store.history import History
    from dagtasks.store.runs import RunStore
    from dagtasks.store.sharing import Shared
    from dagtasks.store.trees import Memo, Tree


class Project:
    """The repository at `root`. Each `load` sees the files as they are now.

    With `use_cache` False every file is read, whatever the cache says, and the cache stays as it is.
    """

    def __init__(self, root: Path, overrides: Mapping[str, object] | None = None, *, use_cache: bool = True) -> None:
        self.root = root
        self._overrides = dict(overrides or {})
        self.use_cache = use_cache
        self._shared: Shared | None = None

    @cached_property
    def git(self) -> Git | None:
        """The Git repository that the root lies in, if any."""
        return find_git(self.root)

    def with_index(self, file: Path) -> Project:
        """The same repository, with another index of Git: that of a commit which is being made."""
        project = Project(self.root, self._overrides, use_cache=self.use_cache)
        project.git = Git(self.root, self.get_git().git_dir, file)
        return project

    def get_git(self) -> Git:
        """The Git repository that the root lies in; raises `ProjectNotFound` when there is none."""
        if self.git is None:
            raise ProjectNotFound(f"{self.root} is in no Git repository", hint="make one with `git init`")
        return self.git

    def blob_id(self, content: bytes) -> str:
        """Git's id of the bytes; outside of Git the one that a repository of its default kind would give."""
        return self.git.blob_id(content) if self.git else blob_id(content)

    @property
    def runs(self) -> RunStore:
        """The run records of the repository; raises `ProjectNotFound` outside of Git."""
        from dagtasks.store.runs import RunStore

        return RunStore(self.get_git())

    def with_settings(self, **overrides: object) -> Project:
        """The same repository, with settings that came with the command (dots as `__`) put above all others."""
        given = {name.replace("__", "."): value for name, value in overrides.items() if value is not None}
        project = Project(self.root, {**self._overrides, **given}, use_cache=self.use_cache)
        project.git = self.git  # it remembers what stays as it is, and had to be asked
        project._shared = self._shared
        return project

    def sharing(self) -> Project:
        """The same repository, for a process that lives long: it and what `with_settings` makes of it look at the files
        together and keep the index, as long as no file has changed.
        """
        from dagtasks.store.sharing import Shared

        project = self.with_settings()
        project._shared = Shared() if self.use_cache else None
        return project

    def lock(self, what: str) -> AbstractContextManager[None]:
        """The lock under which files of the repository are changed; `what` names the command for others."""
        return hold_lock(self.lock_path, what)

    @property
    def lock_path(self) -> Path:
        """The file (outside of Git: the folder) that is locked while files are changed."""
        return self.git.state_dir / "lock" if self.git else self.root / TASKS

    # -- settings -----------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Raises `InvalidProject` with the problems of the settings files."""
        from dagtasks.settings import combine

        layers, problems = self._settings_layers()
        if has_errors(problems):
            raise InvalidProject("the settings are wrong", problems=problems)
        return combine(layers)

    def settings_problems(self) -> list[Problem]:
        """What is wrong in the settings files of the repository and of the user.

        They are read only when one of them has changed since, or when there is a `config/.env`, of which Git is asked.
        """
        if os.path.lexists(self.root / ENV_FILE):
            return self._settings_layers()[1]
        from dagtasks.store.remembering import remember_problems

        files = [path for path, _ in self._settings_files()]
        return remember_problems(self._cache(), "settings", files, lambda: self._settings_layers()[1])

    def lint_off(self) -> tuple[str, ...]:
        """The remarks on templates that the settings switch off; none when those are wrong.

        Settings take long to import, and `validate` looks at them for this alone: so only where a file has the word.
        """
        with suppress(OSError, InvalidProject):
            files = [path for path, _ in self._settings_files() if os.path.lexists(path)]
            if any(b"lint" in read_file(path) for path in files):
                return self.settings.lint_off
        return ()

    def _settings_layers(self) -> tuple[list[Layer], list[Problem]]:
        from dagtasks.settings import Layer, from_environment
        from dagtasks.store.envfile import read_env_file

        variables, problems = read_env_file(self.root, self.git)
        layers = [
            Layer("command line", self._overrides),
            Layer("environment", from_environment(os.environ)),
            Layer(ENV_FILE, from_environment(variables)),
        ]
        for path, name in self._settings_files():
            values, found = _read_settings(path, name)
            layers.append(Layer(name, values))
            problems += found
        return layers, problems

    def _settings_files(self) -> list[tuple[Path, str]]:
        """The settings files and their names, strongest first: the user's own and those of the repository."""
        user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dagtasks" / "config.yaml"
        # What is the user's own may be a symlink, which many keep their settings by.
        own = Path(os.path.realpath(user))
        return [(own, str(user)), *((self.root / name, name) for name in (ENGINE_SETTINGS, DEFAULT_SETTINGS))]

    def variables(self) -> dict[str, str]:
        """The environment, and of `config/.env` what it lacks."""
        from dagtasks.store.envfile import read_env_file

        return {**read_env_file(self.root)[0], **os.environ}

    # -- what the files say -------------------------------------------------------------------------------------

    def load(self) -> Index:
        """Everything below `tasks/` and `templates/`, with every problem of every file.

        Only files that changed since the last time are read.
        """
        from dagtasks.store.loading import load_index

        return load_index(self.root, self._cache(), self._shared)

    def load_around(self, task: str) -> Index:
        """The part of the index that shows one task: itself, what it depends on, the phases of its project.

        It is found by its id, the part after the dash or a beginning of either, without looking at other files. The
        whole index when there is no such task, or more than one.
        """
        from dagtasks.store.around import load_around

        return load_around(self.root, task, self._cache())

    def load_project(self, key: str, tasks: Iterable[str] = ()) -> Index:
        """The part of the index that a new task of the project needs: the project, its phases and those tasks.

        Tasks are found as in `load_around`. The whole index when the project or one of the tasks is not there.
        """
        from dagtasks.store.around import load_project

        return load_project(self.root, key, tasks, self._cache())

    def find_tasks(self, key: str) -> dict[str, str]:
        """The ids that files of the project have, each with the path of one. Only names are looked at."""
        from dagtasks.store.layout import walk

        files = walk(self.root, f"{TASKS}/{key}")
        return {entry.name.partition(".")[0]: path for path, entry in files if entry.name.startswith(f"{key}-")}

    def load_details(self, path: str) -> dict[str, Any]:
        """`description` and `workflows` of the task in that file. Raises `InvalidProject` when the file is wrong."""
        from dagtasks.store.around import load_details

        return load_details(self.root, path, self._cache())

    def load_description(self, row: TaskSummary) -> str:
        """The description of the task with that row. Raises `InvalidProject` when its file is wrong by now."""
        from dagtasks.store.around import load_description

        return load_description(self.root, row, self._cache())

    def histories(self) -> dict[str, History]:
        """The past of every task that HEAD has or had, by id. Raises `ProjectNotFound` outside of Git, `GitError`."""
        from dagtasks.store.history import read_histories

        return read_histories(self.get_git(), self._cache())

    def recall(self, name: str) -> object:
        """What was remembered under that name in this clone; nothing (`{}`) when that is lost."""
        return self._cache().value(name)

    def remember(self, name: str, value: object) -> None:
        """Keep a value of plain types, in this clone alone, as long as nobody deletes the cache."""
        self._cache().store_value(name, value)

    def at(self, revision: str) -> Tree:
        """What the commit holds that the text means. Raises `InvalidInput`, outside of Git `ProjectNotFound`."""
        from dagtasks.store.trees import read_commit

        return read_commit(self.get_git(), self.get_commit(revision), self._memo)

    def get_commit(self, revision: str) -> str:
        """The id of the commit that the text means. Raises `InvalidInput`, outside of Git `ProjectNotFound`."""
        git = self.get_git()
        commit = git.find_commit(revision) if "\0" not in revision else None  # it cannot be given to a program
        if commit is None:
            names = git.read("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").splitlines()
            raise InvalidInput(f"there is no commit {revision!r}", hint=choose_from(revision, names))
        return commit

    @contextmanager
    def checked_out(self, revision: str) -> Iterator[Project]:
        """The repository as a clean clone has it where that commit is checked out, for as long as the context lasts.

        Its files lie in a folder of their own; the work tree, HEAD and Git's index stay as they are, and branches and
        runs are those of the repository. Raises `InvalidInput`, outside of Git `ProjectNotFound`.
        """
        from tempfile import TemporaryDirectory

        from dagtasks.store.git import check_out

        git, commit = self.get_git(), self.get_commit(revision)
        below_top = git.read("rev-parse", "--show-prefix")
        with TemporaryDirectory(prefix="dagtasks-") as folder:
            top = Path(folder).resolve()
            check_out(git, commit, top)
            yield Project(top / below_top, self._overrides, use_cache=self.use_cache)

    def staged(self) -> Tree:
        """What the next commit will hold, as Git's index has it. Raises `ProjectNotFound` outside of Git."""
        from dagtasks.store.trees import read_staged

        return read_staged(self.get_git(), self._memo)

    @cached_property
    def _memo(self) -> Memo:
        from dagtasks.store.trees import Memo, read_memo

        if not self.use_cache:
            return Memo({}, {})
        return read_memo(self.get_git(), self._cache())

    def _cache(self) -> Cache:
        from dagtasks.store.cache import Cache, find_cache

        return Cache(find_cache(self.root, self.git) if self.git and self.use_cache else None)

    def load_valid(self) -> Index:
        """The index; raises `InvalidProject` with all problems when any file is wrong."""
        index = self.load()
        if has_errors(index.problems):
            raise InvalidProject("some files are wrong", problems=index.problems)
        return index

    def read_document(self, path: str) -> Document:
        """The file at that path (relative to the root), read now; its dialect problems are in it."""
        from dagtasks.store.documents import read_document

        return read_document(self.root / path, path)

    def read_documents(self, paths: Iterable[str]) -> Iterator[Document]:
        """The files at these paths, each read when it is asked for."""
        return map(self.read_document, paths)

    def read_task(self, path: str) -> Task:
        """The whole task in that file. Raises `InvalidProject` when the file is wrong, `NotFound` when it is gone."""
        from dagtasks.store.around import read_task

        return read_task(self.read_document(path))

    def read_template(self, path: str) -> dict[str, Any]:
        """What the template file says. Raises `InvalidProject` when it cannot be read."""
        document = self.read_document(path)
        if document.data is None:
            raise InvalidProject(f"{path} is wrong", problems=document.problems)
        return document.data


def find_project(start: Path, *, use_cache: bool = True) -> Project:
    """The repository whose root is the nearest folder upwards that has `tasks/` or `config/default.yaml`.

    Raises `ProjectNotFound`.
    """
    start = start.absolute()
    if not start.is_dir():
        raise ProjectNotFound(f"there is no folder {start}")
    for folder in (start, *start.parents):
        if (folder / TASKS).is_dir() or (folder / DEFAULT_SETTINGS).is_file():
            return Project(folder, use_cache=use_cache)
    raise ProjectNotFound(
        f"no folder from {start} upwards has tasks/ or {DEFAULT_SETTINGS}",
        hint="make this repository ready with `dagtasks init`, or say where it is with -C PATH",
    )


def _read_settings(path: Path, name: str) -> tuple[dict[str, object], list[Problem]]:
    if not os.path.lexists(path):
        return {}, []
    from dagtasks.store.documents import read_document

    return parse_settings(read_document(path, name))


def parse_settings(document: Document) -> tuple[dict[str, object], list[Problem]]:
    """The settings that the document says, by name, and what is wrong in it."""
    from dagtasks.settings import check_values, flatten

    if document.data is None:
        return {}, [] if document.holds_nothing else list(document.problems)
    values = flatten(document.data)
    findings = check_values(values, is_committed=document.path in (ENGINE_SETTINGS, DEFAULT_SETTINGS))
    return values, document.problems_for(islice(findings, MAX_PROBLEMS))
