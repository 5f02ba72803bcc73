"""What a run is given, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import msgspec

from connector.answering import Known
from connector.errors import Drifted, EndpointError, RateLimited, Unauthorized
from connector.model import Clock, Endpoint, Outcome, Page
from connector.state import Store

STATUSES = ("created", "updated", "unchanged", "skipped", "blocked", "failed")


class World(msgspec.Struct, frozen=True):
    """Everything outside a flow. `allowed` is asked before each batch of writes; `ahead` may read pages in advance;
    `known` is what lookups have found, shared by the flows of one run; `files` makes a File of an address.
    """

    source: Endpoint
    target: Endpoint
    store: Store
    clock: Clock
    owner: str = "this"
    alive: Callable[[str], bool] = lambda _owner: True
    allowed: Callable[[], bool] = lambda: True
    ahead: Callable[[Iterator[Page]], Iterator[Page]] = lambda pages: pages
    told: Callable[[Sequence[Outcome]], None] = lambda _outcomes: None
    known: Known = msgspec.field(default_factory=dict)
    dry: bool = False
    files: Callable[[Any], Any] = lambda address: address
    alone: Callable[[str], AbstractContextManager[Any]] = lambda _name: nullcontext()


class Run(msgspec.Struct, frozen=True):
    """How a run ended, and of which system if one was `unreachable`. read = created + updated + unchanged + skipped + blocked + failed, whatever happened.

    status: ok, partial (something failed or is blocked), failed (it could not go through), paused, running (by another).
    """

    connection: str
    object: str
    direction: str
    status: str
    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    calls: int = 0
    since: str | None = None
    until: str | None = None
    error: str | None = None
    code: str | None = None
    unreachable: str | None = None


class Paused(Exception):
    pass


@contextmanager
def side(name: str) -> Iterator[None]:
    """Remembers which of the two systems an error came from: its class alone does not know."""
    try:
        yield
    except EndpointError as error:
        error.__dict__.setdefault("side", name)
        raise


def code_of(failure: Exception) -> str:
    """The word of the log for what ended a run."""
    if isinstance(failure, Paused):
        return "paused"
    if isinstance(failure, (Unauthorized, RateLimited, Drifted)) or not isinstance(failure, EndpointError):
        return getattr(failure, "code", "failed")
    return f"{failure.side}_unavailable"
