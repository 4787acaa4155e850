"""The pages: one file a group."""
