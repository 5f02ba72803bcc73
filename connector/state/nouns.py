"""What the store takes and gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from connector.model import Note, Outcome


class Pass(msgspec.Struct, frozen=True):
    """One traversal of a window by all triggers. It outlives a killed run: the next one goes on where it stopped."""

    id: int
    since: str | None
    until: str
    digest: str
    trigger: int = 0
    after: tuple[str, str] | None = None
    forced: bool = False


class Cursor(msgspec.Struct, frozen=True):
    """`watermark`: everything up to there has been read. Instants are canonical text of the source's clock.

    A stream that flows both ways has one for each; `others` are those of the other ways, as they are stored.
    """

    watermark: str | None = None
    activated: str | None = None
    open: Pass | None = None
    way: str = ""
    others: Mapping[str, Any] = msgspec.field(default_factory=dict)

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


class Stream(msgspec.Struct, frozen=True):
    id: int
    connection: str
    object: str
    cursor: Cursor
    started: datetime | None
    slot: datetime | None
    running: bool


class Lease(msgspec.Struct, frozen=True):
    stream: int
    token: str


class Link(msgspec.Struct, frozen=True):
    """`home_base` and `remote_base`: what each side held when last seen, as JSON text; None where nobody has looked."""

    key: str
    home: str
    remote: str
    active: bool = True
    made: str = "auto"
    home_base: str | None = None
    remote_base: str | None = None


class Version(msgspec.Struct, frozen=True):
    """One version of one record, and what carried it: its own trigger, or the one that joined it."""

    read: str
    record: str
    stamp: str
    digest: str
    carrier: str


class Parked(msgspec.Struct, frozen=True):
    """A failed or blocked record that waits for its next try."""

    read: str
    record: str
    attempts: int
    retry: datetime


class Intent(msgspec.Struct, frozen=True):
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
