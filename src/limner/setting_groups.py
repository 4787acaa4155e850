"""How the settings are shown: their groups and titles, and which of them only who sits at the machine may change."""

from __future__ import annotations

__all__ = ["FROM_HERE", "GROUPS", "RESTART", "title_of"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Used by default": ("base", "trainer", "hub", "generator", "hub_namespace"),
    "Money": ("consent_above", "budget_day", "budget_subject", "budget_total"),
    "Pictures": ("sign_images", "device"),
    "Photos": ("max_photo_pixels", "max_zip_bytes", "workers"),
    "Uploads": ("max_upload_bytes", "max_upload_files", "upload_hours", "disk_reserve", "max_request_bytes"),
    "Work": ("start_worker", "worker_idle_seconds"),
    "This server": (
        "hosts",
        "public_url",
        "webhook_port",
        "webhooks_to_loopback",
        "max_connections",
        "max_connections_per_address",
        "head_seconds",
    ),
    "S3 bucket": ("s3_bucket", "s3_prefix", "s3_region", "s3_endpoint", "s3_public_url"),
    "Folders": ("home", "hub_folder", "base_paths", "catalog"),
    "Addresses of the services": (
        "replicate_url",
        "together_url",
        "huggingface_url",
        "fal_queue_url",
        "fal_rest_url",
        "fal_api_url",
        "vendor_urls",
    ),
}
FROM_HERE = {
    **dict.fromkeys(GROUPS["Folders"], "It names a folder of the machine that Limner runs on"),
    **dict.fromkeys(GROUPS["Addresses of the services"], "It decides where your tokens are sent"),
    **dict.fromkeys(
        ("s3_endpoint", "hosts", "public_url", "webhook_port", "webhooks_to_loopback"),
        "It decides who can reach this machine, or whom it reaches",
    ),
}
"""Changed by who sits at the machine only, and why."""
RESTART = frozenset(
    {
        "hosts",
        "public_url",
        "webhook_port",
        "max_request_bytes",
        "max_upload_bytes",
        "max_connections",
        "max_connections_per_address",
        "head_seconds",
        "catalog",
    }
)
"""Read once, when a server or worker starts."""
_WORDS = {"s3": "S3", "url": "address", "fal": "fal", "huggingface": "Hugging Face", "replicate": "Replicate"}
_TITLES = {
    "base": "Base",
    "consent_above": "Ask before a step costs more than",
    "budget_day": "Budget a day",
    "budget_subject": "Budget a subject",
    "budget_total": "Budget in all",
    "max_photo_pixels": "Most pixels of a photo",
    "max_zip_bytes": "Most that a zip unpacks to",
    "max_upload_bytes": "Largest uploaded file",
    "max_upload_files": "Most files at once",
    "max_request_bytes": "Largest request without a file",
    "max_connections": "Most connections",
    "max_connections_per_address": "Most connections of one address",
    "head_seconds": "Wait for a request",
    "upload_hours": "Unused uploads are kept",
    "disk_reserve": "Left free on the disk",
    "workers": "Threads for photos",
    "hosts": "More names of this server",
    "start_worker": "Start a worker by itself",
    "worker_idle_seconds": "An idle worker ends after",
    "webhooks_to_loopback": "Webhooks to this machine",
    "sign_images": "Sign every picture",
    "together_url": "Together AI address",
    "vendor_urls": "Addresses of other vendors",
    "fal_api_url": "fal API address",
    "fal_queue_url": "fal queue address",
    "fal_rest_url": "fal files address",
}


def title_of(name: str) -> str:
    """A setting's name for people."""
    if name in _TITLES:
        return _TITLES[name]
    words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
    return words[0].upper() + words[1:] if not words.startswith("fal") else words
