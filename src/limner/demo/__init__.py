"""The demo: the whole pipeline on a drawn character and on real photos, and the contact sheet that shows it."""

__all__: list[str] = []
