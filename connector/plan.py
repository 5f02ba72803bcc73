"""Mapping + connection -> one-way Flows. The only place that knows direction and precedence.

A way is open only if every layer allows it: the connection's toggle, the mapping's direction of the object, the
connection's direction of it, and a field's own way. Everything behind this module sees one direction and no defaults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from connector import spec
from connector.canon import reach
from connector.errors import SpecError
from connector.model import (
    PARENT,
    SETTINGS,
    Ask,
    Below,
    Column,
    Flow,
    Join,
    Key,
    Lookup,
    Match,
    Path,
    Pull,
    Read,
    Row,
    Shape,
    Trigger,
    TwoWay,
    Watch,
    Where,
)
from connector.shape import OPTION
from connector.values import ABSENT, Names, Problem, Use, Value, compile_path, compile_record, missing

WAYS: Mapping[str, tuple[bool, bool]] = {
    "pull": (True, False),
    "push": (False, True),
    "both": (True, True),
    "disabled": (False, False),
}
"""Direction -> (pull, push)."""


class Effective(msgspec.Struct, frozen=True):
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
    choice, condition = connection.objects.get(head), rules.enabled
    if connection.enabled and condition and not holds(condition, settings(mapping, connection)):
        return Effective(False, False, f"enabled: {condition}")
    row = _node(rules.fields, field) if field else None
    only = row.get("only") if isinstance(row, dict) else None
    return effective(connection.enabled, rules.direction, choice.direction if choice else None, only)


def settings(mapping: spec.Mapping, connection: spec.Connection) -> Row:
    """What is chosen of the mapping's settings: as the connection says, else their defaults."""
    return {name: _chosen(node, connection.settings.get(name)) for name, node in mapping.settings.items()}


def _chosen(node: Any, given: Any) -> Any:
    if "choose" in node:
        return node["default"] if given is None else given
    return {name: _chosen(below, given.get(name) if isinstance(given, dict) else None) for name, below in node.items()}


def holds(condition: str, chosen: Row) -> bool:
    """Whether a condition on settings is neither missing nor false."""
    value = compile_path(condition, (), []).evaluate({SETTINGS: chosen}, None)
    return value is not False and not missing(value)


def calls(mapping: spec.Mapping, connection: spec.Connection, system: str) -> Mapping[str, frozenset[str]] | None:
    """By object, the calls that a system has, as the settings say; None: nothing is said, so it has them all."""
    path = mapping.systems.calls.get(system)
    chosen = compile_path(path, (), []).evaluate({SETTINGS: settings(mapping, connection)}, None) if path else None
    return {name: frozenset(each) for name, each in chosen.items()} if isinstance(chosen, dict) else None


class Lack(msgspec.Struct, frozen=True):
    """A call that the mapping needs and a system does not have; `at` is the setting that says so."""

    at: tuple[str, ...]
    said: str
    hint: str


def lacking(mapping: spec.Mapping, connection: spec.Connection) -> Iterator[Lack]:
    """What the open flows, and the lookups that they use, need of a system that says which calls it has."""
    for system, path in mapping.systems.calls.items():
        there, at = calls(mapping, connection, system) or {}, tuple(path.split("."))
        used = dict[str, None]()
        for made in flows(mapping, connection, {}, mapping.objects):
            used |= dict.fromkeys(made.lookups if made.target == system else ())
            written, read = made.target == system, made.reads[made.triggers[0].changed]
            wanted, table = (("save", "create"), made.write) if written else (("list",), read.object)
            if system in (made.source, made.target) and not {*wanted} & there.get(table, frozenset()):
                said = (
                    f"{made.object} flows {made.direction}, and {system} has no call to {' or '.join(wanted)} {table}"
                )
                yield Lack((*at, table), said, f"add {wanted[0]}, or close that way")
        for name in used:
            rule = mapping.lookups[name]
            has = there.get(rule.object, frozenset())
            for call, need in rule.calls.items():
                if call not in has and (need == "required" or (need == "expected" and "create" not in has)):
                    said = f"the lookup {name} needs a call to {call} all {rule.object} of {system}"
                    yield Lack((*at, rule.object), said, f"add {call}, or switch the lookup off")


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


def rules_of(mapping: spec.Mapping, name: str, way: Pull) -> spec.Object:
    """The rules of an object in one direction; a pair has its own for each."""
    rules = mapping.objects[name]
    return rules if rules.pair is None else rules.pair.remote if way == "pull" else rules.pair.home


