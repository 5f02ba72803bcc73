"""What a user has used last: /recent, and recentItems of /sobjects/X.

[U] Which uses count. Here it is what the user created or changed, latest first.
"""

from collections.abc import Iterable
from typing import Any

from connector.sandbox import describe
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError
from connector.sandbox.org import Org
from connector.sandbox.resources import known
from connector.sandbox.schema import Object

LONGEST = 200
_SHORT = 5


def object_summary(org: Org, call: Call, name: str) -> Reply:
    shape = known(org, name)
    listed = [item for _, item in _items(org, call, [shape], _SHORT)]
    return reply(200, {"objectDescribe": describe.summary(shape, call.version), "recentItems": listed})


def recent(org: Org, call: Call) -> Reply:
    text = call.query.get("limit", str(LONGEST))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LONGEST:
        raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", f"limit is a number from 1 to {LONGEST}")  # [U]
    shapes = [shape for shape in org.schema.objects.values() if shape.raw.get("mruEnabled", True)]
    found = sorted(_items(org, call, shapes, int(text)), key=lambda item: item[0], reverse=True)
    return reply(200, [item for _, item in found[: int(text)]])


def _items(org: Org, call: Call, shapes: Iterable[Object], most: int) -> list[tuple[str, dict[str, Any]]]:
    """(stamp, item)"""
    found = []
    for shape in shapes:
        if not all(shape.field(name) for name in ("LastModifiedById", "LastModifiedDate")):
            continue
        for row in org.store.last_changed(shape, org.records.user, most):
            attributes = {"type": shape.name, "url": f"{call.base}/sobjects/{shape.name}/{row['Id']}"}
            shown = {name: row.get(name) for name in ("Id", _title(shape)) if name}
            found.append((row["LastModifiedDate"] or "", {"attributes": attributes, **shown}))
    return found


def _title(shape: Object) -> str | None:
    marked = next((field.name for field in shape.stored if field.raw.get("nameField")), None)
    named = (name for name in ("Name", "Subject", "Title", "CaseNumber") if shape.field(name))
    return marked or next(named, None)
