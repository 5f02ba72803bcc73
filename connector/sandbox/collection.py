"""/composite/sobjects: up to 200 records in one call, each with a result of its own."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from connector.sandbox import ids, plans, recycle, tree
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.org import Org
from connector.sandbox.records import Several
from connector.sandbox.resources import known, wanted
from connector.sandbox.schema import Object

MAX_RECORDS = 200
MAX_CHUNKS = 10
MOST_BY_GET, MOST_BY_POST = 800, 2_000  # [U]

Save = Callable[[Any], "str | tuple[str, bool]"]


def create_records(org: Org, call: Call) -> Reply:
    def create(given: dict[str, Any]) -> str:
        return org.records.create(typed(org, given), given, org.now())

    return _collection(org, call, create)


def update_records(org: Org, call: Call) -> Reply:
    seen: set[str] = set()

    def change(given: dict[str, Any]) -> str:
        return update(org, given, seen)

    return _collection(org, call, change)


def update(org: Org, given: dict[str, Any], seen: set[str]) -> str:
    shape = typed(org, given)
    key = next((key for key in given if key.lower() == "id"), None)
    if key is None:
        raise ApiError(400, "MISSING_ARGUMENT", "Id not specified in an update call", ("Id",))  # [U] sentence
    id18 = ids.canonical(given[key]) if isinstance(given[key], str) else None
    if id18 is None or not id18.startswith(shape.prefix):
        message = f"{shape.label} ID: id value of incorrect type: {given[key]}"  # [U] sentence
        raise ApiError(400, "MALFORMED_ID", message, ("Id",))
    _once(id18, seen, f"Duplicate id specified: {id18}")
    if not org.store.exists(shape, id18):
        raise _no_such_row()
    org.records.update(shape, id18, {name: value for name, value in given.items() if name != key}, org.now())
    return id18


def upsert_records(org: Org, call: Call, name: str, field: str) -> Reply:
    """By external id; by Id, a record without one is made."""
    seen: set[str] = set()

    def upsert(given: dict[str, Any]) -> tuple[str, bool]:
        shape = typed(org, given)
        if shape is not org.schema.object(name):
            message = f"The records of this call are of type {name}"  # [U] sentence
            raise ApiError(400, "INVALID_TYPE", message)
        key = next((key for key in given if key.lower() == field.lower()), None)
        rest = {other: value for other, value in given.items() if other != key}
        value = given[key] if key else None
        if field.lower() == "id":
            return (update(org, given, seen), False) if value else (org.records.create(shape, rest, org.now()), True)
        if value in (None, ""):
            raise ApiError(400, "MISSING_ARGUMENT", f"{field} not specified", (field,))  # [U] sentence
        _once(str(value).casefold(), seen, f"Duplicate external id specified: {value}")
        try:
            return org.records.upsert(shape, field, value, rest, org.now())
        except Several as several:
            message = f"{field}: more than one record found for external id field: [{', '.join(several.ids)}]"
            raise ApiError(400, "DUPLICATE_EXTERNAL_ID", message, (field,)) from None  # [U] code and sentence

    return _collection(org, call, upsert)


def delete_records(org: Org, call: Call) -> Reply:
    given = [part.strip() for part in call.query.get("ids", "").split(",")]
    if given == [""]:
        raise ApiError(400, "MISSING_ARGUMENT", "ids is required")  # [U] code and sentence
    seen: set[str] = set()

    def delete(text: str) -> str:
        id18 = ids.canonical(text)
        shape = org.schema.by_prefix.get(text[:3]) if id18 else None
        if id18 is None or shape is None:
            raise ApiError(400, "MALFORMED_ID", f"malformed id {text}", ())  # [U] sentence
        _once(id18, seen, f"Duplicate id specified: {id18}")
        if not org.store.exists(shape, id18):
            raise _no_such_row()
        recycle.delete(org.records, shape, id18, org.now())
        return id18

    _check_size(len(given), _chunks([text[:3] for text in given]))
    every = call.query.get("allOrNone", "").lower() == "true"
    return _saved_all(org, call, given, delete, every=every)


def retrieve_records(org: Org, call: Call, name: str) -> Reply:
    """A list of records by id; one that is not there is null. GET takes ids and fields in the url, POST in the body."""
    shape = known(org, name)
    if call.method == "POST":
        body = call.json()
        given, names = listed(body, "ids"), listed(body, "fields")
        most = MOST_BY_POST
    else:
        given, names = (call.query[key].split(",") if call.query.get(key) else [] for key in ("ids", "fields"))
        most = MOST_BY_GET
    if not all(isinstance(each, str) for each in [*given, *names]):
        raise bad_json("ids and fields are lists of texts")  # [U] sentence
    if not given or not names:
        raise ApiError(400, "MISSING_ARGUMENT", "ids and fields are required")  # [U] code and sentence
    if len(given) > most:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", f"at most {most} ids")  # [U] code and sentence
    plan = plans.plan(tree.whole_row(shape.name, tuple(wanted(shape, ",".join(names)))), org.context("", call.version))
    found = dict(org.store.places(shape, [ids.canonical(each) for each in given]))
    texts = org.store.records(plan.records, plan.parameters, list(found.values()))
    shown = dict(zip(found, texts, strict=True))
    return Reply(200, f"[{','.join(shown.get(ids.canonical(each) or '', 'null') for each in given)}]")


# -- one call, many rows


def _collection(org: Org, call: Call, save: Save) -> Reply:
    body = call.json()
    records = listed(body, "records")
    if not all(isinstance(record, dict) for record in records):
        raise bad_json("records is a list of objects")  # [U] sentence
    _check_size(len(records), _chunks([type_name(record).lower() for record in records]))
    return _saved_all(org, call, records, save, every=body.get("allOrNone") is True)


def _check_size(size: int, chunks: int) -> None:
    if size > MAX_RECORDS:
        message = f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)  # [U] code and sentence as commonly seen
    if chunks > MAX_CHUNKS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"more than {MAX_CHUNKS} chunks of one type")  # [U] code and sentence


def _chunks(names: list[str]) -> int:
    return sum(1 for before, name in pairwise(["", *names]) if before != name) if names else 0


def _saved_all(org: Org, call: Call, records: list[Any], save: Save, *, every: bool) -> Reply:
    with org.store.transaction() as work:
        results = [saved(org, call, record, save) for record in records]
        work.undo = every and not all(result["success"] for result in results)
    if work.undo:
        results = [undone() if result["success"] else result for result in results]
    return reply(200, results)


def saved(org: Org, call: Call, record: Any, save: Save) -> dict[str, Any]:
    """The result of one row; a refusal undoes what it had begun."""
    try:
        touched = _touched(org, record)
        fault = org.faults.take(touched, "write", call.path, rows=True)
        if fault is not None:
            raise fault.error()
        with org.store.transaction():
            made = save(record)
            done, created = (made, {}) if isinstance(made, str) else (made[0], {"created": made[1]})
            return {"id": done, "success": True, "errors": [], **created}
    except ApiError as refused:
        if refused.code in ("JSON_PARSER_ERROR", "NOT_IMPLEMENTED_IN_SANDBOX"):
            raise  # the body as a whole does not parse [U], or cannot be answered
        return {"success": False, "errors": [refused.row()]}


def _touched(org: Org, record: Any) -> frozenset[str]:
    shape = org.schema.object(type_name(record)) if isinstance(record, dict) else org.schema.by_prefix.get(record[:3])
    return frozenset({shape.name} if shape else ())


def undone() -> dict[str, Any]:
    message = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    code = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}


def _once(key: str, seen: set[str], message: str) -> None:
    if key in seen:
        raise ApiError(400, "DUPLICATE_VALUE", message, ())  # [U] code; that the first one of them is saved
    seen.add(key)


def _no_such_row() -> ApiError:
    return ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")


def typed(org: Org, record: Mapping[str, Any]) -> Object:
    name = type_name(record)
    if not name:
        raise ApiError(400, "INVALID_TYPE", "Must send a concrete entity type.")  # [U]
    shape = org.schema.object(name)
    if shape is None:
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")  # [U]
    return shape


def type_name(record: Mapping[str, Any]) -> str:
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    return name if isinstance(name, str) else ""


def listed(body: Mapping[str, Any], key: str) -> list[Any]:
    found = body.get(key)
    if not isinstance(found, list):
        raise bad_json(f"{key} is required and must be a list")  # [U] sentence
    return found
