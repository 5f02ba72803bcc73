"""Signing in to an org: the `auth` of a connection -> forms for the token endpoint -> an access token.

`client_credentials` and `jwt_bearer` ask for a token when one is needed, and nothing of it is kept. `authorization_code` has a
person allow it once (`consent`, `redeem`); from then on a refresh token, kept in the vault, stands for that person.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlencode, urlsplit

from connector import canon
from connector.endpoints.forms import brief
from connector.endpoints.wire import Transport, Wire, loopback
from connector.errors import SetupError, Unauthorized, Unavailable
from connector.model import Clock
from connector.vault import Vault, private

PATH = "/services/oauth2/"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOCAL, SCOPES = "http://localhost:1717/OauthRedirect", ("api", "refresh_token")
"""Where the browser comes back to, and what is asked for, unless the connection says otherwise: as in the grammar."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "client_credentials": ("client_id", "client_secret"),
    "authorization_code": ("client_id",),
    "jwt_bearer": ("client_id", "username", "key"),
}
"""Grant -> what it cannot do without."""
_HOSTS = (".my.salesforce.com", ".salesforce.com", ".force.com")
_ASSERTED = timedelta(minutes=3)
_SAID = {
    "inactive_user": ("has this user switched off", "an admin of the org can switch it on, or name another"),
    "inactive_org": ("is switched off", "ask its admin"),
    "redirect_uri_mismatch": ("does not know auth.redirect", "make it letter by letter a callback URL of the app"),
    "unsupported_grant_type": ("does not let the app use this grant", "its admin switches the flow on in the app"),
}
"""What the org's `error` means, and what would be right."""
_SECRET = {"client_secret", "refresh_token", "code", "code_verifier", "assertion"}


@dataclass(frozen=True, slots=True)
class App:
    """The client app that an admin of the org has set up, as the connection describes it."""

    system: str
    login: str
    grant: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    pkce: bool = True
    redirect: str = LOCAL
    scopes: tuple[str, ...] = SCOPES
    username: str = ""
    key: str = field(default="", repr=False)

    @property
    def shown(self) -> dict[str, str]:
        """How it shows itself; one without a secret must not send any."""
        own = {"client_id": self.client_id, "client_secret": self.client_secret}
        return {key: value for key, value in own.items() if value}

    @property
    def label(self) -> str:
        """Where the vault has what was given to this client by this host: no other one is ever sent it."""
        return f"grant {sha256(f'{self.login} {self.client_id}'.encode()).hexdigest()[:16]}"


def app(system: str, settings: Mapping[str, Any]) -> App:
    """Raises SetupError. Secrets are filled in already; a variable may be there and empty."""
    login, auth = str(settings.get("login") or ""), settings.get("auth") or {}
    grant = str(auth.get("grant"))
    needs = list(NEEDS.get(grant, ()))
    if grant == "authorization_code" and not auth.get("pkce", True):
        needs.append("client_secret")
    if grant not in NEEDS or not all((login, *(auth.get(key) for key in needs))):
        right = f"grant {grant}, {', '.join(needs)}, none of them empty" if needs else f"grant {', '.join(NEEDS)}"
        raise SetupError(f"system {system}: say where and how to sign in: login, and auth with {right}")
    given = {key: auth[key] for key in ("client_secret", "pkce", "redirect", "username", "key") if key in auth}
    return App(system, login, grant, str(auth["client_id"]), scopes=tuple(auth.get("scopes", SCOPES)), **given)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an org has given. `asked`: a refresh was asked for and not answered yet; `ended`: why there are no more."""

    access: str = field(repr=False)
    instance: str
    refresh: str = field(default="", repr=False)
    scope: str = ""
    user: str = ""
    since: str = ""
    asked: bool = False
    ended: str = ""


def kept(app: App, vault: Vault) -> Grant | None:
    text = vault.get(app.label)
    return Grant(**json.loads(text)) if text else None


def keep(app: App, vault: Vault, grant: Grant) -> Grant:
    vault.put(app.label, json.dumps(asdict(grant)))
    return grant


def again(vault: Vault) -> str:
    return f"sign in again: connector auth login {vault.connection}"


# ---- a person allows it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Consent:
    """One question to a person: the address to open, and what the answer must fit."""

    address: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def consent(app: App, login: Wire) -> Consent:
    """PKCE (RFC 7636, S256) unless the app was set up without; a state of 32 random bytes (RFC 6749, 10.12)."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64) if app.pkce else ""
    asked = {"response_type": "code", "client_id": app.client_id, "redirect_uri": app.redirect}
    asked |= {"scope": " ".join(app.scopes), "state": state}
    if app.pkce:
        challenge = _base64(sha256(verifier.encode()).digest())
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    return Consent(f"{login.origin.join(f'{PATH}authorize')}?{urlencode(asked)}", state, verifier)


