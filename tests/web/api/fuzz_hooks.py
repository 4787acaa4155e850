"""Loaded by schemathesis: every other case names something that is there, and nothing erases all of it."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext, SerializationContext

NAMES: dict[str, Any] = json.loads(os.environ.get("LIMNER_FUZZ_NAMES", "{}"))
BODIES: dict[str, Any] = json.loads(os.environ.get("LIMNER_FUZZ_BODIES", "{}"))
KEPT: list[str] = json.loads(os.environ.get("LIMNER_FUZZ_KEPT", "[]"))
ENDS = {"delete_user", "update_user", "delete_token"}
"""Operations that could end the right to ask, by a name learnt from an answer: all else would be let in nowhere."""
ERASES = {"delete_subject", "delete_user", "delete_token", "delete_images", "delete_image", "close_sessions"}
"""Operations that would leave nothing to try the others on."""


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(context: SerializationContext, value: Any) -> bytes:
    """The bytes of a file as they are."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def map_case(context: HookContext, case: Case) -> Case:
    """Name what is there, in half of the cases of each operation."""
    operation = case.operation.definition.raw.get("operationId", "")
    if operation in ERASES or (case.meta and case.meta.generation.mode is not GenerationMode.POSITIVE):
        return case
    words = json.dumps([case.path_parameters, case.query, case.body], default=str, sort_keys=True).encode()
    if zlib.crc32(words) % 2:
        for name in list(case.path_parameters or ()):
            if name in NAMES:
                case.path_parameters[name] = NAMES[name]
        if isinstance(case.body, dict):
            for name, value in case.body.items():
                # Only where it is of the right type already: a wrong one is to be refused.
                if name in BODIES and type(value) is type(BODIES[name]):
                    case.body[name] = BODIES[name]
    return case


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Leave who asks what they are."""
    if case.operation.definition.raw.get("operationId", "") in ENDS:
        for name, value in (case.path_parameters or {}).items():
            if value in KEPT:
                case.path_parameters[name] = "nobody"
