"""One signed-in session with an org: every call is signed, counted, and its errors put into our words here."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connector.endpoints.wire import Reply, Transport, Wire, loopback, patiently
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, Unanswered, Unauthorized, Unavailable
from connector.model import Clock


class LostPlace(EndpointError):
    """A query locator is no longer good: it lives and dies with the session that made it."""


CODES: dict[str, type[EndpointError]] = {
    "INVALID_FIELD": Drifted,
    "INVALID_TYPE": Drifted,
    "INVALID_QUERY_LOCATOR": LostPlace,
    "INVALID_SESSION_ID": Unauthorized,
    "INVALID_AUTH_HEADER": Unauthorized,
    "INVALID_JWT_FORMAT": Unauthorized,
    "API_CURRENTLY_DISABLED": Unauthorized,
    "API_DISABLED_FOR_ORG": Unauthorized,
    "REQUEST_LIMIT_EXCEEDED": RateLimited,
    "QUERY_TIMEOUT": Unavailable,
    "REQUEST_RUNNING_TOO_LONG": Unavailable,
    "SERVER_UNAVAILABLE": Unavailable,
    "TXN_SECURITY_METERING_ERROR": Unavailable,
    "UNABLE_TO_LOCK_ROW": Unavailable,
}
"""What a code says about who can act. Every other code: this one record, or this one query, was refused."""

_FINAL = (b"This session is not valid for use with the REST API", b"Connected app is not attached to Agent")
"""401 bodies that a new token does not cure: signing in again for them would go on for ever."""
_HOSTS = (".my.salesforce.com", ".salesforce.com", ".force.com")
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one subrequest of a composite call."""

    status: int
    headers: Mapping[str, Any]
    body: Any


def _part(answer: Any) -> Part:
    headers = {name.lower(): value for name, value in (answer.get("httpHeaders") or {}).items()}
    return Part(answer["httpStatusCode"], headers, answer["body"])


def brief(text: object) -> str:
    """A message of the other side, fit for one line of a log: no markup, no walls of text."""
    return " ".join(re.sub(r"<[^>]*>", " ", str(text)).split())[:200]


def refusal(where: str, body: Any) -> EndpointError | None:
    """The error that a body of Salesforce's describes: `[{errorCode, message, fields}]`, or statusCode in collections."""
    first = body[0] if isinstance(body, list) and body else body
    code = (first.get("errorCode") or first.get("statusCode")) if isinstance(first, dict) else None
    if not isinstance(code, str):
        return None
    message = str(first.get("message") or "")
    kind = CODES.get(code, Rejected)
    text = f"{where}: {code}: {brief(message)}"
    if kind is RateLimited:
        if "concurrent" in message.lower():
            return Unavailable(text)
        return RateLimited(
            f"{text} The org's API calls of 24 hours are used up; calls work again as they run out of that window"
        )
    if kind is Rejected:
        return Rejected(text, code, tuple(map(str, first.get("fields") or ())))
    return kind(text)


