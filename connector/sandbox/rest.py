"""One HTTP request -> one reply: version, session, bill, fault, then the resource from the table below.

The table is the surface. What Salesforce has and the org does not answers 501; what neither has answers 404.
"""

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta

from connector.sandbox import batch, collection, composite, nested, plans, replication, resources, soql
from connector.sandbox.bulk import ingests, queries
from connector.sandbox.bulk import resources as bulk
from connector.sandbox.calls import Call, Reply, Request, Trace, refusal, reply
from connector.sandbox.errors import ApiError, HangUp, OAuthError, not_emulated, not_found
from connector.sandbox.faults import Fault, Verb
from connector.sandbox.metadata import limits, recent, ui
from connector.sandbox.oauth import authorize, grants, identity
from connector.sandbox.org import Org
from connector.sandbox.schema import words
from connector.sandbox.urls import parameters, resource, versions

DUPLICATE_HEADER_SINCE = 52

log = logging.getLogger("connector.sandbox")

Handler = Callable[..., Reply]
Touches = Callable[..., frozenset[str]]
_NOTHING: frozenset[str] = frozenset()


def answer(org: Org, request: Request) -> Reply:
    """Raises HangUp where the connection is to be dropped instead."""
    with org.store.lock:
        org.settle()
        billed = org.billing.total
        try:
            made = _answer(org, request)
        except ApiError as refused:
            made = refusal(refused)
        except OAuthError as refused:
            made = reply(refused.status, refused.body())
        finally:
            org.calls.append((request.method, request.path, org.billing.total > billed))
            org.keep()
        return made


def _answer(org: Org, request: Request) -> Reply:
    path = request.path.removesuffix("/")
    if path in _OPEN:
        return _open(org, request, _OPEN[path])
    if path.startswith("/id/"):
        return identity.identity(org, request)
    if path.startswith(("/services/Soap", "/services/async", "/services/oauth2", "/services/apexrest")):
        raise not_emulated(path)
    found = resource(request.path)
    if found is None:
        raise not_found()
    version, segments = found
    session = org.sessions.find(request.headers, org.now())
    query = parameters(request.query)
    method = query.get("_HttpMethod", request.method) if request.method == "POST" else request.method
    trace = Trace()
    call = Call(method, version, segments, query, request.headers, request.body, session, trace)
    org = org.seen_by(session, request.origin)
    try:
        org.billing.charge(org.now(), session.client)
        with org.store.transaction():  # what is dropped before it was applied leaves nothing behind
            made = perform(org, call)
    except ApiError as refused:
        made = refusal(refused)
    if trace.hang_up:
        raise HangUp
    headers = {**made.headers, **org.billing.header(org.now(), session.client)}
    return Reply(made.status, _pretty(request, made), headers, made.data, trace.wire, trace.seconds)


def _pretty(request: Request, made: Reply) -> str | None:
    if made.text is None or request.headers.get("x-prettyprint") not in ("1", "true") or "Content-Type" in made.headers:
        return made.text
    return json.dumps(json.loads(made.text), indent=2, separators=(",", " : "), ensure_ascii=False)


def perform(org: Org, call: Call) -> Reply:
    """One resource, with the faults that were asked for; a refusal undoes what it had begun."""
    try:
        org = org.seen_by(call.session, allow_duplicates=_allows_duplicates(call))
        route, arguments = _match(call)
        touched, rows = route.touches(org, call, *arguments), False if route.rows else None
        fault = org.faults.take(touched, _verb(call), call.path, rows=rows)
        if fault is not None:
            fault.strike(call.trace)  # raises, unless something happens to the write or to the answer only
        with org.store.transaction(), _held(org, fault):
            return route.handler(org, call, *arguments)
    except ApiError as refused:
        return refusal(refused)
    except HangUp:
        raise
    except Exception:
        log.exception("the sandbox org failed on %s %s", call.method, "/".join(call.segments))
        message = "An unexpected error occurred"
        return refusal(ApiError(500, "UNKNOWN_EXCEPTION", message))


def _held(org: Org, fault: Fault | None) -> AbstractContextManager[None]:
    if fault is None or fault.status != "late":
        return nullcontext()
    return org.late.hold(org.now() + timedelta(seconds=fault.seconds))


def _allows_duplicates(call: Call) -> bool:
    words = call.headers.get("sforce-duplicate-rule-header", "").replace(" ", "").lower().replace(",", ";").split(";")
    return "allowsave=true" in words and float(call.version) >= DUPLICATE_HEADER_SINCE


def _verb(call: Call) -> Verb:
    reads = call.method in ("GET", "HEAD") or (call.segments == ("composite",) and composite.only_reads(call))
    return "read" if reads else "write"


# -- without a bill


