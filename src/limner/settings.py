"""One typed settings object: environment (``LIMNER_...``), then ``limner.toml`` of the home folder.

What a program that embeds Limner gives in code goes before both. Nothing is taken from the folder that the user stands
in: it may be somebody else's, and settings say where photos and tokens go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from limner.errors import InputRefused

__all__ = ["Settings", "home_folder", "read_settings"]

FILE = "limner.toml"
GIVEN = "LIMNER_GIVEN"
"""Names, by commas, the variables with which a process of ours hands on what code gave it."""
NONE = "null"
"""What an environment variable says where code gave None."""


def home_folder() -> Path:
    """The one folder that holds all data: ``LIMNER_HOME``, else the platform's data folder."""
    named = os.environ.get("LIMNER_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("limner")


class Settings(BaseSettings):
    """What a user can set. Every field is also an environment variable ``LIMNER_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix="LIMNER_", env_nested_delimiter="__", env_parse_none_str=NONE, extra="ignore"
    )
    _read: dict[str, Any] = PrivateAttr(default_factory=dict)

    home: Path = Field(default_factory=home_folder, description="The folder that holds the database, blobs and runs.")
    base: str = Field(default="limner-tiny", description="The base used where none is named.")
    trainer: str = Field(default="local", description="The trainer used where none is named.")
    hub: str = Field(default="folder", description="The hub used where none is named.")
    generator: str = Field(default="local", description="The generator used where none is named.")
    base_paths: dict[str, Path] = Field(default_factory=dict, description="Folders of bases that you keep yourself.")
    hub_folder: Path | None = Field(default=None, description="Where the folder hub keeps its repos; default HOME/hub.")
    hub_namespace: str = Field(
        default="", description="The owner of repos whose name gives none; default: the account's, or limner."
    )
    catalog: Path | None = Field(
        default=None, description="A folder with bases.toml and hosted.toml of yours: rows over those of the catalog."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    start_worker: bool = Field(
        default=True, description="Start a worker on demand; off where `limner worker` runs for good."
    )
    worker_idle_seconds: float = Field(
        default=60.0, description="Seconds without work after which a worker that was started on demand ends.", ge=0
    )
    workers: int = Field(default=0, description="Threads for intake; 0 means one a core.", ge=0, le=256)
    max_photo_pixels: int = Field(
        default=200_000_000, description="A photo with more pixels is refused before decoding.", ge=1
    )
    max_zip_bytes: int = Field(default=20_000_000_000, description="The most bytes that a zip may unpack to.", ge=1)
    max_upload_bytes: int = Field(
        default=20_000_000_000, description="The most bytes that one uploaded file may have.", ge=1
    )
    max_upload_files: int = Field(default=5_000, description="The most files that are uploaded together.", ge=1)
    upload_hours: float = Field(
        default=48.0, description="An upload that is not taken in is deleted after so many hours.", gt=0
    )
    disk_reserve: int = Field(
        default=1_000_000_000, description="Bytes that uploads leave free on the disk of the home folder.", ge=0
    )
    replicate_url: str = Field(default="https://api.replicate.com", description="Where Replicate answers.")
    together_url: str = Field(default="https://api.together.ai", description="Where Together AI answers.")
    huggingface_url: str = Field(default="https://huggingface.co", description="Where the Hugging Face Hub answers.")
    fal_queue_url: str = Field(default="https://queue.fal.run", description="Where fal takes jobs.")
    fal_rest_url: str = Field(default="https://rest.fal.ai", description="Where fal takes files.")
    fal_api_url: str = Field(default="https://api.fal.ai/v1", description="Where fal lists models and past requests.")
    vendor_urls: dict[str, str] = Field(
        default_factory=dict, description="Where vendors of other packages answer, by the names that they say."
    )
    public_url: str = Field(
        default="", description="An https address that leads to this machine, for webhooks; none: polling only."
    )
    webhook_port: int = Field(
        default=8713, description="Where the worker listens for webhooks if public_url is set.", ge=1, le=65_535
    )
    webhooks_to_loopback: bool = Field(
        default=False, description="Webhooks may go to this machine too, also by http; for trying them out."
    )
    hosts: str = Field(
        default="", description="More names by which the web app may be called, such as limner.example.org, by commas."
    )
    max_request_bytes: int = Field(
        default=2_000_000,
        description="The most bytes that a request to the web app may have that carries no file.",
        ge=10_000,
    )
    max_connections: int = Field(
        default=1_000,
        description="The most connections to the web app at once; fewer where the system allows fewer open files.",
        ge=8,
    )
    max_connections_per_address: int = Field(
        default=100,
        description="The most connections of one address that is not this machine's; 0: as many as in all.",
        ge=0,
    )
    head_seconds: float = Field(
        default=20.0, description="Seconds within which the head of a request has to come.", gt=0, le=3_600
    )
    consent_above: Decimal = Field(
        default=Decimal("1.00"), description="US dollars; a step that may cost more is asked about.", ge=0
    )
    budget_day: Decimal | None = Field(
        default=None, description="US dollars a day (UTC); steps beyond it are refused.", ge=0
    )
    budget_subject: Decimal | None = Field(
        default=None, description="US dollars a subject; steps beyond are refused.", ge=0
    )
    budget_total: Decimal | None = Field(default=None, description="US dollars in all; steps beyond are refused.", ge=0)
    s3_bucket: str = Field(default="", description="The bucket of the hub s3.")
    s3_prefix: str = Field(default="limner", description="The folder in that bucket.")
    s3_region: str = Field(default="us-east-1", description="The bucket's region.")
    s3_endpoint: str = Field(default="", description="Where the bucket answers, if not AWS.")
    s3_public_url: str = Field(
        default="", description="The bucket's address for those who read PREFIX/open/ without credentials, if another."
    )
    sign_images: bool = Field(default=True, description="Sign every picture with a C2PA content credential.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        init = getattr(init_settings, "init_kwargs", {})
        home = init.get("home") or env_settings().get("home") or home_folder()
        toml = TomlConfigSettingsSource(settings_cls, Path(home).expanduser() / FILE)
        return init_settings, env_settings, toml

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._read = {name: getattr(self, name) for name in type(self).model_fields if name not in given}

    @property
    def given(self) -> frozenset[str]:
        """What was given in code, here, by ``model_copy`` or by assignment: it goes before all that is read."""
        here = {name: getattr(self, name) for name in type(self).model_fields}
        return frozenset(name for name, value in here.items() if name not in self._read or self._read[name] != value)

    def only_from_environment(self, name: str) -> bool:
        """Whether a variable of the environment alone says what this setting is: neither code nor ``limner.toml``.

        ``vendor_urls__acme_url`` is one entry of a setting that has several.
        """
        field = name.partition("__")[0]
        handed_on = os.environ.get(GIVEN, "").split(",")
        variables = {f"LIMNER_{one.upper()}" for one in (field, name)}.difference(handed_on)
        # The case of a variable is its writer's.
        return field not in self.given and not variables.isdisjoint(map(str.upper, os.environ))

    def take(self, values: Mapping[str, Any]) -> None:
        """Take what was read anew, in place: every part of a process reads its settings from this one object."""
        self.__dict__.update(values)
        self._settle()
        self._read.update({name: getattr(self, name) for name in values})

    def as_environment(self) -> dict[str, str]:
        """The home, and what was given in code, as variables of a process that finds the rest where this one did."""
        values = self.model_dump(mode="json", include={"home", *self.given})
        found = {
            f"LIMNER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }
        return {**found, GIVEN: ",".join(sorted(found))}

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002
        self._settle()

    def _settle(self) -> None:
        self.home = self.home.expanduser().absolute()
        if self.hub_folder is None:
            self.hub_folder = self.home / "hub"


def read_settings(home: Path | None = None) -> Settings:
    """The settings of this user, or those of another home. InputRefused names every setting that cannot be used."""
    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as failure:
        wrong = [(".".join(map(str, error["loc"])), error) for error in failure.errors()]
        raise InputRefused(
            " ".join(f"The setting '{name}' is {error['input']!r}: {error['msg']}." for name, error in wrong),
            remedy=f"Correct LIMNER_{wrong[0][0].split('.')[0].upper()}, or limner.toml in the home folder.",
            thing=", ".join(name for name, _ in wrong),
        ) from failure
    except (SettingsError, TOMLDecodeError) as failure:
        raise InputRefused(
            f"The settings cannot be read: {failure}.",
            remedy="Correct the environment, or limner.toml in the home folder.",
            thing="settings",
        ) from failure
