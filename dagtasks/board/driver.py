"""Driving MkDocs through its Python API: without the theme's notices, and with failures that say what to do."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jinja2 import TemplateError
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import MkDocsException, PluginError

from dagtasks.board.data import Compared
from dagtasks.board.plugin import DagtasksPlugin
from dagtasks.errors import DagtasksError, InvalidProject, NotFound
from dagtasks.store.project import Project


class _Listener(logging.Handler):
    """Tells what MkDocs logs, from `level` on, and keeps what it warns of."""

    def __init__(self, level: int, tell: Callable[[str], None]) -> None:
        super().__init__(level)
        self._tell = tell
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())


def _tell_nobody(_: str) -> None:
    return


def read_config(config_file: Path, *, is_strict: bool = False) -> MkDocsConfig:
    """The MkDocs configuration of a site. Raises `NotFound` without the file, `InvalidProject` when it is wrong."""
    if not config_file.is_file():
        raise NotFound(f"there is no {config_file.name} in {config_file.parent}", hint="make it: dagtasks board init")
    # MkDocs would give all builds of a process the same plugin, with what it remembers.
    vars(MkDocsConfig)["plugins"].plugin_cache.pop("dagtasks", None)
    with _reported(f"{config_file.name} is wrong"):
        return load_config(str(config_file), strict=is_strict or None)


def build_pages(
    config: MkDocsConfig,
    old_site: Path,
    *,
    is_fresh: bool = False,
    past: Project | None = None,
    compared: Compared | None = None,
) -> list[str]:
    """Build the site into `config.site_dir`; what MkDocs warned of. Raises `InvalidProject` (strict: on warnings).

    Pages that are as in the old site are taken from there; with `is_fresh` none. `past` is the repository where the
    commit is checked out that the site shows; the files as they are without it. `compared` gets a page of its own.
    """
    plugin = _get_plugin(config)
    plugin.old_site, plugin.is_fresh = old_site, is_fresh
    plugin.past, plugin.compared = past, compared
    with _reported("the board was not built") as warnings:
        config.plugins.on_startup(command="build", dirty=False)
        try:
            build(config)
        finally:
            config.plugins.on_shutdown()
        return warnings


def _get_plugin(config: MkDocsConfig) -> DagtasksPlugin:
    plugin = config.plugins.get("dagtasks")
    if not isinstance(plugin, DagtasksPlugin):
        raise InvalidProject("mkdocs.yml does not name the plugin `dagtasks`", hint="add it below `plugins:`")
    return plugin


class LiveSite:
    """A site in a folder of its own; its pages of the board are made when they are asked for.

    Raises `InvalidProject` when MkDocs fails.
    """

    def __init__(self, config: MkDocsConfig, folder: Path) -> None:
        from dagtasks.board.preview import Preview  # watches files, which builds do without

        self._config, self._folder, self._plugin = config, folder, _get_plugin(config)
        self._seen = self._look()
        self._preview = self._plugin.preview = Preview()
        config.site_dir = str(folder)
        with _reported("the board was not built"):
            config.plugins.on_startup(command="build", dirty=False)
            build(config)

    @property
    def is_old(self) -> bool:
        """Whether its configuration, a page that somebody wrote or a file of the theme changed since it was built."""
        return self._look() != self._seen

    def _look(self) -> object:
        config = self._config
        folders = filter(None, (config.docs_dir, config.theme.custom_dir))
        files = (Path(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names)
        return sorted(map(_stamp, [Path(config.config_file_path), *files]))

    def renew(self) -> None:
        """Have its pages say what the files say now. Raises `InvalidProject`: then they stay as they are."""
        with _reported("the board was not renewed"):
            self._plugin.renew(self._config)

    def find(self, uri: str) -> Path | None:
        """The file that is to be shown at the address, which is relative to the root of the site."""
        try:
            self._preview.make(uri)
        except PluginError as error:
            raise InvalidProject(str(error)) from error
        path = Path(os.path.normpath(self._folder / uri))
        return path if path.is_relative_to(self._folder) and path.exists() else None


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size


def serve_pages(config_file: Path, address: str, tell: Callable[[str], None]) -> None:
    """Serve the site at `host:port`, building again when a file changes, until the user interrupts.

    `tell` gets a line for what happens: where it is served, each build, each warning.
    """
    from mkdocs.commands.serve import serve  # with a web server, which builds do without

    gc.enable()  # a command that ends soon needs none
    with _reported("the board cannot be served", logging.INFO, tell):
        serve(str(config_file), livereload=True, dev_addr=address)


@contextmanager
def _reported(
    what: str, level: int = logging.WARNING, tell: Callable[[str], None] = _tell_nobody
) -> Iterator[list[str]]:
    """The warnings of MkDocs while it runs; its exceptions come out as errors of ours."""
    handler = _Listener(level, tell)
    logger = logging.getLogger("mkdocs")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler.warnings
    except (MkDocsException, TemplateError) as error:
        cause = _find_cause(error)
        if cause:
            raise cause from error
        lines = [*handler.warnings, str(error)]
        raise InvalidProject(what + ":\n" + "\n".join(f"  {line}" for line in dict.fromkeys(lines) if line)) from error
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _find_cause(error: BaseException | None) -> DagtasksError | None:
    while error is not None and not isinstance(error, DagtasksError):
        error = error.__cause__ or error.__context__
    return error
