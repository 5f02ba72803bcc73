"""Tree -> frozen Mapping and Connection, as written. Nothing is resolved here: `plan` does that.

The keys, their types and their defaults are those of `schema.json`; a test holds the two against each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

Direction = Literal["pull", "push", "both", "disabled"]


@cache
def grammar() -> Any:
    """`schema.json`: the one declaration of keys, types, defaults and descriptions."""
    return json.loads(files("connector").joinpath("schema.json").read_text("utf-8"))


def default(definition: str, key: str) -> Any:
    """What a key means when it is not given; None where the grammar declares no default."""
    return grammar()["$defs"][definition]["properties"][key].get("default")


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """`15m` -> fifteen minutes. The grammar has already refused anything else."""
    found = re.fullmatch(r"([0-9]+)([smhd])", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration such as 15m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@dataclass(frozen=True, slots=True)
class Watch:
    field: str | None
    overlap: str
    at_least: str | None
    first: str


@dataclass(frozen=True, slots=True)
class Read:
    object: str
    fields: Literal["all"] | None
    label: str | None
    watch: Watch | None
    where: Map[str, Any]
    many: bool
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    changed: str
    with_: Map[str, Map[str, str]]
    unless_joined_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    field: str
    compare: Literal["exact", "ignore_case"]
    from_: str | None


@dataclass(frozen=True, slots=True)
class Match:
    keys: tuple[Key, ...]
    by: Literal["link"] | None
    found: Literal["replace", "update", "skip", "link"]
    missing: Literal["create", "skip", "ask", "fail"]
    differs: Literal["create", "replace", "fail"] | None


@dataclass(frozen=True, slots=True)
class Object:
    direction: Direction
    read: Map[str, Read]
    triggers: tuple[Trigger, ...]
    write: str
    match: Match
    fields: Map[str, Any]
    """As written: `values.compile_record` reads it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """`every` None: manual."""

    every: str | None
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Systems:
    home: str
    remote: str


@dataclass(frozen=True, slots=True)
class Mapping:
    mapping: str
    version: int
    about: str | None
    source: str | None
    systems: Systems
    schedule: Schedule | None
    objects: Map[str, Object]


@dataclass(frozen=True, slots=True)
class ConnectionObject:
    direction: Direction | None


@dataclass(frozen=True, slots=True)
class Connection:
    connection: str
    mapping: str
    enabled: bool
    schedule: Schedule | None
    lookback: str | None
    objects: Map[str, ConnectionObject]
    systems: Map[str, Map[str, Any]]
    """As written: the adapters read them, secrets are still names."""


def _watch(node: Any) -> Watch | None:
    if node is None:
        return None
    overlap = node.get("overlap", default("watch", "overlap"))
    return Watch(node.get("field"), overlap, node.get("at_least"), node["first"])


def _read(node: Any) -> Read:
    return Read(
        object=node["object"],
        fields=node.get("fields"),
        label=node.get("label"),
        watch=_watch(node.get("watch")),
        where=node.get("where", {}),
        many=node.get("many", default("read", "many")),
        order=tuple(node.get("order", ())),
    )


def _trigger(node: Any) -> Trigger:
    return Trigger(node["changed"], node.get("with", {}), tuple(node.get("unless_joined_by", ())))


def _key(node: Any) -> Key:
    if isinstance(node, str):
        node = {"field": node}
    return Key(node["field"], node.get("compare", default("key", "compare")), node.get("from"))


def _match(node: Any) -> Match:
    keys = tuple(map(_key, node.get("keys", ())))
    return Match(keys, node.get("by"), node["found"], node["missing"], node.get("differs"))


def _object(node: Any) -> Object:
    return Object(
        direction=node["direction"],
        read={name: _read(read) for name, read in node["read"].items()},
        triggers=tuple(map(_trigger, node["triggers"])),
        write=node["write"],
        match=_match(node["match"]),
        fields=node["fields"],
    )


def schedule(node: Any) -> Schedule | None:
    if node is None or node == "manual":
        return None if node is None else Schedule(None, ())
    return Schedule(node["every"], tuple(node.get("objects", ())))


def mapping(tree: Any) -> Mapping:
    """A tree that lint has found well formed."""
    return Mapping(
        mapping=tree["mapping"],
        version=tree["version"],
        about=tree.get("about"),
        source=tree.get("source"),
        systems=Systems(tree["systems"]["home"], tree["systems"]["remote"]),
        schedule=schedule(tree.get("schedule")),
        objects={name: _object(node) for name, node in tree["objects"].items()},
    )


def connection(tree: Any) -> Connection:
    """A tree that lint has found well formed."""
    return Connection(
        connection=tree["connection"],
        mapping=tree["mapping"],
        enabled=tree.get("enabled", default("connection", "enabled")),
        schedule=schedule(tree.get("schedule")),
        lookback=tree.get("lookback"),
        objects={name: ConnectionObject(node.get("direction")) for name, node in tree.get("objects", {}).items()},
        systems=tree["systems"],
    )


def shipped() -> Path:
    """The folder of the mappings that come with the package: in the wheel beside the code, in a checkout above it."""
    inside = Path(str(files("connector"))) / "mappings"
    return inside if inside.is_dir() else inside.parent.parent / "mappings"


def installed(file: Path) -> bool:
    """Whether it lies in the package, which the next installation overwrites."""
    return file.is_relative_to(str(files("connector")))


def mapping_file(named: str, beside: Path, folder: str = "") -> Path:
    """The file that a connection or an example file names: a path from its own folder, or a shipped mapping by name.

    With `folder` what lies in that one beside the shipped mappings: `apis`.
    """
    if named.endswith((".yaml", ".yml")):
        return (beside / named).resolve()
    return shipped() / folder / f"{named}.yaml"
