"""The token endpoint: a grant_type and its form -> a session, as Salesforce answers it; each refusal in its words.

The grants are the table at the end. What Salesforce grants and the org does not answers 501.
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from connector.sandbox.errors import OAuthError, not_emulated
from connector.sandbox.oauth import assertion
from connector.sandbox.oauth.apps import Client
from connector.sandbox.sessions import Grant, Session
from connector.sandbox.users import ORG_ID, User

if TYPE_CHECKING:
    from connector.sandbox.org import Org

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCES = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
SHORTEST_VERIFIER, LONGEST_VERIFIER = (
    43,
    171,
)  # [U] 128 are said; 128 random bytes in BASE64URL, as clients send them, are 171
LONGEST_ASSERTION = 5 * 60  # seconds; about three minutes are documented, clocks differ [U]
_NOT_EMULATED = frozenset(
    {
        "device",
        "hybrid_refresh",
        "hybrid_auth_code",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    }
)
EXPIRED_CODE = OAuthError("invalid_grant", "expired authorization code")
_WRONG_LOGIN = "authentication failure"


@dataclass(frozen=True)
class Ask:
    """One request to the token endpoint."""

    form: Mapping[str, str]
    basic: tuple[str, str] | None
    now: datetime
    origin: str

    def text(self, key: str) -> str:
        return self.form.get(key, "")


@dataclass(frozen=True)
class Granted:
    session: Session
    client: Client
    user: User
    refresh: str | None = None  # shown only where a new one was made
    signed: bool = True


def ask(headers: Mapping[str, str], body: bytes, now: datetime, origin: str) -> Ask:
    return Ask(form(body), _basic(headers), now, origin)


def form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise OAuthError("invalid_request", "too many parameters") from None  # [U]


def answer(org: "Org", asked: Ask) -> dict[str, str]:
    grant = asked.text("grant_type")
    if grant in _NOT_EMULATED:
        raise not_emulated(f"The grant {grant}")
    known = GRANTS.get(grant)
    if known is None:
        raise OAuthError("unsupported_grant_type", "grant type not supported")
    flow, handler = known
    client = _client(org, asked, flow)
    if client is not None and flow not in client.flows:
        raise OAuthError("unsupported_grant_type", "grant type not supported")  # [U] of one that the client has off
    return _written(handler(org, asked, client), asked)


def _written(made: Granted, asked: Ask) -> dict[str, str]:
    identity, issued = f"{asked.origin}/id/{ORG_ID}/{made.user.id}", str(int(asked.now.timestamp() * 1000))
    signature = hmac.new((made.client.secret or "").encode(), (identity + issued).encode(), hashlib.sha256).digest()
    signed = {"signature": base64.b64encode(signature).decode(), "issued_at": issued}
    refresh = {} if made.refresh is None else {"refresh_token": made.refresh}
    return {
        "access_token": made.session.token,
        **refresh,
        "scope": " ".join(made.session.scopes),
        "instance_url": asked.origin,
        "id": identity,
        "token_type": "Bearer",
        **(signed if made.signed else {}),
    }


# -- the grants


def _code(org: "Org", asked: Ask, client: Client | None) -> Granted:
    found = org.authorizations.spend(asked.text("code"), asked.now)
    if client is None or found is None or found.client != client.id:
        raise EXPIRED_CODE
    if found.callback != asked.text("redirect_uri"):
        raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")  # [U] description
    if found.challenge is not None and not _proves(asked.text("code_verifier"), found.challenge):
        raise OAuthError("invalid_grant", "invalid code verifier")
    user = active(org, org.users[found.user])
    grant = org.sessions.approve(user, client, found.scopes, asked.now)
    return Granted(_opened(org, asked, client, grant), client, user, grant.refresh)


def _refresh(org: "Org", asked: Ask, client: Client | None) -> Granted:
    if client is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    grant = org.sessions.refreshable(asked.text("refresh_token"), client, asked.now)
    user = active(org, org.users[grant.user])
    if client.rotate:
        grant = org.sessions.rotated(grant, client, asked.now)
    return Granted(_opened(org, asked, client, grant), client, user, grant.refresh if client.rotate else None)


def _opened(org: "Org", asked: Ask, client: Client, grant: Grant) -> Session:
    return org.sessions.open(org.users[grant.user], client, grant.scopes, asked.now, grant.number)


def _client_credentials(org: "Org", asked: Ask, client: Client | None) -> Granted:
    if client is None or client.secret is None:
        raise OAuthError("invalid_client", "invalid client credentials")
    user = active(org, org.user(client.run_as) if client.run_as else next(iter(org.users.values())))
    return Granted(org.sessions.open(user, client, ("api",), asked.now), client, user)


def _password(org: "Org", asked: Ask, client: Client | None) -> Granted:
    user = org.find_user(asked.text("username"))
    if client is None or user is None or not user.password:
        raise OAuthError("invalid_grant", _WRONG_LOGIN)
    given = asked.text("password").encode("utf-8", "replace")
    if not hmac.compare_digest(given, (user.password + user.security_token).encode()):
        raise OAuthError("invalid_grant", f"{_WRONG_LOGIN} - Invalid Password")
    scopes = tuple(scope for scope in client.scopes if scope in ("api", "id", "web", "full"))
    return Granted(org.sessions.open(active(org, user), client, scopes, asked.now), client, user)


def _jwt(org: "Org", asked: Ask, _: Client | None) -> Granted:
    claims, signed, signature = assertion.claims(asked.text("assertion"))
    issuer, subject, audience, ends = (claims.get(key) for key in ("iss", "sub", "aud", "exp"))
    client = org.sessions.clients.get(issuer) if isinstance(issuer, str) else None
    if client is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    if client.key is None or "jwt_bearer" not in client.flows:
        raise OAuthError("unsupported_grant_type", "grant type not supported")  # [U]
    assertion.check(client.key, signed, signature)
    if not isinstance(audience, str) or audience.removesuffix("/") not in AUDIENCES | {asked.origin, _host(asked)}:
        raise OAuthError("invalid_grant", "audience is invalid")
    if not 0 < _seconds(ends) - asked.now.timestamp() <= LONGEST_ASSERTION:
        raise OAuthError("invalid_grant", "token validity expired")  # [U] description
    user = org.find_user(subject) if isinstance(subject, str) else None
    if user is None or (client.approved is not None and user.username not in client.approved):
        raise OAuthError("invalid_grant", "user hasn't approved this consumer")  # [U] code
    session = org.sessions.open(active(org, user), client, ("api",), asked.now)
    return Granted(session, client, user, signed=False)  # [U] neither issued_at nor signature


def _seconds(ends: Any) -> float:
    """A number, or one written as text, which a public client sends."""
    try:
        found = float(ends) if isinstance(ends, int | float | str) and not isinstance(ends, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise assertion.invalid()
    return found


def _host(asked: Ask) -> str:
    return f"https://{urlsplit(asked.origin).netloc}"


# -- what they share


def _client(org: "Org", asked: Ask, flow: str) -> Client | None:
    """The client that shows itself; an assertion names its own."""
    if flow == "jwt_bearer":
        return None
    name, secret = asked.basic or (asked.text("client_id"), asked.form.get("client_secret"))
    client = org.sessions.clients.get(name)
    if client is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    omitted = flow == "refresh_token" and not secret and not client.secret_on_refresh
    if not omitted and not client.knows(secret):
        raise OAuthError("invalid_client", "invalid client credentials")
    return client


def active(org: "Org", user: User) -> User:
    if not org.is_active(user):
        raise OAuthError("inactive_user", "user is inactive")  # [U] description
    return user


def _proves(verifier: str, challenge: str) -> bool:
    if not SHORTEST_VERIFIER <= len(verifier) <= LONGEST_VERIFIER:
        return False
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), challenge.encode("utf-8", "replace"))


def _basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client), unquote_plus(secret)


# grant_type -> (the word for it in a client's flows, how it is answered)
GRANTS: Mapping[str, tuple[str, Callable[["Org", Ask, Client | None], Granted]]] = {
    "authorization_code": ("authorization_code", _code),
    "refresh_token": ("refresh_token", _refresh),
    "client_credentials": ("client_credentials", _client_credentials),
    "password": ("password", _password),
    JWT_BEARER: ("jwt_bearer", _jwt),
}
