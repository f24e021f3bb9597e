"""The MkDocs adapter: hands the pages of the board to MkDocs. All that a page says is made elsewhere.

The theme renders its chrome once per depth of the site and entry of the navigation; each page is that chrome with a
body put in. So a task costs a small template and not a run through Markdown, navigation and theme.
"""

from __future__ import annotations

import html
import marshal
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from jinja2 import Environment
from mkdocs.commands.build import get_context
from mkdocs.config import config_options
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin, event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink, TableOfContents
from mkdocs.utils.templates import TemplateContext

from dagtasks.board import shell, uris
from dagtasks.board.compiled import CompiledTemplates
from dagtasks.board.data import Compared
from dagtasks.board.overview import Overview
from dagtasks.board.pages.feed import feed_page
from dagtasks.board.pages.home import home_page, missing_page, settings_page
from dagtasks.board.pages.press import BoardPage, Facts, Press, make_templates
from dagtasks.board.reuse import Reuse, digest, digest_of_code
from dagtasks.board.scripts import MORE_STYLE, ON_BOARD, SCRIPT, STYLE, asset_uri, read_asset
from dagtasks.board.shell import Shell
from dagtasks.board.site import board_site
from dagtasks.board.source import load_board
from dagtasks.errors import DagtasksError
from dagtasks.store.fork import beside
from dagtasks.store.project import Project, find_project

if TYPE_CHECKING:
    from mkdocs.livereload import LiveReloadServer

    from dagtasks.board.preview import Make, Preview

FOLDER = Path(__file__).parent
HOME_TEMPLATE = "dagtasks-home.html"
PAGE_TEMPLATE = "dagtasks-page.html"
ASIDE = ".dagtasks"
SITEMAP_LIMIT = 45_000
ALONE = 100
"""Pages that are made sooner than a second process begins."""

log = get_plugin_logger("dagtasks")


class DagtasksConfig(Config):  # type: ignore[no-untyped-call]
    """What `mkdocs.yml` may say below the plugin's name."""

    csp = config_options.Type(bool, default=True)
    """Whether pages carry a Content-Security-Policy; off for sites whose own scripts come from other hosts."""


