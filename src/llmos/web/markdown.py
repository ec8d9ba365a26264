"""Markdown of cards and comments as HTML that can do no harm.

It is written by anybody: raw HTML in it is cleaned (nh3), links lead where they say but carry no
weight, pictures are shown only from the repository itself, so that looking at a card tells nobody.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from llmos.hub.repos.cards import HEAD

LONGEST = 400_000  # characters; a longer text is not rendered
OUTSIDE = re.compile(r"(https?|mailto):", re.IGNORECASE)
# fmt: off
TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "center", "code", "dd", "del", "details",
    "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd",
    "li", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strong", "sub", "summary", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var",
}
# fmt: on
ATTRIBUTES = {
    "*": {"align", "dir", "lang", "title"},
    "a": {"href"},
    "code": {"class"},
    "details": {"open"},
    "h1": {"id"},
    "h2": {"id"},
    "h3": {"id"},
    "h4": {"id"},
    "h5": {"id"},
    "h6": {"id"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}  # fmt: skip


def without_head(text: str) -> str:
    """A card without its YAML head."""
    return HEAD.sub("", text, count=1)


@lru_cache(maxsize=256)
def card_html(text: str, pages: str = "", pictures: str = "", folder: str = "") -> Markup | None:
    """The HTML of a text; None when it is too long.

    Relative links lead to `pages` + path, relative pictures to `pictures` + path (addresses that
    end in a slash; empty: there are none), counted from `folder`.
    """
    if len(text) > LONGEST:
        return None
    places: dict[str, int] = {}

    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "id":
            return _anchor(value, places)
        if tag == "a" and name == "href":
            return _link(value, pages, folder)
        if tag == "img" and name == "src":
            return _inside(value, pictures, folder)
        if name == "class":
            return value if re.fullmatch(r"language-[\w+-]{1,30}", value) else None
        return value

    return Markup(
        nh3.clean(
            _parser().render(text),
            tags=TAGS,
            attributes=ATTRIBUTES,
            attribute_filter=attribute,
            url_schemes={"http", "https", "mailto"},
            link_rel="nofollow ugc noopener noreferrer",
        )
    )


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": 30, "linkify": False})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    parser.add_render_rule("heading_open", _heading)
    for cell in ("th_open", "td_open"):
        parser.add_render_rule(cell, _cell)
    return parser


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A picture from elsewhere becomes a link to it."""
    token = tokens[index]
    source = str(token.attrGet("src") or "")
    alt = nh3.clean_text(self.renderInlineAsText(token.children or [], options, env))
    if _elsewhere(source):
        return f'<a href="{nh3.clean_text(source)}">{alt or nh3.clean_text(source)}</a>'
    return f'<img src="{nh3.clean_text(source)}" alt="{alt}">'


def _heading(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    text = tokens[index + 1].content
    return f'<{tokens[index].tag} id="{nh3.clean_text(_slug(text))}">'


def _cell(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A cell of a table: where its text stands is said without a style, which pages refuse."""
    token = tokens[index]
    side = str(token.attrGet("style") or "").removeprefix("text-align:")
    return f'<{token.tag} align="{side}">' if side else f"<{token.tag}>"


def _elsewhere(address: str) -> bool:
    """Whether an address names a host or a scheme, so that it leads elsewhere."""
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return True
    return bool(parts.scheme or parts.netloc) or address.strip().startswith(("//", "\\"))


def _slug(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")[:80]


def _anchor(text: str, places: dict[str, int]) -> str | None:
    """The id of a heading; none occurs twice, none is one of the page's own."""
    slug = _slug(text)
    if not slug:
        return None
    places[slug] = places.get(slug, 0) + 1
    return f"card-{slug}" + (f"-{places[slug] - 1}" if places[slug] > 1 else "")


def _link(address: str, pages: str, folder: str) -> str | None:
    if address.startswith("#"):
        return "#card-" + quote(_slug(unquote(address[1:])))
    if _elsewhere(address):
        return address if OUTSIDE.match(address.strip()) else None
    if address.startswith("/") or not pages:
        return address
    return _inside(address, pages, folder)


def _inside(address: str, start: str, folder: str) -> str | None:
    """The address of a file of the repository; None for whatever leads out of it."""
    if not start or _elsewhere(address):
        return None
    path, _, fragment = address.strip().partition("#")
    if path.startswith("/"):
        return None
    path = unquote(path.partition("?")[0])
    inside = posixpath.normpath(posixpath.join(folder, path))
    if inside.startswith("..") or "\\" in inside:
        return None
    return start + quote(inside) + (f"#{quote(fragment)}" if fragment else "")
