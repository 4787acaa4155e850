"""LoRAs on hubs: published, opened, closed, taken back, and their model cards."""

from __future__ import annotations

from limner.operations.home.facet import Facet
from limner.operations.publications import queries as publication_queries
from limner.records import (
    Erasure,
    HubEntry,
    Job,
    Lora,
    Publication,
)
from limner.types import Health, Visibility

__all__ = ["Publications"]


class Publications(Facet):
    """``studio.publications``: LoRAs on hubs: published, opened, closed, taken back, and their model cards."""

    def card(self, lora: str) -> str:
        """The model card as it would be published now: a YAML header and Markdown."""
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.card_text(self._workspace, lora)

    def set_card(self, lora: str, words: str) -> Lora:
        """Keep your own words (Markdown) for a lora's model card; "" takes them away. The next publication has them."""
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.set_card(self._workspace, lora, words)

    def delete_lora(self, lora: str, *, unpublish: bool = False) -> Erasure:
        """Delete one version and its weights; pictures made with it stay. Conflict: it is published, or a job uses it.

        ``unpublish`` also deletes the repos that it was published in, with all versions in them.
        """
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.delete_lora(self._workspace, lora, unpublish=unpublish)

    def start(
        self,
        lora: str,
        *,
        hub: str = "",
        repo: str = "",
        visibility: Visibility | str = Visibility.PRIVATE,
    ) -> Job:
        """Publish a lora with its model card and samples; private unless told otherwise."""
        from limner.operations.publications import job as publishing

        return self._started(
            publishing.submit(self._workspace, lora, hub=hub, repo=repo, visibility=Visibility(visibility))
        )

    def all(self, slug: str = "") -> list[Publication]:
        """Where loras were published, newest first."""
        return publication_queries.publications(self._workspace, slug)

    def status(self, lora: str) -> list[tuple[str, str, Health]]:
        """For each publication of a lora: hub, repo, and whether it is ready for use, and by whom."""
        from limner.operations.publications import job as publishing

        return publishing.status(self._workspace, lora)

    def hub_listing(self, hub: str = "") -> list[HubEntry]:
        """What Limner published on a hub, from whatever machine, with the loras here that it is."""
        from limner.operations.publications import hub_repos as published

        return published.listing(self._workspace, hub)

    def set_visibility(
        self, lora: str, visibility: Visibility | str, *, hub: str = ""
    ) -> list[tuple[str, str, Visibility]]:
        """Open or close the repos of a lora; for each: hub, repo, and the visibility read back afterwards."""
        from limner.operations.publications import hub_repos as published

        return published.set_visibility(self._workspace, lora, Visibility(visibility), hub=hub)

    def unpublish(self, lora: str, *, hub: str = "") -> list[tuple[str, str]]:
        """Delete the repos that a lora was published in, with all versions in them; (hub, repo) of each."""
        from limner.operations.publications import hub_repos as published

        return published.unpublish(self._workspace, lora, hub=hub)
