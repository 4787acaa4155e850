"""Tensor namings: which layer of a FLUX transformer a tensor's name means, in any of the spellings in use.

| naming     | example                                                     |
|------------|-------------------------------------------------------------|
| diffusers  | ``transformer.transformer_blocks.0.attn.to_q.lora_A.weight`` |
| kohya      | ``lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight``  |
| bfl        | ``diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight`` |
| xlabs      | ``double_blocks.0.processor.qkv_lora1.down.weight``          |
| onetrainer | ``lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight`` |

PEFT puts the adapter's name into a tensor's (``lora_A.my_style.weight``); OneTrainer numbers the parts of BFL's fused
layers (``transformer.double_blocks.0.img_attn.qkv.0``).
Adapters of FLUX.1's text encoder CLIP-L stand beside them: ``text_encoder.text_model.``, ``lora_te1_text_model_``,
``text_encoders.clip_l.transformer.text_model.``. Those of T5 are read by few and kept by none of the readers here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from limner.loras.file.structure import CLIP_PLACES, MISSPELT, PLACES, XLABS_PLACES, Place
from limner.types import Family, TensorNaming

__all__ = [
    "Index",
    "Slot",
    "Target",
    "clip_module_name",
    "index_names",
    "module_name",
    "module_of",
    "role_of",
    "tensor_name",
]

_ROLE = re.compile(
    r"\.(?:lora_(?P<peft>[AB])(?:\.(?P<adapter>[^.]{1,100}))?\.weight"
    r"|(?:lora_(?:linear_layer\.)?|lora\.)?(?P<half>down|up)\.weight|(?P<alpha>alpha))$"
)
_HALVES = {"A": "down", "B": "up"}
_PREFIXES = (
    "base_model.model.transformer.",
    "base_model.model.diffusion_model.",
    "base_model.model.unet.",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "lycoris_",
    "lora_transformer_",
    "lora_unet_",
    "",
)
_ADDED = re.compile(r"\.(?:diff|diff_b|set_weight|reshape_weight|lora_(?:[AB]|down|up)(?:\.[^.]{1,100})?\.bias)$")
# diffusers' reader of FLUX.2 cuts 16 letters off every name, and such names have been saved again
_BEHEADED = {"sformer_blocks.": "transformer_blocks.", "le_transformer_blocks.": "single_transformer_blocks."}
_TEXT_ENCODERS = re.compile(r"lora_te\d?_|text_encoders?(_\d)?\.|(clip_l|t5xxl)\.")
_CLIP = re.compile(
    r"(?:lora_te1?_(?:text_model_)?|(?:text_encoder|(?:text_encoders\.)?clip_l(?:\.transformer)?)\.(?:text_model\.)?)(.+)"
)
_CLIP_NUMBERED = re.compile(r"encoder[._]layers[._](?P<number>\d{1,3})[._](?P<rest>.+)")
_NUMBERED = re.compile(
    r"(?P<kind>(?:single_|double_)?(?:transformer_)?blocks)(?P<mark>[._])(?P<number>\d{1,4})(?P=mark)(?P<rest>.+)"
)


@dataclass(frozen=True, slots=True)
class Target:
    """The layers that one adapter is for: diffusers paths from top to bottom with their heights, in widths.

    ``double`` and ``single`` hold the block's number where there is one.
    """

    naming: TensorNaming
    place: Place
    parts: tuple[str, ...]
    rows: tuple[int | None, ...]
    columns: int | None
    swapped: bool
    double: int | None = None
    single: int | None = None

    @property
    def number(self) -> int | None:
        """The block's number, of whichever kind."""
        return self.double if self.double is not None else self.single


