"""One signed-in session with an org: every call is signed, counted, and its errors put into our words here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import msgspec

from connector.endpoints.salesforce import decoding
from connector.endpoints.salesforce.codes import STATUSES, LostPlace, refusal
from connector.endpoints.salesforce.signin import App, SignIn, trusted
from connector.endpoints.wire import NOT_NOW, Content, Decode, Reply, Transport, Wire, patiently
from connector.errors import EndpointError, RateLimited, Rejected, Unanswered, Unauthorized, Unavailable
from connector.model import Clock
from connector.vault import Vault

_FINAL = (b"This session is not valid for use with the REST API", b"Connected app is not attached to Agent")
"""401 bodies that a new token does not cure: signing in again for them would go on for ever."""
_USAGE = re.compile(r"(?:^|[;,])\s*(?:per-app-)?api-usage=(\d+)/(\d+)")
_TOLD = timedelta(minutes=10)
"""How long what an answer told of the calls used is believed: they come back, and only another answer says so."""
WRITING = 300.0
"""Seconds for a call that writes: a thousand rows run through the org's triggers before it answers, if anybody waits or not."""


class Ask(msgspec.Struct, frozen=True):
    """One subrequest: a path behind `/services/data/vXX.X`."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: Any = None
    decode: Decode | None = None
    """Of a query: what makes rows of its answer."""


class Part(msgspec.Struct, frozen=True):
    """The answer to one subrequest."""

    status: int
    modified: str
    body: Any
    error: EndpointError | None


class Session:
    def __init__(
        self,
        app: App,
        version: str,
        *,
        clock: Clock,
        vault: Vault | None = None,
        reserve: Callable[[int], int] = lambda _most: 0,
        transport: Transport | None = None,
    ) -> None:
        self._reserve, self._usage, self._told = reserve, list[tuple[int, int]](), clock.now()
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

    def get(self, address: str, decode: Decode | None) -> Any:
        """A further page of a query. The locator in `address` is bound to the session: no new token can help it."""
        return patiently(lambda: self._call("GET", address, renew=False).json(decode), self._clock)

    def ask(self, method: str, path: str, body: Any = None, *, accept: str = "application/json") -> Reply:
        """A call that may be repeated, to a path behind the version."""
        headers = {"Accept": accept}
        return patiently(lambda: self._call(method, self.base + path, body, headers=headers), self._clock)

    def post(self, path: str, content: Content, headers: Mapping[str, str]) -> Reply:
        """One attempt to write a body that is streamed."""
        return self._call("POST", self.base + path, content=content, headers=headers, safe=False)

    def read(self, asks: Sequence[Ask]) -> list[Part]:
        """Up to 25 GETs in one billed call. Again as a whole if a part was not possible now."""
        return patiently(lambda: self._all(asks), self._clock)

    def _all(self, asks: Sequence[Ask]) -> list[Part]:
        parts = self._composite(asks, safe=True)
        for part in parts:
            if isinstance(part.error, Unavailable | Unauthorized):
                raise part.error
        return parts

    def write(self, asks: Sequence[Ask]) -> list[Part]:
        """Up to five collections in one billed call and one attempt, each part with an answer or an error of its own.

        One alone goes without the composite around it, where a text `@{...}` would be taken for a reference.
        """
        if len(asks) > 1:
            return self._composite(asks, safe=False)
        (ask,) = asks
        try:
            reply = self._call(ask.method, self.base + ask.path, ask.body, headers=ask.headers, safe=False)
            return [Part(reply.status, "", reply.json(), None)]
        except Rejected as error:
            return [Part(400, "", None, error)]

    def _composite(self, asks: Sequence[Ask], *, safe: bool, renew: bool = True) -> list[Part]:
        requests: dict[str, Any] = {
            f"r{at}": {"method": ask.method, "url": self.base + ask.path, "referenceId": f"r{at}"}
            | ({"httpHeaders": ask.headers} if ask.headers else {})
            | ({"body": ask.body} if ask.body else {})
            for at, ask in enumerate(asks)
        }
        body = {"allOrNone": False, "compositeRequest": [*requests.values()]}
        reply, token = self._call("POST", f"{self.base}/composite", body, safe=safe), self._token
        decoders = [ask.decode for ask in asks]
        answer = reply.json(partial(decoding.parts, decoders=decoders) if any(decoders) else None)
        try:
            answers = {each["referenceId"]: self._part(each, safe=safe) for each in answer["compositeResponse"]}
        except (KeyError, TypeError, AttributeError):
            answers = {}
        if list(answers) != list(requests):
            kind = Unavailable if safe else Unanswered
            raise kind(f"{self.host} did not answer every part of a composite call")
        parts = list(answers.values())
        ended = [at for at, part in enumerate(parts) if part.status == 401]  # the session ended within the call
        if renew and ended:
            self._signed_in(stale=token)
            again = self._composite([asks[at] for at in ended], safe=safe, renew=False)
            for at, part in zip(ended, again, strict=True):
                parts[at] = part
        return parts

    def _part(self, answer: Any, *, safe: bool) -> Part:
        status, body, error = answer["httpStatusCode"], answer["body"], None
        if status >= 400:
            error = refusal(self.host, body) or EndpointError(
                f"{self.host} answered a part of a call with {status}: {STATUSES.get(status, 'and no reason')}"
            )
            if status in NOT_NOW:
                error = Unavailable(f"{self.host} answered a part of a call with {status}: not possible at the moment")
            elif status >= 500 and safe:
                error = Unavailable(str(error))
            elif status >= 500:
                error = Unanswered(f"{error}: it may or may not have applied it")
        headers = {name.lower(): value for name, value in (answer.get("httpHeaders") or {}).items()}
        return Part(status, str(headers.get("last-modified", "")), body, error)

    def close(self) -> None:
        self._login.close()
        self._wire.close()

    def _call(
        self,
        method: str,
        address: str,
        body: Any = None,
        *,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool = True,
        renew: bool = True,
    ) -> Reply:
        token = None
        for _ in range(2):
            wire, token = self._signed_in(stale=token)
            self._afford()
            signed = {"Authorization": f"Bearer {token}", **(headers or {})}
            deadline = None if safe else WRITING
            reply = wire.send(method, address, headers=signed, json=body, content=content, safe=safe, deadline=deadline)
            self.calls += reply.status != 401
            usage = _USAGE.findall(reply.headers.get("sforce-limit-info", ""))
            self._usage, self._told = [(int(used), int(most)) for used, most in usage], self._clock.now()
            if reply.status != 401 or any(text in reply.body for text in _FINAL):
                break
            if not renew:
                self._signed_in(stale=token)
                raise LostPlace(f"{reply.asked} answered 401: the session of this query has ended")
        if not renew and reply.status == 404:  # what a locator that is gone gets is not documented
            raise LostPlace(f"{reply.asked} answered 404: the org does not know this place any more")
        return self._checked(reply)

    def _afford(self) -> None:
        """Stops before the calls that the connection leaves to others, as far as the latest answer tells."""
        for used, most in self._usage if self._clock.now() - self._told < _TOLD else ():
            kept = self._reserve(most)
            if most - used < kept:
                raise RateLimited(
                    f"{self.host} has {most - used} of its {most} API calls of 24 hours left, and the connection leaves {kept} "
                    "of them to others (`budget`); calls work again as they run out of that window"
                )

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 400:
            return reply
        try:
            error = refusal(reply.asked, reply.json())
        except EndpointError:
            error = None
        why = str(error).removeprefix(f"{reply.asked}: ") if error and reply.status >= 500 else ""
        if not_now := reply.busy(why):
            raise not_now
        said = error or f"{reply.asked} answered {reply.status}: {STATUSES.get(reply.status, 'and no reason')}"
        if reply.status == 401 or (error is None and reply.status == 403):
            raise (
                error
                if isinstance(error, Unauthorized)
                else Unauthorized(f"{said}; check the integration user's rights")
            )
        raise error or (Rejected if reply.status == 413 else EndpointError)(str(said))

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
