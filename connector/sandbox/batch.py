"""/composite/batch: up to 25 requests one after the other, each billed, none undone for another's sake."""

from collections.abc import Callable
from typing import Any

from connector.sandbox.calls import Call, Reply, dumped
from connector.sandbox.collection import listed
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.org import Org
from connector.sandbox.urls import resource, split_url

MAX_REQUESTS = 25
_HALTED = dumped(
    [
        {"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request."}
    ]  # [U] code and sentence
)


def batch(org: Org, call: Call, perform: Callable[[Org, Call], Reply]) -> Reply:
    body = call.json()
    requests = listed(body, "batchRequests")
    if len(requests) > MAX_REQUESTS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A batch holds at most {MAX_REQUESTS} requests")  # [U] code and sentence
    if not all(
        isinstance(each, dict) and isinstance(each.get("method"), str) and isinstance(each.get("url"), str)
        for each in requests
    ):
        raise bad_json("A request of a batch needs method and url")  # [U] sentence
    halting, failed, results = body.get("haltOnError") is True, False, []
    for place, each in enumerate(requests):
        if failed and halting:
            results.append(f'{{"statusCode":412,"result":{_HALTED}}}')
            continue
        answer = _one(org, call, each, perform, first=place == 0)
        failed = failed or answer.status >= 400
        text = answer.text if answer.text is not None else "null"
        result = text if text[:1] in '{["n' else dumped(text)  # a page of HTML becomes a text
        results.append(f'{{"statusCode":{answer.status},"result":{result}}}')
    return Reply(200, f'{{"hasErrors":{dumped(failed)},"results":[{",".join(results)}]}}')


def _one(org: Org, call: Call, entry: dict[str, Any], perform: Callable[[Org, Call], Reply], *, first: bool) -> Reply:
    path, query = split_url(entry["url"])
    path = path if path.startswith("/services/data/") else f"/services/data/{path.removeprefix('/')}"
    try:
        found = _target(path)
        if not first:  # the call itself has paid for one
            org.billing.charge(org.now(), call.session.client)
    except ApiError as refused:
        return Reply(refused.status, dumped(refused.body()))
    version, segments = found
    content = b"" if entry.get("richInput") is None else dumped(entry["richInput"]).encode("utf-8", "surrogatepass")
    method = query.get("_HttpMethod", entry["method"]) if entry["method"].upper() == "POST" else entry["method"]
    return perform(
        org, Call(method.upper(), version, segments, query, {}, content, call.session, call.trace, inner=True)
    )


def _target(path: str) -> tuple[str, tuple[str, ...]]:
    found = resource(path)
    if found is None or (found[1][:1] == ("composite",) and found[1][1:2] != ("sobjects",)):
        raise ApiError(400, "INVALID_INPUT", f"A batch cannot hold {path}")  # [U] code and sentence
    return found
