"""Records that hold a file: one call each, in two parts, the file streamed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from connector.endpoints.salesforce.codes import written
from connector.endpoints.salesforce.session import Session
from connector.errors import Rejected, Unanswered
from connector.model import Change, File, Written

_PIECE = 1 << 18
_ENTITIES = {"ContentVersion": "entity_content", "Document": "entity_document"}
"""The name of the part that holds the fields; of any other object, entity_ and the object."""
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def held(change: Change) -> dict[str, File]:
    return {name: value for name, value in change.values.items() if isinstance(value, File)}


def unread(value: object) -> None:
    """What JSON has in the place of a file; anything else that JSON lacks is refused."""
    if not isinstance(value, File):
        raise TypeError(f"{value!r} is nothing that JSON has")


def path(change: Change) -> str:
    return f"/sobjects/{quote(change.object, safe='')}"


def write(session: Session, change: Change, headers: Mapping[str, str]) -> Written:
    """One attempt to create a record of which one field is a file."""
    ((name, file),) = held(change).items()
    boundary = secrets.token_hex(16)
    fields = json.dumps({key: value for key, value in change.values.items() if key != name}, ensure_ascii=False)
    entity = _ENTITIES.get(change.object, f"entity_{change.object.lower()}")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{entity}"\r\nContent-Type: application/json\r\n\r\n{fields}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file.name.translate(_QUOTED)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    told = {"Content-Type": f"multipart/form-data; boundary={boundary}", **headers}
    if file.size is not None:
        told["Content-Length"] = str(len(head) + file.size + len(tail))

    def content() -> Iterator[bytes]:
        yield head
        yield from _pieces(file)
        yield tail

    try:
        result = session.post(path(change), content, told).json()
    except Rejected as error:
        return Written(None, error)
    if not isinstance(result, dict) or type(result.get("success")) is not bool:
        raise Unanswered(f"{session.host} did not say what has become of the file {file.name}")
    return written(session.host, change, result)


def _pieces(file: File) -> Iterator[bytes]:
    """As many bytes as were announced; a file that is gone, or has changed its length, ends the call before it is whole."""
    left = file.size
    try:
        with file.open() as stream:
            while piece := stream.read(_PIECE):
                left = None if left is None else left - len(piece)
                if left is not None and left < 0:
                    break
                yield piece
    except OSError as error:
        raise Rejected(f"the file {file.name} cannot be read: {error.strerror or error}", "INVALID_VALUE") from None
    if left:
        raise Rejected(f"the file {file.name} is not as long as it was said to be", "INVALID_VALUE")