def _open(org: Org, request: Request, handler: Callable[[Org, Request], Reply]) -> Reply:
    """Faults come here only if they are asked for by path, or every sign-in of a test would use one up."""
    verb: Verb = "read" if request.method in ("GET", "HEAD") else "write"
    fault, trace = org.faults.take(_NOTHING, verb, request.path, named=True), Trace()
    if fault is not None:
        fault.strike(trace)
    made = handler(org, request)
    if trace.hang_up:
        raise HangUp
    return replace(made, wire=trace.wire, seconds=trace.seconds)


def _token(org: Org, request: Request) -> Reply:
    if request.method != "POST":
        raise _not_allowed(request.method, {"POST"})
    return reply(200, grants.answer(org, grants.ask(request.headers, request.body, org.now(), request.origin)))


def _authorize(org: Org, request: Request) -> Reply:
    if request.method not in ("GET", "POST"):
        raise _not_allowed(request.method, {"GET", "POST"})
    return authorize.answer(org, request)


def _revoke(org: Org, request: Request) -> Reply:
    if request.method not in ("GET", "POST"):
        raise _not_allowed(request.method, {"GET", "POST"})
    given = grants.form(request.body) if request.method == "POST" else parameters(request.query)
    if not org.sessions.revoke(given.get("token", "")):
        raise OAuthError("invalid_token", "token is invalid or expired")  # [U] error and description
    return Reply(200)


def _versions(_org: Org, request: Request) -> Reply:
    if request.method not in ("GET", "HEAD"):
        raise _not_allowed(request.method, {"GET", "HEAD"})
    return reply(200, versions())


_OPEN: dict[str, Callable[[Org, Request], Reply]] = {
    "/services/oauth2/token": _token,
    "/services/oauth2/authorize": _authorize,
    "/services/oauth2/revoke": _revoke,
    "/services/oauth2/userinfo": identity.userinfo,
    "/services/data": _versions,
}

# -- which objects a call touches: faults are asked for by object


def _no_object(_org: Org, _call: Call, *_: str) -> frozenset[str]:
    return _NOTHING


def _named(org: Org, _call: Call, name: str, *_: str) -> frozenset[str]:
    shape = org.schema.object(name)
    return frozenset({shape.name}) if shape else _NOTHING


def _queried(org: Org, call: Call) -> frozenset[str]:
    try:
        return plans.objects(soql.parse(call.query.get("q", "")), org.schema)
    except ApiError:
        return _NOTHING


def _followed(org: Org, _call: Call, locator: str) -> frozenset[str]:
    snapshot, _ = org.cursors.find(locator)
    return frozenset({snapshot.plan.object.name}) if snapshot else _NOTHING


def _collected(org: Org, call: Call, *_: str) -> frozenset[str]:
    try:
        records = call.json().get("records")
    except ApiError:
        return _NOTHING
    listed = records if isinstance(records, list) else []
    names = {collection.type_name(record) for record in listed if isinstance(record, dict)}
    return frozenset(shape.name for name in names if (shape := org.schema.object(name)))


def _listed(org: Org, call: Call) -> frozenset[str]:
    shapes = (org.schema.by_prefix.get(each.strip()[:3]) for each in call.query.get("ids", "").split(","))
    return frozenset(shape.name for shape in shapes if shape)


# -- the surface


@dataclass(frozen=True)
class Route:
    method: str
    pattern: tuple[str, ...]  # {} stands for any one segment
    handler: Handler
    touches: Touches = _no_object
    rows: bool = False  # a collection: faults of a row are told of the row


def _route(method: str, path: str, handler: Handler, touches: Touches = _no_object, *, rows: bool = False) -> Route:
    return Route(method, tuple(path.split("/")) if path else (), handler, touches, rows)


def _performing(handler: Callable[[Org, Call, Callable[[Org, Call], Reply]], Reply]) -> Handler:
    """A resource whose parts are requests of their own."""
    return lambda org, call: handler(org, call, perform)