class DagtasksPlugin(BasePlugin[DagtasksConfig]):  # type: ignore[no-untyped-call]
    """Adds the board to a MkDocs site."""

    def __init__(self) -> None:
        self.preview: Preview | None = None
        """The pages that are made when they are asked for, where the site is served by whoever builds it."""
        self._reloads = False
        self._shells: dict[tuple[int, tuple[str, ...]], Shell] = {}
        self._homes: dict[str, Shell] = {}
        self._templates: Environment | None = None
        self._set_date = False
        self._compiled: CompiledTemplates
        self._project: Project
        self._press: Press
        self._pages: list[BoardPage] = []
        self._feed: BoardPage
        self._nav: Navigation
        self.old_site: Path | None = None
        """The site that was built last, where it is not the one that MkDocs is about to overwrite."""
        self.is_fresh = False
        """Whether every page is made anew, whatever the last build noted."""
        self.past: Project | None = None
        """The repository where the commit is checked out that the board shows, where one was asked for."""
        self.compared: Compared | None = None
        """What has a page of its own, where a comparison was asked for."""
        self._aside: Path | None = None
        self._reuse: Reuse
        self._make: Callable[[str, Sequence[Page]], Shell]

    def on_startup(self, *, command: str, **_: object) -> None:
        """Remember whether this is a preview: its live-reload script is none that a policy could name."""
        if command == "serve":
            from dagtasks.board.preview import Preview  # watches files, which builds do without

            self.preview, self._reloads = Preview(), True

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Read the repository; put templates and assets in their places. Errors in files become warnings."""
        self._load(Path(config.config_file_path or ".").absolute().parent, config)
        if config.site_name:
            config.site_name = shell.inert(config.site_name)
        own = 1 if config.theme.custom_dir else 0
        config.theme.dirs.insert(own, str(FOLDER / "templates" / "theme"))
        config.extra_css.insert(0, asset_uri(STYLE))
        config.extra_javascript.append(asset_uri(SCRIPT))
        return config

    def _load(self, start: Path, config: MkDocsConfig) -> None:
        try:
            self._project = self.past or find_project(start, use_cache=not self.is_fresh)
            data = load_board(self._project, is_past=self.past is not None)
        except DagtasksError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            raise PluginError("\n".join([text, *map(str, getattr(error, "problems", ()))])) from error
        config.site_url = config.site_url or data.address or None
        data = replace(data, compared=self.compared, address=config.site_url or "")
        if self._templates is None:
            self._compiled = CompiledTemplates(self._project)
            self._templates = make_templates(self._compiled)
        self._press = Press(Overview(data), self._templates)
        self._pages = list(board_site(self._press.overview))
        self._feed = feed_page(self._press.overview)
        self._fix_date(data.as_of)
        for problem in self._press.overview.errors:
            log.warning("%s", problem)

    def on_pre_build(self, *, config: MkDocsConfig) -> None:
        """MkDocs empties its folder next: bring the old pages, which may be as new, out of its way."""
        if self.preview:
            return self.preview.close()
        old = self.old_site
        if old is None:
            old = self._aside = Path(config.site_dir, ASIDE)
            _move_aside(Path(config.site_dir), old)
        known = {} if self.is_fresh else self._project.recall(_notes_name(self.old_site or old.parent))
        self._reuse = Reuse(old, known, self._press.overview.find_task_uri)
        return None

    def _keep_notes(self, config: MkDocsConfig) -> None:
        site = self.old_site or Path(config.site_dir).absolute()
        self._project.remember(_notes_name(site), self._reuse.noted)
        if self._aside:
            shutil.rmtree(self._aside, ignore_errors=True)

    def _fix_date(self, as_of: str | None) -> None:
        """MkDocs writes today's date into the sitemap unless the environment names a time: the commit's."""
        if as_of and (self._set_date or "SOURCE_DATE_EPOCH" not in os.environ):
            os.environ["SOURCE_DATE_EPOCH"] = str(_seconds(as_of))
            self._set_date = True

    def _forget_date(self) -> None:
        if self._set_date:
            del os.environ["SOURCE_DATE_EPOCH"]
            self._set_date = False

    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        """Name every generated page, so that links to them from hand-written pages are checked."""
        taken = {file.dest_uri: file.src_uri for file in files}
        for page in [*self._pages, self._feed]:
            if page.uri in taken:
                raise PluginError(f"{taken[page.uri]} would become {page.uri}, a page of the board: rename the file")
            files.append(_static_file(config, page.uri))
        for name in (STYLE, MORE_STYLE, SCRIPT, *ON_BOARD):
            files.append(_text_file(config, asset_uri(name), read_asset(name)))
        if not self.preview:
            tasks = self._press.overview.task_index
            files.append(_text_file(config, tasks.uri, tasks.text))
        if uris.HOME not in taken:
            content = f"---\ntemplate: {HOME_TEMPLATE}\n---\n"
            files.append(File.generated(config, "index.md", content=content))
        return files

    def on_nav(self, nav: Navigation, *, config: MkDocsConfig, files: Files) -> Navigation:
        """Without a `nav` of the user's own, lead to the board; its pages lead to each other."""
        file = files.get_file_from_path(uris.BOARD)
        if config.nav is None and file:
            page = Page(uris.PARTS[uris.BOARD], file, config)
            nav.items.append(page)
            nav.pages.append(page)
        self._nav = nav
        return nav

    @event_priority(-100)
    def on_env(self, env: Environment, *, config: MkDocsConfig, files: Files) -> Environment:
        """Write all generated pages: other plugins have had their say about the theme's environment by now."""
        for item in self._nav:
            _defuse(item)
        env.bytecode_cache = self._compiled
        self._shells, self._homes = {}, {}
        self._make = partial(self._make_shell, env, config, files)
        if not self.preview:
            self._put_all([(page, self._find_shell(page)) for page in self._pages], config)
            self._write_feed(config)
        return env

    def _find_shell(self, page: BoardPage) -> Shell:
        entries = _find_entries(self._nav, uris.part_of(page.uri))
        place = (page.uri.count("/"), tuple(entry.url for entry in entries))
        if place not in self._shells:
            self._shells[place] = self._make(page.uri, entries)
        return self._shells[place]

    def _write_feed(self, config: MkDocsConfig) -> None:
        feed = self._press.render(self._feed, self._feed.facts()).text
        _write_text(config, self._feed.uri, feed)

    def _list_pages(self, config: MkDocsConfig) -> dict[str, Make]:
        """What puts each page of the board into its place."""
        shown = self._pages if self._reloads else [*self._pages, settings_page()]
        pages: dict[str, Make] = {
            page.uri: partial(self._write, page, self._find_shell(page), config) for page in shown
        }
        homes = {uri: partial(self._write_home, uri, chrome, config) for uri, chrome in self._homes.items()}
        board = partial(self._write_board, pages[uris.BOARD], config)
        return {**pages, **homes, uris.BOARD: board, self._feed.uri: partial(self._write_feed, config)}

    def _write_board(self, write: Make, config: MkDocsConfig) -> None:
        """The page with the columns, and the index that it searches."""
        _write_text(config, self._press.overview.task_index.uri, self._press.overview.task_index.text)
        write()

    def _write_home(self, uri: str, chrome: Shell, config: MkDocsConfig) -> None:
        _write_text(config, uri, chrome.fill(self._render_home(), ""))

    def _render_home(self) -> str:
        home = home_page(self._press.overview)
        return self._press.render(home, home.facts()).text

    def renew(self, config: MkDocsConfig) -> None:
        """Have the pages of a site that is served say what the files say now; what MkDocs made of others stays.

        Raises `PluginError`: then they stay as they are.
        """
        assert self.preview  # noqa: S101 - for the type
        self.preview.close()
        pages, before = None, {page.uri for page in self._pages}
        try:
            self._load(self._project.root, config)
            pages = self._list_pages(config)
            for uri in before - pages.keys():
                Path(config.site_dir, uri).unlink(missing_ok=True)
        finally:
            self.preview.open(pages)
            self._forget_date()

    def _put_all(self, work: Sequence[tuple[BoardPage, Shell]], config: MkDocsConfig) -> None:
        """Put the pages into the site; of many every other one in a second process."""
        code = digest_of_code()
        first, second = (work[::2], work[1::2]) if len(work) > ALONE else (work, [])
        builder = os.getpid()

        def put_second() -> bytes:
            before = len(self._reuse.noted)
            for page, chrome in second:
                if os.getpid() != builder != os.getppid():
                    raise SystemExit  # the build was killed, and the next one may write there already
                self._put(page, chrome, config, code)
            return marshal.dumps(dict(islice(self._reuse.noted.items(), before, None)))

        with beside(put_second) if second else nullcontext() as finish:
            for page, chrome in first:
                self._put(page, chrome, config, code)
            if finish:
                self._reuse.noted |= marshal.loads(finish())  # noqa: S302 - from our own process

    def _put(self, page: BoardPage, chrome: Shell, config: MkDocsConfig, code: str) -> None:
        """Put the page into the site: as the last build made it, or made anew."""
        path = Path(config.site_dir, page.uri)
        facts = page.facts()
        made_of = repr((facts, self._press.frame(page)))
        key = digest(code, chrome.digest, page.title, page.template, made_of, config.site_url or "")
        if not self._reuse.take(page.uri, key, path):
            self._reuse.note(page.uri, key, self._write(page, chrome, config, facts), path)

    def _make_shell(
        self, env: Environment, config: MkDocsConfig, files: Files, uri: str, entries: Sequence[Page]
    ) -> Shell:
        page = _shell_page(config, uri)
        with _marked(entries):
            context = get_context(self._nav, files, config, page)
            context = config.plugins.on_page_context(context, page=page, config=config, nav=self._nav)
            context["dagtasks_body"] = shell.BODY  # type: ignore[typeddict-unknown-key]
            output = env.get_template(PAGE_TEMPLATE).render(context)
            output = config.plugins.on_post_page(output, page=page, config=config)
        try:
            return shell.cut_shell(shell.tidy(output))
        except ValueError as error:
            raise PluginError(str(error)) from error

    def _write(
        self, page: BoardPage, chrome: Shell, config: MkDocsConfig, facts: Facts | None = None
    ) -> Mapping[str, str | None]:
        """Make the page, of which these are the facts; where the ids in its prose lead."""
        try:
            body = self._press.render(page, page.facts() if facts is None else facts)
        except DagtasksError as error:
            raise PluginError(f"{page.uri}: {error.message}") from error
        _write_text(config, page.uri, chrome.fill(body.text, page.title, _address(config, page.uri)))
        return body.links

    def on_page_context(self, context: TemplateContext, *, page: Page, **_: object) -> TemplateContext:
        """Titles and descriptions that the theme prints as they are lose their markup; the home page gets its part."""
        _defuse(page)
        if _template(page) == HOME_TEMPLATE:
            page.meta.setdefault("hide", ["navigation", "toc"])
            body = shell.BODY if self.preview else self._render_home()
            context["dagtasks_home"] = body  # type: ignore[typeddict-unknown-key]
        return context

    @event_priority(-100)
    def on_post_page(self, output: str, *, page: Page, **_: object) -> str:
        """Give the board's pages their policy, when no other plugin will touch their scripts any more."""
        if self.config.csp and not self._reloads and _template(page) in (HOME_TEMPLATE, PAGE_TEMPLATE):
            output = shell.with_policy(output)
        if self.preview and _template(page) == HOME_TEMPLATE:
            self._homes[page.file.dest_uri] = shell.cut_shell(output)
        return output

    def on_template_context(self, context: TemplateContext, *, template_name: str, **_: object) -> TemplateContext:
        """The page for addresses without a page gets its body. MkDocs knows the way from the root of the server."""
        if template_name == uris.MISSING:
            page, root = missing_page(), context["base_url"].rstrip("/") + "/"
            body = self._press.render(page, page.facts(), root).text
            context["dagtasks_missing"] = body  # type: ignore[typeddict-unknown-key]
        return context

    def on_post_template(self, output_content: str, *, template_name: str, config: MkDocsConfig) -> str:
        """MkDocs lists no static page in the sitemap: add ours where the site's address is known."""
        if template_name == uris.MISSING and self.config.csp and not self._reloads:
            return shell.with_policy(output_content)
        if template_name != "sitemap.xml" or not config.site_url:
            return output_content
        places = (html.escape(_address(config, page.uri)) for page in self._pages[:SITEMAP_LIMIT])
        entries = "".join(f"    <url>\n         <loc>{place}</loc>\n    </url>\n" for place in places)
        return output_content.replace("</urlset>", entries + "</urlset>")

    def on_post_build(self, *, config: MkDocsConfig) -> None:
        """Note what was built, and leave the environment as it was."""
        self._compiled.keep()
        if self.preview:
            self.preview.open(self._list_pages(config))
        else:
            self._keep_notes(config)
        self._forget_date()

    def on_build_error(self, **_: object) -> None:
        """Leave no old pages behind, and the environment as it was."""
        if self._aside:
            shutil.rmtree(self._aside, ignore_errors=True)
        if self.preview:
            self.preview.open()
        self._forget_date()

    def on_serve(self, server: LiveReloadServer, *, config: MkDocsConfig, **_: object) -> LiveReloadServer:
        """Build again when a task or a template changes."""
        if self.preview:
            folders = (self._project.root / name for name in ("tasks", "templates"))
            watched = filter(None, (config.docs_dir, config.config_file_path))
            self.preview.serve(server, watched, [str(folder) for folder in folders if folder.is_dir()])
        return server