def flow(mapping: spec.Mapping, connection: spec.Connection, shapes: Mapping[str, Shape], name: str, way: Pull) -> Flow:
    """One object in one direction, compiled. Raises SpecError for what lint would have refused."""
    rules, chosen = rules_of(mapping, name, way), settings(mapping, connection)
    at = ("objects", name)
    problems: list[Problem] = []
    asks: list[Ask] = []
    fields = _narrowed(rules.fields, chosen)
    record = compile_record(fields, (*at, "fields"), problems, asks)
    joins = [
        (index, read, field, path, compile_path(path, (*at, "triggers", index, "with", read, field), problems))
        for index, trigger in enumerate(rules.triggers)
        for read, on in trigger.with_.items()
        for field, path in on.items()
    ]
    keys = tuple(_key(key, record, (*at, "match", "keys", n), problems) for n, key in enumerate(rules.match.keys))
    uses = [*record.uses, *(use for *_, value in joins for use in value.uses), *_used(rules.match, at)]
    source, target = mapping.systems.remote, mapping.systems.home
    if way == "push":
        source, target = target, source
    made = Flow(
        connection=connection.connection,
        object=name,
        direction=way,
        source=source,
        target=target,
        reads={},
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
        write=str(rules.write),
        match=_match(rules.match, keys),
        record=record.evaluate,
        columns=tuple(_columns(record, (), rules.read, shapes if way == "pull" else {})),  # they are of the remote side
        every=every(mapping, connection),
        digest=_digest(rules, way, chosen),
        asks=tuple(asks),
        lookups=_lookups(mapping, connection, target, asks),
        settings=chosen,
        two_way=_two_way(mapping, connection, name, record),
        dependent=_dependent(shapes, rules, way),
    )
    below = [_below(made, rules, child, each, shapes, problems) for child, each in rules.children.items()]
    uses += (use for _, more in below for use in more)
    if problems:
        first = problems[0]
        raise SpecError(f"{mapping.mapping}: {'.'.join(map(str, first.at))}: {first.message}; run connector lint")
    reads = {read: _read(read, rule, uses, rules, connection) for read, rule in rules.read.items()}
    return replace(made, reads=reads, children=tuple(child for child, _ in below))


def _dependent(shapes: Mapping[str, Shape], rules: spec.Object, way: Pull) -> bool:
    """Whether it writes a picklist that depends on another: then values are held against each other before a call."""
    written = [(str(rules.write), rules.fields), *((child.write, child.fields) for child in rules.children.values())]
    known = (shapes[name].fields.get(field) for name, fields in written if name in shapes for field in fields)
    return way == "push" and any(field is not None and field.controller for field in known)


def _narrowed(fields: Mapping[str, Any], chosen: Row) -> dict[str, Any]:
    """Without the fields of a pair whose setting is off."""
    return {
        name: node
        for name, node in fields.items()
        if not (isinstance(node, dict) and str(node.get("if", "")).startswith(f"{SETTINGS}."))
        or holds(node["if"], chosen)
    }


def _used(match: spec.Match, at: tuple[str | int, ...]) -> list[Use]:
    return [use for key in match.keys if key.from_ for use in compile_path(key.from_, at, []).uses]


def _match(rules: spec.Match, keys: tuple[Key, ...]) -> Match:
    return Match(keys, rules.by == "link", rules.found, rules.missing, rules.differs)


def _lookups(mapping: spec.Mapping, connection: spec.Connection, target: str, asks: Iterable[Ask]) -> dict[str, Lookup]:
    there, made = calls(mapping, connection, target), {}
    for name in {ask.name for ask in asks if ask.kind == "lookup"} & mapping.lookups.keys():
        rule = mapping.lookups[name]
        has = frozenset(("list", "find", "create")) if there is None else there.get(rule.object, frozenset())
        made[name] = Lookup(name, rule.object, rule.key, rule.compare, rule.missing, has & (rule.calls.keys() or has))
    return made


def _two_way(mapping: spec.Mapping, connection: spec.Connection, name: str, record: Value) -> TwoWay | None:
    if mapping.objects[name].pair is None:
        return None
    way = directions(mapping, connection, name)
    paths = {field: compile_path(value.uses[0].text, (), []) for field, value in record.children.items() if value.uses}
    return TwoWay(
        mapping.objects[name].conflict,
        {field: Path(value.text, _getter(value)) for field, value in paths.items()},
        way.pull and way.push,
    )


def _below(
    above: Flow,
    rules: spec.Object,
    name: str,
    child: spec.Child,
    shapes: Mapping[str, Shape],
    problems: list[Problem],
) -> tuple[Below, list[Use]]:
    """What is made below each record, and what it reads of the record's row."""
    at: tuple[str | int, ...] = ("objects", above.object, "children", name)
    asks: list[Ask] = []
    names: Names = {}
    items, uses = None, list[Use]()
    item = child.as_ or next(iter(child.read))
    if child.each is not None:
        listed = compile_path(child.each, (*at, "each"), problems)
        names, items, uses = {item: listed.items}, _getter(listed), [*listed.uses]
    record = compile_record(dict(child.fields), (*at, "fields"), problems, asks, names)
    keys = tuple(
        _key(key, record, (*at, "match", "keys", n), problems, names) for n, key in enumerate(child.match.keys)
    )
    uses += [
        *record.uses,
        *(use for key in child.match.keys if key.from_ for use in compile_path(key.from_, at, [], names).uses),
    ]
    flow = replace(
        above,
        object=f"{above.object}.{name}",
        reads={read: _read(read, rule, uses, rules, None) for read, rule in child.read.items()},
        triggers=(),
        write=child.write,
        match=_match(child.match, keys),
        record=record.evaluate,
        columns=tuple(_columns(record, (), child.read, shapes)),
        asks=tuple(asks),
        two_way=None,
    )
    link = next(
        (field for field, node in child.fields.items() if isinstance(node, dict) and node.get("link") == PARENT), None
    )
    return Below(name, item, items, link, flow), uses


