"""Records that hold a file: one call each, in two parts, the file streamed."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import BinaryIO
from urllib.parse import quote

from connector.endpoints.salesforce.codes import written
from connector.endpoints.salesforce.session import Session
from connector.errors import EndpointError, Rejected, Unanswered
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
    """One attempt to create a record of which one field is a file. What is wrong with that is known before the call."""
    ((name, file),) = held(change).items()
    try:
        stream = file.open()
    except EndpointError as error:
        return Written(None, error)
    except OSError as error:
        return Written(None, _unreadable(file, error))
    with stream:
        size = stream.seek(0, io.SEEK_END)
        if file.size not in (None, size):
            said = f"the file {file.name} is not as long as it was said to be"
            return Written(None, Rejected(said, "INVALID_VALUE"))
        head, tail, told = _around(change, name, file.name, size)

        def content() -> Iterator[bytes]:
            yield head
            yield from _pieces(file, stream)
            yield tail

        try:
            result = session.post(path(change), content, {**told, **headers}).json()
        except Rejected as error:
            return Written(None, error)
    if not isinstance(result, dict) or type(result.get("success")) is not bool:
        raise Unanswered(f"{session.host} did not say what has become of the file {file.name}")
    return written(session.host, change, result)


def _around(change: Change, name: str, file_name: str, size: int) -> tuple[bytes, bytes, dict[str, str]]:
    """What stands before the bytes of the file, and behind them, and the headers."""
    boundary = secrets.token_hex(16)
    fields = json.dumps({key: value for key, value in change.values.items() if key != name}, ensure_ascii=False)
    entity = _ENTITIES.get(change.object, f"entity_{change.object.lower()}")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{entity}"\r\nContent-Type: application/json\r\n\r\n{fields}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name.translate(_QUOTED)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = str(len(head) + size + len(tail))
    return head, tail, {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": length}


def _pieces(file: File, stream: BinaryIO) -> Iterator[bytes]:
    """From the beginning each time. A file that cannot be read on ends the call before it is whole."""
    try:
        stream.seek(0)
        while piece := stream.read(_PIECE):
            yield piece
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: File, error: OSError) -> Rejected:
    return Rejected(f"the file {file.name} cannot be read: {error.strerror or error}", "INVALID_VALUE")
