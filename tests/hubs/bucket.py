"""A bucket on a real socket: moto's S3 server, which asks for credentials unless the bucket's policy opens a folder."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["bucket_address", "bucket_settings", "new_bucket", "s3_client"]

PREFIX = "limner"


@pytest.fixture(scope="session")
def bucket_address() -> Iterator[str]:
    """Where the server answers."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_client(bucket_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """AWS's own client for that server; the usual variables hold its credentials."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTEST0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests-only")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return boto3.client("s3", endpoint_url=bucket_address, region_name="us-east-1")


@pytest.fixture
def new_bucket(s3_client: Any) -> Callable[..., str]:
    """Make a bucket of its own; ``opened`` names the folders that its policy lets anyone read."""

    def make(*opened: str) -> str:
        name = f"loras-{secrets.token_hex(6)}"
        s3_client.create_bucket(Bucket=name)
        statements = [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{name}/{folder}*",
            }
            for folder in opened
        ]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
            s3_client.put_bucket_policy(Bucket=name, Policy=policy)
        return name

    return make


@pytest.fixture
def bucket_settings(bucket_address: str, new_bucket: Callable[..., str]) -> dict[str, str]:
    """The settings of the hub s3 for an empty bucket whose folder ``open/`` anyone may read."""
    return {"s3_bucket": new_bucket(f"{PREFIX}/open/"), "s3_endpoint": bucket_address, "s3_prefix": PREFIX}
