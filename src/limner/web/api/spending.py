"""What may cost: asked about first by who may not spend, or who said how much it may be at most."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from fastapi import Query

from limner.errors import AccessRefused, SpendingRefused
from limner.records import Job, WhatIf, Wish
from limner.studio import Studio
from limner.types import Estimate
from limner.web.access import Visitor

__all__ = ["WhatIfAsked", "again", "drawn_again", "refuse_dear"]

WhatIfAsked = Annotated[
    bool, Query(description="Only say what would be done and what it costs; nothing is sent that costs.")
]


def refuse_dear(visit: Visitor, max_cost: Decimal | None, estimate: Callable[[], Estimate]) -> None:
    """AccessRefused: it costs, and the token may not spend. SpendingRefused: it costs more than ``max_cost``."""
    if max_cost is None and "spend" in visit.scopes:
        return
    found = estimate()
    if "spend" not in visit.scopes and (found.amount > 0 or not found.certain):
        raise AccessRefused(
            f"This costs about ${found.amount:.2f}, and the token lacks the scope 'spend'.",
            remedy="Make a token that has it (limner tokens add), or choose what is done on this machine.",
            thing="spend",
        )
    if max_cost is not None and found.amount > max_cost:
        raise SpendingRefused(
            f"This costs about ${found.amount:.2f}, more than the ${max_cost:.2f} of max_cost. Nothing was sent.",
            remedy="Raise max_cost, or ask for less; ?what_if=true says what it is made of.",
            thing="max_cost",
        )


def again(studio: Studio, job: Job) -> WhatIf:
    """What a stopped job may be and cost if it is done again from its start."""
    if job.target.startswith("training_"):
        made = studio.training(job.target)
        return studio.train(
            made.subject,
            what_if=True,
            dataset=made.dataset,
            base=made.base,
            trainer=made.trainer,
            allow_few=True,
            settings={name: value for name, value in made.recipe.items() if name == "steps"},
        )
    if job.target.startswith("generation_"):
        return drawn_again(studio, studio.wish_of(job.target))
    # A whole run may train and draw; what takes in or publishes costs nothing.
    return WhatIf((), Estimate(certain=job.kind != "run"))


def drawn_again(studio: Studio, wish: Wish) -> WhatIf:
    """What drawing the same once more would be and cost."""
    return studio.generate(
        wish.prompt,
        what_if=True,
        loras=[f"{name}:{scale:g}" for name, scale in wish.loras],
        base=wish.base,
        generator=wish.generator,
        model=wish.model,
        width=wish.width,
        height=wish.height,
        steps=wish.steps,
        guidance=wish.guidance,
        seed=wish.seed,
        count=wish.count,
    )
