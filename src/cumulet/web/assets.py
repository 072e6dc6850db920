"""What pages load besides themselves: styles, scripts, fonts and icons, all from here.

They lie under a path that holds the digest of them all, so browsers keep them for good, and a new version of any of
them is at another path. Modules find each other by relative paths there, as npm has them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from markupsafe import Markup, escape

from cumulet.errors import NotFound

ROOT: Final = Path(__file__).parent / "page"
ICONS: Final = ROOT / "lib/icons"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
FOR_GOOD: Final = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
MOST_ICONS: Final = 1000
"""Drawn ones that are kept: some have an address or a name in their words."""
HTMX: Final = ("lib/htmx/htmx.min.js", "lib/htmx/hx-sse.min.js")
SHORT: Final = 600
"""Bytes that are not worth compressing."""


class Assets:
    """The files under `ROOT`, by their paths there."""

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """All of them, read once, with the icons in one file, and htmx and its extension in another.

        Htmx begins as soon as it is there: an extension that came later would be too late.
        """
        paths = (path for path in sorted(ROOT.rglob("*")) if path.suffix in MEDIA_TYPES)
        found = {str(path.relative_to(ROOT)): path.read_bytes() for path in paths if path.parent != ICONS}
        return found | {"icons.svg": sprite(), "htmx.js": b"\n".join(found.pop(one) for one in HTMX)}

    @cached_property
    def version(self) -> str:
        """The digest of them all."""
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    def url(self, name: str) -> str:
        """Say where a file is."""
        return f"/assets/{self.version}/{name}"

    @cache  # noqa: B019 - there is one of it
    def compressed(self, name: str) -> bytes:
        """Give a file compressed."""
        return gzip.compress(self.files[name], 9, mtime=0)

    @lru_cache(MOST_ICONS)  # noqa: B019 - there is one of it
    def icon(self, name: str, words: str = "") -> Markup:
        """Draw an icon; with `words` it is read out as these, without it is left out."""
        label = f'role="img" aria-label="{escape(words)}"' if words else 'aria-hidden="true"'
        file = self.url("icons.svg")
        return Markup(f'<svg class="icon" {label}><use href="{file}#{escape(name)}"></use></svg>')  # noqa: S704 - escaped

    def route(self) -> HTTPRouteHandler:
        """Serve them."""

        @get("/assets/{version:str}/{name:path}", sync_to_thread=False)
        def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
            version, name = request.path_params["version"], str(request.path_params["name"]).lstrip("/")
            if version != self.version or name not in self.files:
                raise NotFound(f"there is no file {name!r} of this version")
            kind = MEDIA_TYPES[Path(name).suffix]
            packed = kind != "font/woff2" and takes_gzip(request.headers.get("accept-encoding", ""))
            content = self.compressed(name) if packed else self.files[name]
            headers = FOR_GOOD | ({"content-encoding": "gzip"} if packed else {})
            return Response(content, media_type=kind, headers=headers)

        return asset


def sprite() -> bytes:
    """Put all icons into one file, each under its name."""
    symbols = []
    for path in sorted(ICONS.glob("*.svg")):
        inside = re.sub(r"\s+", " ", path.read_text().partition(">\n<svg")[2].partition(">")[2])
        inside = inside.removesuffix(" ").removesuffix("</svg>")
        symbols.append(f'<symbol id="{path.stem}" viewBox="0 0 24 24">{inside}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'.encode()


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a browser takes what is compressed so."""
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0+)?\s*(,|$))", accept_encoding) is not None


ASSETS: Final = Assets()
