"""One typed settings object: environment (``LIMNER_...``), then ``.env``, then ``limner.toml`` of the home folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

__all__ = ["Settings", "home_folder"]


def home_folder() -> Path:
    """The one folder that holds all data: ``LIMNER_HOME``, else the platform's data folder."""
    named = os.environ.get("LIMNER_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("limner")


class Settings(BaseSettings):
    """What a user can set. Every field is also an environment variable ``LIMNER_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="LIMNER_", env_file=".env", env_nested_delimiter="__", extra="ignore")

    home: Path = Field(default_factory=home_folder, description="The folder that holds the database, blobs and runs.")
    base: str = Field("limner-tiny", description="The base used where none is named.")
    trainer: str = Field("local", description="The trainer used where none is named.")
    hub: str = Field("folder", description="The hub used where none is named.")
    generator: str = Field("local", description="The generator used where none is named.")
    base_paths: dict[str, Path] = Field(default_factory=dict, description="Folders of bases that you keep yourself.")
    hub_folder: Path | None = Field(None, description="Where the folder hub keeps its repos; default HOME/hub.")
    hub_namespace: str = Field("limner", description="The owner of repos whose name gives none.")
    device: str = Field("auto", description="auto, cpu, cuda or mps.")
    start_worker: bool = Field(True, description="Start a worker on demand; off where `limner worker` runs for good.")
    worker_idle_seconds: float = Field(
        60.0, description="A worker that was started on demand ends after this idle time."
    )
    workers: int = Field(0, description="Threads for intake; 0 means one a core.", ge=0, le=256)
    max_photo_pixels: int = Field(200_000_000, description="A photo with more pixels is refused before decoding.")
    max_zip_bytes: int = Field(20_000_000_000, description="The most that a zip may unpack to.")
    sign_images: bool = Field(True, description="Sign every picture with a C2PA content credential.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, home_folder() / "limner.toml")
        return init_settings, env_settings, dotenv_settings, toml

    def model_post_init(self, context: Any) -> None:
        self.home = self.home.expanduser().absolute()
        if self.hub_folder is None:
            self.hub_folder = self.home / "hub"
