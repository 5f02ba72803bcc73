"""The test's own channel: /sandbox/... does over HTTP what Org does in Python. Loopback only, no session, no bill.

Each verb is a line in the table; a body is a JSON object, an answer is JSON, a mistake is 400 {"error": ...}.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from connector.sandbox.calls import Reply, Request, reply
from connector.sandbox.org import Org

Body = Mapping[str, Any]


def answer(org: Org, request: Request, client: str | None) -> Reply:
    # A page in a browser on this machine is local too: it shows itself by Origin, a test does not send one.
    if not _is_loopback(client) or "origin" in request.headers:
        return reply(403, {"error": "the control channel answers this machine's own programs only"})
    verb, _, name = unquote(request.path).removeprefix("/sandbox/").rstrip("/").partition("/")
    handler = _VERBS.get((request.method, verb, bool(name)))
    if handler is None:
        known = ", ".join(f"{method} /sandbox/{word}{'/NAME' if named else ''}" for method, word, named in _VERBS)
        return reply(404, {"error": f"the control channel knows {known}"})
    try:
        body = _body(request)
        with org.store.lock:
            answered = reply(200, handler(org, body, name))
            org.keep()
            return answered
    except KeyError as missing:
        return reply(400, {"error": f"the body lacks {missing.args[0]!r}"})
    except (ValueError, TypeError, RecursionError) as wrong:
        return reply(400, {"error": str(wrong)})


def _body(request: Request) -> Body:
    found = json.loads(request.body or b"{}")
    if not isinstance(found, dict):
        raise TypeError("the body is a JSON object")
    return found


def _is_loopback(client: str | None) -> bool:
    try:
        return client is not None and ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def _load(org: Org, body: Body, _: str) -> Any:
    return {"ids": org.load(body["rows"], late=body.get("late"))}


def _edit(org: Org, body: Body, _: str) -> Any:
    org.edit(body["object"], body["id"], body["fields"], late=body.get("late"))
    return {"ok": True}


def _delete(org: Org, body: Body, _: str) -> Any:
    org.delete(body["object"], body["id"], late=body.get("late"))
    return {"ok": True}


def _undelete(org: Org, body: Body, _: str) -> Any:
    org.undelete(body["object"], body["id"])
    return {"ok": True}


def _merge(org: Org, body: Body, _: str) -> Any:
    org.merge(body["object"], body["master"], body["losers"], body.get("fields"))
    return {"ok": True}


def _fault(org: Org, body: Body, _: str) -> Any:
    org.fault(**body)
    return {"ok": True}


def _bulk(org: Org, body: Body, _: str) -> Any:
    org.bulk(body["polls"])
    return {"ok": True}


def _clock(org: Org, body: Body, _: str) -> Any:
    moment = body["now"]
    org.set_clock(None if moment is None else datetime.fromisoformat(moment))
    return {"now": org.now().isoformat()}


def _revoke(org: Org, _body: Body, _: str) -> Any:
    org.revoke_tokens()
    return {"ok": True}


def _rules(org: Org, body: Body, _: str) -> Any:
    org.rules(
        body["object"],
        *body.get("rules", ()),
        validations=body.get("validations", ()),
        duplicates=body.get("duplicates", ()),
    )
    return {"ok": True}


def _lock(org: Org, body: Body, _: str) -> Any:
    org.lock(body["object"], body["id"], body.get("writes", 1))
    return {"ok": True}


def _permit(org: Org, body: Body, _: str) -> Any:
    org.permit(body["username"], body.get("objects"), body.get("fields"), body.get("hard_delete"))
    return {"ok": True}


def _consent(org: Org, body: Body, _: str) -> Any:
    org.consent(body["answer"], body.get("username"))
    return {"ok": True}


def _rows(org: Org, _: Body, name: str) -> Any:
    return {"rows": org.rows(name)}


def _calls(org: Org, _body: Body, _: str) -> Any:
    return {"calls": org.calls, "billed": org.billed, "queries": org.queries}


_VERBS: dict[tuple[str, str, bool], Callable[[Org, Body, str], Any]] = {
    ("POST", "load", False): _load,
    ("POST", "edit", False): _edit,
    ("POST", "delete", False): _delete,
    ("POST", "undelete", False): _undelete,
    ("POST", "merge", False): _merge,
    ("POST", "fault", False): _fault,
    ("POST", "bulk", False): _bulk,
    ("POST", "clock", False): _clock,
    ("POST", "revoke", False): _revoke,
    ("POST", "rules", False): _rules,
    ("POST", "lock", False): _lock,
    ("POST", "permit", False): _permit,
    ("POST", "consent", False): _consent,
    ("GET", "rows", True): _rows,
    ("GET", "calls", False): _calls,
}
