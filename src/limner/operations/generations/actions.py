"""Pictures asked for: what they would cost, drawing them, what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Unpack, overload

from limner.errors import NotFound
from limner.operations.generations.queries import images_of, to_generation, to_image
from limner.operations.home.facet import Facet
from limner.operations.ids import by_id
from limner.options import GenerateOptions
from limner.records import (
    Choices,
    Generation,
    Image,
    Job,
    PromptTemplate,
    Reproduction,
    WhatIf,
    Wish,
)
from limner.store.models import (
    LARGEST,
    GenerationRow,
    ImageRow,
)
from limner.types import SubjectKind

__all__ = ["Generations"]


class Generations(Facet):
    """``studio.generations``: pictures asked for: what they would cost, drawing them, what came of it."""

    @overload
    def start(
        self, prompt: str, *, yes: bool = False, what_if: Literal[True], **options: Unpack[GenerateOptions]
    ) -> WhatIf: ...
    @overload
    def start(
        self, prompt: str, *, yes: bool = False, what_if: Literal[False] = False, **options: Unpack[GenerateOptions]
    ) -> Job: ...
    def start(
        self, prompt: str, *, yes: bool = False, what_if: bool = False, **options: Unpack[GenerateOptions]
    ) -> Job | WhatIf:
        """Draw pictures, with one or several loras or none; the job's target is the generation.

        InputRefused for what cannot be drawn, NotFound for a lora that is not here, ConsentNeeded for what costs more
        than goes without asking. ``what_if``: give the plan with the exact requests and the price instead.
        """
        from limner.operations.generations import submission as generations

        named = [generations.parse_lora(words) for words in options.get("loras", ())]
        made = generations.submit(
            self._workspace, prompt=prompt, yes=yes, what_if=what_if, **{**options, "loras": named}
        )
        return self._started(made)

    def offers(self, prompt: str = "", **options: Unpack[GenerateOptions]) -> Choices:
        """Every generator for a wish: what it would cost and take, or why it cannot draw it here and what mends that.

        Nothing is sent that costs. The errors of ``start`` where the wish itself cannot be.
        """
        from limner.operations.generations import offers as generation_offers
        from limner.operations.generations import submission as generations

        named = [generations.parse_lora(words) for words in options.get("loras", ())]
        return generation_offers.choices(self._workspace, prompt=prompt, **{**options, "loras": named})

    def request_of(self, thing: int | str) -> Wish:
        """What was asked for when a picture (its number) or a generation (its id) was made, to ask for it again."""
        from limner.operations.generations import offers as generation_offers

        return generation_offers.wish_of(self._workspace, thing)

    def prompt_templates(self, kind: SubjectKind | str = "") -> list[PromptTemplate]:
        """Prompts to begin with, for one kind of subject or all."""
        from limner.catalog.prompts import prompt_templates

        return prompt_templates(str(kind))

    def get(self, generation: str) -> Generation:
        """One request for pictures, with the images made so far."""
        with self._workspace.database.read() as session:
            row = by_id(session, "generation", GenerationRow, generation)
            if row is None:
                raise NotFound(
                    f"There is no generation '{generation}'.",
                    remedy="List images: limner images list",
                    thing=generation,
                )
            return to_generation(self._workspace, session, row)

    def images(self, slug: str = "", *, limit: int = 50) -> list[Image]:
        """The newest images, of one subject or of all."""
        with self._workspace.database.read() as session:
            found = images_of(session, slug or None, limit)
            return [to_image(self._workspace, row, prompt) for row, prompt in found]

    def image(self, image: int) -> Image:
        """One image by its number."""
        with self._workspace.database.read() as session:
            row = session.get(ImageRow, image) if 0 <= image <= LARGEST else None
            if row is None:
                raise NotFound(f"There is no image {image}.", remedy="List them: limner images list", thing=str(image))
            prompt = session.get_one(GenerationRow, row.generation).prompt
            return to_image(self._workspace, row, prompt)

    def save_image(self, image: int, destination: str | Path) -> Path:
        """Copy a picture to a file of yours, whole and sound or not at all. StorageFailed: it is damaged here."""
        return self._workspace.blobs.export(self.image(image).digest, Path(destination))

    @overload
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Draw a picture again from its own provenance; then ask ``reproduced``."""
        from limner.operations.generations import reproduce as reproducing

        return self._started(reproducing.submit(self._workspace, Path(picture), yes=yes, what_if=what_if))

    def reproduced(self, picture: str | Path, job: Job) -> Reproduction:
        """Whether an ended reproduction gave the same pixels, and what differs if not."""
        from limner.operations.generations import reproduce as reproducing

        return reproducing.reproduced(self._workspace, Path(picture), job)