@dataclass(frozen=True, slots=True)
class Slot:
    """One adapter of a file: what it is for, and the names of its tensors ("" where one is missing)."""

    target: Target
    down: str = ""
    up: str = ""
    alpha: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The tensors of a file, sorted by what they mean in one family; ``twice`` are pairs of names for one thing."""

    family: Family
    slots: Mapping[str, Slot] = field(default_factory=dict)
    text_encoder: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    twice: tuple[tuple[str, str], ...] = ()
    clip: Mapping[str, Slot] = field(default_factory=dict)

    @property
    def all_slots(self) -> dict[str, Slot]:
        """The adapters of the transformer and those of the text encoder CLIP-L."""
        return {**self.slots, **self.clip}

    @property
    def beyond_clip(self) -> list[str]:
        """The tensors of text encoders that are no whole adapters of CLIP-L's layers."""
        clip = {name for slot in self.clip.values() for name in (slot.down, slot.up, slot.alpha)}
        return [name for name in self.text_encoder if name not in clip]

    @property
    def additions(self) -> list[str]:
        """Those of the unknown tensors that change a layer beside its adapter: biases, whole weights, larger shapes."""
        return [name for name in self.unknown if _ADDED.search(name)]

    @property
    def incomplete(self) -> list[str]:
        """Adapters of which one of the two matrices is missing."""
        return [name for name, slot in self.slots.items() if not (slot.down and slot.up)]

    @property
    def naming(self) -> TensorNaming:
        """The naming that most adapters have."""
        counted = Counter(slot.target.naming for slot in self.slots.values())
        return counted.most_common(1)[0][0] if counted else TensorNaming.DIFFUSERS


def index_names(names: Iterable[str], family: Family) -> Index:
    """Sort tensor names into adapters of a family's layers, text encoder parts, and names that mean nothing there."""
    slots: dict[str, Slot] = {}
    clip: dict[str, Slot] = {}
    text: list[str] = []
    unknown: list[str] = []
    twice: list[tuple[str, str]] = []
    for name in names:
        path, role = role_of(name)
        if _TEXT_ENCODERS.match(name):
            text.append(name)
            if role and family is Family.FLUX1:
                _place(clip, path, _clip_target(path), role, name, twice)
        elif not role or not _place(slots, path, _target(path, family), role, name, twice):
            unknown.append(name)
    # an alpha alone is no adapter
    for path, slot in list(slots.items()):
        if not slot.down and not slot.up:
            unknown.append(slots.pop(path).alpha)
    whole = {path: slot for path, slot in clip.items() if slot.down and slot.up}
    for each in (slots, whole):
        twice += _overlapping(each)
    return Index(family, MappingProxyType(slots), tuple(text), tuple(unknown), tuple(twice), MappingProxyType(whole))


def module_name(naming: TensorNaming, template: str, number: int | None) -> str:
    """A layer's path as a naming spells it; ``template`` is a BFL path for Kohya and BFL, else a diffusers path."""
    path = template.format(number) if number is not None else template
    match naming:
        case TensorNaming.KOHYA:
            return "lora_unet_" + path.replace(".", "_")
        case TensorNaming.BFL:
            return "diffusion_model." + path
        case TensorNaming.DIFFUSERS:
            return "transformer." + path
    raise ValueError(f"nothing is written in the naming {naming.value}")


def clip_module_name(naming: TensorNaming, path: str) -> str:
    """A layer of CLIP-L as a naming spells it."""
    match naming:
        case TensorNaming.KOHYA:
            return "lora_te1_text_model_" + path.replace(".", "_")
        case TensorNaming.BFL:
            return "text_encoders.clip_l.transformer.text_model." + path
        case TensorNaming.DIFFUSERS:
            return "text_encoder.text_model." + path
    raise ValueError(f"nothing is written in the naming {naming.value}")


def tensor_name(naming: TensorNaming, module: str, role: str) -> str:
    """The name of the tensor ``down``, ``up`` or ``alpha`` of a module."""
    if role == "alpha":
        return module + ".alpha"
    if module.startswith("text_encoder."):
        # diffusers reads CLIP's layers in this old form only, unless attention is among them
        return f"{module}.lora_linear_layer.{role}.weight"
    if naming is TensorNaming.KOHYA:
        return f"{module}.lora_{role}.weight"
    return f"{module}.lora_{'A' if role == 'down' else 'B'}.weight"


def role_of(name: str) -> tuple[str, str]:
    """The path of a tensor's module, and its role in the adapter (down, up, alpha), "" if it has none."""
    found = _ROLE.search(name)
    if found is None:
        return name, ""
    return name[: found.start()], found["half"] or _HALVES.get(found["peft"] or "", "alpha")


def module_of(name: str) -> str:
    """The path of a tensor's module as its model has it: without the prefixes of those who save it."""
    return _bare(role_of(name)[0])[1]


