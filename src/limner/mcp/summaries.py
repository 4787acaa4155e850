"""Records in few words, as an assistant needs them: names, states, sums and what to do, no file listings."""

from __future__ import annotations

from typing import Any

from limner.mcp.tool import plain
from limner.records import IntakeEntry, Job, Lora, Subject, WhatIf

__all__ = ["in_photo_report", "of_job", "of_lora", "of_subject", "of_what_if"]


def of_subject(one: Subject) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "name": one.name,
        "kind": one.kind.value,
        "trigger": one.trigger,
        "class_word": one.class_word,
        "photos": one.photos,
        "loras": one.loras,
        "consent_on_record": one.consent is not None,
        "findings": plain(one.findings),
    }


def of_job(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "target": job.target,
        "state": job.state.value,
        "ended": job.state.ended,
        "progress": plain(job.progress),
        "result": plain(job.result),
        "error": plain(job.error),
    }


def of_lora(lora: Lora) -> dict[str, Any]:
    return {
        "name": lora.name,
        "subject": lora.subject,
        "base": lora.base,
        "trigger": lora.trigger,
        "rank": lora.rank,
        "byte_size": lora.byte_size,
        "training": lora.training,
        "step": lora.step,
        "findings": plain(lora.findings),
        "created_at": plain(lora.created_at),
    }


def of_what_if(found: WhatIf) -> dict[str, Any]:
    """The price, whether it would work, and what speaks against it; nothing was done."""
    return {
        "done": False,
        "possible": found.possible,
        "cost_usd": plain(found.estimate.amount),
        "price_is_certain": found.estimate.certain,
        "seconds": found.estimate.seconds,
        "note": found.estimate.note,
        "plans": [
            {"back_end": plan.back_end, "model": plan.model, "findings": plain(plan.findings)} for plan in found.plans
        ],
    }


def in_photo_report(entry: IntakeEntry) -> dict[str, Any]:
    return {
        "photo": entry.photo,
        "source": entry.report.source,
        "verdict": entry.report.verdict.value,
        "findings": plain(entry.report.findings),
        "duplicate_of": entry.report.duplicate_of,
    }
