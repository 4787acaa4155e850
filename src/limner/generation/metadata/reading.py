"""Which program wrote the texts of a picture, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from limner.generation.metadata import comfyui, infotext, invokeai
from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.programs import ONE_OBJECT, easy_diffusion
from limner.generation.metadata.texts import COMMENT

__all__ = ["PROGRAMS", "read"]

PROGRAMS = {
    "limner": "Limner",
    "a1111": "A1111 or a program that writes as it does",
    "comfyui": "ComfyUI",
    "invokeai": "InvokeAI",
    "fooocus": "Fooocus",
    "swarmui": "SwarmUI",
    "novelai": "NovelAI",
    "civitai": "Civitai",
    "drawthings": "Draw Things",
    "easydiffusion": "Easy Diffusion",
}
_KEYED = (
    ("invokeai", "invokeai_metadata", invokeai.metadata),
    ("invokeai", "sd-metadata", invokeai.old_metadata),
    ("invokeai", "Dream", invokeai.dream),
    ("comfyui", "prompt", comfyui.graph),
    ("comfyui", "workflow", comfyui.workflow),
    ("invokeai", "invokeai_graph", invokeai.graph),
)
"""Keywords that one program alone uses, what says more first."""
_SHARED = ("parameters", COMMENT, "Comment")
"""Keywords that many programs use: what stands there decides."""
_ASKED = (*(keyword for _, keyword, _ in _KEYED), *_SHARED)


def read(texts: Mapping[str, str]) -> tuple[str, Infotext | None, str]:
    """The program, what its text says, and, where there is a text that nothing here can read, a sentence about that."""
    for source, found in _readings(texts):
        if found is not None:
            return source, found, ""
    unread = [keyword for keyword in _ASKED if texts.get(keyword, "").strip() and keyword not in (COMMENT, "Comment")]
    if unread:
        return "", None, f"It carries a text that cannot be read here ({', '.join(unread)})."
    return "", None, ""


def _readings(texts: Mapping[str, str]) -> Iterator[tuple[str, Infotext | None]]:
    """What each reader makes of the texts, what says more first."""
    yield from ((source, reader(texts[keyword])) for source, keyword, reader in _KEYED[:4] if keyword in texts)
    yield "easydiffusion", easy_diffusion(texts)
    yield from (_shared(texts.get(keyword, ""), by_a_program=keyword == "parameters") for keyword in _SHARED)
    yield from ((source, reader(texts[keyword])) for source, keyword, reader in _KEYED[4:] if keyword in texts)


def _shared(text: str, *, by_a_program: bool) -> tuple[str, Infotext | None]:
    """What a text under a keyword that many use says; JSON is never a prompt, and a remark is none either."""
    if not text.strip():
        return "", None
    if text.lstrip()[:1] in "{[":
        for source, reader in ONE_OBJECT:
            if (found := reader(text)) is not None:
                return source, found
        if (found := comfyui.graph(text) or comfyui.workflow(text)) is not None:
            return "comfyui", found
        if (text.lstrip()[:1] == "{" and '"' in text[:200]) or _is_json(text):
            return "", None
    found = infotext.parse(text)
    if not (found.settings or by_a_program):
        return "", None
    return "a1111", found


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
