"""The local trainer: a training in a process of its own on this machine, guarded by a small detached shim.

``trainer.py`` is what the pipeline talks to, ``run.py`` what is written where in a run directory, ``shim.py`` the
process that guards, ``child.py`` the process that trains (the only one that loads torch).
"""

__all__: list[str] = []