def _place(
    slots: dict[str, Slot], path: str, target: Target | None, role: str, name: str, twice: list[tuple[str, str]]
) -> bool:
    """Put a tensor into its slot, or if one is there into ``twice``; False if it means nothing."""
    slot = slots.get(path) or (Slot(target) if target else None)
    if slot is None:
        return False
    if there := getattr(slot, role):
        twice.append((there, name))
    else:
        slots[path] = Slot(slot.target, **{"down": slot.down, "up": slot.up, "alpha": slot.alpha, role: name})
    return True


def _overlapping(slots: Mapping[str, Slot]) -> list[tuple[str, str]]:
    """Pairs of adapters whose names differ and whose layer is the same."""
    owners: dict[str, Slot] = {}
    found: dict[tuple[str, str], None] = {}
    for slot in slots.values():
        for part in slot.target.parts:
            other = owners.setdefault(part, slot)
            if other is not slot:
                found[other.down or other.up, slot.down or slot.up] = None
    return list(found)


def _clip_target(path: str) -> Target | None:
    inner = _CLIP.fullmatch(path)
    found = inner and _CLIP_NUMBERED.fullmatch(inner[1])
    if not found or str(int(found["number"])) != found["number"]:
        return None
    underscored = path.startswith("lora_")
    for place in CLIP_PLACES:
        rest = place.bfl.removeprefix("encoder.layers.{}.")
        if found["rest"] == (rest.replace(".", "_") if underscored else rest):
            number = int(found["number"])
            naming = TensorNaming.DIFFUSERS if path.startswith("text_encoder.") else TensorNaming.KOHYA
            return Target(naming, place, (place.bfl.format(number),), place.rows, place.columns, False, double=number)
    return None


def _bare(path: str) -> tuple[str, str]:
    """A module's path without the prefix that it was saved under, which comes first."""
    prefix = next(each for each in _PREFIXES if path.startswith(each))
    return prefix, path.removeprefix(prefix)


def _target(path: str, family: Family) -> Target | None:
    prefix, bare = _bare(path)
    underscored = prefix.startswith(("lora_", "lycoris_"))
    for cut, whole in _BEHEADED.items():
        if bare.startswith(cut):
            bare = whole + bare.removeprefix(cut)
    kind, number, template = "", None, bare
    if found := _NUMBERED.fullmatch(bare):
        kind, mark = found["kind"], found["mark"]
        number = int(found["number"])
        template = f"{kind}{mark}{{}}{mark}{found['rest']}"
        if str(number) != found["number"]:
            return None
    known = _templates(family).get((underscored, template))
    if known is None:
        return None
    naming, place, parts, rows = known
    single = kind.startswith("single")
    return Target(
        naming,
        place,
        tuple(part.format(number) for part in parts),
        rows,
        place.columns,
        place.swapped and naming in (TensorNaming.KOHYA, TensorNaming.BFL),
        double=None if single else number,
        single=number if single else None,
    )


_Known = tuple[TensorNaming, Place, tuple[str, ...], tuple[int | None, ...]]


@cache
def _templates(family: Family) -> dict[tuple[bool, str], _Known]:
    """What a path means, by (dots are underscores, path with {} for the number)."""
    found: dict[tuple[bool, str], _Known] = {}
    for place in PLACES[family]:
        for part, rows in zip(place.parts, place.rows, strict=True):
            found[True, part.replace(".", "_")] = (TensorNaming.ONETRAINER, place, (part,), (rows,))
            found[False, part] = (TensorNaming.DIFFUSERS, place, (part,), (rows,))
        found[True, place.bfl.replace(".", "_")] = (TensorNaming.KOHYA, place, place.parts, place.rows)
        found[False, place.bfl] = (TensorNaming.BFL, place, place.parts, place.rows)
        if len(place.parts) > 1:
            for at, (part, rows) in enumerate(zip(place.parts, place.rows, strict=True)):
                found[False, f"{place.bfl}.{at}"] = (TensorNaming.BFL, place, (part,), (rows,))
    for name, place in MISSPELT[family].items():
        found[False, name] = (TensorNaming.BFL, place, place.parts, place.rows)
    if family is Family.FLUX1:
        for name, place in XLABS_PLACES.items():
            found[False, name] = (TensorNaming.XLABS, place, place.parts, place.rows)
    return found
