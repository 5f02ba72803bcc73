"""The single resources: describe, query, one record. Each takes the org and a call and gives a reply."""

import re

from connector.sandbox import conditional, describe, ids, plans, recycle, soql, tree
from connector.sandbox.calls import Call, Reply, dumped, reply
from connector.sandbox.errors import ApiError, not_emulated, not_found
from connector.sandbox.files import multipart
from connector.sandbox.files.resources import blob, is_blob
from connector.sandbox.files.restriction import restrict
from connector.sandbox.org import Org
from connector.sandbox.records import Several
from connector.sandbox.schema import SHOWN, Object
from connector.sandbox.users import ORG_ID

UPSERT_ANSWERS_SINCE = 46
SMALLEST_PAGE, LARGEST_PAGE = 200, 2_000
_BATCH = re.compile(r"batchsize\s*=\s*(\d{1,9})", re.IGNORECASE)


def resource_map(org: Org, call: Call) -> Reply:
    names = (
        "composite",
        "jobs",
        "limits",
        "query",
        "queryAll",
        "recent",
        "sobjects",
        "ui-api",
    )  # [U] order; what there is
    here = {name: f"{call.base}/{name}" for name in names}
    return reply(200, {**here, "identity": f"{org.origin}/id/{ORG_ID}/{org.records.user}"})


# -- describe


def describe_global(org: Org, call: Call) -> Reply:
    return conditional.describe(
        call, max(org.modified.values()), dumped(describe.describe_global(org.schema, call.version))
    )


def describe_object(org: Org, call: Call, name: str) -> Reply:
    shape = known(org, name)
    return conditional.describe(call, org.modified[shape.name.lower()], dumped(describe.describe(shape, call.version)))


# -- query


def query(org: Org, call: Call) -> Reply:
    return _query(org, call, deleted=False)


def query_all(org: Org, call: Call) -> Reply:
    return _query(org, call, deleted=True)


def _query(org: Org, call: Call, *, deleted: bool) -> Reply:
    if "explain" in call.query:
        raise not_emulated("A query plan (explain)")
    if "q" not in call.query:
        raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
    text = call.query["q"]
    org.queries.append(text)
    context = org.context(text, call.version, deleted=deleted, page=_page(org, call))
    select = soql.parse(text)
    restrict(select)
    plan = plans.plan(select, context)
    return Reply(200, org.cursors.run(plan, call.session.token, call.version))


def query_more(org: Org, call: Call, locator: str) -> Reply:
    """Further parameters are ignored: some clients repeat ?q= here."""
    snapshot, _ = org.cursors.find(locator)
    alive = snapshot is not None and org.sessions.alive(snapshot.token)
    return Reply(200, org.cursors.follow(locator, call.session.token, alive))


def _page(org: Org, call: Call) -> int:
    asked = _BATCH.search(call.headers.get("sforce-query-options", ""))
    wanted = int(asked[1]) if asked else LARGEST_PAGE
    return min(org.page_size, max(SMALLEST_PAGE, min(wanted, LARGEST_PAGE)))  # [U] a number outside is moved inside


# -- one record


def create(org: Org, call: Call, name: str) -> Reply:
    shape = known(org, name)
    parts = multipart.is_multipart(call.headers)
    given = multipart.record(call.headers, call.body) if parts else call.json()
    made = org.records.create(shape, given, org.now())
    location = {"Location": f"{call.base}/sobjects/{shape.name}/{made}"}
    return reply(201, {"id": made, "success": True, "errors": []}, location)


def retrieve(org: Org, call: Call, name: str, record_id: str) -> Reply:
    shape = known(org, name)
    id18 = ids.canonical(record_id)
    if id18 is None:
        raise not_found()
    names = wanted(shape, call.query.get("fields"))
    select = tree.whole_row(shape.name, tuple(names), id18)
    plan = plans.plan(select, org.context("", call.version))
    numbers = list(org.store.numbers(plan.numbers, plan.parameters))
    row = org.store.get(org.records.schema.objects[shape.name.lower()], id18)
    if not numbers or row is None:
        raise not_found()
    [text] = org.store.records(plan.records, plan.parameters, numbers)
    return conditional.row(call, shape, row, text)


def wanted(shape: Object, fields: str | None) -> list[str]:
    if fields is None:
        return [field.name for field in shape.fields if field.type in SHOWN]
    names = []
    for name in [*fields.split(","), "Id"]:  # the id comes back whether asked for or not
        field = shape.field(name.strip())
        if field is None:
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name.strip()}' on sobject of type {shape.name}")
        if field.name not in names:
            names.append(field.name)
    return names


def update(org: Org, call: Call, name: str, record_id: str) -> Reply:
    shape = known(org, name)
    given = call.json()
    id18 = own_id(shape, record_id)
    _check_condition(org, call, shape, id18)
    org.records.update(shape, id18, given, org.now())
    return Reply(204)


def delete(org: Org, call: Call, name: str, record_id: str) -> Reply:
    shape = known(org, name)
    id18 = own_id(shape, record_id)
    _check_condition(org, call, shape, id18)
    recycle.delete(org.records, shape, id18, org.now())
    return Reply(204)


def _check_condition(org: Org, call: Call, shape: Object, id18: str) -> None:
    if any(word in call.headers for word in ("if-match", "if-none-match", "if-unmodified-since")):
        stored = org.store.get(org.records.schema.objects[shape.name.lower()], id18)
        if stored is not None:
            conditional.check_write(call, shape, stored)


# -- by external id


def retrieve_by(org: Org, call: Call, name: str, field: str, value: str) -> Reply:
    shape = known(org, name)
    if is_blob(shape, field, value):
        return blob(org, call, shape, field, value)
    if ids.canonical(field):
        raise not_emulated(f"{value} of a record")
    _, found = org.records.find(shape, field, value)
    if len(found) > 1:
        return _several(call, shape, found)
    if not found:
        raise not_found()
    return retrieve(org, call, name, found[0])


def upsert(org: Org, call: Call, name: str, field: str, value: str) -> Reply:
    """201 made, 200 changed (204 before v46), 300 several."""
    shape = known(org, name)
    given = call.json()
    if any(key.lower() == field.lower() for key in given):
        message = f"The {field} field should not be specified in the sobject data."  # [U] sentence
        raise ApiError(400, "INVALID_FIELD", message)
    if call.query.get("updateOnly") == "true" and not org.records.find(shape, field, value)[1]:
        raise not_found()
    try:
        made, created = org.records.upsert(shape, field, value, given, org.now())
    except Several as several:
        return _several(call, shape, several.ids)
    if not created and float(call.version) < UPSERT_ANSWERS_SINCE:
        return Reply(204)
    location = {"Location": f"{call.base}/sobjects/{shape.name}/{made}"}
    return reply(201 if created else 200, {"id": made, "success": True, "errors": [], "created": created}, location)


def _several(call: Call, shape: Object, found: list[str]) -> Reply:
    return reply(300, [f"{call.base}/sobjects/{shape.name}/{each}" for each in found])


def own_id(shape: Object, text: str) -> str:
    found = ids.canonical(text)
    if found is None or not found.startswith(shape.prefix):
        message = f"{shape.label} ID: id value of incorrect type: {text}"  # [U] sentence
        raise ApiError(400, "MALFORMED_ID", message, ("Id",))
    return found


def known(org: Org, name: str) -> Object:
    shape = org.schema.object(name)
    if shape is None:
        raise not_found()
    return shape