def redeem(app: App, login: Wire, asked: Consent, ended_at: str, now: datetime) -> Grant:
    """The address at which the person ended -> tokens. Raises Unauthorized where it is not the answer to this question."""
    query = ended_at.strip().partition("?")[2].partition("#")[0]
    given = {key: values[0] for key, values in parse_qs(query).items()}
    if not secrets.compare_digest(given.get("state", "").encode(), asked.state.encode()):
        why = "it answers another question than this one (wrong state)" if "state" in given else "it has no state"
        raise Unauthorized(f"the address that came back was not used: {why}; start anew and use the newest page")
    if "code" not in given:
        error = given.get("error", "no code")
        why = _brief(f"{error} {given.get('error_description', '')}".strip())
        denied = error == "access_denied"
        right = "a user of the org has to press Allow" if denied else "compare auth with how the app is set up"
        raise Unauthorized(f"{login.origin.host} did not let the app in ({why}); {right}")
    form = {"grant_type": "authorization_code", "code": given["code"], "redirect_uri": app.redirect, **app.shown}
    body = _tokens(app, login, form | ({"code_verifier": asked.verifier} if app.pkce else {}))
    refresh = body.get("refresh_token")
    if not isinstance(refresh, str) or not refresh:
        right = "give the app the scope refresh_token (Perform requests at any time), and ask for it under auth.scopes"
        raise Unauthorized(f"{login.origin.host} let the app in for this moment only: {right}")
    who = re.search(r"/id/(00D\w{12,15}/005\w{12,15})$", str(body.get("id")), re.ASCII)
    made = Grant(body["access_token"], _origin(trusted(login, body["instance_url"])), refresh)
    scope = " ".join(word for word in str(body.get("scope")).split() if re.fullmatch(r"\w{1,40}", word, re.ASCII))
    return replace(made, scope=scope, user=who[1] if who else "", since=canon.text(now.replace(microsecond=0)))


def revoke(login: Wire, grant: Grant) -> bool:
    """The org forgets the refresh token, and ends its sessions. False: it had forgotten it already."""
    reply = login.send("POST", f"{PATH}revoke", form={"token": grant.refresh}, safe=True)
    if busy := reply.busy():
        raise busy
    return reply.status < 400


# ---- tokens ----------------------------------------------------------------------------------------------


class SignIn:
    """Tokens for one system. Threads call `grant` one at a time: `Session` sees to it."""

    def __init__(self, app: App, login: Wire, clock: Clock, vault: Vault | None) -> None:
        self._app, self._login, self._clock, self._vault = app, login, clock, vault

    def grant(self, stale: str | None) -> Grant:
        """What to call with, and where. `stale` is an access token that was just refused."""
        if self._app.grant == "authorization_code":
            return self._refreshed(stale)
        form = {"grant_type": self._app.grant, **self._app.shown}
        if self._app.grant == "jwt_bearer":
            form = {"grant_type": JWT_BEARER, "assertion": _assertion(self._app, self._clock.now())}
        body = _tokens(self._app, self._login, form)
        return Grant(body["access_token"], body["instance_url"])

    def _refreshed(self, stale: str | None) -> Grant:
        """With Refresh Token Rotation a refresh kills the token it was made with, and the sessions of all other workers.

        So there is one at a time, whoever comes next takes over what it brought, and that is stored before it is used.
        """
        if self._vault is None:
            raise SetupError(f"system {self._app.system}: there is no place to keep tokens")
        found = self._usable(self._vault)
        if found.access and found.access != stale:
            return found
        with self._vault.alone(self._app.label):
            found = self._usable(self._vault)
            if found.access and found.access != stale:
                return found
            return self._refresh(self._vault, found)

    def _usable(self, vault: Vault) -> Grant:
        found = kept(self._app, vault)
        if found is None:
            raise Unauthorized(f"system {self._app.system}: not signed in; {again(vault).replace(' again', '')}")
        if found.ended:
            raise Unauthorized(f"{found.ended}; {again(vault)}")
        return found

    def _refresh(self, vault: Vault, found: Grant) -> Grant:
        app, host = self._app, self._login.origin.host
        form = {"grant_type": "refresh_token", "refresh_token": found.refresh, **app.shown}
        asking = keep(app, vault, replace(found, access="", asked=True))
        try:
            body = _tokens(app, self._login, form)
        except _Ended as error:
            if (now := kept(app, vault)) != asking:  # we were away for so long that another worker took over
                return now or self._usable(vault)
            lost = "the refresh before was not answered, and with its answer a new refresh token may have been lost"
            why = (
                lost if found.asked else "it was revoked or has expired, or the user has signed in elsewhere too often"
            )
            said = f"{host} does not take the refresh token of system {app.system} any more ({error}): {why}"
            keep(app, vault, replace(asking, ended=said))
            raise Unauthorized(f"{said}; {again(vault)}") from None
        new = body.get("refresh_token")  # only with rotation
        refresh = new if isinstance(new, str) and new else found.refresh
        made = keep(app, vault, replace(found, refresh=refresh, access="", asked=False))
        instance = _origin(Wire(_full(body["instance_url"])))
        if instance != found.instance:
            said = f"{host} sends calls on to {instance} now; consent was given for {found.instance}: the token was not used"
            raise Unauthorized(f"{said}. If the org has moved, {again(vault)}")
        return keep(app, vault, replace(made, access=body["access_token"]))


