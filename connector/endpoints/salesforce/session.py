"""One signed-in session with an org: every call is signed, counted, and its errors put into our words here."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connector.endpoints.salesforce.signin import App, SignIn, trusted
from connector.endpoints.wire import Reply, Transport, Wire, patiently
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, Unanswered, Unauthorized, Unavailable
from connector.model import Clock
from connector.vault import Vault


class LostPlace(EndpointError):
    """A query locator is no longer good: it lives and dies with the session that made it."""


CODES: dict[str, type[EndpointError]] = {
    **dict.fromkeys(("INVALID_FIELD", "INVALID_TYPE"), Drifted),
    "INVALID_QUERY_LOCATOR": LostPlace,
    **dict.fromkeys(("INVALID_SESSION_ID", "INVALID_AUTH_HEADER", "INVALID_JWT_FORMAT"), Unauthorized),
    **dict.fromkeys(("API_CURRENTLY_DISABLED", "API_DISABLED_FOR_ORG"), Unauthorized),
    "REQUEST_LIMIT_EXCEEDED": RateLimited,
    **dict.fromkeys(("QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "SERVER_UNAVAILABLE"), Unavailable),
    **dict.fromkeys(("TXN_SECURITY_METERING_ERROR", "UNABLE_TO_LOCK_ROW"), Unavailable),
}
"""What a code says about who can act. Every other code: this one record, or this one query, was refused."""

_FINAL = (b"This session is not valid for use with the REST API", b"Connected app is not attached to Agent")
"""401 bodies that a new token does not cure: signing in again for them would go on for ever."""


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one subrequest of a composite call."""

    status: int
    modified: str
    body: Any
    error: EndpointError | None


def brief(text: object) -> str:
    """A message of the other side, fit for one line of a log: no markup, no walls of text."""
    return " ".join(re.sub(r"<[^>]*>", " ", str(text)).split())[:200]


def refusal(where: str, body: Any) -> EndpointError | None:
    """The error that a body of Salesforce's describes: `[{errorCode, message, fields}]`, or statusCode in collections."""
    first = body[0] if isinstance(body, list) and body else body
    code = (first.get("errorCode") or first.get("statusCode")) if isinstance(first, dict) else None
    if not isinstance(code, str):
        return None
    kind, text = CODES.get(code, Rejected), f"{where}: {code}: {brief(first.get('message') or '')}"
    if kind is Rejected:
        return Rejected(text, code, tuple(map(str, first.get("fields") or ())))
    if kind is RateLimited:
        used_up = "The org's API calls of 24 hours are used up; calls work again as they run out of that window"
        return Unavailable(text) if "concurrent" in text.lower() else RateLimited(f"{text} {used_up}")
    return kind(text)


