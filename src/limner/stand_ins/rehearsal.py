"""A rehearsal: all four vendors on this machine, with one engine, and what Limner must be told to reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.catalog.bases import use_folder as use_bases
from limner.catalog.hosted import use_folder as use_hosted
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.engine import Engine
from limner.stand_ins.random_flux2 import FLUX2_RANDOM, stored_flux2
from limner.stand_ins.serving import App, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from limner.stand_ins.fal.server import FalStandIn
    from limner.stand_ins.hub.server import HuggingFaceStandIn
    from limner.stand_ins.replicate.server import ReplicateStandIn
    from limner.stand_ins.together.server import TogetherStandIn

__all__ = ["ACCOUNT", "TOKENS", "Rehearsal", "rehearsal"]

ACCOUNT = "rehearsal"
TOKENS = {
    "REPLICATE_API_TOKEN": "r8_rehearsal_replicate",
    "FAL_KEY": "rehearsal-fal:secret",
    "HF_TOKEN": "hf_rehearsal_huggingface",
    "TOGETHER_API_KEY": "rehearsal_together",
}
"""The tokens that the stand-ins take; they open nothing else."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """``settings`` are fields of ``Settings``; ``environment`` the tokens, for this process and the worker's."""

    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    replicate: ReplicateStandIn
    fal: FalStandIn
    huggingface: HuggingFaceStandIn
    together: TogetherStandIn


@contextmanager
def rehearsal(
    folder: Path, *, engine: Engine | None = None, around: Callable[[str, App], App] = lambda _, app: app
) -> Iterator[Rehearsal]:
    """Serve all four stand-ins until the block ends. Without an engine they train and draw for real, on the CPU.

    ``folder`` takes the catalog rows of their models, the FLUX.2 of random weights and what the engine keeps.
    ``around`` may put something between a vendor (by its name) and its clients.
    """
    from limner.stand_ins.fal.server import FalStandIn
    from limner.stand_ins.hub.server import HuggingFaceStandIn
    from limner.stand_ins.replicate.server import ReplicateStandIn
    from limner.stand_ins.together.server import TogetherStandIn

    catalog = write_catalog(folder / "catalog")
    use_bases(catalog)
    use_hosted(catalog)
    base_paths: dict[str, Path] = {}
    if engine is None:
        from limner.stand_ins.local_engine import LocalEngine

        base_paths[FLUX2_RANDOM.id] = stored_flux2(folder / FLUX2_RANDOM.id)
        engine = LocalEngine(folder / "engine", base_paths=base_paths)
    replicate = ReplicateStandIn(engine, tokens={TOKENS["REPLICATE_API_TOKEN"]: ACCOUNT})
    fal = FalStandIn(engine, tokens={TOKENS["FAL_KEY"]: ACCOUNT})
    huggingface = HuggingFaceStandIn(engine, tokens={TOKENS["HF_TOKEN"]: ACCOUNT})
    together = TogetherStandIn(engine, tokens={TOKENS["TOGETHER_API_KEY"]: ACCOUNT})
    with ExitStack() as stack:
        stack.enter_context(serve(around("fal", fal.app), fal))
        settings: dict[str, Any] = {
            "replicate_url": stack.enter_context(serve(around("replicate", replicate.app), replicate)),
            "fal_queue_url": fal.queue_url,
            "fal_rest_url": fal.rest_url,
            "fal_api_url": fal.api_url,
            "huggingface_url": stack.enter_context(serve(around("huggingface", huggingface.app), huggingface)),
            "together_url": stack.enter_context(serve(around("together", together.app), together)),
            "catalog": catalog,
            "base_paths": base_paths,
        }
        # the client of the Hub would otherwise upload by a protocol that only the real Hub speaks
        environment = {**TOKENS, "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": settings["huggingface_url"]}
        yield Rehearsal(settings, environment, replicate, fal, huggingface, together)
