"""A model card as HTML: Markdown of which no tag, script or odd address survives."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["card_html", "split_card"]

_HEADER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_LINKS = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)


def split_card(card: str) -> tuple[str, str]:
    """The YAML header of a card, as text, and its Markdown."""
    found = _HEADER.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def card_html(markdown: str) -> Markup:
    """The Markdown rendered. HTML in it is shown as text; links lead to the web and are not followed by robots.

    Pictures are left out: the page has none but its own. Headings begin below those of the page.
    """
    return Markup(_renderer().render(markdown.replace("<Gallery />", "")))  # noqa: S704 (html is off)


@cache
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
    made.validateLink = lambda url: bool(_LINKS.match(url.strip()))  # type: ignore[method-assign]

    def link_open(self: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
        tokens[at].attrSet("rel", "noopener noreferrer nofollow")
        return str(self.renderToken(tokens, at, options, env))

    def lower(self: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
        tokens[at].tag = f"h{min(6, int(tokens[at].tag[1]) + 2)}"
        return str(self.renderToken(tokens, at, options, env))

    def code(_self: Any, tokens: Any, at: int, _options: Any, _env: Any) -> str:
        # What scrolls must be reached by the keyboard.
        return str(Markup('<pre tabindex="0"><code>{}</code></pre>\n').format(tokens[at].content))

    made.add_render_rule("link_open", link_open)
    made.add_render_rule("fence", code)
    made.add_render_rule("code_block", code)
    made.add_render_rule("heading_open", lower)
    made.add_render_rule("heading_close", lower)
    return made
