"""Tree -> frozen Mapping and Connection, as written. Nothing is resolved here: `plan` does that.

The keys, their types and their defaults are those of `schema.json`; a test holds the two against each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Map
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

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


class Watch(msgspec.Struct, frozen=True):
    field: str | None
    overlap: str
    at_least: str | None
    first: str
    furthest: str | None
    sync: str | None


class Read(msgspec.Struct, frozen=True):
    object: str | None
    picklist: str | None
    valid_for: str | None
    fields: Literal["all"] | None
    label: str | None
    watch: Watch | None
    where: Map[str, Any]
    many: bool
    order: tuple[str, ...]


class Trigger(msgspec.Struct, frozen=True):
    changed: str
    with_: Map[str, Map[str, str]]
    unless_joined_by: tuple[str, ...]


class Key(msgspec.Struct, frozen=True):
    field: str
    compare: Literal["exact", "ignore_case"]
    from_: str | None


class Match(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]
    by: Literal["link"] | None
    found: Literal["replace", "update", "skip", "link"]
    missing: Literal["create", "skip", "ask", "fail"]
    differs: Literal["create", "replace", "fail"] | None


class Child(msgspec.Struct, frozen=True):
    read: Map[str, Read]
    each: str | None
    as_: str | None
    write: str
    match: Match
    fields: Map[str, Any]


class Pair(msgspec.Struct, frozen=True):
    """The two ways of an object, each as an ordinary object that flows one way."""

    home: Object
    remote: Object


class Object(msgspec.Struct, frozen=True):
    """`pair`: the rules stand in there, by the side that is read."""

    direction: Direction
    enabled: str | None
    like: str | None
    read: Map[str, Read]
    pair: Pair | None
    triggers: tuple[Trigger, ...]
    write: str | None
    match: Match
    conflict: Literal["home", "remote", "newest"]
    fields: Map[str, Any]
    """As written: `values.compile_record` reads it."""
    children: Map[str, Child]


class Schedule(msgspec.Struct, frozen=True):
    """`every` None: manual."""

    every: str | None
    objects: tuple[str, ...]


class Systems(msgspec.Struct, frozen=True):
    """`calls`: system -> the setting that says which calls it has."""

    home: str
    remote: str
    calls: Map[str, str]


class Lookup(msgspec.Struct, frozen=True):
    object: str
    key: str
    compare: Literal["exact", "ignore_case"]
    calls: Map[str, str]
    missing: Literal["empty", "create", "create_or_empty", "skip", "fail", "ask"]


class Mapping(msgspec.Struct, frozen=True):
    mapping: str
    version: int
    about: str | None
    source: str | None
    systems: Systems
    settings: Map[str, Any]
    schedule: Schedule | None
    sync: tuple[str, ...]
    lookups: Map[str, Lookup]
    objects: Map[str, Object]


class ConnectionObject(msgspec.Struct, frozen=True):
    direction: Direction | None


class Connection(msgspec.Struct, frozen=True):
    connection: str
    mapping: str
    enabled: bool
    schedule: Schedule | None
    lookback: str | None
    settings: Map[str, Any]
    objects: Map[str, ConnectionObject]
    systems: Map[str, Map[str, Any]]
    """As written: the adapters read them, secrets are still names."""


def _watch(node: Any) -> Watch | None:
    if node is None:
        return None
    overlap = node.get("overlap", default("watch", "overlap"))
    return Watch(
        node.get("field"), overlap, node.get("at_least"), node["first"], node.get("furthest"), node.get("sync")
    )


def _read(node: Any) -> Read:
    return Read(
        object=node.get("object"),
        picklist=node.get("picklist"),
        valid_for=node.get("valid_for"),
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


def _child(node: Any) -> Child:
    read = {name: _read(read) for name, read in node.get("read", {}).items()}
    return Child(read, node.get("each"), node.get("as"), node["write"], _match(node["match"]), node["fields"])


def _object(node: Any) -> Object:
    pair = Pair(*(_object(one_way(node, way)) for way in ("push", "pull"))) if "pair" in node else None
    return Object(
        direction=node["direction"],
        enabled=node.get("enabled"),
        like=node.get("like"),
        read={name: _read(read) for name, read in node.get("read", {}).items()},
        pair=pair,
        triggers=tuple(map(_trigger, node.get("triggers", ()))),
        write=node.get("write"),
        match=_match(node["match"]),
        conflict=node.get("conflict", default("object", "conflict")),
        fields=node["fields"],
        children={name: _child(child) for name, child in node.get("children", {}).items()},
    )


def one_way(node: Any, way: str) -> Any:
    """A tree of an object with `pair` as the ordinary object that it is in one direction: `remote` is read when it pulls.

    What stands under `if` is kept beside each value: it speaks of settings, which the connection chooses.
    """
    source, target = ("remote", "home") if way == "pull" else ("home", "remote")
    sides = {side: each if isinstance(each, dict) else {"object": each} for side, each in node["pair"].items()}
    fields = {}
    for name, written in node["fields"].items() if isinstance(node.get("fields"), dict) else ():
        row = written if isinstance(written, dict) else {"remote": written}
        if row.get("only", way) == way and isinstance(row.get("remote"), str):
            path, field = (f"remote.{row['remote']}", name) if way == "pull" else (f"home.{name}", row["remote"])
            rest = {key: row[key] for key in ("if", "keep") if key in row}
            if "lookup" in row:
                fields[field] = {"lookup": row["lookup"], "by": path, **rest}
                continue
            if isinstance(values := row.get("values"), dict):
                rest["values"] = {text(held): key for key, held in values.items()} if way == "pull" else values
                rest |= {"case": row["case"]} if "case" in row else {}
            fields[field] = {"path": path, **rest}
    kept = {key: node[key] for key in ("match", "conflict", "enabled", "children") if key in node}
    rules = {"read": {source: sides.get(source)}, "triggers": [{"changed": source}], "fields": fields}
    return {"direction": way, **rules, "write": part(sides.get(target), "object"), **kept}


def part(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, dict) else None


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def merged(base: Map[str, Any], over: Map[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it: maps go together, all else is replaced."""
    made = dict(base)
    for key, value in over.items():
        both = isinstance(value, Map) and isinstance(made.get(key), Map)
        made[key] = merged(made[key], value) if both else value
    return made


