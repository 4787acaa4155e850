"""Where a lora of somebody else can come from: a file here, a repo on the Hugging Face Hub, or an https address."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from limner.catalog import bases
from limner.errors import InputRefused, NotFound
from limner.hubs.hub import WEIGHTS_NAME
from limner.hubs.repo_names import check_repo
from limner.settings import Settings
from limner.vendors.http.public_web import PublicWeb, origin_of

__all__ = ["Found", "HubFile", "find", "parse", "web_for", "weights_of"]

_HUB_WORDS = re.compile(
    r"(?P<repo>[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+?)(?:@(?P<revision>[\w./-]+?))?(?:/(?P<file>[^@]+\.safetensors))?"
)
_OFFICIAL_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_NOT_MODELS = ("datasets", "spaces", "api", "docs", "papers", "collections", "settings", "buckets")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the Hub; ``revision`` and ``file`` are "" where the user named none."""

    repo: str
    revision: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that can be fetched: its address (pinned to a commit on the Hub), and what its place says of it.

    ``public``: anybody may fetch it. ``base`` is a base's id by the card, ``model`` the card's own word for it,
    ``trigger`` the card's, ``sha256`` the hub's, ``config`` the address of PEFT's ``adapter_config.json`` beside it.
    """

    url: str
    name: str
    public: bool = True
    byte_size: int = 0
    sha256: str = ""
    base: str = ""
    trigger: str = ""
    model: str = ""
    config: str = ""


def parse(source: str, settings: Settings, *, files: bool = True) -> Path | HubFile | str:
    """Tell the three apart: a file, a place on the Hub, or any other address. InputRefused: it is none of them.

    Without ``files`` no path of this machine is one, and whether there is such a file stays unsaid.
    """
    source = source.strip()
    if "://" in source:
        try:
            host = urlsplit(source).netloc.lower()
        except ValueError:
            raise _no_source(source) from None
        if host in (*_OFFICIAL_HOSTS, urlsplit(settings.huggingface_url).netloc.lower()):
            return _of_page(source)
        return source
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (Path's own fails on ~nobody)
    if files and (_is_lora(path) or source.startswith(("/", "./", "../", "~", "\\"))):
        return path
    words = _HUB_WORDS.fullmatch(source)
    # owner/name.safetensors is a file in a folder that is not there, not a repo
    if words is None or (words["file"] is None and source.endswith(".safetensors")):
        if files and source.endswith(".safetensors"):
            return path
        raise _no_source(source)
    check_repo(words["repo"])
    return HubFile(words["repo"], words["revision"] or "", words["file"] or "")


def _is_lora(path: Path) -> bool:
    """Whether a file is there, or a folder with weights in it."""
    try:
        return path.is_file() or (path.is_dir() and any(path.glob("*.safetensors")))
    except OSError:  # a text too long to be a name
        return False


def weights_of(path: Path) -> Path:
    """The weights of a folder, as PEFT and trainers save a lora; a file itself. NotFound, InputRefused as of a repo."""
    if not path.is_dir():
        return path
    files = sorted(each.name for each in path.iterdir() if each.suffix == ".safetensors")
    return path / _only_weights(str(path), files)


def _no_source(source: str) -> InputRefused:
    return InputRefused(
        f"'{source[:200]}' names no lora that can be fetched.",
        remedy="Give a file, owner/repo, owner/repo@revision, owner/repo/file.safetensors, or an https address.",
        thing=source[:200],
    )


def _of_page(url: str) -> HubFile:
    """A repo's page, or the page or address of one of its files."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    if parts[:1] == ["models"]:
        parts = parts[1:]
    if len(parts) < 2 or parts[0] in _NOT_MODELS:
        raise InputRefused(
            f"{url[:200]} is no page of a model on the Hugging Face Hub.",
            remedy="Give the page of the lora's repo, or of its file.",
            thing=url[:200],
        )
    repo = "/".join(check_repo("/".join(parts[:2])))
    if len(parts) > 3 and parts[2] in ("blob", "resolve", "raw", "tree"):
        rest = parts[3:]
        file = "/".join(rest[1:]) if rest[-1].endswith(".safetensors") else ""
        return HubFile(repo, rest[0], file)
    return HubFile(repo)


def web_for(settings: Settings, *, loopback: bool = True, anonymous: bool = False) -> PublicWeb:
    """The web: the Hub with the home's token unless ``anonymous``, everything else as anybody."""
    from limner.vendors.huggingface.hub import hub_token

    token = None if anonymous else hub_token(settings)
    return PublicWeb({origin_of(settings.huggingface_url): token}, loopback=loopback)


def find(place: HubFile | str, settings: Settings, *, anonymous: bool = False) -> Found:
    """Look a place up. NotFound: there is no such repo, revision or file; InputRefused: the repo holds several.

    ``anonymous``: the Hub is asked as by anybody, without the home's token.
    """
    if isinstance(place, str):
        return Found(place, unquote(urlsplit(place).path.rpartition("/")[2]) or "lora.safetensors")
    from limner.vendors.huggingface.hub import HubAccount

    account = HubAccount(settings, anonymous=anonymous)
    info = account.ask(account.api.model_info, place.repo, revision=place.revision or None, files_metadata=True)
    files = {one.rfilename: one for one in info.siblings or ()}
    file = place.file or _only_weights(place.repo, list(files))
    if file not in files:
        raise NotFound(
            f"There is no file {file} in {place.repo}{f' at {place.revision}' if place.revision else ''}.",
            remedy=f"It has {', '.join(_weights(list(files))[:6]) or 'no .safetensors file'}.",
            thing=place.repo,
        )
    folder = file.rpartition("/")[0]
    config = f"{folder}/adapter_config.json".lstrip("/")
    card = info.card_data.to_dict() if info.card_data else {}  # type: ignore[no-untyped-call]
    named = card.get("base_model")
    named = named[0] if isinstance(named, list) and named else named
    one = files[file]
    return Found(
        url=f"{account.endpoint}/{info.id}/resolve/{info.sha}/{quote(file)}",
        name=file.rpartition("/")[2],
        public=not info.private and not info.gated,
        byte_size=one.size or 0,
        sha256=one.lfs.sha256 if one.lfs else "",
        base=next((base.id for base in bases().values() if named in (base.repo, base.id)), ""),
        trigger=str(card.get("instance_prompt") or "").strip(),
        model=str(named or "")[:200],
        config=f"{account.endpoint}/{info.id}/resolve/{info.sha}/{quote(config)}" if config in files else "",
    )


def _weights(files: list[str]) -> list[str]:
    return sorted(path for path in files if path.endswith(".safetensors"))


def _only_weights(repo: str, files: list[str]) -> str:
    root = [path for path in _weights(files) if "/" not in path]
    for usual in (WEIGHTS_NAME, "adapter_model.safetensors"):
        if usual in root:
            return usual
    if len(root) == 1:
        return root[0]
    if not root:
        raise NotFound(
            f"{repo} has no .safetensors file at its root.",
            remedy=f"Name one: {repo}/{_weights(files)[0]}" if _weights(files) else "Name the repo of a LoRA.",
            thing=repo,
        )
    raise InputRefused(
        f"{repo} has {len(root)} .safetensors files: {', '.join(root[:6])}.",
        remedy=f"Name one of them: {repo}/{root[0]}",
        thing=repo,
    )
