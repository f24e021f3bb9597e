"""The description of the API for people: the same document, as pages of Markdown and HTML.

`python -m dagtasks.api.reference` prints the page of the documentation.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dagtasks.api.answers import answer
from dagtasks.api.described import ALWAYS
from dagtasks.api.desk import PREFIX
from dagtasks.api.gate import needed_scope

Schema = Mapping[str, Any]
INTRODUCTION = """\
# Requests of the REST API

Made of the description that the server gives of itself, `/api/v1/openapi.json`. What is true of every request, as how
keys are sent, and what errors mean, is told in [REST API](api.md). Addresses are below `/api/v1`. What has a star has
to be given.
"""


def render(document: Schema) -> str:
    """The description as Markdown."""
    return "\n".join([INTRODUCTION, *_overview(document), *_requests(document), *_schemas(document)])


# -- requests -------------------------------------------------------------------------------------------------------


def _by_tag(document: Schema) -> Iterator[tuple[Schema, list[tuple[str, str, Schema]]]]:
    ways = [(method, path, way) for path, found in document["paths"].items() for method, way in found.items()]
    for tag in document["tags"]:
        yield tag, [(method, path, way) for method, path, way in ways if tag["name"] in way["tags"]]


def _overview(document: Schema) -> Iterator[str]:
    yield "| request | what it does |"
    yield "|---|---|"
    for _, found in _by_tag(document):
        for method, path, way in found:
            yield f"| {_request(method, path)} | [{way['summary']}](#{slug(way['summary'])}) |"
    yield ""
    errors = ", ".join(map(str, ALWAYS))
    yield f"Each can be answered with {errors}; other errors stand beside a request."
    yield from ("All of them are [ProblemDetails](#problemdetails).", "")


def _request(method: str, path: str) -> str:
    return f"`{method.upper()} {path.removeprefix(PREFIX)}`"


def _requests(document: Schema) -> Iterator[str]:
    for tag, found in _by_tag(document):
        yield from (f"## {tag['name'].capitalize()}", "", tag["description"], "")
        for method, path, way in found:
            yield from _operation(document, method, path, way)


def _operation(document: Schema, method: str, path: str, way: Schema) -> Iterator[str]:
    scope = needed_scope(method.upper(), path)
    yield from (
        f"### {way['summary']}",
        "",
        f"{_request(method, path)}, with a key for `{scope}`; `{way['operationId']}`.",
        "",
    )
    yield from (" ".join(way["description"].split()), "")
    yield from _table(
        "parameter", ((_name(one), _kind(one["schema"]), one["description"]) for one in way["parameters"])
    )
    if body := way.get("requestBody"):
        schema = next(iter(body["content"].values()))["schema"]
        yield from _fields(_find_form(document, schema), "field of the body")
    yield from _answers(way["responses"])


def _name(parameter: Schema) -> str:
    place = "" if parameter["in"] == "path" else f" ({parameter['in']})"
    return f"`{parameter['name']}`{place}{' *' if parameter['required'] else ''}"


def _find_form(document: Schema, schema: Schema) -> Schema:
    """What the body holds, where it may also be left out."""
    chosen = next((each for each in schema.get("anyOf", ()) if "$ref" in each), schema)
    found: Schema = document["components"]["schemas"][chosen["$ref"].rpartition("/")[2]]
    return found


def _answers(answers: Schema) -> Iterator[str]:
    errors = [status for status in answers if int(status) >= 400 and int(status) not in ALWAYS]
    for status, told in answers.items():
        if int(status) < 400:
            yield f"- **{status}**: {_told(told)}"
    if errors:
        yield f"- Errors: {', '.join(errors)}"
    yield ""


def _told(way: Schema) -> str:
    kinds = [_kind(each["schema"]) for each in way.get("content", {}).values()]
    headers = [f"`{name}`" for name in way.get("headers", ())]
    told = " or ".join(kinds) or "nothing"
    return f"{way['description']}: {told}{f', with {_and(headers)}' if headers else ''}"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


# -- schemas --------------------------------------------------------------------------------------------------------


def _schemas(document: Schema) -> Iterator[str]:
    yield from ("## What answers hold", "", "What has a star is always there.", "")
    known = document["components"]["schemas"]
    for name in sorted(_reached(known, document["components"]["responses"], _successes(document))):
        schema = known[name]
        yield from (f"### {name}", "", *([schema["description"], ""] if schema.get("description") else []))
        if "enum" in schema:
            yield from (f"One of {', '.join(f'`{word}`' for word in schema['enum'])}.", "")
        yield from _fields(schema, "field")


def _successes(document: Schema) -> list[Any]:
    return [way["responses"] for found in document["paths"].values() for way in found.values()]


def _reached(known: Schema, *begins: Any) -> set[str]:
    """The names of all schemas that these lead to."""
    found: set[str] = set()
    left = [*begins]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in known and name not in found:
                found.add(name)
                left.append(known[name])
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


def _fields(schema: Schema, title: str) -> Iterator[str]:
    needed = schema.get("required", ())
    rows = schema.get("properties", {}).items()
    yield from _table(
        title,
        (
            (f"`{name}`{' *' if name in needed else ''}", _kind(each), each.get("description", ""))
            for name, each in rows
        ),
    )


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    found = [*rows]
    if found:
        yield from (f"| {title} | kind | |", "|---|---|---|")
        yield from (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in found)
        yield ""


_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}


def _kind(schema: Schema) -> str:
    """What a value has to be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{slug(name)})"
    if "enum" in schema and len(schema["enum"]) <= 8:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    if choices := schema.get("anyOf"):
        return " or ".join(
            _kind({**schema, "anyOf": (), **each}) if each != {"type": "null"} else "null" for each in choices
        )
    return _simple(schema)