class Session:
    def __init__(
        self, app: App, version: str, *, clock: Clock, vault: Vault | None = None, transport: Transport | None = None
    ) -> None:
        self.base, self.calls = f"/services/data/v{version}", 0
        self._clock, self._transport = clock, transport
        self._login = self._wire = Wire(app.login, transport=transport)
        self._signin = SignIn(app, self._login, clock, vault)
        self.host = self._login.origin.host
        self._token: str | None = None
        self._lock = threading.Lock()

    def time(self) -> datetime:
        """The org's own clock, from a call that is neither signed nor billed."""
        reply = patiently(lambda: self._checked(self._login.send("GET", "/services/data")), self._clock)
        try:
            return parsedate_to_datetime(reply.headers["date"])
        except (KeyError, ValueError):
            raise reply.odd("without a date") from None

    def get(self, address: str) -> Any:
        """A further page of a query. The locator in `address` is bound to the session: no new token can help it."""
        return patiently(lambda: self._call("GET", address, renew=False), self._clock)

    def composite(self, asks: Sequence[tuple[str, Mapping[str, str]]]) -> list[Part]:
        """GETs, up to 25 addresses with headers, in one billed call. Again as a whole if a part was not possible now."""
        return patiently(lambda: self._composite(asks), self._clock)

    def _composite(self, asks: Sequence[tuple[str, Mapping[str, str]]], *, renew: bool = True) -> list[Part]:
        requests: dict[str, Any] = {
            f"r{at}": {"method": "GET", "url": self.base + path, "referenceId": f"r{at}"}
            | ({"httpHeaders": headers} if headers else {})
            for at, (path, headers) in enumerate(asks)
        }
        body = {"allOrNone": False, "compositeRequest": [*requests.values()]}
        answer, token = self._call("POST", f"{self.base}/composite", body), self._token
        try:
            parts = {each["referenceId"]: self._part(each) for each in answer["compositeResponse"]}
        except (KeyError, TypeError, AttributeError):
            parts = {}
        if list(parts) != list(requests):
            raise Unavailable(f"{self.host} did not answer every part of a composite call")
        if renew and any(part.status == 401 for part in parts.values()):  # the session ended within the call
            self._signed_in(stale=token)
            return self._composite(asks, renew=False)
        for part in parts.values():
            if isinstance(part.error, Unavailable | Unauthorized):
                raise part.error
        return list(parts.values())

    def _part(self, answer: Any) -> Part:
        status, body, error = answer["httpStatusCode"], answer["body"], None
        if status >= 400:
            error = refusal(self.host, body) or EndpointError(f"{self.host} answered a part of a call with {status}")
            error = Unavailable(str(error)) if status == 429 or status >= 500 else error
        headers = {name.lower(): value for name, value in (answer.get("httpHeaders") or {}).items()}
        return Part(status, str(headers.get("last-modified", "")), body, error)

    def collection(self, method: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write up to 200 records, each for itself. One attempt."""
        path, body = f"{self.base}/composite/sobjects", {"allOrNone": False, "records": records}
        answer = self._call(method, path, body, safe=False)
        results = answer if isinstance(answer, list) else []
        told = [isinstance(each, dict) and type(each.get("success")) for each in results]
        if told != [bool] * len(records):
            raise Unanswered(f"{self.host} did not answer for each of {len(records)} written records")
        return results

    def close(self) -> None:
        self._login.close()
        self._wire.close()

    def _call(self, method: str, address: str, body: Any = None, *, safe: bool = True, renew: bool = True) -> Any:
        token = None
        for _ in range(2):
            wire, token = self._signed_in(stale=token)
            reply = wire.send(method, address, headers={"Authorization": f"Bearer {token}"}, json=body, safe=safe)
            self.calls += reply.status != 401
            if reply.status != 401 or any(text in reply.body for text in _FINAL):
                break
            if not renew:
                self._signed_in(stale=token)
                raise LostPlace(f"{reply.asked} answered 401: the session of this query has ended")
        return self._checked(reply).json()

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 400:
            return reply
        try:
            error = refusal(reply.asked, reply.json())
        except EndpointError:
            error = None
        if busy := reply.busy(brief(error) if error else ""):
            raise busy
        said = error or f"{reply.asked} answered {reply.status}: {brief(reply.body[:1000].decode(errors='replace'))}"
        if reply.status == 401 or (error is None and reply.status == 403):
            raise Unauthorized(f"{said}; check the rights of the integration user")
        raise error or EndpointError(said)

    # ---- signing in --------------------------------------------------------------------------------------

    def _signed_in(self, stale: str | None = None) -> tuple[Wire, str]:
        """One thread signs in, the others wait for its token. `stale` is the token that was just refused."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = None
                self._wire, self._token = self._sign_in(stale)
            return self._wire, self._token

    def _sign_in(self, stale: str | None) -> tuple[Wire, str]:
        grant = self._signin.grant(stale)
        wire = trusted(self._login, grant.instance, self._transport)
        return next((known for known in (self._login, self._wire) if known.origin == wire.origin), wire), grant.access
