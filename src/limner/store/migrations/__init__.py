"""Alembic migrations of our own tables; the workflow engine migrates its own."""
