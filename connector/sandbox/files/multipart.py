"""A multipart body -> the JSON of its first part with the bytes of the second one as base64."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.sandbox.errors import ApiError, bad_json

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;,\s]+))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="?([^";\r\n]+)"?', re.IGNORECASE)
_FILE = re.compile(rb'filename="?([^";\r\n]*)"?', re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    name: str
    file: str | None
    content: bytes


def is_multipart(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def record(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The entity part's fields, and the other parts' bytes under their names."""
    found = parts(headers, body)
    entities = [part for part in found if part.name.lower().startswith("entity_")]
    if len(entities) != 1:
        raise bad_json("A multipart body has one part entity_... with the fields as JSON")  # [U] sentence
    try:
        given = json.loads(entities[0].content)
    except (ValueError, RecursionError) as reason:
        raise bad_json(f"Unexpected content in the part {entities[0].name}: {reason}") from None  # [U] sentence
    if not isinstance(given, dict):
        raise bad_json(f"The part {entities[0].name} is required to be a JSON object")  # [U] sentence
    blobs = {part.name: base64.b64encode(part.content).decode() for part in found if part is not entities[0]}
    return {**given, **blobs}


def parts(headers: Mapping[str, str], body: bytes) -> list[Part]:
    boundary = _BOUNDARY.search(headers.get("content-type", ""))
    if boundary is None:
        raise ApiError(
            400, "INVALID_MULTIPART_REQUEST", "The boundary of the parts is missing"
        )  # [U] code and sentence
    mark = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise ApiError(400, "INVALID_MULTIPART_REQUEST", "The parts do not end")  # [U]
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, gap, content = piece.partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if not gap or name is None:
        raise ApiError(400, "INVALID_MULTIPART_REQUEST", "A part has no name")  # [U]
    file = _FILE.search(head)
    return Part(name[1].decode("utf-8", "replace"), file[1].decode("utf-8", "replace") if file else None, content)
