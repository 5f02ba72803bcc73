"""Live sessions and the approvals they hang on: a bearer token -> its session, or 401."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.sandbox.errors import ApiError, OAuthError, session_invalid
from connector.sandbox.oauth.apps import Client
from connector.sandbox.users import ORG_ID, USER_ID, User

__all__ = ["ORG_ID", "USER_ID", "Grant", "Session", "Sessions"]

MAX_GRANTS = 5  # live approvals of one user for one client; the next revokes the oldest
_KEPT = 1_000  # ended sessions are swept from here on
_API_SCOPES = frozenset({"api", "full", "web"})  # [U] web


@dataclass(frozen=True)
class Session:
    token: str
    ends: datetime
    user: str
    client: str
    scopes: tuple[str, ...]
    grant: int = 0  # the approval it came from, 0 for none


@dataclass(frozen=True)
class Grant:
    """One approval: the refresh token that stands for it, where the scopes give one."""

    number: int
    user: str
    client: str
    scopes: tuple[str, ...]
    refresh: str | None
    ends: datetime | None


class Sessions:
    def __init__(self, clients: Mapping[str, Client], seconds: float) -> None:
        self.clients, self.seconds = dict(clients), seconds
        self.live: dict[str, Session] = {}
        self.grants: dict[int, Grant] = {}  # in the order of their approval
        self.approved = 0

    def open(self, user: User, client: Client, scopes: tuple[str, ...], now: datetime, grant: int = 0) -> Session:
        if len(self.live) > _KEPT:
            self.live = {token: session for token, session in self.live.items() if session.ends > now}
        ends = now + timedelta(seconds=client.session_seconds or self.seconds)
        session = Session(f"{ORG_ID[:15]}!{secrets.token_urlsafe(48)}", ends, user.id, client.id, scopes, grant)
        self.live[session.token] = session
        return session

    def approve(self, user: User, client: Client, scopes: tuple[str, ...], now: datetime) -> Grant:
        """A new approval; the sixth of a user for a client ends the first."""
        same = [grant for grant in self.grants.values() if (grant.user, grant.client) == (user.id, client.id)]
        for oldest in same[: max(len(same) - MAX_GRANTS + 1, 0)]:
            self._end(oldest)
        self.approved += 1
        refreshable = "refresh_token" in scopes or "offline_access" in scopes
        refresh = _refresh_token() if refreshable else None
        made = Grant(self.approved, user.id, client.id, scopes, refresh, _end_of(client, now))
        self.grants[made.number] = made
        return made

    def refreshable(self, token: str, client: Client, now: datetime) -> Grant:
        """The approval behind a refresh token."""
        grant = next((grant for grant in self.grants.values() if grant.refresh and grant.refresh == token), None)
        if grant is None or grant.client != client.id or (grant.ends is not None and grant.ends <= now):
            raise OAuthError("invalid_grant", "expired access/refresh token")
        return grant

    def rotated(self, grant: Grant, client: Client, now: datetime) -> Grant:
        """The same approval with a new refresh token; the one before and its sessions are dead now."""
        self._end_sessions(grant)
        made = replace(grant, refresh=_refresh_token(), ends=_end_of(client, now))
        self.grants[made.number] = made
        return made

    def revoke(self, token: str) -> bool:
        """An access token ends alone, a refresh token with its sessions. False: not known."""
        if self.live.pop(token, None):
            return True
        grant = next((grant for grant in self.grants.values() if grant.refresh and grant.refresh == token), None)
        if grant is not None:
            self._end(grant)
        return grant is not None

    def find(self, headers: Mapping[str, str], now: datetime) -> Session:
        session = self.bearer(headers, now)
        if session is None:
            raise session_invalid()
        if not _API_SCOPES & set(session.scopes):
            # One of the 401s that no refresh heals.
            raise ApiError(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
        return session

    def bearer(self, headers: Mapping[str, str], now: datetime) -> Session | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        session = self.live.get(token.strip())
        if scheme.lower() not in ("bearer", "oauth") or session is None:
            return None
        if session.ends <= now:
            del self.live[session.token]
            return None
        return session

    def alive(self, token: str) -> bool:
        return token in self.live

    def _end(self, grant: Grant) -> None:
        del self.grants[grant.number]
        self._end_sessions(grant)

    def _end_sessions(self, grant: Grant) -> None:
        for session in [session for session in self.live.values() if session.grant == grant.number]:
            del self.live[session.token]


def _refresh_token() -> str:
    return f"5Aep8{secrets.token_urlsafe(60)}"


def _end_of(client: Client, now: datetime) -> datetime | None:
    return None if client.refresh_seconds is None else now + timedelta(seconds=client.refresh_seconds)
