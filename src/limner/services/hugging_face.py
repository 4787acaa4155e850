"""Lora files on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from limner.datasets.triggers import propose_slug
from limner.records import Lora, Publication
from limner.settings import Settings
from limner.studio import Studio
from limner.types import Consent, Health, SubjectKind, Visibility

__all__ = ["HuggingFaceService", "publish", "studio_in"]


class HuggingFaceService:
    """Publishes lora files on the Hugging Face Hub, and says how they are there. ``folder``: your home if left out."""

    def __init__(self, folder: str | Path = "", *, settings: Settings | None = None) -> None:
        self.studio = studio_in(folder, settings)

    def upload_lora(
        self,
        weights: str | Path,
        repo: str,
        *,
        trigger: str = "",
        title: str = "",
        kind: SubjectKind | str = SubjectKind.STYLE,
        base: str = "",
        private: bool = True,
        consent: Consent | None = None,
    ) -> Publication:
        """Publish a lora file of any naming as ``owner/name`` or ``name``, with a model card, in one commit.

        It becomes the next version of the subject that has the repo's name. LoraRefused: the file is no lora, or not
        of ``base``; without one the base is found from the tensors (BaseUnclear: several fit). Conflict: a person's
        lora shall be public without a consent.
        """
        slug = propose_slug(repo.rpartition("/")[2])
        lora = self.studio.loras.adopt(
            weights, subject=slug, kind=kind, trigger=trigger, name=title or Path(weights).stem, base=base
        )
        return publish(self.studio, lora, repo, private=private, consent=consent)

    def get_lora_status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Whether the lora there is ready for use, and by whom; ``problems`` says what stands in the way."""
        from limner.hubs.huggingface.hub import HuggingFaceHub

        hub = HuggingFaceHub(settings=self.studio.settings)
        return hub.status(hub.full_name(repo), revision=revision, weights_digest=weights_digest)


def studio_in(folder: str | Path, settings: Settings | None) -> Studio:
    """The studio of a folder, or of the home that the settings name."""
    home = Path(folder).expanduser().absolute() if str(folder) else None
    if settings is None or home is None:
        return Studio(home, settings=settings)
    return Studio(settings=settings.model_copy(update={"home": home}))


def publish(studio: Studio, lora: Lora, repo: str, *, private: bool, consent: Consent | None) -> Publication:
    """Publish a lora on the Hugging Face Hub, and wait for it; the same again makes no second revision."""
    if consent is not None:
        studio.subjects.record_consent(lora.subject, consent)
    visibility = Visibility.PRIVATE if private else Visibility.PUBLIC
    studio.wait(studio.publications.start(lora.name, hub="huggingface", repo=repo, visibility=visibility))
    places = studio.publications.all(lora.subject)
    return next(place for place in places if (place.lora, place.hub) == (lora.name, "huggingface"))
