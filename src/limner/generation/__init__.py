"""Stage 6, generation: draw pictures with loras, and let every picture say truthfully how it was made.

``generator.py`` is what a back end must do, ``local.py`` the one that draws on this machine; ``provenance.py`` writes
and reads what a picture says of itself, ``credentials.py`` signs it and ``inspection.py`` tells it to a person.
"""

__all__: list[str] = []
