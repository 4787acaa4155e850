"""A LoRA elsewhere, described by the first bytes of its file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from limner.catalog import bases
from limner.errors import InputRefused
from limner.loras.file import header as safetensors_header
from limner.operations.loras import sources as lora_sources
from limner.operations.loras.sources import Found
from limner.settings import Settings
from limner.types import LoraUse
from limner.vendors.http.public_web import PublicWeb

if TYPE_CHECKING:
    from limner.loras.file.header import Header

__all__ = ["FIRST_READ", "LONGEST_HEADER", "LONGEST_TRIGGER", "describe_remote", "header_of"]


LONGEST_HEADER = 32 * 2**20


FIRST_READ = 256 * 2**10


LONGEST_TRIGGER = 60


def describe_remote(source: str, settings: Settings, *, from_here: bool = True, anonymous: bool = False) -> LoraUse:
    """What is known of a lora that is not here, from the start of its file: base, naming, size, digest, address.

    The address is pinned to a commit on the Hub. InputRefused: the source is a file here. LoraRefused: it is no LoRA.
    Other errors, and ``from_here``, as ``import_lora``. ``anonymous``: the Hub is asked without the home's token.
    """
    place = lora_sources.parse(source, settings, files=from_here)
    if isinstance(place, Path):
        raise InputRefused(
            f"{place} is a file on this machine.",
            remedy=f"Import it first: limner lora import {place} --subject SLUG",
            thing=str(place),
        )
    from limner.loras.checks.base_choice import choose
    from limner.loras.checks.fitting import fits
    from limner.loras.checks.inspection import family_and_index
    from limner.loras.file.metadata import declared_trigger

    found = lora_sources.find(place, settings, anonymous=anonymous)
    web = lora_sources.web_for(settings, loopback=from_here, anonymous=anonymous)
    # of a private file too, though only this user's own generators will reach it
    header, size = header_of(web, found)
    family, index = family_and_index(header)
    fitting = [base for base in bases().values() if base.family is family and fits(header, index, base)]
    choice = choose(fitting, header, index, found.base)
    return LoraUse(
        digest=found.sha256,
        scale=1.0,
        name=source,
        trigger=(declared_trigger(header.metadata) or found.trigger)[:LONGEST_TRIGGER],
        url=found.url if found.public else "",
        base=choice.base.id if choice.base else "",
        byte_size=size or found.byte_size,
        naming=index.naming,
        candidates=tuple(base.id for base in choice.candidates),
    )


def header_of(web: PublicWeb, found: Found) -> tuple[Header, int]:
    """The header of a file that is not here, and its size in bytes; a hole as long as the tensors stands for them."""
    start = web.start(found.url, FIRST_READ, most=safetensors_header.LARGEST_FILE)
    size = start.size or min(found.byte_size, safetensors_header.LARGEST_FILE)
    length = 8 + int.from_bytes(start.data[:8], "little")
    data = start.data
    if data[8:9] == b"{" and len(data) < length <= LONGEST_HEADER:
        data += web.start(found.url, length - len(data), begin=len(data)).data
    with tempfile.TemporaryDirectory(prefix="limner-header-") as folder:
        path = Path(folder) / found.name.replace("/", "_")[-100:]
        with path.open("wb") as file:
            file.write(data[:length] if data[8:9] == b"{" else data)
            if size > file.tell():
                file.truncate(size)
        return safetensors_header.read_header(path), size
