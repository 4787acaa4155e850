"""Trainings, loras and publications by the API."""

from __future__ import annotations

from collections.abc import Iterator

from limner.client.connection import Connection
from limner.types import TensorNaming, Visibility
from limner.web.api.schemas.jobs import Job, Resume, WhatIf
from limner.web.api.schemas.loras import (
    Card,
    CardWords,
    HubEntry,
    Lora,
    LoraImport,
    Publication,
    PublicationHealth,
    PublicationVisibility,
    Publish,
    Unpublished,
    VisibilityWanted,
)
from limner.web.api.schemas.subjects import Erasure
from limner.web.api.schemas.trainings import (
    Checkpoint,
    Losses,
    RecipeField,
    StartedTraining,
    Training,
    TrainingChoices,
    TrainingRun,
    TrainingSample,
    TrainWish,
)

__all__ = ["Loras", "Trainings"]


class Trainings:
    """``client.trainings``: runs of a recipe on a dataset."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, subject: str = "", *, limit: int | None = None) -> Iterator[Training]:
        """Newest first."""
        return self._connection.pages(Training, "/trainings", subject=subject, limit=limit)

    def start(self, wish: TrainWish, *, key: str = "") -> StartedTraining:
        """Train; with a ``key`` of your own at most once.

        RecipeRefused, ConsentNeeded, SpendingRefused: nothing was started.
        """
        return self._connection.post(StartedTraining, "/trainings", wish, key=key)

    def what_if(self, wish: TrainWish) -> WhatIf:
        """What would be done and what it costs; nothing is sent that costs."""
        return self._connection.post(WhatIf, "/trainings", wish, what_if=True)

    def choices(self, wish: TrainWish) -> TrainingChoices:
        """The trainers, compared."""
        return self._connection.post(TrainingChoices, "/training-choices", wish)

    def fields(self, *, base: str = "", preset: str = "") -> list[RecipeField]:
        """What can be set of a recipe."""
        return self._connection.value(list[RecipeField], "/recipe-fields", base=base, preset=preset)

    def get(self, training: str) -> Training:
        """One training."""
        return self._connection.get(Training, f"/trainings/{training}")

    def run(self, training: str) -> TrainingRun:
        """With its job, samples, checkpoints and cost."""
        return self._connection.get(TrainingRun, f"/trainings/{training}/run")

    def losses(self, training: str) -> Losses:
        """Its curves."""
        return self._connection.get(Losses, f"/trainings/{training}/losses")

    def samples(self, training: str) -> list[TrainingSample]:
        """The pictures drawn meanwhile."""
        return self._connection.value(list[TrainingSample], f"/trainings/{training}/samples")

    def sample_file(self, training: str, step: int, position: int) -> bytes:
        """One of them."""
        return self._connection.answer("GET", f"/trainings/{training}/samples/{step}/{position}/file").content

    def checkpoints(self, training: str) -> list[Checkpoint]:
        """Those that were kept."""
        return self._connection.value(list[Checkpoint], f"/trainings/{training}/checkpoints")

    def pick(self, training: str, step: int) -> Lora:
        """Make a checkpoint the subject's next version."""
        return self._connection.post(Lora, f"/trainings/{training}/checkpoints/{step}/pick")

    def log(self, training: str) -> str:
        """The end of its log."""
        return self._connection.answer("GET", f"/trainings/{training}/log").text

    def cancel(self, training: str) -> Job:
        """Stop it at its next safe point."""
        return self._connection.post(Job, f"/trainings/{training}/cancel")

    def resume_what_if(self, training: str) -> WhatIf:
        """What going on may cost, where it has to begin anew."""
        return self._connection.post(WhatIf, f"/trainings/{training}/resume", Resume(yes=False), what_if=True)

    def resume(self, training: str, *, yes: bool = False, key: str = "") -> Job:
        """Go on with it; with a ``key`` of your own at most once."""
        return self._connection.post(Job, f"/trainings/{training}/resume", Resume(yes=yes), key=key)


class Loras:
    """``client.loras``: versions of a subject's weights, and where they are published."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, subject: str = "", *, limit: int | None = None) -> Iterator[Lora]:
        """Newest first."""
        return self._connection.pages(Lora, "/loras", subject=subject, limit=limit)

    def adopt(self, wanted: LoraImport, *, key: str = "") -> Job:
        """Adopt one from the Hugging Face Hub or an https address; the job's result names it. ``key``: at most once."""
        return self._connection.post(Job, "/loras", wanted, key=key)

    def get(self, lora: str) -> Lora:
        """By ``slug@v1``, or the newest by ``slug``."""
        return self._connection.get(Lora, f"/loras/{lora}")

    def file(self, lora: str, *, naming: TensorNaming | None = None) -> bytes:
        """Its weights, as safetensors."""
        return self._connection.answer("GET", f"/loras/{lora}/file", query={"naming": naming}).content

    def card(self, lora: str) -> Card:
        """Its model card."""
        return self._connection.get(Card, f"/loras/{lora}/card")

    def set_card(self, lora: str, words: str, *, if_match: str = "") -> Card:
        """Your own words for its card."""
        return self._connection.change("PUT", Card, f"/loras/{lora}/card", CardWords(words=words), if_match=if_match)

    def delete(self, lora: str, *, unpublish: bool = False) -> Erasure:
        """Delete one version and its weights."""
        answer = self._connection.answer("DELETE", f"/loras/{lora}", query={"unpublish": unpublish})
        return Erasure.model_validate_json(answer.content)

    def publish(self, lora: str, wanted: Publish | None = None, *, key: str = "") -> Job:
        """Publish it; private unless told otherwise."""
        return self._connection.post(Job, f"/loras/{lora}/publications", wanted or Publish(), key=key)

    def publications(self, subject: str = "", *, limit: int | None = None) -> Iterator[Publication]:
        """Where loras were published, newest first."""
        return self._connection.pages(Publication, "/publications", subject=subject, limit=limit)

    def health(self, lora: str) -> list[PublicationHealth]:
        """Whether its publications are ready for use."""
        return self._connection.value(list[PublicationHealth], f"/loras/{lora}/publications")

    def set_visibility(self, lora: str, visibility: Visibility, *, hub: str = "") -> list[PublicationVisibility]:
        """Open or close its repos."""
        wanted = VisibilityWanted(visibility=visibility, hub=hub)
        answer = self._connection.answer("PATCH", f"/loras/{lora}/publications", body=wanted)
        return [PublicationVisibility.model_validate(one) for one in answer.json()]

    def unpublish(self, lora: str, *, hub: str = "") -> list[Unpublished]:
        """Delete its repos."""
        answer = self._connection.answer("DELETE", f"/loras/{lora}/publications", query={"hub": hub})
        return [Unpublished.model_validate(one) for one in answer.json()]

    def on_hub(self, hub: str = "") -> list[HubEntry]:
        """What is ours on a hub."""
        return self._connection.value(list[HubEntry], "/hub-entries", hub=hub)
