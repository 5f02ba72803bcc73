"""Many in one call: /composite (subrequests, billed once) and /composite/sobjects (collections of records). Section 1.7."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from connector.sandbox import ids
from connector.sandbox.calls import Call, Reply, dumped, reply
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.org import Org
from connector.sandbox.records import Several
from connector.sandbox.schema import Object
from connector.sandbox.urls import resource, split_url

MAX_SUBREQUESTS = 25
MAX_QUERIES = 5
MAX_RECORDS = 200
MAX_CHUNKS = 10
_REFERENCE = re.compile(r"@\{(\w+)((?:\[\d+\]|\.\w+)*)\}", re.ASCII)
_HEAVY = re.compile(r"/services/data/v[\d.]+/(?:query|queryAll|composite/sobjects)(?:/.*)?", re.DOTALL)
_INHERITED = ("sforce-query-options",)  # [U] whether a subrequest takes it from the outer request
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)", re.ASCII)

Perform = Callable[[Org, Call], Reply]


# -- composite


def composite(org: Org, call: Call, perform: Perform) -> Reply:
    body = call.json()
    entries = [_entry(entry) for entry in _list(body, "compositeRequest")]
    _limits(entries)
    results: list[dict[str, Any]] = []
    every = body.get("allOrNone") is True
    answered: dict[str, str] = {}  # as text: a page of records is parsed only where something refers to it
    with org.store.transaction() as work:
        for entry in entries:
            result = _subrequest(org, call, entry, answered, perform)
            results.append(result)
            if result["httpStatusCode"] < 300:
                answered[entry["referenceId"]] = result["body"]
        failed = [place for place, result in enumerate(results) if result["httpStatusCode"] >= 400]
        work.undo = every and bool(failed)
    if work.undo:  # the one that failed keeps its error, all others are reported as undone
        results = [result if place == failed[0] else _halted(result) for place, result in enumerate(results)]
    listed = ",".join(_written(result) for result in results)
    return Reply(200, f'{{"compositeResponse":[{listed}]}}')


def _entry(entry: Any) -> dict[str, Any]:
    wanted = ("method", "url", "referenceId")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in wanted):
        raise bad_json(f"A subrequest needs {', '.join(wanted)}")  # [U] sentence
    headers = entry.get("httpHeaders") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise bad_json("httpHeaders is an object of texts")  # [U] sentence
    return {**entry, "httpHeaders": {key.lower(): value for key, value in headers.items()}}


def _limits(entries: list[dict[str, Any]]) -> None:
    # The limits are documented, code and sentence of their errors are not [U].
    if len(entries) > MAX_SUBREQUESTS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A composite request holds at most {MAX_SUBREQUESTS} subrequests")
    names = [entry["referenceId"] for entry in entries]
    if len(set(names)) < len(names):
        raise ApiError(400, "INVALID_INPUT", "referenceId must be unique in a composite request")
    heavy = sum(1 for entry in entries if _heavy(entry["url"]))
    if heavy > MAX_QUERIES:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A composite request holds at most {MAX_QUERIES} queries or collections")


def _heavy(url: str) -> bool:
    return _HEAVY.fullmatch(split_url(url)[0]) is not None


def _subrequest(
    org: Org, call: Call, entry: dict[str, Any], answered: Mapping[str, str], perform: Perform
) -> dict[str, Any]:
    try:
        url = _filled(entry["url"], answered)
        body = _filled(entry.get("body"), answered)
        path, query = split_url(url)
        version, segments = _target(path)
    except ApiError as refused:
        return _result(entry, Reply(refused.status, dumped(refused.body())))
    content = b"" if body is None else dumped(body).encode("utf-8", "surrogatepass")
    headers = {key: call.headers[key] for key in _INHERITED if key in call.headers} | entry["httpHeaders"]
    inner = Call(entry["method"].upper(), version, segments, query, headers, content, call.session, call.trace)
    return _result(entry, perform(org, inner))


def _target(path: str) -> tuple[str, tuple[str, ...]]:
    found = resource(path)
    if found is None:
        raise ApiError(400, "INVALID_INPUT", f"The url of a subrequest begins with /services/data/: {path}")  # [U]
    if found[1][:1] == ("composite",) and found[1][1:2] != ("sobjects",):
        raise ApiError(400, "INVALID_INPUT", "A composite request holds no other composite request")  # [U]
    return found


def _result(entry: dict[str, Any], answer: Reply) -> dict[str, Any]:
    return {
        "body": answer.text or "null",
        "httpHeaders": dict(answer.headers),
        "httpStatusCode": answer.status,
        "referenceId": entry["referenceId"],
    }


def _written(result: dict[str, Any]) -> str:
    """The body is JSON text already: a page of records is not parsed again just to be nested."""
    rest = {key: value for key, value in result.items() if key != "body"}
    body = result["body"] if result["body"][:1] in '{["n' else dumped(result["body"])  # a page of HTML becomes a text
    return f'{{"body":{body},{dumped(rest)[1:]}'


def _halted(result: dict[str, Any]) -> dict[str, Any]:
    message = "The transaction was rolled back since another operation in the same transaction failed."
    error = dumped([{"errorCode": "PROCESSING_HALTED", "message": message}])
    return {**result, "body": error, "httpHeaders": {}, "httpStatusCode": 400}


def _filled(value: Any, answered: Mapping[str, str]) -> Any:
    """@{ref.id} and @{ref.records[0].Id} replaced by what the subrequest ref answered."""
    if isinstance(value, dict):
        return {key: _filled(each, answered) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, answered) for each in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _referred(whole, answered)
    return _REFERENCE.sub(lambda found: str(_referred(found, answered)), value)


def _referred(found: re.Match[str], answered: Mapping[str, str]) -> Any:
    value: Any = json.loads(answered.get(found[1], "null"))
    for index, key in _STEP.findall(found[2]):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        message = f"Invalid reference specified. No value for {found[0][2:-1]} found in {found[1]}"  # [U] sentence
        raise ApiError(400, "PROCESSING_HALTED", message)
    return value


def only_reads(call: Call) -> bool:
    """Whether a composite changes nothing, as far as its methods tell."""
    try:
        entries = call.json().get("compositeRequest")
    except ApiError:
        return True
    listed = entries if isinstance(entries, list) else []
    return all(isinstance(entry, dict) and str(entry.get("method")).upper() == "GET" for entry in listed)


# -- collections


def create_records(org: Org, call: Call) -> Reply:
    def create(given: dict[str, Any]) -> str:
        return org.records.create(_typed(org, given), given, org.now())

    return _collection(org, call, create)


def update_records(org: Org, call: Call) -> Reply:
    return _collection(org, call, lambda given: update(org, given))


def update(org: Org, given: dict[str, Any]) -> str:
    shape = _typed(org, given)
    key = next((key for key in given if key.lower() == "id"), None)
    if key is None:
        raise ApiError(400, "MISSING_ARGUMENT", "Id not specified in an update call", ("Id",))  # [U] sentence
    id18 = ids.canonical(given[key]) if isinstance(given[key], str) else None
    if id18 is None or not id18.startswith(shape.prefix):
        message = f"{shape.label} ID: id value of incorrect type: {given[key]}"  # [U] sentence
        raise ApiError(400, "MALFORMED_ID", message, ("Id",))
    if not org.store.exists(shape, id18):
        raise ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    org.records.update(shape, id18, {name: value for name, value in given.items() if name != key}, org.now())
    return id18


def upsert_records(org: Org, call: Call, name: str, field: str) -> Reply:
    """By external id; by Id, a record without one is made."""

    def upsert(given: dict[str, Any]) -> tuple[str, bool]:
        shape = _typed(org, given)
        if shape is not org.schema.object(name):
            message = f"The records of this call are of type {name}"  # [U] sentence
            raise ApiError(400, "INVALID_TYPE", message)
        key = next((key for key in given if key.lower() == field.lower()), None)
        rest = {other: value for other, value in given.items() if other != key}
        value = given[key] if key else None
        if field.lower() == "id":
            return (update(org, given), False) if value else (org.records.create(shape, rest, org.now()), True)
        if value in (None, ""):
            raise ApiError(400, "MISSING_ARGUMENT", f"{field} not specified", (field,))  # [U] sentence
        try:
            return org.records.upsert(shape, field, value, rest, org.now())
        except Several as several:
            message = f"{field}: more than one record found for external id field: [{', '.join(several.ids)}]"
            raise ApiError(400, "DUPLICATE_EXTERNAL_ID", message, (field,)) from None  # [U] code and sentence

    return _collection(org, call, upsert)


def _collection(org: Org, call: Call, save: Callable[[dict[str, Any]], str | tuple[str, bool]]) -> Reply:
    body = call.json()
    records = _list(body, "records")
    if len(records) > MAX_RECORDS:
        message = f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)  # [U] code and sentence as commonly seen
    if not all(isinstance(record, dict) for record in records):
        raise bad_json("records is a list of objects")  # [U] sentence
    if _chunks(records) > MAX_CHUNKS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"more than {MAX_CHUNKS} chunks of one type")  # [U] code and sentence
    every = body.get("allOrNone") is True
    with org.store.transaction() as work:
        results = [_saved(org, record, save) for record in records]
        work.undo = every and not all(result["success"] for result in results)
    if work.undo:
        results = [_undone() if result["success"] else result for result in results]
    return reply(200, results)


def _saved(
    org: Org, record: dict[str, Any], save: Callable[[dict[str, Any]], str | tuple[str, bool]]
) -> dict[str, Any]:
    try:
        with org.store.transaction():
            saved = save(record)
            made, created = (saved, {}) if isinstance(saved, str) else (saved[0], {"created": saved[1]})
            return {"id": made, "success": True, "errors": [], **created}
    except ApiError as refused:
        if refused.code in ("JSON_PARSER_ERROR", "NOT_IMPLEMENTED_IN_SANDBOX"):
            raise  # the body as a whole does not parse [U], or cannot be answered
        return {"success": False, "errors": [refused.row()]}


def _undone() -> dict[str, Any]:
    message = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    code = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}


def _typed(org: Org, record: Mapping[str, Any]) -> Object:
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


def _chunks(records: list[Mapping[str, Any]]) -> int:
    names = [type_name(record).lower() for record in records]
    return sum(1 for before, name in zip([None, *names], names, strict=False) if before != name)


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    found = body.get(key)
    if not isinstance(found, list):
        raise bad_json(f"{key} is required and must be a list")  # [U] sentence
    return found