def _write_text(config: MkDocsConfig, uri: str, text: str) -> None:
    path = Path(config.site_dir, uri)
    try:
        path.write_bytes(text.encode())
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def _seconds(moment: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(moment).timestamp())


def _move_aside(site: Path, aside: Path) -> None:
    """Bring all that is in the folder of the site into one below it; MkDocs leaves hidden ones alone."""
    shutil.rmtree(aside, ignore_errors=True)
    if site.is_dir():
        aside.mkdir()
        for entry in site.iterdir():
            if not entry.name.startswith("."):
                entry.rename(aside / entry.name)


def _notes_name(site: Path) -> str:
    """The name under which the notes of that site are remembered."""
    return f"board-{digest(str(site)).hex()}"


def _static_file(config: MkDocsConfig, uri: str) -> File:
    return _Made.generated(config, uri, content="", inclusion=InclusionLevel.NOT_IN_NAV)


class _Made(File):
    """A file that MkDocs need not write: we do."""

    def copy_file(self, dirty: bool = False) -> None:  # noqa: FBT001, FBT002 - as MkDocs calls it
        """Leave it to us."""


def _text_file(config: MkDocsConfig, uri: str, text: str) -> File:
    """A file that MkDocs writes as it is."""
    return File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV)


def _shell_page(config: MkDocsConfig, uri: str) -> Page:
    """A page at the depth of that address, whose title and address are marks.

    It lies in folders that hold nothing else, so that every link in the chrome goes up to the root first and fits all
    folders of that depth.
    """
    source = "-/" * uri.count("/") + "shell.md"
    file = File(source, None, config.site_dir, use_directory_urls=False)
    page = Page(shell.TITLE, file, config)
    page.content = ""
    page.meta = {"template": PAGE_TEMPLATE, "hide": ["navigation", "toc"], "search": {"exclude": True}}
    page.toc = TableOfContents([AnchorLink("Skip", "dt-main", 1)])
    page.canonical_url = shell.ADDRESS if config.site_url else None
    return page


