"""The systems that can be spoken to. Each satisfies `model.Endpoint`; adding one is adding a line to the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from connector.errors import SetupError
from connector.model import Clock, Endpoint
from connector.vault import Vault

Settings = Mapping[str, Any]
Cache = MutableMapping[str, str]


def _salesforce(name: str, settings: Settings, clock: Clock, cache: Cache, vault: Vault | None) -> Endpoint:
    from connector.endpoints.salesforce import Salesforce  # noqa: PLC0415 - httpx is slow to import

    return Salesforce(name, settings, clock=clock, cache=cache, vault=vault)


def _sql(name: str, settings: Settings, clock: Clock, _cache: Cache, _vault: Vault | None) -> Endpoint:
    from connector.endpoints.sql import Sql  # noqa: PLC0415 - SQLAlchemy is slow to import

    return Sql(name, settings, clock=clock)


def _http(name: str, settings: Settings, clock: Clock, _cache: Cache, _vault: Vault | None) -> Endpoint:
    from connector.endpoints.http.adapter import Http  # noqa: PLC0415 - httpx is slow to import

    return Http(name, settings, clock=clock)


Maker = Callable[[str, Settings, Clock, Cache, Vault | None], Endpoint]
ENDPOINTS: Mapping[str, Maker] = {"salesforce": _salesforce, "sql": _sql, "http": _http}
"""Adapter of a connection -> what makes it."""


def connect(name: str, settings: Settings, clock: Clock, cache: Cache, vault: Vault | None = None) -> Endpoint:
    """The system `name` as a connection describes it, secrets filled in. `vault`: where it may keep tokens."""
    try:
        return ENDPOINTS[settings["adapter"]](name, settings, clock, cache, vault)
    except ModuleNotFoundError as error:
        raise SetupError(f"{name}: {error.name} is not installed; pip install the extra that brings it") from None
