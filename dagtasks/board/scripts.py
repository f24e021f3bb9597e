"""The files that pages load: where they lie in the package, and in the site."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
STYLE = "board.css"
"""What every page loads."""
MORE_STYLE = "pages.css"
"""What every page but the board loads after it."""
SCRIPT = "board.js"
ON_BOARD = ("query.js", "columns.js")
"""What `SCRIPT` loads on the board alone, in this order."""
_FOR_AUTHORS = re.compile(r"^ *(?://.*\n|/\*[^*]*\*/\n|\n|)", re.MULTILINE)


def read_asset(name: str) -> str:
    """What a browser gets of the file: without indentation, and without the lines that are but a comment."""
    return _FOR_AUTHORS.sub("", (FOLDER / name).read_text("utf-8"))


def asset_uri(name: str) -> str:
    """The asset's address; its content's digest is in it, so that no browser keeps an old one."""
    digest = blake2b(read_asset(name).encode(), digest_size=4).hexdigest()
    stem, dot, ending = name.partition(".")
    return f"assets/dagtasks/{stem}.{digest}{dot}{ending}"
