"""What every page is made with: the templates (own environment, everything escaped) and the Markdown renderer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dagtasks.board.overview import Card, Overview
from dagtasks.board.printable import clean, clip
from dagtasks.board.scripts import MORE_STYLE, asset_uri
from dagtasks.board.uris import DIFFERENCE, PARTS, part_of, root_of, task_uri

if TYPE_CHECKING:
    from dagtasks.board.prose import Prose

FOLDER = Path(__file__).parent.parent / "templates" / "pages"
VALUE_LIMIT = 4000
"""Characters of one value (of metadata, a parameter, an output) that a page shows."""


Facts = Mapping[str, object]


class BoardPage(NamedTuple):
    """A page of the board without the chrome around it, made when it is asked for: there may be ten thousand.

    `title` is plain text. `facts` are values whose `repr` says all that the page depends on, under the names that the
    template knows; `more` makes what takes longer from the same, and is asked only when the page is made.
    """

    uri: str
    title: str
    template: str
    facts: Callable[[], Facts]
    more: Callable[[], Facts] = dict


class Body(NamedTuple):
    """The HTML of a page, and the ids of tasks that its prose names, with the pages to which they lead."""

    text: str
    links: Mapping[str, str | None]


def make_templates(compiled: BytecodeCache | None = None) -> Environment:
    """The templates of pages, for any data: everything is escaped, and nothing unseen gets through.

    They are taken from `compiled` where they are there.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        optimized=False,  # there is nothing to fold, and looking for it takes a sixth of compiling
        bytecode_cache=compiled,
    )
    filters = {"clip": clip, "words": words, "duration": show_duration, "days": show_days, "moment": show_moment}
    environment.filters.update(filters, show=show_value, task_uri=task_uri, command=shlex.join)
    return environment


@dataclass(frozen=True)
class Press:
    """Renders the templates of pages over one overview. `templates` can serve any number of presses."""

    overview: Overview
    templates: Environment = field(default_factory=make_templates)

    @cached_property
    def _proses(self) -> dict[str, Prose]:
        return {}

    def _prose(self, root: str, text: str) -> Markup:
        """The HTML of Markdown; `root` is the way to the root of the site, from where the links in it lead."""
        if root not in self._proses:
            # A large import that a build without new text does without.
            from dagtasks.board.prose import make_prose

            self._proses[root] = make_prose(self._finder(root))
        return self._proses[root](text)

    def _rows(self, root: str, cards: Sequence[Card]) -> Markup:
        """The tasks as a list of links; `root` is the way from the page to the root of the site."""
        rows = "".join(str(root).join(self._row(card)) for card in cards)
        return Markup(f'<ul class="dt-rows">{rows}</ul>')  # noqa: S704 - made of rendered templates

    def _row(self, card: Card) -> list[str]:
        """The row of a task, made once and cut where the way to the root stands: pages list many tasks."""
        name = card.task.id
        if name not in self._made_rows:
            template = self.templates.get_template("row.html")
            # No text can hold the mark: `_finalize` takes control characters out of it.
            self._made_rows[name] = template.render(root=Markup("\0"), card=card).split("\0")
        return self._made_rows[name]

    @cached_property
    def _made_rows(self) -> dict[str, list[str]]:
        return {}

    def _finder(self, root: str) -> Callable[[str], str | None]:
        def find(task_id: str) -> str | None:
            uri = self._links[task_id] = self.overview.find_task_uri(task_id)
            return root + uri if uri else None

        return find

    @cached_property
    def _links(self) -> dict[str, str | None]:
        return {}

    def render(self, page: BoardPage, facts: Facts, root: str | None = None) -> Body:
        """The page, of which these are the facts.

        The template's `prose` renders Markdown, `rows` lists cards, `forge` makes links into the forge. `root` is the
        way to the root of the site, for a page that is shown at other addresses than its own.
        """
        self._links.clear()
        body = self.templates.get_template(page.template).render(
            prose=partial(self._prose, root_of(page.uri)),
            rows=self._rows,
            **self.frame(page, root),
            **facts,
            **page.more(),
        )
        return Body(body, dict(self._links))

    def frame(self, page: BoardPage, root: str | None = None) -> Facts:
        """What stands on the page because it stands on all of the same part and depth. `root` is as in `render`."""
        place = (root_of(page.uri) if root is None else root, part_of(page.uri))
        if place not in self._frames:
            self._frames[place] = self._make_frame(*place)
        return self._frames[place]

    @cached_property
    def _frames(self) -> dict[tuple[str, str], Facts]:
        return {}

    def _make_frame(self, root: str, here: str) -> Facts:
        data = self.overview.data
        parts = [(uri, name) for uri, name in PARTS.items() if data.compared or uri != DIFFERENCE]
        bar = Markup(self.templates.get_template("bar.html").render(root=root, parts=parts, here=here))  # noqa: S704
        past = self.overview.moment if data.is_past else None
        more = asset_uri(MORE_STYLE)
        return {"root": escape(root), "parts_bar": bar, "past": past, "forge": data.forge, "more_style": more}


def _finalize(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def words(value: object) -> str:
    """A word of the model as people read it: `in_progress` -> `In progress`."""
    return str(value).replace("_", " ").capitalize()


def show_duration(seconds: float | None) -> str:
    """Seconds as people read them: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 05 min`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def show_days(days: float) -> str:
    """Days as people read them: `less than 1 h`, `5 h`, `2.5 days`, `40 days`."""
    if days < 1:
        return f"{round(days * 24)} h" if days >= 1 / 24 else "less than 1 h"
    return f"{days:.1f} days" if days < 10 else f"{round(days)} days"


def show_moment(text: str | None) -> Markup:
    """An ISO 8601 time in UTC as a `time` element; the page's script adds how long ago that is."""
    if not text:
        return Markup("-")
    return Markup('<time datetime="{}">{}</time>').format(clean(text), clean(text)[:16].replace("T", " ") + " UTC")


def show_value(value: Any) -> str:
    """A value of a file or a record as text: text as it is, maps and lists as YAML."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping | list | tuple):
        text = yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True, width=100).rstrip("\n")
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """The value in types that YAML can write; the loader marks some texts with a type of its own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
