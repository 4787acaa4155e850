"""How the fields of a record are written as JSON where that is not what their type says.

The API answers with records as they are. Nothing here loads pydantic before it is asked for a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePath, PureWindowsPath
from typing import Annotated, Any, TypeVar, get_type_hints

__all__ = ["HIDDEN", "Data", "FileName", "Money", "Written", "shows"]

T = TypeVar("T")

HIDDEN: Mapping[str, Any] = {"exclude": True}
"""The metadata of a field that stays in this program: a path, or what has an address of its own."""


class Written:
    """In ``Annotated``: the field is written by a function, and is then of the type ``kind``."""

    def __init__(self, write: Callable[[Any], Any], kind: Any, **schema: Any) -> None:
        self.write, self.kind, self.schema = write, kind, schema

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        written = core_schema.plain_serializer_function_ser_schema(
            self.write, return_schema=handler.generate_schema(self.kind), when_used="json"
        )
        return {**handler(source), "serialization": written}

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), **self.schema}


def shows(*names: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: these properties of a record are written as its fields are."""

    def of(record: type[T]) -> type[T]:
        def schema(source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            def shown(name: str) -> Any:
                hints = get_type_hints(getattr(record, name).fget, include_extras=True)
                return core_schema.computed_field(name, handler.generate_schema(hints["return"]))

            made = handler(source)
            handler.resolve_ref_schema(made)["schema"]["computed_fields"] = [shown(name) for name in names]
            return made

        record.__get_pydantic_core_schema__ = staticmethod(schema)  # type: ignore[attr-defined]
        return record

    return of


def _digits(amount: Decimal) -> str:
    return format(amount, "f")


def _plain(value: Any) -> Any:
    """JSON data; a path of this machine is left out, since it tells nobody else anything."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if not isinstance(one, PurePath)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value if not isinstance(one, PurePath)]
    return _digits(value) if isinstance(value, Decimal) else value


def _last_part(source: str) -> str:
    if PurePath(source).is_absolute():
        return PurePath(source).name
    return PureWindowsPath(source).name if PureWindowsPath(source).is_absolute() else source


Money = Annotated[Decimal, Written(_digits, str, pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""US dollars, written as a string so that no digit is lost."""
Data = Annotated[Mapping[str, Any], Written(_plain, dict[str, Any])]
"""Data whose fields depend on its kind."""
FileName = Annotated[str, Written(_last_part, str)]
"""The name that a file came with; of a path of this machine only its last part."""