def expanded(tree: Any) -> Any:
    """A mapping's tree with every `like` carried out, one level deep; lint refuses what names no such object."""
    objects = part(tree, "objects")
    if not isinstance(objects, dict):
        return tree
    made = {}
    for name, node in objects.items():
        like = part(node, "like")
        base = objects.get(like) if isinstance(like, str) and like != name else None
        made[name] = merged(base, node) if isinstance(base, dict) and "like" not in base else node
    return {**tree, "objects": made}


def schedule(node: Any) -> Schedule | None:
    if node is None or node == "manual":
        return None if node is None else Schedule(None, ())
    return Schedule(node["every"], tuple(node.get("objects", ())))


def system(node: Any) -> str:
    """The name of a system, however it is given."""
    return str(node["name"] if isinstance(node, dict) else node)


def _systems(node: Any) -> Systems:
    calls = {system(each): each["calls"] for each in node.values() if part(each, "calls")}
    return Systems(system(node["home"]), system(node["remote"]), calls)


def _lookup(node: Any) -> Lookup:
    compare = node.get("compare", default("lookup", "compare"))
    return Lookup(node["object"], node["key"], compare, node.get("calls", {}), node["missing"])


def mapping(tree: Any) -> Mapping:
    """A tree that lint has found well formed."""
    tree = expanded(tree)
    return Mapping(
        mapping=tree["mapping"],
        version=tree["version"],
        about=tree.get("about"),
        source=tree.get("source"),
        systems=_systems(tree["systems"]),
        settings=tree.get("settings", {}),
        schedule=schedule(tree.get("schedule")),
        sync=tuple(tree.get("sync", ())),
        lookups={name: _lookup(node) for name, node in tree.get("lookups", {}).items()},
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
        settings=tree.get("settings", {}),
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