def _find_entries(nav: Navigation, part: str) -> list[Page]:
    """The entries of the navigation under which the pages of that part are; where there is none, those of the board."""
    places = (part, uris.BOARD) if part != uris.HOME else (part,)
    found = ([page for page in nav.pages if uri in (page.file.src_uri, page.file.dest_uri)] for uri in places)
    return next(filter(None, found), [])


@contextmanager
def _marked(entries: Iterable[Page]) -> Iterator[None]:
    """Entries of the navigation, marked as the ones that are looked at."""
    for page in entries:
        page.active = True
    try:
        yield
    finally:
        for page in entries:
            page.active = False


def _defuse(item: object) -> None:
    """Take the markup out of the titles of a page, section or link and of all below it."""
    title = getattr(item, "title", None)
    if isinstance(title, str) and title != shell.inert(title):
        item.title = shell.inert(title)  # type: ignore[attr-defined]
    for key in ("title", "description", "author"):
        meta = getattr(item, "meta", {})
        if key in meta:
            meta[key] = shell.inert(str(meta[key]))
    for child in getattr(item, "children", None) or ():
        _defuse(child)


def _template(page: Page) -> object:
    return page.meta.get("template")


def _address(config: MkDocsConfig, uri: str) -> str:
    """The whole address of the page; nothing when nobody said where the site is published."""
    return urljoin(config.site_url, quote(uri)) if config.site_url else ""
