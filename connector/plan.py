"""Mapping + connection -> one-way Flows. The only place that knows direction and precedence.

A way is open only if every layer allows it: the connection's toggle, the mapping's direction of the object, the
connection's direction of it, and a field's own way. Everything behind this module sees one direction and no defaults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from connector import spec
from connector.canon import reach
from connector.errors import SpecError
from connector.model import Column, Flow, Join, Key, Match, Path, Pull, Read, Row, Shape, Trigger, Watch, Where
from connector.values import ABSENT, Problem, Use, Value, compile_path, compile_record

WAYS: Mapping[str, tuple[bool, bool]] = {
    "pull": (True, False),
    "push": (False, True),
    "both": (True, True),
    "disabled": (False, False),
}
"""Direction -> (pull, push)."""


@dataclass(frozen=True, slots=True)
class Effective:
    """Which ways are open, and the first layer that closed one that the layers before it left open."""

    pull: bool
    push: bool
    decided: str

    def allows(self, way: Pull) -> bool:
        return self.pull if way == "pull" else self.push


def effective(enabled: bool, mapping: str, connection: str | None, field: str | None = None) -> Effective:
    """The narrowing of all layers; None says that the layer leaves things as they are."""
    pull, push, decided = *WAYS[mapping], "the mapping"
    for name, direction in (("the connection", connection), ("the field", field)):
        if direction is None:
            continue
        narrowed = (pull and WAYS[direction][0], push and WAYS[direction][1])
        if narrowed != (pull, push):
            (pull, push), decided = narrowed, name
    if not enabled:
        pull, push, decided = False, False, "enabled: false"
    return Effective(pull, push, decided)


def directions(mapping: spec.Mapping, connection: spec.Connection, name: str) -> Effective:
    """Effective directions of `object` or `object.field`. Raises SpecError for a name that the mapping does not have."""
    head, _, field = name.partition(".")
    rules = mapping.objects.get(head)
    if rules is None:
        raise SpecError(f"{mapping.mapping} has no object {head!r}; it has {', '.join(mapping.objects)}")
    if field and not isinstance(_node(rules.fields, field), (str, dict)):
        raise SpecError(f"{head} has no field {field!r}; it has {', '.join(rules.fields)}")
    choice = connection.objects.get(head)
    return effective(connection.enabled, rules.direction, choice.direction if choice else None)


def _node(fields: Mapping[str, Any], dotted: str) -> Any:
    node: Any = {"fields": fields}
    for step in dotted.split("."):
        node = node.get("fields", {}).get(step) if isinstance(node, dict) else None
    return node


def scheduled(mapping: spec.Mapping, connection: spec.Connection) -> tuple[str, ...]:
    """The objects of a plain run, in order: those of the schedule, else every enabled one."""
    chosen = (connection.schedule or mapping.schedule or spec.Schedule(None, ())).objects or tuple(mapping.objects)
    return tuple(name for name in chosen if (way := directions(mapping, connection, name)).pull or way.push)


def every(mapping: spec.Mapping, connection: spec.Connection) -> timedelta | None:
    """Time from one due run to the next; None: only when somebody asks."""
    chosen = connection.schedule or mapping.schedule
    return spec.duration(chosen.every) if chosen and chosen.every else None


def flows(
    mapping: spec.Mapping,
    connection: spec.Connection,
    shapes: Mapping[str, Shape],
    objects: Iterable[str] | None = None,
) -> tuple[Flow, ...]:
    """The open one-way flows of the named objects (default: those of a plain run), in order."""
    names = scheduled(mapping, connection) if objects is None else tuple(objects)
    return tuple(
        flow(mapping, connection, shapes, name, way)
        for name in names
        for way in ("pull", "push")
        if directions(mapping, connection, name).allows(way)
    )


def one_way(mapping: spec.Mapping, name: str) -> Pull:
    """The way that an object written with read, triggers and write goes when nothing closes it."""
    return "push" if mapping.objects[name].direction == "push" else "pull"


def flow(mapping: spec.Mapping, connection: spec.Connection, shapes: Mapping[str, Shape], name: str, way: Pull) -> Flow:
    """One object in one direction, compiled. Raises SpecError for what lint would have refused."""
    rules = mapping.objects[name]
    at = ("objects", name)
    problems: list[Problem] = []
    record = compile_record(dict(rules.fields), (*at, "fields"), problems)
    joins = [
        (index, read, field, path, compile_path(path, (*at, "triggers", index, "with", read, field), problems))
        for index, trigger in enumerate(rules.triggers)
        for read, on in trigger.with_.items()
        for field, path in on.items()
    ]
    keys = tuple(_key(key, record, (*at, "match", "keys", n), problems) for n, key in enumerate(rules.match.keys))
    if problems:
        first = problems[0]
        raise SpecError(f"{mapping.mapping}: {'.'.join(map(str, first.at))}: {first.message}; run connector lint")
    uses = [*record.uses, *(use for *_, value in joins for use in value.uses)]
    source, target = mapping.systems.remote, mapping.systems.home
    if way == "push":
        source, target = target, source
    return Flow(
        connection=connection.connection,
        object=name,
        direction=way,
        source=source,
        target=target,
        reads={read: _read(read, rule, uses, rules, connection) for read, rule in rules.read.items()},
        triggers=tuple(
            Trigger(
                trigger.changed,
                tuple(
                    Join(read, {f: Path(p, _getter(v)) for i, r, f, p, v in joins if (i, r) == (index, read)})
                    for read in trigger.with_
                ),
                trigger.unless_joined_by,
            )
            for index, trigger in enumerate(rules.triggers)
        ),
        write=rules.write,
        match=Match(keys, rules.match.by == "link", rules.match.found, rules.match.missing, rules.match.differs),
        record=record.evaluate,
        columns=tuple(_columns(record, (), rules, shapes)),
        every=every(mapping, connection),
        traced=_maps_values(rules.fields),
        digest=_digest(rules, way),
    )


def _read(name: str, rule: spec.Read, uses: list[Use], rules: spec.Object, connection: spec.Connection) -> Read:
    paths: dict[str, None] = {}
    children: dict[str, dict[str, None]] = {}
    for use in uses:
        steps = [step for step in use.path[1:] if step != "*"] if use.path[0] == name else []
        if steps[1:2] == ["records"]:
            below = children.setdefault(steps[0], {})
            below |= {".".join(steps[2:]): None} if steps[2:] else {}
        elif steps:
            paths[".".join(steps)] = None
    joined = (on for trigger in rules.triggers if name in trigger.with_ for on in trigger.with_[name])
    return Read(
        name=name,
        object=rule.object,
        label=rule.label or name,
        paths=tuple(dict.fromkeys((*paths, *joined, *rule.order))),
        children={relationship: tuple(below) for relationship, below in children.items()},
        whole=rule.fields == "all",
        many=rule.many,
        where=tuple(
            Where(field, tuple(value) if isinstance(value, list) else (value,)) for field, value in rule.where.items()
        ),
        order=rule.order,
        watch=_watch(rule.watch, connection) if rule.watch else None,
    )


def _watch(rule: spec.Watch, connection: spec.Connection) -> Watch:
    first: timedelta | Literal["all", "none"] = (
        "all" if rule.first == "all" else "none" if rule.first == "none" else spec.duration(rule.first)
    )
    at_least = spec.duration(rule.at_least) if rule.at_least else None
    if connection.lookback:
        at_least = spec.duration(connection.lookback)
        first = at_least if isinstance(first, timedelta) else first
    return Watch(rule.field, spec.duration(rule.overlap), at_least, first)


def _key(key: spec.Key, record: Value, at: tuple[str | int, ...], problems: list[Problem]) -> Key:
    path = tuple(key.field.split("."))
    if key.from_ is not None:
        asked = compile_path(key.from_, (*at, "from"), problems)
        return Key(path, key.compare, lambda row, _values: _known(asked.evaluate(row, None)), foreign=True)
    field: Value | None = record
    for step in path:
        field = field.children.get(step) if field else None
    compare = "instant" if field and field.kind == "instant" and key.compare == "exact" else key.compare
    return Key(path, compare, lambda _row, values: reach(values, path))


def _getter(value: Value) -> Callable[[Row], Any]:
    return lambda row: _known(value.evaluate(row, None))


def _known(value: Any) -> Any:
    return None if value is ABSENT else value


KINDS: Mapping[str, str] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "instant",
    "address": "json",
    "location": "json",
}
"""Salesforce's word for a field's type -> kind of the column that keeps it; every other type is text."""


def _columns(value: Value, path: tuple[str, ...], rules: spec.Object, shapes: Mapping[str, Shape]) -> Iterator[Column]:
    for name, child in value.children.items():
        here = (*path, name)
        if child.form == "fields":
            yield from _columns(child, here, rules, shapes)
        elif child.form != "unmapped":
            yield Column(here, child.kind or _kind(child.uses, rules, shapes))


def _kind(uses: Iterable[Use], rules: spec.Object, shapes: Mapping[str, Shape]) -> str:
    """What the paths of a field read: one kind if they agree; whole rows and lists are JSON."""
    kinds = {_use_kind(use, rules, shapes) for use in uses}
    return kinds.pop() if len(kinds) == 1 else "text"


def _use_kind(use: Use, rules: spec.Object, shapes: Mapping[str, Shape]) -> str:
    read = rules.read.get(use.path[0])
    if read is None or len(use.path) == 1 or "*" in use.path:
        return "json"
    shape = shapes.get(read.object)
    for step in use.path[1:-1]:
        by = next((f for f in shape.fields.values() if f.relationship == step), None) if shape else None
        shape = shapes.get(by.targets[0]) if by and by.targets else None
    field = shape.fields.get(use.path[-1]) if shape else None
    return KINDS.get(field.type, "text") if field else "text"


def _maps_values(node: Any) -> bool:
    if isinstance(node, Mapping):
        return "values" in node or any(map(_maps_values, node.values()))
    return isinstance(node, list) and any(map(_maps_values, node))


def _digest(rules: spec.Object, way: str) -> str:
    """Changes when the rules do, and with nothing else: a pass that began under other rules starts again."""
    text = json.dumps([way, _plain(rules)], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