def _simple(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"map of {_kind(inner)}" if isinstance(inner, Mapping) and inner else "map"
    return _KINDS.get(str(kind), "anything") + _bounds(schema)


def _bounds(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema and "pattern" not in schema:
        return f" of {schema.get('minLength', 0) or 'up'} to {schema['maxLength']} characters"
    return ""


def slug(heading: str) -> str:
    """The anchor of a heading, as MkDocs makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


# -- HTML -----------------------------------------------------------------------------------------------------------

_STYLE = """\
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
td, th { border: 1px solid #8884; padding: .25rem .6rem; text-align: left; vertical-align: top; }
code { background: #8882; padding: 0 .2em; } h2 { border-top: 1px solid #8884; padding-top: 1rem; }
:root { color-scheme: light dark; }
"""
_DIGEST = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'"
"""What a browser may load for the page: nothing but its own style."""


def to_html(markdown: str) -> str:
    """The page as HTML that asks nobody for anything."""
    from markdown_it import MarkdownIt

    text = markdown.replace("[REST API](api.md)", "the documentation")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    with_ids = re.sub(r"<(h[123])>(.*?)</h", lambda found: f'<{found[1]} id="{slug(found[2])}">{found[2]}</h', body)
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"{head}<title>REST API</title><style>{_STYLE}</style><body>{with_ids}</body></html>"


def make_router(describe: Callable[[], Schema]) -> APIRouter:
    """The routes of the description: for programs, and for people."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)

    # These are made in threads: they take a moment when they are asked for first.
    @router.get("/openapi.json")
    def show_description() -> Response:
        return answer(describe())

    @router.get("/reference")
    def show_reference() -> Response:
        page = to_html(render(describe()))
        return Response(page, headers={"Content-Security-Policy": POLICY}, media_type="text/html")

    return router


def main() -> None:
    """Print the page of the documentation."""
    from dagtasks.api.app import make_routes
    from dagtasks.api.desk import Server
    from dagtasks.store.project import Project

    document = make_routes(Server(Project(Path()), lambda _: None)).openapi()
    sys.stdout.write(render(document))


if __name__ == "__main__":
    main()
