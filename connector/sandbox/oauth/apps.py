"""An external client app: a mapping from Python or YAML -> what it may ask for and how it shows itself.

A text alone is its secret: {"me": "s3cret"} is {"me": {"secret": "s3cret"}}. Without a secret the client is a public one,
which must not send any.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from connector.sandbox.oauth.assertion import Key, public_key

DEFAULT_CALLBACK = "http://localhost:1717/OauthRedirect"
FLOWS = frozenset({"authorization_code", "refresh_token", "client_credentials", "jwt_bearer", "password"})
DEFAULT_SCOPES = ("api", "refresh_token", "id", "openid", "profile", "email", "web", "full", "offline_access")


@dataclass(frozen=True)
class Client:
    id: str
    secret: str | None = None
    name: str = ""
    callbacks: tuple[str, ...] = (DEFAULT_CALLBACK,)
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    flows: frozenset[str] = FLOWS
    pkce: bool = False  # a code challenge is demanded
    rotate: bool = False  # Refresh Token Rotation: a refresh ends the session and the token it came from
    secret_on_refresh: bool = False
    run_as: str | None = None  # of client credentials; None is the org's first user
    approved: frozenset[str] | None = None  # users an assertion may name; None is everyone
    key: Key | None = None
    session_seconds: float | None = None
    refresh_seconds: float | None = None
    daily_limit: int | None = None  # of calls, shown as per-app-api-usage

    def knows(self, secret: str | None) -> bool:
        """Whether it shows itself as it must; a public client sends nothing."""
        if self.secret is None or secret is None:
            return self.secret is None and not secret
        return hmac.compare_digest(self.secret.encode(), secret.encode("utf-8", "surrogatepass"))


def client(name: str, given: str | Mapping[str, Any] | None) -> Client:
    """Raises ValueError that says what is wrong with the mapping."""
    if isinstance(given, str):
        return Client(name, given, name)
    if given is None:
        return Client(name, None, name)
    if not isinstance(given, Mapping):
        raise ValueError(f"client {name}: a secret, or a mapping")  # noqa: TRY004  one kind of error for a mistake
    wrong = given.keys() - _READ.keys()
    if wrong:
        raise ValueError(f"client {name} has no {', '.join(sorted(map(str, wrong)))}: {', '.join(_READ)}")
    try:
        read: dict[str, Any] = {_NAMES.get(key, key): _READ[key](value) for key, value in given.items()}
    except ValueError as reason:
        raise ValueError(f"client {name}: {reason}") from None
    return Client(name, **{"name": name, **read})


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError(f"{value!r} is not a list of texts")  # noqa: TRY004
    return tuple(_text(each) for each in value)


def _callbacks(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    for url in found:
        parts = urlsplit(url)
        harmless = parts.scheme not in ("", "javascript", "data", "vbscript") and not parts.fragment
        if not harmless or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"{url!r} is not a callback url")
    return found


def _flows(value: Any) -> frozenset[str]:
    found = frozenset(_texts(value))
    if found - FLOWS:
        raise ValueError(f"no flow {', '.join(sorted(found - FLOWS))}: {', '.join(sorted(FLOWS))}")
    return found


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f"{value!r} is not a number of seconds")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not a number of calls")
    return value


_NAMES = {"certificate": "key"}
_READ = {
    "secret": _text,
    "name": _text,
    "callbacks": _callbacks,
    "scopes": _texts,
    "flows": _flows,
    "pkce": _flag,
    "rotate": _flag,
    "secret_on_refresh": _flag,
    "run_as": _text,
    "approved": lambda value: frozenset(_texts(value)),
    "certificate": lambda value: public_key(_text(value)),
    "session_seconds": _seconds,
    "refresh_seconds": _seconds,
    "daily_limit": _count,
}
