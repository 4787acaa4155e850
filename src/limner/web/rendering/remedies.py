"""Remedies for people at a page: where an error names a command or a variable, the page that does the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from markupsafe import Markup

from limner.setting_groups import FROM_HERE, GROUPS, title_of

__all__ = ["for_pages"]

_SLUG = "(?P<thing>[a-z0-9][a-z0-9-]*)"
_LORA = r"(?P<thing>[a-z0-9-]+@v\d+)"
_PAGES: tuple[tuple[str, str, str], ...] = (
    (r"costs decide \S+ again draws it once more", "Have it drawn once more", "/costs#open"),
    (
        r"costs (?:decide|open)(?: \S+ (?:\w+|\.\.\.))?(?: \(or [^)]*\))?(?:, or do without: \.\.\. \S+ paid)?",
        "Costs",
        "/costs#open",
    ),
    (r"(?:login|logout|accounts)(?: [a-z]+)?(?: --live)?", "Accounts", "/accounts"),
    (r"tokens(?: (?:add|list|revoke))?", "API tokens", "/settings/tokens"),
    (r"users(?: (?:add|list))?(?: NAME)?", "Users", "/settings/users"),
    (r"webhooks(?: list)?", "Webhooks", "/settings/webhooks"),
    (r"settings(?: set \S+ \S+)?", "Settings", "/settings"),
    (r"doctor(?: --live)?", "System health", "/system"),
    (r"verify(?: --remove-stray)?", "System health", "/system#verified"),
    (r"jobs (?:cancel|resume|watch|show) (?P<thing>job_\w+|\w+_\w{8,})", "the page of the job", "/jobs/{}"),
    (r"jobs(?: (?:list|resume))?", "Jobs", "/jobs"),
    (r"trainings (?:cancel|resume|watch|show) (?P<thing>\w+_\w+)", "the page of the training", "/trainings/{}"),
    (r"trainings(?: (?:list|resume))?", "Jobs", "/jobs"),
    (r"images(?: list)?", "the gallery", "/gallery"),
    (r"grids(?: list)?", "Create", "/create"),
    (rf"photos (?:list|add) {_SLUG}", "its photos", "/subjects/{}/photos"),
    (rf"subjects consent {_SLUG}(?: --by NAME --statement TEXT)?", "its page", "/subjects/{}#consent"),
    (r"(?:subjects (?:add|list)|photos (?:list|add)|train|run|datasets freeze)(?: SLUG)?", "the subject’s page", "/"),
    (r"loras import(?: \S+ --subject SLUG)?", "Import a LoRA", "/loras#import"),
    (rf"loras delete {_LORA}(?: --unpublish)?", "its page", "/loras/{}#delete"),
    (rf"publish {_LORA}", "its page", "/loras/{}#publish"),
    (r"(?:loras|hubs)(?: (?:list|show))?(?: --hub \w+)?", "LoRAs", "/loras"),
)
"""A command without ``limner``, the words for its page, and the page; ``{}`` is the thing that the command names."""
_COMMANDS = tuple(
    (re.compile(rf"(?P<way>\bwith )?`?\blimner {command}`?(?![\w-])"), words, href) for command, words, href in _PAGES
)
_OTHER_COMMAND = re.compile(r"`?\b(limner [a-z]+(?: (?:--?[a-z]\S*|[A-Z]+\b|[a-z]+(?=[.;,]|$)))*)`?")
_VARIABLE = re.compile(r"\bLIMNER_([A-Z0-9_]+)\b(?: \([a-z0-9_]+ in limner\.toml\)|(=false))?")
_SETTINGS = frozenset(name for names in GROUPS.values() for name in names if name not in FROM_HERE)
_YES = re.compile(r"\bSay yes with --yes\b")
_FLAG = re.compile(r": --[a-z-]+(?: [A-Z]+)?(?=[.;,]|$)| \(--[a-z-]+\)")
_TERMINAL = "In a terminal: "


def for_pages(remedy: str) -> Markup:
    """A remedy as HTML: commands and variables become links to the pages that do the same; all else is escaped text.

    A command that no page stands for stays one, for a terminal. An error's own text is the same everywhere.
    """
    if remedy.startswith(_TERMINAL):
        return Markup.escape(remedy)
    taken: list[tuple[int, int, Markup]] = []
    for match, html in _replacements(remedy):
        if all(match.end() <= start or end <= match.start() for start, end, _ in taken):
            taken.append((match.start(), match.end(), html))
    parts, at = [], 0
    for start, end, html in sorted(taken):
        parts += [Markup.escape(remedy[at:start]), html]
        at = end
    return Markup("").join([*parts, Markup.escape(remedy[at:])])


def _replacements(remedy: str) -> Iterator[tuple[re.Match[str], Markup]]:
    """What stands for what, the first of two that overlap counts."""
    for pattern, words, href in _COMMANDS:
        for match in pattern.finditer(remedy):
            thing, way = match.groupdict().get("thing") or "", "at " if match["way"] else ""
            yield match, Markup('{}<a href="{}">{}</a>').format(way, href.format(quote(thing, safe="@")), words)
    for match in _OTHER_COMMAND.finditer(remedy):
        yield match, Markup("<code>{}</code> in a terminal").format(match[1])
    for match in _VARIABLE.finditer(remedy):
        if (name := match[1].lower()) in _SETTINGS:
            off = " to off" if match[2] else ""
            yield match, Markup('“{}”{} in <a href="/settings">Settings</a>').format(title_of(name), off)
    for match in _YES.finditer(remedy):
        yield match, Markup("Say yes beside the price")
    for match in _FLAG.finditer(remedy):
        yield match, Markup("")