ROUTES = (
    _route("GET", "", resources.resource_map),
    _route("GET", "sobjects", resources.describe_global),
    _route("GET", "limits", limits.limits),
    _route("GET", "limits/recordCount", limits.record_count),
    _route("GET", "recent", recent.recent),
    _route("GET", "ui-api/object-info/{}/picklist-values/{}", ui.every_field, _named),
    _route("GET", "ui-api/object-info/{}/picklist-values/{}/{}", ui.one_field, _named),
    _route("GET", "sobjects/{}", recent.object_summary, _named),
    _route("POST", "sobjects/{}", resources.create, _named),
    _route("GET", "sobjects/{}/describe", resources.describe_object, _named),
    _route("GET", "sobjects/{}/{}", resources.retrieve, _named),
    _route("PATCH", "sobjects/{}/{}", resources.update, _named),
    _route("DELETE", "sobjects/{}/{}", resources.delete, _named),
    _route("POST", "sobjects/{}/Id", resources.create, _named),
    _route("GET", "sobjects/{}/{}/{}", resources.retrieve_by, _named),
    _route("PATCH", "sobjects/{}/{}/{}", resources.upsert, _named),
    _route("GET", "query", resources.query, _queried),
    _route("GET", "query/{}", resources.query_more, _followed),
    _route("GET", "queryAll", resources.query_all, _queried),
    _route("GET", "queryAll/{}", resources.query_more, _followed),
    _route("GET", "sobjects/{}/updated", replication.updated, _named),
    _route("GET", "sobjects/{}/deleted", replication.deleted, _named),
    _route("POST", "composite", _performing(composite.composite)),
    _route("POST", "composite/batch", _performing(batch.batch)),
    _route("POST", "composite/graph", _performing(composite.graph)),
    _route("POST", "composite/tree/{}", nested.create_tree, _named),
    _route("POST", "composite/sobjects", collection.create_records, _collected, rows=True),
    _route("PATCH", "composite/sobjects", collection.update_records, _collected, rows=True),
    _route("DELETE", "composite/sobjects", collection.delete_records, _listed, rows=True),
    _route("PATCH", "composite/sobjects/{}/{}", collection.upsert_records, _collected, rows=True),
    _route("GET", "jobs/query", bulk.listed),
    _route("POST", "jobs/query", queries.create, bulk.touched),
    _route("GET", "jobs/query/{}", queries.show, bulk.touched),
    _route("PATCH", "jobs/query/{}", bulk.abort_query, bulk.touched),
    _route("DELETE", "jobs/query/{}", bulk.delete, bulk.touched),
    _route("GET", "jobs/query/{}/results", queries.results, bulk.touched),
    _route("GET", "jobs/ingest", bulk.listed),
    _route("POST", "jobs/ingest", ingests.create, bulk.touched, rows=True),
    _route("GET", "jobs/ingest/{}", ingests.show, bulk.touched, rows=True),
    _route("PATCH", "jobs/ingest/{}", ingests.change, bulk.touched, rows=True),
    _route("DELETE", "jobs/ingest/{}", bulk.delete, bulk.touched),
    _route("PUT", "jobs/ingest/{}/batches", ingests.put, bulk.touched, rows=True),
    _route("GET", "jobs/ingest/{}/successfulResults", ingests.successful, bulk.touched, rows=True),
    _route("GET", "jobs/ingest/{}/failedResults", ingests.failed, bulk.touched, rows=True),
    _route("GET", "jobs/ingest/{}/unprocessedrecords", ingests.unprocessed, bulk.touched, rows=True),
    _route("GET", "jobs/ingest/{}/unprocessedRecords", ingests.unprocessed, bulk.touched, rows=True),  # so some clients
    _route("GET", "composite/sobjects/{}", collection.retrieve_records, _named),
    _route("POST", "composite/sobjects/{}", collection.retrieve_records, _named),
)

# Salesforce has these beside the routes above, the org does not; * is any method.
MISSING = tuple(
    (method, tuple(path.split("/")))
    for method, path in (
        ("GET", "composite"),
        ("GET", "composite/sobjects"),
        ("DELETE", "sobjects/{}/{}/{}"),
        *(("*", f"sobjects/{{}}/{name}") for name in ("listviews", "quickActions", "describe/{}")),
    )
)
_MISSING_ROOTS = words(
    "actions analytics appMenu async-queries chatter compactLayouts connect consent event eventSchema flexipage folders "
    "jobs jsonxform knowledgeManagement limits localizedvalue metadata parameterizedSearch parcel payments process "
    "quickActions recent search support tabs theme tooling ui-api wave"
)


def _match(call: Call) -> tuple[Route, tuple[str, ...]]:
    method = "GET" if call.method == "HEAD" else call.method
    if any(word in ("*", method) and _fits(pattern, call.segments) for word, pattern in MISSING):
        raise not_emulated(f"{method} {'/'.join(call.segments)}")
    here = [route for route in ROUTES if _fits(route.pattern, call.segments)]
    if not here and call.segments and call.segments[0] in _MISSING_ROOTS:
        raise not_emulated("/".join(call.segments))
    if not here:
        raise not_found()
    closest = min(route.pattern.count("{}") for route in here)  # describe is no record's id
    exact = [route for route in here if route.pattern.count("{}") == closest]
    for route in exact:
        if route.method == method:
            return route, tuple(part for mark, part in zip(route.pattern, call.segments, strict=True) if mark == "{}")
    raise _not_allowed(call.method, {route.method for route in exact})


def _fits(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return len(pattern) == len(segments) and all(
        mark == part or (mark == "{}" and part != "") for mark, part in zip(pattern, segments, strict=True)
    )


def _not_allowed(method: str, allowed: set[str]) -> ApiError:
    listed = ",".join(sorted(allowed))
    message = f"HTTP Method '{method}' not allowed. Allowed are {listed}"
    return ApiError(405, "METHOD_NOT_ALLOWED", message, headers={"Allow": listed})
