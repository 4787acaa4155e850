"""The store: rows in one database, bytes in an object store, all of it under one home folder."""

from limner.store.blobs import Blobs, file_digest
from limner.store.database import Database

__all__ = ["Blobs", "Database", "file_digest"]
