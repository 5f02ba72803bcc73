"""The bytes of a record: GET /sobjects/ContentVersion/{id}/VersionData and its like."""

from connector.sandbox import ids
from connector.sandbox.calls import Call, Reply
from connector.sandbox.errors import ApiError, not_found
from connector.sandbox.org import Org
from connector.sandbox.schema import Object


def is_blob(shape: Object, record_id: str, name: str) -> bool:
    field = shape.field(name)
    return ids.canonical(record_id) is not None and field is not None and field.type == "base64"


def blob(org: Org, call: Call, shape: Object, record_id: str, name: str) -> Reply:
    if call.inner:
        raise ApiError(400, "INVALID_INPUT", "A subrequest cannot read bytes")  # [U] code and sentence
    id18 = ids.canonical(record_id) or ""
    row, field = org.store.get(shape, id18), shape.field(name)
    if row is None or field is None or row.get("IsDeleted") == "true":
        raise not_found()
    data = org.store.blob(id18, field.name)
    return Reply(200, headers={"Content-Type": "application/octetstream"}, data=data)
