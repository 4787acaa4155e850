"""What the Replicate stand-in shows of its models, files and jobs, in the vendor's own forms."""

from __future__ import annotations

import hashlib
from typing import Any

from limner.stand_ins.replicate.models import StoredModel, StoredVersion
from limner.stand_ins.replicate.stored import StoredFile, StoredJob, time_words

__all__ = ["file_body", "job_body", "job_urls", "model_body", "version_body"]


def model_body(model: StoredModel) -> dict[str, Any]:
    """A model as the vendor shows it."""
    return {
        "url": f"https://replicate.com/{model.full_name}",
        "owner": model.owner,
        "name": model.name,
        "description": None,
        "visibility": model.visibility,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "is_official": model.official,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": version_body(model.versions[-1]) if model.versions else None,
    }


def file_body(root: str, file: StoredFile) -> dict[str, Any]:
    """An upload as the vendor shows it."""
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.content_type,
        "size": len(file.data),
        "etag": hashlib.md5(file.data, usedforsecurity=False).hexdigest(),
        "checksums": {"sha256": hashlib.sha256(file.data).hexdigest()},
        "metadata": file.metadata,
        "created_at": time_words(file.created),
        "expires_at": time_words(file.expires),
        "urls": {"get": f"{root}/v1/files/{file.id}"},
    }


def job_body(root: str, job: StoredJob, *, gone: bool) -> dict[str, Any]:
    """A training or prediction as the vendor shows it; without what has no value yet, and data that are ``gone``."""
    body: dict[str, Any] = {
        "id": job.id,
        "model": job.model.full_name,
        "version": job.version.id,
        "input": {} if gone else job.input,
        "logs": "" if gone else job.logs,
        "error": job.error,
        "status": job.status,
        "created_at": time_words(job.created),
        "source": "api",
        "urls": job_urls(root, f"{job.kind}s", job.id),
    }
    if job.kind == "prediction":
        body |= {"output": None if gone else job.output, "data_removed": gone}
    elif job.output is not None:
        body["output"] = job.output
    if job.destination:
        body["destination"] = job.destination
    if job.started:
        body["started_at"] = time_words(job.started)
    if job.completed:
        body["completed_at"] = time_words(job.completed)
        # What takes milliseconds here takes a second there at least.
        ran = max(1.0, job.completed - job.started) if job.started else 0.0
        whole = max(ran, job.completed - job.created)
        body["metrics"] = {"predict_time": round(ran, 6), "total_time": round(whole, 6)}
    return body


def job_urls(root: str, kind: str, job: str) -> dict[str, str]:
    """The addresses of a job."""
    return {
        "get": f"{root}/v1/{kind}/{job}",
        "cancel": f"{root}/v1/{kind}/{job}/cancel",
        "web": f"https://replicate.com/p/{job}",
    }


def version_body(version: StoredVersion) -> dict[str, Any]:
    """A version as the vendor shows it."""
    return {
        "id": version.id,
        "created_at": version.created_at,
        "cog_version": "0.9.20",
        "openapi_schema": version.schema,
    }
