"""The files that a board needs in a repository: `mkdocs.yml` and a first page. Existing files stay as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dagtasks.store.files import write_file

_CONFIG = """\
# The board of this repository: `dagtasks board build` makes site/, `dagtasks board serve` shows it.
site_name: {name}
# site_url: https://example.org/board/    where it is published: gives a sitemap and canonical addresses

docs_dir: site_src
site_dir: site
use_directory_urls: false    # pages open from disk, too

nav:
  - Home: index.md
  - Board: board.html

theme:
  name: material
  font: false                # no request to another host
  icon:
    logo: material/view-column-outline
  features:
    # - navigation.tabs        # with pages of your own: they come into the header
    - content.code.copy
  palette:
    - media: "(prefers-color-scheme)"
      primary: white
      toggle:
        icon: material/brightness-auto
        name: Switch to light mode
    - media: "(prefers-color-scheme: light)"
      scheme: default
      primary: white
      toggle:
        icon: material/brightness-7
        name: Switch to dark mode
    - media: "(prefers-color-scheme: dark)"
      scheme: slate
      primary: black
      toggle:
        icon: material/brightness-4
        name: Follow the system

plugins:
  - search
  - dagtasks

markdown_extensions:
  - admonition
  - tables
  - toc:
      permalink: true

extra:
  generator: false
"""

_INDEX = """\
---
template: dagtasks-home.html
---

# {name}

What this is about, in a few words. Below stand the projects, what can be started now, and the latest runs.
"""


BOARD_FILES = ("mkdocs.yml", "site_src/index.md")


def write_board_files(root: Path, name: str | None = None) -> list[Path]:
    """Write `mkdocs.yml` and `site_src/index.md` where they are missing; the paths that were written.

    `name` is the site's name, by default that of the folder.
    """
    title = os.fsencode(name or root.resolve().name).decode(errors="replace")
    heading = title.replace("<", "&lt;")
    texts = dict(zip(BOARD_FILES, (_CONFIG.format(name=json.dumps(title)), _INDEX.format(name=heading)), strict=True))
    missing = {root / path: text for path, text in texts.items() if not (root / path).exists()}
    for path, text in missing.items():
        write_file(path, text.encode())
    return list(missing)
