"""The home folder: database, settings, accounts, keys, scratch space, the worker's lock, the doctor."""
