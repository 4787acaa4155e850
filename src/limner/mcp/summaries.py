"""Records in few words, as an assistant needs them: names, states, sums and what to do, no file listings."""

from __future__ import annotations

from typing import Any

from limner.plain_text import plain
from limner.records import IntakeEntry, Job, Lora, Subject, WhatIf

__all__ = ["fields_of", "in_photo_report", "of_job", "of_lora", "of_subject", "of_what_if"]


def fields_of(record: object, *names: str) -> dict[str, Any]:
    """These fields of a record as JSON data."""
    return {name: plain(getattr(record, name)) for name in names}


def of_subject(one: Subject) -> dict[str, Any]:
    return {
        **fields_of(one, "slug", "name", "kind", "trigger", "class_word", "photos", "loras"),
        "consent_on_record": one.consent is not None,
        "findings": plain(one.findings),
    }


def of_job(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        **fields_of(job, "kind", "subject", "target", "state"),
        "ended": job.state.ended,
        **fields_of(job, "progress", "result", "error"),
    }


def of_lora(lora: Lora) -> dict[str, Any]:
    told = ("name", "subject", "base", "trigger", "rank", "byte_size", "training", "step", "findings", "created_at")
    return fields_of(lora, *told)


def of_what_if(found: WhatIf) -> dict[str, Any]:
    """The price, whether it would work, and what speaks against it; nothing was done."""
    return {
        "done": False,
        "possible": found.possible,
        "cost_usd": plain(found.estimate.amount),
        "price_is_certain": found.estimate.certain,
        **fields_of(found.estimate, "seconds", "note"),
        "plans": [fields_of(plan, "back_end", "model", "findings") for plan in found.plans],
    }


def in_photo_report(entry: IntakeEntry) -> dict[str, Any]:
    return {"photo": entry.photo, **fields_of(entry.report, "source", "verdict", "findings", "duplicate_of")}
