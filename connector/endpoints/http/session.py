"""One system behind one origin: every call is counted, held to the limits, signed, and its errors put into our words."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from connector.endpoints.forms import brief
from connector.endpoints.http.api import Api, Limit
from connector.endpoints.http.call import Call, Values, filled
from connector.endpoints.wire import LONGEST, Reply, Transport, Wire, patiently
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, SetupError, Unauthorized, Unavailable
from connector.model import Clock


class Answer(msgspec.Struct, frozen=True):
    """`body` is None where there is none."""

    reply: Reply
    body: Any

    def odd(self, what: str) -> EndpointError:
        return self.reply.odd(what)


class Limits:
    """So many calls in any span of so many seconds, several such rules at once. Counted within this process."""

    def __init__(self, limits: tuple[Limit, ...], clock: Clock) -> None:
        self._sent = [(limit, deque[datetime](maxlen=limit.calls)) for limit in limits]
        self._clock, self._lock = clock, threading.Lock()

    def take(self) -> None:
        """Waits until one more call is allowed. Raises RateLimited when that is long."""
        with self._lock:
            now = self._clock.now()
            free = [
                sent[0] + timedelta(seconds=limit.seconds) for limit, sent in self._sent if len(sent) == limit.calls
            ]
            at = max([now, *free])
            wait = (at - now).total_seconds()
            if wait > LONGEST:
                said = " and ".join(f"{limit.calls} in {limit.seconds} s" for limit, _ in self._sent)
                raise RateLimited(f"the calls that the system takes ({said}) are used up for now", wait)
            if wait:
                self._clock.sleep(wait)
            for _, sent in self._sent:
                sent.append(at)


class Session:
    def __init__(
        self, name: str, api: Api, settings: Mapping[str, Any], *, clock: Clock, transport: Transport | None = None
    ) -> None:
        self.name, self.calls, self._api, self._clock = name, 0, api, clock
        self._secrets = _secrets(name, api, settings)
        self._hidden = {value for value in self._secrets.values() if len(value) > 3}
        bounds: Any = {"transport": transport, "deadline": api.timeout, "limit": api.largest}
        self._base = _path(settings["url"])
        self._wire = Wire(settings["url"], **bounds)
        login = settings.get("login")
        self._login, self._login_base = (Wire(login, **bounds), _path(login)) if login else (self._wire, self._base)
        self._limits, self._lock = Limits(api.limits, clock), threading.Lock()
        self._token: str | None = None

    def time(self) -> datetime:
        if self._api.time is None:
            return self._clock.now()
        reply = self.read(Call("GET", self._api.time, {}, {}, None), {}, none=frozenset({200, 204})).reply
        told = None
        with suppress(KeyError, ValueError):
            told = parsedate_to_datetime(reply.headers["date"])
        if told is None or told.tzinfo is None:
            raise reply.odd("without a date")
        return told

    def read(
        self, call: Call, values: Values, *, link: str | None = None, none: frozenset[int] = frozenset()
    ) -> Answer:
        """Repeated while the system is busy. `link`: the address to ask instead; `none`: statuses whose body says nothing."""
        return self._patiently(lambda: self._checked(self._send(call, values, link=link), none=none))

    def write(self, call: Call, values: Values, *, repeatable: bool) -> Answer:
        """Repeated while the system is busy, and when the answer was lost only if that does no harm."""
        return self._patiently(lambda: self._checked(self._send(call, values, safe=repeatable), writes=True))

    def close(self) -> None:
        self._wire.close()
        self._login.close()

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        return patiently(ask, self._clock)

    # ---- one call ----------------------------------------------------------------------------------------

    def _send(self, call: Call, values: Values, *, safe: bool = True, link: str | None = None) -> Reply:
        address, token = self._base + call.address(values), None
        address = address if link is None else urljoin(address, link)
        body = filled(call.json, values)
        for _ in range(2):
            signed, token = self._signed(stale=token)
            self._limits.take()
            headers = {**self._api.headers, **call.headers, **signed}
            reply = self._wire.send(call.method, address, headers=headers, json=body, safe=safe)
            self.calls += 1
            if reply.status != 401 or token is None:
                break
        return reply

    def _checked(self, reply: Reply, *, none: frozenset[int] = frozenset(), writes: bool = False) -> Answer:
        if reply.status in none:
            return Answer(reply, None)
        errors, body = self._api.errors, _body(reply, writes=writes)
        if reply.status < 400 and not (body is not None and errors.failed(body)):
            return Answer(reply, body)
        told, code = errors.message(body), errors.code(body)
        said = self._hide(brief(told or reply.body[:1000].decode(errors="replace")))
        if busy := reply.busy(said):
            raise busy
        text = f"{reply.asked} answered {reply.status}{said and f': {said}'}"
        if reply.status in self._api.retry:
            raise Unavailable(text)
        if reply.status in (401, 403):
            raise Unauthorized(f"{text}; check the secrets of {self.name}, and what they may do")
        if writes:
            fields = errors.fields(body)
            # 409 says the same everywhere: it is there already, or somebody was faster
            reason = (
                self._hide(brief(code)) if isinstance(code, str | int) and reply.status != 409 else str(reply.status)
            )
            raise Rejected(text, reason, tuple(map(str, fields)) if isinstance(fields, list) else ())
        raise (Drifted if reply.status == 404 else EndpointError)(text)

    # ---- signing -----------------------------------------------------------------------------------------

    def _signed(self, stale: str | None) -> tuple[dict[str, str], str | None]:
        """The header that signs a call, and the token in it. One thread mints, the others wait for its token."""
        auth = self._api.auth
        if auth is None:
            return {}, None
        if auth.mint:
            with self._lock:
                if self._token is None or self._token == stale:
                    self._token = None
                    self._token = self._mint()
        token = self._token
        return {auth.header: filled(auth.value, {**self._secrets, "token": token})}, token

    def _mint(self) -> str:
        mint = self._api.auth.mint if self._api.auth else None
        assert mint  # noqa: S101 - only called where there is one
        call, secrets = mint.call, self._secrets
        form = None if call.form is None else {key: str(value) for key, value in filled(call.form, secrets).items()}
        reply = self._login.send(
            *(call.method, self._login_base + call.address(secrets)),
            headers={**self._api.headers, **call.headers},
            json=filled(call.json, secrets),
            form=form,
            safe=True,
        )
        self.calls += 1
        if 400 <= reply.status < 500 and not reply.busy():
            said = self._hide(brief(reply.body[:1000].decode(errors="replace")))
            raise Unauthorized(
                f"{reply.asked} gave no token ({reply.status}: {said}); check the secrets of {self.name}"
            )
        token = mint.token(self._checked(reply).body)
        if not isinstance(token, str) or not _fit(token):
            raise reply.odd("without a token")
        self._hidden.add(token)
        return token

    def _hide(self, text: str) -> str:
        for value in self._hidden:
            text = text.replace(value, "***")
        return text


def _secrets(name: str, api: Api, settings: Mapping[str, Any]) -> dict[str, str]:
    given = {key: str(value) for key, value in (settings.get("auth") or {}).items()}
    wanted = api.auth.secrets if api.auth else set()
    for key in sorted(wanted):
        if not given.get(key):
            raise SetupError(f"system {name}: {api.name} needs {key}; write auth: {{{key}: ${{env:NAME}}}}")
        if not _fit(given[key]):
            raise SetupError(f"system {name}: auth.{key} holds a line break or a letter that no header takes")
    return given


def _fit(secret: str) -> bool:
    """It can stand in a header: whatever refuses it there would show it."""
    return bool(secret) and secret.isascii() and secret.isprintable()


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")


def _body(reply: Reply, *, writes: bool) -> Any:
    """What is no JSON is no answer, but a refusal may say what it likes, and a write may say nothing."""
    if reply.status >= 400:
        try:
            return reply.json()
        except EndpointError:
            return None
    return None if writes and not reply.body.strip() else reply.json()