class Session:
    def __init__(
        self, login: str, form: Mapping[str, str], version: str, *, clock: Clock, transport: Transport | None = None
    ) -> None:
        self.base = f"/services/data/v{version}"
        self.calls = 0
        self.usage: tuple[int, int] | None = None
        self._form = form
        self._clock = clock
        self._transport = transport
        self._login = self._wire = Wire(login, transport=transport)
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

    def _composite(self, asks: Sequence[tuple[str, Mapping[str, str]]]) -> list[Part]:
        requests = [
            {"method": "GET", "url": self.base + path, "referenceId": f"r{at}"}
            | ({"httpHeaders": headers} if headers else {})
            for at, (path, headers) in enumerate(asks)
        ]
        answer = self._call("POST", f"{self.base}/composite", {"allOrNone": False, "compositeRequest": requests})
        try:
            parts = [(each["referenceId"], _part(each)) for each in answer["compositeResponse"]]
        except (KeyError, TypeError, AttributeError):
            parts = []
        if [name for name, _ in parts] != [request["referenceId"] for request in requests]:
            raise Unavailable(f"{self.host} did not answer every part of a composite call")
        for _, part in parts:
            if part.status >= 400:
                error = refusal(self.host, part.body)
                if part.status == 429 or part.status >= 500:
                    raise Unavailable(str(error or f"{self.host} answered a part of a call {part.status}"))
                if isinstance(error, Unavailable | Unauthorized):
                    raise error
        return [part for _, part in parts]

    def collection(self, method: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write up to 200 records, each for itself. One attempt."""
        path, body = f"{self.base}/composite/sobjects", {"allOrNone": False, "records": records}
        answer = self._call(method, path, body, safe=False)
        if (
            not isinstance(answer, list)
            or len(answer) != len(records)
            or not all(isinstance(each, dict) and isinstance(each.get("success"), bool) for each in answer)
        ):
            raise Unanswered(f"{self.host} did not answer for each of {len(records)} written records")
        return answer

    def close(self) -> None:
        self._login.close()
        self._wire.close()

    def _call(self, method: str, address: str, body: Any = None, *, safe: bool = True, renew: bool = True) -> Any:
        wire, token = self._signed_in()
        reply = self._send(wire, token, method, address, body, safe=safe)
        if reply.status == 401 and not any(text in reply.body for text in _FINAL):
            if not renew:
                self._forget(token)
                raise LostPlace(f"{reply.asked} answered 401: the session of this query has ended")
            wire, token = self._signed_in(stale=token)
            reply = self._send(wire, token, method, address, body, safe=safe)
        return self._checked(reply).json()

    def _send(self, wire: Wire, token: str, method: str, address: str, body: Any, *, safe: bool) -> Reply:
        reply = wire.send(method, address, headers={"Authorization": f"Bearer {token}"}, json=body, safe=safe)
        if reply.status != 401:
            self.calls += 1
        if used := _USAGE.search(reply.headers.get("sforce-limit-info", "")):
            self.usage = int(used[1]), int(used[2])
        return reply

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 400:
            return reply
        try:
            body = reply.json()
        except EndpointError:
            body = None
        error = refusal(reply.asked, body)
        if busy := reply.busy(brief(error) if error else ""):
            raise busy
        if reply.status == 401 or (error is None and reply.status == 403):
            raise Unauthorized(
                f"{error or f'{reply.asked} answered {reply.status}'}; check the rights of the integration user"
            )
        raise error or EndpointError(
            f"{reply.asked} answered {reply.status}: {brief(reply.body[:1000].decode(errors='replace'))}"
        )

    # ---- signing in --------------------------------------------------------------------------------------

    def _signed_in(self, stale: str | None = None) -> tuple[Wire, str]:
        """One thread signs in, the others wait for its token. `stale` is the token that was just refused."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = None
                self._wire, self._token = self._sign_in()
            return self._wire, self._token

    def _forget(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._token = None

    def _sign_in(self) -> tuple[Wire, str]:
        reply = self._login.send("POST", "/services/oauth2/token", form=self._form, safe=True)
        if busy := reply.busy():
            raise busy
        body = reply.json()
        if not isinstance(body, dict):
            raise reply.odd("with something that is not a token")
        if reply.status >= 400:
            why = brief(
                f"{body.get('error')}: {body.get('error_description')}".replace(self._form["client_secret"], "***")
            )
            if body.get("error") == "rate_limit_exceeded":
                raise Unavailable(f"{self.host} does not sign in any more clients at the moment ({why})")
            raise Unauthorized(
                f"{self.host} refused the client id or secret ({why}); check the secrets named in the connection"
            )
        token, instance = body.get("access_token"), body.get("instance_url")
        if not (isinstance(token, str) and isinstance(instance, str) and token and instance):
            raise reply.odd("without a token and the address to use it at")
        return self._instance(instance), token

    def _instance(self, address: str) -> Wire:
        """Where the token may go: the login host itself, a host of Salesforce's, or this machine if we signed in there."""
        wire = Wire(address if "://" in address else f"https://{address}", transport=self._transport)
        for known in (self._login, self._wire):
            if wire.origin == known.origin:
                return known
        host = wire.origin.host
        if host.endswith(_HOSTS) or (loopback(host) and loopback(self.host)):
            return wire
        raise Unauthorized(
            f"{self.host} sends calls on to {brief(host)}, which is not Salesforce's; the token was not used"
        )
