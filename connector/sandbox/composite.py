"""Many subrequests in one call: /composite and /composite/graph, with references between them, billed once."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from connector.sandbox.calls import Call, Reply, dumped
from connector.sandbox.collection import listed
from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.org import Org
from connector.sandbox.urls import resource, split_url

MAX_SUBREQUESTS = 25
MAX_QUERIES = 5
MAX_NODES, MAX_GRAPHS = 500, 75  # [U] the second one
_REFERENCE = re.compile(r"@\{(\w+)((?:\[\d+\]|\.\w+)*)\}", re.ASCII)
_HEAVY = re.compile(r"/services/data/v[\d.]+/(?:query|queryAll|composite/sobjects)(?:/.*)?", re.DOTALL)
_COLLECTION = re.compile(r"/services/data/v[\d.]+/composite/sobjects(?:/.*)?", re.DOTALL)
_INHERITED = ("sforce-query-options",)  # [U] whether a subrequest takes it from the outer request
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)", re.ASCII)

Perform = Callable[[Org, Call], Reply]


# -- composite


def composite(org: Org, call: Call, perform: Perform) -> Reply:
    body = call.json()
    entries = [_entry(entry) for entry in listed(body, "compositeRequest")]
    _limits(entries)
    results, _ = _run(org, call, entries, every=body.get("allOrNone") is True, perform=perform)
    return Reply(200, f'{{"compositeResponse":[{",".join(map(_written, results))}]}}')


def graph(org: Org, call: Call, perform: Perform) -> Reply:
    """Each graph is all or none for itself; the answer is 200 whatever becomes of them."""
    graphs = listed(call.json(), "graphs")
    if not all(isinstance(each, dict) and isinstance(each.get("graphId"), str) for each in graphs):
        raise bad_json("A graph needs graphId and compositeRequest")  # [U] sentence
    entries = [[_entry(entry) for entry in listed(each, "compositeRequest")] for each in graphs]
    if sum(map(len, entries)) > MAX_NODES or len(graphs) > MAX_GRAPHS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A call holds at most {MAX_GRAPHS} graphs and {MAX_NODES} nodes")  # [U]
    answers = []
    for each, own in zip(graphs, entries, strict=True):
        _unique(own)
        results, good = _run(org, call, own, every=True, perform=perform)
        response = f'{{"compositeResponse":[{",".join(map(_written, results))}]}}'
        answers.append(
            f'{{"graphId":{dumped(each["graphId"])},"graphResponse":{response},"isSuccessful":{dumped(good)}}}'
        )
    return Reply(200, f'{{"graphs":[{",".join(answers)}]}}')


def _run(
    org: Org, call: Call, entries: list[dict[str, Any]], *, every: bool, perform: Perform
) -> tuple[list[dict[str, Any]], bool]:
    """One after the other. With allOrNone the first failure ends it: that one keeps its error, all others are undone."""
    results: list[dict[str, Any]] = []
    answered: dict[str, str] = {}  # as text: a page of records is parsed only where something refers to it
    good = True
    with org.store.transaction() as work:
        for entry in entries:
            result = _subrequest(org, call, _overridden(entry) if every else entry, answered, perform)
            results.append(result)
            if result["httpStatusCode"] < 300:
                answered[entry["referenceId"]] = result["body"]
            if _failed(entry, result):
                good = False
                if every:
                    work.undo = True
                    break
    if work.undo:
        rest = [_result(entry, Reply(400)) for entry in entries[len(results) :]]
        results = [*map(_halted, results[:-1]), results[-1], *map(_halted, rest)]
    return results, good


def _overridden(entry: dict[str, Any]) -> dict[str, Any]:
    """The outer allOrNone counts, not that of a collection inside."""
    path, mark, query = entry["url"].partition("?")
    if not _COLLECTION.fullmatch(path):
        return entry
    if entry["method"].upper() == "DELETE":
        return {**entry, "url": f"{path}?{query}{'&' if mark else ''}allOrNone=true"}
    return {**entry, "body": {**entry["body"], "allOrNone": True}} if isinstance(entry.get("body"), dict) else entry


def _failed(entry: dict[str, Any], result: dict[str, Any]) -> bool:
    """A collection has failed if any of its rows has, although its own status says 200."""
    if result["httpStatusCode"] >= 400:
        return True
    if entry["method"].upper() == "GET" or not _COLLECTION.fullmatch(entry["url"].partition("?")[0]):
        return False
    rows = json.loads(result["body"])
    return any(isinstance(row, dict) and row.get("success") is False for row in rows)


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
    _unique(entries)
    heavy = sum(1 for entry in entries if _heavy(entry["url"]))
    if heavy > MAX_QUERIES:
        raise ApiError(400, "LIMIT_EXCEEDED", f"A composite request holds at most {MAX_QUERIES} queries or collections")


def _unique(entries: list[dict[str, Any]]) -> None:
    names = [entry["referenceId"] for entry in entries]
    if len(set(names)) < len(names):
        raise ApiError(400, "INVALID_INPUT", "referenceId must be unique in a composite request")


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
    method = query.get("_HttpMethod", entry["method"]) if entry["method"].upper() == "POST" else entry["method"]
    inner = Call(method.upper(), version, segments, query, headers, content, call.session, call.trace, inner=True)
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
