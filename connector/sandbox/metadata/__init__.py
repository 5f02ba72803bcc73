"""What the org tells of its own set-up beside describe: picklists, record types, limits, what was used last."""

from collections.abc import Iterable, Mapping
from typing import Any

from connector.sandbox.metadata import picklists, recordtypes


def completed(shapes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Shapes as they were written -> shapes with all that follows from them, and the object RecordType."""
    own = [recordtypes.completed(picklists.completed(shape)) for shape in shapes]
    if any(shape["name"] == recordtypes.NAME for shape in own):
        return own
    return [*own, recordtypes.shape(shape["name"] for shape in own)]
