"""The systems that can be spoken to. Each satisfies `model.Endpoint`; adding one is adding a line to the table."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any

from connector.errors import SetupError
from connector.model import Clock, Endpoint

ENDPOINTS: Mapping[str, str] = {
    "salesforce": "connector.endpoints.salesforce:Salesforce",
    "sql": "connector.endpoints.sql:Sql",
}
"""Adapter -> where its class is; imported when a connection names it, for what they need is slow to import."""


def connect(name: str, settings: Mapping[str, Any], clock: Clock, cache: MutableMapping[str, str]) -> Endpoint:
    """The system `name` as a connection describes it, secrets filled in."""
    module, _, made = ENDPOINTS[settings["adapter"]].partition(":")
    try:
        endpoint: Endpoint = getattr(import_module(module), made)(name, settings, clock=clock, cache=cache)
    except ImportError as error:
        raise SetupError(f"{name}: {error.name} is not installed; install the extra that brings it") from None
    return endpoint
