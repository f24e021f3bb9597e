"""The latest changes as an Atom feed (RFC 4287)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote, urljoin
from uuid import NAMESPACE_OID, uuid5

from dagtasks.board.data import Change
from dagtasks.board.overview import Overview
from dagtasks.board.pages.past import CommitView, commit_view, latest_commits
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.uris import CHANGES, FEED

ENTRIES = 50
"""Commits that the feed tells of."""
_LONG_AGO = "1970-01-01T00:00:00Z"


class Entry(NamedTuple):
    """A commit in the feed. Its id is that of the commit, wherever the board is published."""

    id: str
    uri: str | None
    commit: CommitView


def feed_page(view: Overview) -> BoardPage:
    """The feed: what the page of changes tells. Links are whole addresses, so without that of the site there are none.

    It has no chrome: what the template gives is all of the file.
    """
    return BoardPage(FEED, "Changes", "feed.xml", partial(_facts, view))


def _facts(view: Overview) -> Facts:
    commits = latest_commits(view)
    entries = [_entry(view, each) for each in commits[:ENTRIES]]
    own = _address(view, FEED)
    return {
        "id": own or _make_id(commits[-1][0][1].commit if commits else ""),
        "own": own,
        "page": _address(view, CHANGES),
        "projects": [project.name for project in view.projects],
        "updated": entries[0].commit.change.at if entries else view.data.as_of or _LONG_AGO,
        "entries": entries,
    }


def _entry(view: Overview, changes: Sequence[tuple[str, Change]]) -> Entry:
    seen = commit_view(view, changes)
    tasks = [each._replace(uri=_address(view, each.uri)) for each in seen.tasks]
    page = _address(view, CHANGES)
    uri = f"{page}#{seen.anchor}" if page else None
    return Entry(_make_id(seen.change.commit), uri, seen._replace(tasks=tasks))


def _address(view: Overview, uri: str | None) -> str | None:
    return urljoin(view.data.address, quote(uri)) if view.data.address and uri else None


def _make_id(commit: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_OID, f'commit {commit}')}"
