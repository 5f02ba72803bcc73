"""/composite/tree/X: records with their children in one call, all or none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.collection import listed, typed
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.org import Org
from connector.sandbox.resources import known
from connector.sandbox.schema import Object

MAX_RECORDS, MAX_LEVELS = 200, 5  # [U]


@dataclass(frozen=True)
class Entry:
    shape: Object
    reference: str
    fields: Mapping[str, Any]
    parent: str | None  # its reference
    lookup: str | None  # by which it hangs below its parent


def create_tree(org: Org, call: Call, name: str) -> Reply:
    shape = known(org, name)
    entries = list(_entries(org, listed(call.json(), "records"), shape, None, None, 1))
    references = [entry.reference for entry in entries]
    if len(entries) > MAX_RECORDS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A tree holds at most {MAX_RECORDS} records")  # [U] code and sentence
    if len(set(references)) < len(references):
        raise ApiError(400, "INVALID_INPUT", "Duplicate ReferenceId provided in the request")  # [U] code and sentence
    made: dict[str, str] = {}
    failed: dict[str, ApiError] = {}
    with org.store.transaction() as work:
        for entry in entries:
            if entry.parent in failed:
                failed[entry.reference] = failed[entry.parent]
                continue
            link = {entry.lookup: made[entry.parent]} if entry.lookup and entry.parent else {}
            try:
                made[entry.reference] = org.records.create(entry.shape, {**entry.fields, **link}, org.now())
            except ApiError as refused:
                if refused.code == "NOT_IMPLEMENTED_IN_SANDBOX":
                    raise
                failed[entry.reference] = refused
        work.undo = bool(failed)
    if failed:
        own = {entry.reference for entry in entries if entry.parent not in failed}
        rows = [{"referenceId": key, "errors": [why.row()]} for key, why in failed.items() if key in own]
        return reply(400, {"hasErrors": True, "results": rows})
    return reply(201, {"hasErrors": False, "results": [{"referenceId": key, "id": made[key]} for key in references]})


def _entries(
    org: Org, records: list[Any], shape: Object, parent: str | None, lookup: str | None, level: int
) -> Iterator[Entry]:
    if level > MAX_LEVELS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A tree has at most {MAX_LEVELS} levels")  # [U] code and sentence
    for record in records:
        attributes = record.get("attributes") if isinstance(record, dict) else None
        reference = attributes.get("referenceId") if isinstance(attributes, dict) else None
        if not isinstance(reference, str):
            raise bad_json("Every record of a tree has attributes with type and referenceId")  # [U] sentence
        if typed(org, record) is not shape:
            raise ApiError(400, "INVALID_TYPE", f"A record of type {shape.name} is expected here")  # [U] sentence
        below = {key: shape.subselects[key.lower()] for key in record if key.lower() in shape.subselects}
        yield Entry(shape, reference, {key: record[key] for key in record if key not in below}, parent, lookup)
        for key, child in below.items():
            inner = record[key]
            if not isinstance(inner, dict):
                raise bad_json(f"{key} is an object with a list of records")  # [U] sentence
            yield from _entries(
                org, listed(inner, "records"), known(org, child.object), reference, child.field, level + 1
            )