def _read(name: str, rule: spec.Read, uses: list[Use], rules: spec.Object, connection: spec.Connection | None) -> Read:
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
    object_, _, picklist = (rule.picklist or rule.object or "").partition(".")
    valid_for = compile_path(rule.valid_for, (), []) if rule.valid_for else None
    return Read(
        name=name,
        object=object_,
        label=rule.label or name,
        paths=_leaves((*paths, *joined, *rule.order)),
        children={relationship: _leaves(below) for relationship, below in children.items()},
        whole=rule.fields == "all",
        many=rule.many,
        where=tuple(
            Where(field, tuple(value) if isinstance(value, list) else (value,))
            for field, value in rule.where.items()
            if not isinstance(value, dict)
        ),
        order=rule.order,
        watch=_watch(rule.watch, connection) if rule.watch and connection else None,
        linked={
            field: (value["linked"], value.get("active", False))
            for field, value in rule.where.items()
            if isinstance(value, dict)
        },
        picklist=picklist or None,
        valid_for=_getter(valid_for) if valid_for else None,
    )


def _leaves(paths: Iterable[str]) -> tuple[str, ...]:
    """Without those that others go on from: a condition on a parent is on the row that comes with its fields."""
    known = dict.fromkeys(paths)
    return tuple(path for path in known if not any(other.startswith(f"{path}.") for other in known))


def _watch(rule: spec.Watch, connection: spec.Connection) -> Watch:
    first: timedelta | Literal["all", "none"] = (
        "all" if rule.first == "all" else "none" if rule.first == "none" else spec.duration(rule.first)
    )
    at_least = spec.duration(rule.at_least) if rule.at_least else None
    if connection.lookback:
        at_least = spec.duration(connection.lookback)
        first = at_least if isinstance(first, timedelta) else first
    furthest, sync = (spec.duration(text) if text else None for text in (rule.furthest, rule.sync))
    return Watch(rule.field, spec.duration(rule.overlap), at_least, first, furthest, sync)


def _key(
    key: spec.Key, record: Value, at: tuple[str | int, ...], problems: list[Problem], names: Names | None = None
) -> Key:
    path = tuple(key.field.split("."))
    if key.from_ is not None:
        asked = compile_path(key.from_, (*at, "from"), problems, names)
        return Key(path, key.compare, lambda row, _values: _known(asked.evaluate(row, None)), foreign=True)
    field: Value | None = record
    for step in path:
        field = field.children.get(step) if field else None
    compare = "instant" if field and field.kind == "instant" and key.compare == "exact" else key.compare
    if len(path) == 1:
        return Key(path, compare, lambda _row, values: values.get(key.field))
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


Reads = Mapping[str, spec.Read]


def _columns(value: Value, path: tuple[str, ...], reads: Reads, shapes: Mapping[str, Shape]) -> Iterator[Column]:
    for name, child in value.children.items():
        here = (*path, name)
        if child.form == "fields":
            yield from _columns(child, here, reads, shapes)
        elif child.form != "unmapped":
            yield Column(here, child.kind or _kind(child.uses, reads, shapes))


def _kind(uses: Iterable[Use], reads: Reads, shapes: Mapping[str, Shape]) -> str:
    """What the paths of a field read: one kind if they agree; whole rows and lists are JSON."""
    kinds = {_use_kind(use, reads, shapes) for use in uses}
    return kinds.pop() if len(kinds) == 1 else "text"


def _use_kind(use: Use, reads: Reads, shapes: Mapping[str, Shape]) -> str:
    read = reads.get(use.path[0])
    if read is None:  # a setting, the record above, an item of a list that a record is made of
        return "text"
    if len(use.path) == 1 or "*" in use.path:
        return "json"
    shape = OPTION if read.picklist else shapes.get(read.object or "")
    for step in use.path[1:-1]:
        by = next((f for f in shape.fields.values() if f.relationship == step), None) if shape else None
        shape = shapes.get(by.targets[0]) if by and by.targets else None
    field = shape.fields.get(use.path[-1]) if shape else None
    return KINDS.get(field.type, "text") if field else "text"


def _digest(rules: spec.Object, way: str, chosen: Row) -> str:
    """Changes when the rules do, and with nothing else: a pass that began under other rules starts again."""
    text = json.dumps([way, _plain(rules), chosen], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
