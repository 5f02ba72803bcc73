"""Every kind of fault that a request may meet: what comes back instead, or what becomes of the answer.

`each`: those that the code treats as it does another kind strike at every fourth request only. `says`: what a message about it holds, where it is not overcome within the run. `applied` tells whether the org has done
what it was asked. `slow`: the deadline of a call is short. `only`: requests that it can happen to; at the others it is skipped.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from faults.proxy import NOTHING, Answer, Asked, Bend

PAGE = "<html><head><title>Trouble</title></head><body>" + "<p>A wall of text that no user wants to read.</p>" * 400
HTML = {"Content-Type": "text/html; charset=UTF-8"}
JSON = {"Content-Type": "application/json;charset=UTF-8"}
WRITES = r"(POST|PATCH) .*/composite/sobjects"
ANY = ".*"


@dataclass(frozen=True)
class Kind:
    bend: Bend | Literal["refused", "repeated", "late"]
    says: str
    only: str = ANY
    slow: bool = False
    each: int = 1


def said(status: int, body: Any = b"", **headers: str) -> Bend:
    """An answer of the edge or of the org that has done nothing."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = HTML if raw.startswith(b"<") else JSON
    return lambda _asked, _forward: Answer(
        status, raw, kind | {key.replace("_", "-"): each for key, each in headers.items()}
    )


def refused(status: int, code: str, message: str = "") -> Bend:
    return said(status, [{"errorCode": code, "message": message or "A wall of text. " * 200}])


def page(status: int, **headers: str) -> Bend:
    return said(status, PAGE.encode(), **headers)


def done(changed: Callable[[Answer], Answer]) -> Bend:
    """What the org answered, on its way."""
    return lambda _asked, forward: changed(forward())


