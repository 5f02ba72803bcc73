"""Client id and secret -> an access token with an end; a bearer token -> its session, or 401 (1.2)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, unquote_plus

from connector.sandbox.errors import OAuthError, not_emulated, session_invalid

ORG_ID = "00DSb0000000001MAA"
USER_ID = "005Sb0000000001IAA"
# Known to Salesforce, not emulated yet.
_OTHER_GRANTS = frozenset(
    {
        "authorization_code",
        "refresh_token",
        "password",
        "device",
        "hybrid_refresh",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    }
)


@dataclass(frozen=True)
class Session:
    token: str
    ends: datetime


class Sessions:
    def __init__(self, clients: Mapping[str, str], seconds: float) -> None:
        self.clients, self.seconds = dict(clients), seconds
        self.live: dict[str, Session] = {}

    def grant(self, headers: Mapping[str, str], body: bytes, now: datetime, origin: str) -> dict[str, str]:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        grant = form.get("grant_type", "")
        if grant in _OTHER_GRANTS:
            raise not_emulated(f"The grant {grant}")
        if grant != "client_credentials":
            raise OAuthError("unsupported_grant_type", "grant type not supported")
        client, secret = _basic(headers) or (form.get("client_id", ""), form.get("client_secret", ""))
        if client not in self.clients:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(self.clients[client].encode(), secret.encode()):
            raise OAuthError("invalid_client", "invalid client credentials")
        session = Session(f"{ORG_ID[:15]}!{secrets.token_urlsafe(48)}", now + timedelta(seconds=self.seconds))
        self.live[session.token] = session
        identity, issued = f"{origin}/id/{ORG_ID}/{USER_ID}", str(int(now.timestamp() * 1000))
        signed = hmac.new(secret.encode(), (identity + issued).encode(), hashlib.sha256).digest()
        return {
            "access_token": session.token,
            "signature": base64.b64encode(signed).decode(),
            "scope": "api",
            "instance_url": origin,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
        }

    def find(self, headers: Mapping[str, str], now: datetime) -> Session:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        session = self.live.get(token.strip())
        if scheme.lower() not in ("bearer", "oauth") or session is None:
            raise session_invalid()
        if session.ends <= now:
            del self.live[session.token]
            raise session_invalid()
        return session

    def alive(self, token: str) -> bool:
        return token in self.live


def _basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client), unquote_plus(secret)
