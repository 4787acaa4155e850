"""Lora files on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner._version import __version__
from limner.catalog import find_base
from limner.errors import InputRefused
from limner.services.running import settings_of
from limner.settings import Settings
from limner.types import Consent, Health, SubjectKind, Visibility

if TYPE_CHECKING:
    from limner.hubs.hub import Published

__all__ = ["HuggingFaceService"]


class HuggingFaceService:
    """Publishes lora files on the Hugging Face Hub, and says how they are there."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        from limner.hubs.huggingface.hub import HuggingFaceHub

        self.settings = settings_of(settings)
        self._hub = HuggingFaceHub(settings=self.settings)

    def upload_lora(
        self,
        weights: str | Path,
        repo: str,
        *,
        trigger: str = "",
        title: str = "",
        kind: SubjectKind | str = SubjectKind.STYLE,
        class_word: str = "",
        base: str = "",
        private: bool = True,
        tag: str = "",
        samples: Mapping[str, tuple[Path, str]] | None = None,
        consent: Consent | None = None,
        training_settings: Mapping[str, Any] | None = None,
    ) -> Published:
        """Publish a lora file of any naming as ``owner/name`` or ``name``, with a model card, in one commit.

        Without a ``tag`` it is v1, or v1.2, v1.3 ... where the repo has other content under that: tags never move.
        ``samples`` are pictures by file name, each with its prompt. LoraRefused: the file is no lora, or not of
        ``base``; without one the base is found from the tensors (BaseUnclear: several fit). InputRefused: a person's
        lora shall be public without a consent.
        """
        from limner.hubs.card import CardFacts, CardSample, model_card
        from limner.hubs.hub import WEIGHTS_NAME, LoraPackage, TagTaken
        from limner.loras.checks.base_choice import unclear
        from limner.loras.checks.inspection import inspect
        from limner.loras.checks.validation import validate

        path, kind = Path(weights), SubjectKind(kind)
        if not private and kind is SubjectKind.PERSON and consent is None:
            raise InputRefused(
                "A lora of a person shall be public, and no consent was given.",
                remedy="Pass consent=Consent(statement, given_by, given_at), or publish privately.",
                thing=repo,
            )
        found = inspect(path)
        if not (base or found.base) and found.candidates:
            raise unclear(found.findings, found.candidates)
        row = find_base(base or found.base)
        facts = validate(path, row)
        repo = self._hub.full_name(repo)
        shown = samples or {}
        card = CardFacts(
            repo=repo,
            title=title or path.stem,
            kind=kind,
            trigger=trigger or facts.trigger,
            class_word=class_word,
            base=row,
            weights_name=WEIGHTS_NAME,
            weights_digest=facts.digest,
            tag="",
            rank=facts.rank,
            alpha=facts.alpha,
            modules=facts.modules,
            settings=training_settings or {},
            samples=tuple(CardSample(name, prompt) for name, (_, prompt) in shown.items()),
            consent=consent,
            limner_version=__version__,
        )
        visibility = Visibility.PRIVATE if private else Visibility.PUBLIC
        number = 1
        while True:
            named = tag or ("v1" if number == 1 else f"v1.{number}")
            package = LoraPackage(
                weights=path,
                weights_digest=facts.digest,
                card=model_card(replace(card, tag=named)),
                samples={one.name: shown[one.name][0] for one in card.shown},
            )
            try:
                message = f"{card.title} {named}"
                return self._hub.publish(repo, package, visibility=visibility, tag=named, message=message)
            except TagTaken:
                if tag:
                    raise
                number += 1

    def get_lora_status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Whether the lora there is ready for use, and by whom; ``problems`` says what stands in the way."""
        return self._hub.status(self._hub.full_name(repo), revision=revision, weights_digest=weights_digest)
