"""Links into the forge that hosts the repository: to edit a file, to make one, to look at a line or a commit.

Pure: all that is known comes from the settings and from what the clone's Git says of its origin. The forms of the
links are those that the forges make themselves: slashes in branches and paths stay, all else is encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from dagtasks.settings import ForgeSettings

LONGEST = 6000
"""Characters of a link; beyond that servers refuse it, so the text of a new file is left out."""


class Kind(NamedTuple):
    """A kind of forge: what people call it, and its addresses below that of a repository."""

    name: str
    edit: str
    view: str
    new: str
    commit: str


_AT_LINE = "#L{line}"
_GITEA = Kind(
    "Gitea",
    "/_edit/{branch}/{path}",
    "/src/branch/{branch}/{path}" + _AT_LINE,
    "/_new/{branch}/{folder}?filename={name}&value={value}",
    "/commit/{commit}",
)
KINDS: Mapping[str, Kind] = {
    "github": Kind(
        "GitHub",
        "/edit/{branch}/{path}",
        "/blob/{branch}/{path}" + _AT_LINE,
        "/new/{branch}?filename={path}&value={value}",
        "/commit/{commit}",
    ),
    "gitlab": Kind(
        "GitLab",
        "/-/edit/{branch}/{path}" + _AT_LINE,
        "/-/blob/{branch}/{path}" + _AT_LINE,
        "/-/new/{branch}?file_name={path}&content={value}",
        "/-/commit/{commit}",
    ),
    "gitea": _GITEA,
    "forgejo": _GITEA._replace(name="Forgejo"),
}
_LABELS = {**{name: name for name in KINDS}, "ghe": "github", "codeberg": "forgejo"}
"""Parts of the names of hosts that tell their kind."""
_WEB_HOSTS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
"""Hosts that speak ssh only, and where their pages are."""


@dataclass(frozen=True)
class Forge:
    """Makes links into a forge. Its `repr` says all that they depend on.

    `name` is what people call it, empty when it is of no known kind. `folder` is where the root of the project lies in
    the repository: empty, or with a slash at its end. An address that is empty is not known, and gives no links.
    """

    name: str = ""
    branch: str = ""
    folder: str = ""
    edit_url: str = ""
    view_url: str = ""
    new_url: str = ""
    commit_url: str = ""

    def edit(self, path: str, line: int = 0) -> str | None:
        """Where the file (a path relative to the root) is edited, at the line where the forge can show it."""
        return self._fill(self.edit_url, path=self.folder + path, line=line)

    def view(self, path: str, line: int = 0) -> str | None:
        """Where the line of the file is looked at."""
        return self._fill(self.view_url, path=self.folder + path, line=line)

    def new(self, path: str, text: str) -> str | None:
        """Where a file of that path and text is made. Of a text that is too long for a link nothing is in it."""
        link = self._fill(self.new_url, path=self.folder + path, value=text)
        if link and len(link) > LONGEST:
            return self._fill(self.new_url, path=self.folder + path, value="")
        return link

    def commit(self, commit: str | None) -> str | None:
        """The page of the commit; None for what is no id of one."""
        if not commit or not re.fullmatch("[0-9a-f]{7,64}", commit):
            return None
        return self._fill(self.commit_url, commit=commit)

    def _fill(self, address: str, *, line: int = 0, **texts: str) -> str | None:
        if not address or ("{branch}" in address and not self.branch):
            return None
        folder, _, name = texts.get("path", "").rpartition("/")
        known = {"branch": self.branch, "folder": folder, "name": name, "line": str(line), **texts}
        return _fill(address if line else address.removesuffix(_AT_LINE), known)


def _fill(address: str, texts: Mapping[str, str]) -> str:
    """The address with the texts in their places. After the first `?` or `#` a slash is encoded, too."""
    split = re.search("[?#]|$", address)
    end = split.start() if split else len(address)
    return _fill_part(address[:end], texts, safe="/") + _fill_part(address[end:], texts, safe="")


def _fill_part(part: str, texts: Mapping[str, str], safe: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: _quote(texts[found[1]], safe), part)


def _quote(text: str, safe: str) -> str:
    """The text encoded. Names of files need not be UTF-8: their bytes are those that Git knows."""
    try:
        return quote(text.encode("utf-8", "surrogateescape"), safe=safe)
    except UnicodeEncodeError:
        return quote(text.encode("utf-8", "replace"), safe=safe)


# -- which forge it is ----------------------------------------------------------------------------------------------


def make_forge(
    settings: ForgeSettings, *, origin: str | None = None, branch: str | None = None, folder: str = ""
) -> Forge:
    """The forge that the settings name, else the one that the address of the remote tells. Without any: no links."""
    url = (settings.url or find_address(origin or "") or "").rstrip("/").removesuffix(".git")
    kind = KINDS.get(settings.kind or find_kind(url) or "") if url else None
    forge = Forge(branch=settings.branch or branch or "", folder=folder)
    if kind:
        addresses = {"edit_url": kind.edit, "view_url": kind.view, "new_url": kind.new, "commit_url": kind.commit}
        forge = replace(forge, name=kind.name, **{name: url + end for name, end in addresses.items()})
    own = {"edit_url": settings.edit_url, "new_url": settings.new_url}
    return replace(forge, **{name: address for name, address in own.items() if address})


def find_kind(url: str) -> str | None:
    """The kind of forge that the name of the host tells, as `github.com` or `gitlab.example.org`."""
    labels = (urlsplit(url).hostname or "").split(".")
    return next((_LABELS[label] for label in labels if label in _LABELS), None) if len(labels) > 1 else None


def find_address(remote: str) -> str | None:
    """The page of the repository whose remote has that address; None where it tells none.

    Names and passwords of users are left out, and the port of ssh, which is not that of the page.
    """
    parts = _split(remote)
    host = parts.hostname if parts else None
    if parts is None or host is None or not re.fullmatch(r"[a-z0-9.-]+", host):
        return None
    path = "/".join(quote(unquote(part), safe="~") for part in parts.path.strip("/").removesuffix(".git").split("/"))
    if not path or ".." in path.split("/"):
        return None
    scheme = parts.scheme if parts.scheme == "http" else "https"
    return f"{scheme}://{_WEB_HOSTS.get(host, host)}{_port(parts)}/{path}"


def _split(remote: str) -> SplitResult | None:
    """The parts of an address of one of the schemes by which forges are reached."""
    if "://" not in remote:
        # As scp has it: USER@HOST:PATH. One letter is no host but a drive; a later @ may end a password.
        found = re.fullmatch(r"(?:[^@:/]+@)?([^@:/]{2,}):([^@:]+)", remote)
        remote = f"ssh://{found[1]}/{quote(found[2].strip('/'))}" if found else ""
    try:
        parts = urlsplit(remote)
        known = parts.scheme in ("https", "http", "ssh", "git", "git+ssh", "ssh+git")
        return parts if known and parts.port != 0 else None
    except ValueError:
        return None


def _port(parts: SplitResult) -> str:
    usual = {"https": 443, "http": 80}
    if parts.scheme not in usual or parts.port in (None, usual[parts.scheme]):
        return ""
    return f":{parts.port}"