class _Ended(Unauthorized):
    """invalid_grant: what was shown is no good, and will not be if it is shown again."""


def _tokens(app: App, login: Wire, form: Mapping[str, str]) -> dict[str, Any]:
    """One call of the token endpoint; the body has an access token and the address to use it at."""
    reply = login.send("POST", f"{PATH}token", form=form, safe=True)
    if busy := reply.busy():
        raise busy
    body = reply.json()
    if not isinstance(body, dict):
        raise reply.odd("with something that is not a token")
    if reply.status >= 400:
        _refused(app, login.origin.host, form, body)
    token, instance = body.get("access_token"), body.get("instance_url")
    if not (isinstance(token, str) and isinstance(instance, str) and re.fullmatch(r"[!-~]+", token) and instance):
        raise reply.odd("without a token and the address to use it at")
    return body


def _refused(app: App, host: str, form: Mapping[str, str], body: Mapping[str, Any]) -> NoReturn:
    """Who can act: Salesforce says it in `error` (help: OAuth 2.0 authorization errors)."""
    error = str(body.get("error"))
    why = _brief(f"{error}: {body.get('error_description')}", *(form[key] for key in _SECRET & form.keys()))
    if error == "rate_limit_exceeded":
        raise Unavailable(f"{host} does not sign in any more clients at the moment ({why})")
    if error == "invalid_grant" and "refresh_token" in form:
        raise _Ended(why)
    what, right = "refused the client id or secret", "check the connection's secrets"
    if error in _SAID:
        what, right = _SAID[error]
    elif "assertion" in form:
        what = f"refused the assertion for {app.username}"
        right = "the app needs the certificate of this key, the user must be allowed it, this machine's clock be right"
    elif error == "invalid_grant" and "code" in form:
        what = "refused the code"
        right = "it is good once and for minutes, and auth.pkce must be as the app is set up; start anew"
    raise Unauthorized(f"{host} {what} ({why}); {right}")


def _brief(text: str, *secret: str) -> str:
    """A message of the other side on one line, without markup and without what we had sent."""
    for each in secret:
        text = text.replace(each, "***")
    return brief(text)


# ---- where a token may go --------------------------------------------------------------------------------


def trusted(login: Wire, address: str, transport: Transport | None = None) -> Wire:
    """The login host itself, a host of Salesforce's, or this machine if we signed in there. Raises Unauthorized."""
    wire = Wire(_full(address), transport=transport)
    host, here = wire.origin.host, login.origin.host
    if wire.origin == login.origin or host.endswith(_HOSTS) or (loopback(host) and loopback(here)):
        return wire
    raise Unauthorized(f"{here} sends calls on to {host[:200]}, not Salesforce's: the token was not used")


def _full(address: str) -> str:
    return address if "://" in address else f"https://{address}"


def _origin(wire: Wire) -> str:
    return str(wire.origin).rstrip("/")


# ---- an assertion (RFC 7523) ------------------------------------------------------------------------------


def _assertion(app: App, now: datetime) -> str:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - only this grant needs it
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    text = app.key.replace("\\n", "\n") if "-----BEGIN" in app.key else private(Path(app.key))
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):  # TypeError: it is locked with a password
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise SetupError(f"system {app.system}: auth.key is no RSA private key in PEM text, without a password")
    claims = {"iss": app.client_id, "sub": app.username, "aud": _audience(app.login)}
    claims |= {"exp": str(int((now + _ASSERTED).timestamp()))}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _audience(login: str) -> str:
    """Sandboxes and scratch orgs have the second host; an assertion names it, not the My Domain."""
    host = urlsplit(login).hostname or ""
    test = host == "test.salesforce.com" or ".sandbox." in host or ".scratch." in host
    return f"https://{'test' if test else 'login'}.salesforce.com"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
