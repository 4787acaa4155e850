"""The hub that is a bucket."""

from limner.hubs.s3.hub import S3Hub

__all__ = ["S3Hub"]