def half(answer: Answer, **more: Any) -> Answer:
    return replace(answer, cut=len(answer.raw()) - len(answer.body) // 2 - 1, end="closed", **more)


def unpacked(answer: Answer) -> bytes:
    return gzip.decompress(answer.body) if answer.headers.get("content-encoding") == "gzip" else answer.body


def rewritten(change: Callable[[Any], Any]) -> Bend:
    """The answer as JSON, changed: also in each part of a composite call."""

    def bend(_asked: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        tree = json.loads(unpacked(answer))
        if isinstance(tree, dict) and "compositeResponse" in tree:
            for part in tree["compositeResponse"]:
                part["body"] = change(part["body"])
        else:
            tree = change(tree)
        headers = {name: each for name, each in answer.headers.items() if name.lower() != "content-encoding"}
        return replace(answer, body=json.dumps(tree).encode(), headers=headers)

    return bend


def _total(tree: Any) -> Any:
    return {**tree, "totalSize": tree["totalSize"] + 1} if isinstance(tree, dict) and "totalSize" in tree else tree


def _undone(tree: Any) -> Any:
    return {key: each for key, each in tree.items() if key != "done"} if isinstance(tree, dict) else tree


def _strange(tree: Any) -> Any:
    """Rows that are no rows."""
    return (
        {**tree, "records": [1, None, "x"][: tree["totalSize"]]}
        if isinstance(tree, dict) and "records" in tree
        else tree
    )


def _bent(tree: Any) -> Any:
    """Values that no field has."""
    rows = [{key: {"x": [1]} for key in row} for row in tree["records"]] if _is_page(tree) else ()
    return {**tree, "records": rows} if _is_page(tree) else tree


def _nameless(tree: Any) -> Any:
    rows = (
        [{key: each for key, each in row.items() if key != "Id"} for row in tree["records"]] if _is_page(tree) else ()
    )
    return {**tree, "records": rows} if _is_page(tree) else tree


def _is_page(tree: Any) -> bool:
    return isinstance(tree, dict) and "records" in tree


def _short(tree: Any) -> Any:
    return tree[:-1] if isinstance(tree, list) else tree


def _long(tree: Any) -> Any:
    return tree + tree[-1:] if isinstance(tree, list) else tree


def _unsure(tree: Any) -> Any:
    return [{"id": None, "success": "yes"} for _ in tree] if isinstance(tree, list) else tree


def _swapped(tree: Any) -> Any:
    return [tree] if isinstance(tree, dict) else {"0": tree}


BOMB = gzip.compress(gzip.compress(b"\0" * (64 << 20), 9), 9)  # packed twice, so that it is small here, too


def bomb(_asked: Asked, _forward: Any) -> Answer:
    return Answer(200, gzip.decompress(BOMB), {**JSON, "Content-Encoding": "gzip"})


LOST = r"not answered in full|was not answered|no answer in time|may or may not"
BUSY = r"not available at the moment|too many calls at the moment"
BODY = r"not JSON|not a token|without a token|every part|half a page|each of|without a date|no reason|announced|did not say|cannot be read"
SESSION = "check the integration user's rights|sign in again|refused the client id|not a token"

KINDS: dict[str, Kind] = {
    # ---- the network ----
    "connection refused": Kind("refused", "is the address right, and the system up"),
    "reset before": Kind(lambda *_: replace(NOTHING, end="reset"), LOST, each=4),
    "reset after": Kind(done(lambda _: replace(NOTHING, end="reset")), LOST),
    "hung up before": Kind(lambda *_: NOTHING, LOST, each=4),
    "hung up after": Kind(done(lambda _: NOTHING), LOST),
    "silent before": Kind(lambda *_: replace(NOTHING, end="hangs"), LOST, slow=True),
    "silent after": Kind(done(lambda _: replace(NOTHING, end="hangs")), LOST, slow=True),
    "cut off in the head": Kind(done(lambda answer: replace(answer, cut=12, end="closed")), LOST, each=4),
    "cut off by length": Kind(done(half), LOST),
    "cut off in chunks": Kind(
        done(
            lambda answer: replace(
                answer,
                headers={**answer.headers, "Transfer-Encoding": "chunked"},
                framed=False,
                body=b"%x\r\n" % len(answer.body) + answer.body,
                end="closed",
            )
        ),
        LOST,
        each=4,
    ),
    "cut off without a length": Kind(done(lambda answer: half(answer, framed=False)), f"{LOST}|{BODY}"),
    "comes in pieces": Kind(done(lambda answer: replace(answer, pieces=50)), "nothing", each=4),
    "stops in the middle": Kind(done(lambda answer: replace(half(answer), end="hangs")), LOST, slow=True, each=4),
    "not HTTP": Kind(done(lambda answer: replace(answer, status=-1)), LOST, each=4),
    "too many headers": Kind(
        done(lambda answer: replace(answer, headers={f"X-{n}": "x" * 1000 for n in range(200)})),
        f"{LOST}|{BODY}",
        each=4,
    ),
    "cookies": Kind(
        done(lambda answer: replace(answer, headers={**answer.headers, "Set-Cookie": "a=b"})), "nothing", each=4
    ),
    # ---- the edge ----
    "406": Kind(page(406), BUSY),
    "413": Kind(page(413), "too large", each=4),
    "414": Kind(page(414), "too long"),
    "420": Kind(page(420), BUSY),
    "431": Kind(page(431), "too long", each=4),
    "429": Kind(page(429), BUSY),
    "429 for half a minute": Kind(page(429, Retry_After="30"), BUSY, each=4),
    "429 for an hour": Kind(page(429, Retry_After="3600"), BUSY),
    "500 page": Kind(page(500), f"{BUSY}|{LOST}", each=4),
    "502": Kind(page(502), f"{BUSY}|{LOST}"),
    "503": Kind(page(503), f"{BUSY}|{LOST}"),
    "503 for a while": Kind(page(503, Retry_After="7"), BUSY, each=4),
    "redirect here": Kind(page(307, Location="/elsewhere"), "redirect, which is not followed", each=4),
    "redirect there": Kind(page(302, Location="https://evil.example.com/"), "redirect, which is not followed"),
    "redirect to a file": Kind(page(301, Location="file:///etc/passwd"), "redirect, which is not followed", each=4),
    "login page": Kind(page(200), f"{BODY}"),
    "403 page": Kind(page(403), SESSION, each=4),
    "404 page": Kind(page(404), "check `login` and `version`|no longer|was cut off", each=4),
    # ---- the org ----
    "401": Kind(refused(401, "INVALID_SESSION_ID", "Session expired or invalid"), SESSION),
    "401 for ever": Kind(
        refused(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API"), SESSION
    ),
    "API off": Kind(refused(403, "API_DISABLED_FOR_ORG"), "may not use the API", each=4),
    "calls used up": Kind(refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), "24 hours"),
    "calls at once": Kind(
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
        "too many calls that take long",
    ),
    "404": Kind(refused(404, "NOT_FOUND", "The requested resource does not exist"), "NOT_FOUND|was cut off"),
    "locator gone": Kind(refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator"), "LOCATOR", each=4),
    "query timeout": Kind(refused(400, "QUERY_TIMEOUT"), "QUERY_TIMEOUT.*took too long"),
    "locked": Kind(refused(400, "UNABLE_TO_LOCK_ROW"), "UNABLE_TO_LOCK_ROW.*somebody else"),
    "unknown code": Kind(refused(400, "SOMETHING_NEW"), "SOMETHING_NEW", each=4),
    "500": Kind(refused(500, "UNKNOWN_EXCEPTION"), f"{BUSY}|{LOST}"),
    "503 of the org": Kind(refused(503, "SERVER_UNAVAILABLE"), f"{BUSY}|{LOST}", each=4),
    # ---- answers that do not hold together ----
    "empty": Kind(done(lambda answer: replace(answer, body=b"", headers=JSON)), BODY, each=4),
    "null": Kind(said(200, None), BODY, each=4),
    "list for object": Kind(rewritten(_swapped), BODY),
    "not JSON": Kind(done(lambda answer: replace(answer, body=b'{"done": tru', headers=JSON)), BODY),
    "deep JSON": Kind(done(lambda answer: replace(answer, body=b"[" * 100_000, headers=JSON)), BODY, each=4),
    "huge number": Kind(done(lambda answer: replace(answer, body=b"9" * 100_000, headers=JSON)), BODY, each=4),
    "no done": Kind(rewritten(_undone), BODY, each=4),
    "wrong total": Kind(rewritten(_total), BODY),
    "rows that are none": Kind(rewritten(_strange), BODY),
    "rows without ids": Kind(rewritten(_nameless), BODY, each=4),
    "values bent": Kind(rewritten(_bent), BODY, each=4),
    "result missing": Kind(rewritten(_short), BODY, only=WRITES),
    "result too many": Kind(rewritten(_long), BODY, only=WRITES),
    "result unclear": Kind(rewritten(_unsure), BODY, only=WRITES),
    "bomb": Kind(bomb, "more than 1 MB"),
    "too large": Kind(said(200, b'"' + b"x" * (2 << 20) + b'"'), "more than 1 MB", each=4),
    "page repeated": Kind("repeated", BODY, only=r"GET .*/query/"),
    "seen late": Kind("late", "nothing", only=WRITES),
    "damaged packing": Kind(
        done(lambda answer: replace(answer, headers={**JSON, "Content-Encoding": "gzip"}, body=b"no gzip")),
        LOST,
        each=4,
    ),
    "packing unknown": Kind(
        done(lambda answer: replace(answer, headers={**JSON, "Content-Encoding": "br"}, body=b"x")), LOST, each=4
    ),
}
