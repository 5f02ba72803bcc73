"""What the store takes and gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from connector.model import Note, Outcome


@dataclass(frozen=True, slots=True)
class Pass:
    """One traversal of a window by all triggers. It outlives a killed run: the next one goes on where it stopped."""

    id: int
    since: str | None
    until: str
    digest: str
    trigger: int = 0
    after: tuple[str, str] | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """`watermark`: everything up to there has been read. Instants are canonical text of the source's clock.

    A stream that flows both ways has one for each; `others` are those of the other ways, as they are stored.
    """

    watermark: str | None = None
    activated: str | None = None
    open: Pass | None = None
    way: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str, way: str = "") -> Cursor:
        """Of one way; where nothing is stored for it, what holds for all of them (`""`)."""
        stored = json.loads(text)
        if stored and not stored.keys() <= {"", "pull", "push"}:  # as version 1 wrote it
            stored = {"": stored}
        node = dict(stored.get(way) or stored.get("") or {})
        if opened := node.pop("open", None):
            opened = Pass(**{**opened, "after": opened["after"] and tuple(opened["after"])})
        return cls(**node, open=opened, way=way, others={key: each for key, each in stored.items() if key != way})

    def dump(self) -> str:
        opened = asdict(self.open) if self.open else None
        own = {"watermark": self.watermark, "activated": self.activated, "open": opened}
        return json.dumps({**self.others, self.way: own})


@dataclass(frozen=True, slots=True)
class Stream:
    id: int
    connection: str
    object: str
    cursor: Cursor
    started: datetime | None
    slot: datetime | None
    running: bool


@dataclass(frozen=True, slots=True)
class Lease:
    stream: int
    token: str


@dataclass(frozen=True, slots=True)
class Link:
    """`home_base` and `remote_base`: what each side held when last seen, as JSON text; None where nobody has looked."""

    key: str
    home: str
    remote: str
    active: bool = True
    made: str = "auto"
    home_base: str | None = None
    remote_base: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one record, and what carried it: its own trigger, or the one that joined it."""

    read: str
    record: str
    stamp: str
    digest: str
    carrier: str


@dataclass(frozen=True, slots=True)
class Parked:
    """A failed or blocked record that waits for its next try."""

    read: str
    record: str
    attempts: int
    retry: datetime


@dataclass(frozen=True, slots=True)
class Intent:
    key: str
    payload: str
    sent: str


@dataclass
class Batch:
    """What one page did: all of it is stored in one transaction, or none."""

    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    retries: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)
    closed: list[tuple[str, str]] = field(default_factory=list)
