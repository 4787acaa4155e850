"""A stage's request: what a job keeps of what was asked for, as a frozen dataclass with one form in JSON.

The job's row is written by whoever submits, and read by the worker, perhaps of a later version. So the names of fields
are for good, what is new has a default, and what cannot be read is said instead of half done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from limner.errors import WorkFailed

__all__ = ["StageRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequest:
    """What every request has: the name of its stage, and ``reopen`` where its job goes on with one that stopped."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    stage: ClassVar[str]
    reopen: bool = False

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The request as a job's row has it. WorkFailed: it has unknown fields, lacks some, or has wrong values."""
        try:
            request: Self = _form(cls).validate_python({name: value for name, value in row.items() if name != "stage"})
        except ValidationError as failure:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in failure.errors()[:5])
            raise WorkFailed(
                f"What the stage '{cls.stage}' was asked for cannot be read: {wrong}.",
                remedy="Another version of Limner may have written it, or it was erased: ask for it anew.",
                thing=cls.stage,
            ) from failure
        return request

    def to_json(self) -> dict[str, Any]:
        """The request as a job's row keeps it, without what is as the defaults are."""
        return {"stage": self.stage, **_form(type(self)).dump_python(self, mode="json", exclude_defaults=True)}


_FORMS: dict[type[StageRequest], TypeAdapter[Any]] = {}


def _form(kind: type[StageRequest]) -> TypeAdapter[Any]:
    if kind not in _FORMS:
        _FORMS[kind] = TypeAdapter(kind)
    return _FORMS[kind]
