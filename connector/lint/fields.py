"""Rules about what stands in the fields: expressions that compile, and names that the recorded shapes know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from connector.lint.file import File, Findings, Object, known, part
from connector.lint.findings import Level, instead, nearest
from connector.lint.grammar import UNKNOWN
from connector.model import Field, Shape
from connector.source import At
from connector.values import Problem, Use, compile_value

_MASKS = re.compile(r"\|\||\bnot_null(?=\s*\()|\bmax(?=\s*\()")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\])*\"")
_DATES = ("date", "datetime")
_KINDS = dict.fromkeys(("string", "combobox", "picklist", "email", "phone", "url"), "text") | {
    "reference": "an id",
    "boolean": "true or false",
    "textarea": "long text",
}
_COMPOUND = ("address", "location")


def expressions(file: File) -> Findings:
    """Every path and template compiles."""
    for thing in file.objects:
        _ = thing.uses, thing.joins
        yield from (file.problem(problem) for problem in thing.problems)


def missing_in_paths(file: File) -> Findings:
    """`||`, `not_null` and `max` have their own idea of missing: blank text passes, 0 and false do not."""
    seen: set[tuple[At, int]] = set()
    for thing in file.objects:
        values = [thing.record, *(value for *_, value in thing.keys if value), *(value for *_, value in thing.joins)]
        for use in (use for value in values for use in value.uses):
            if "template" in use.at[-1:]:
                continue
            plain = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), use.text)
            for found in _MASKS.finditer(plain):
                if (use.at, found.start()) not in seen:
                    seen.add((use.at, found.start()))
                    instead_of = "latest" if found[0] == "max" else "first"
                    said = f"{found[0]} does not treat blank text as missing"
                    hint = f"use {instead_of}: [...]"
                    yield file.within("jmespath_missing", said, use.at, found[0], found.start(), hint)


def example_values(file: File) -> Findings:
    """The value of a pure value example compiles."""
    listed = file.tree.get("examples")
    for n, example in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(example, dict) and "value" in example and (node := known(example["value"])) is not UNKNOWN:
            problems: list[Problem] = []
            compile_value(node, ("examples", n, "value"), problems)
            yield from (file.problem(problem) for problem in problems)


# ---- objects ---------------------------------------------------------------------------------------------


def objects(file: File) -> Findings:
    """Objects of the remote side have a recorded shape; of the home side one note says which have none."""
    told: set[str] = set()
    home: list[str] = []
    for thing in file.objects:
        named = [
            ((*thing.at, "read", name, "object"), part(thing.reads, name).get("object"), thing.pulls)
            for name in thing.reads
        ]
        for at, name, remote in [*named, ((*thing.at, "write"), thing.node.get("write"), not thing.pulls)]:
            if not isinstance(name, str) or name in file.shapes or name in told:
                continue
            told.add(name)
            if remote:
                yield _unrecorded(file, at, name)
            else:
                home.append(name)
    if home:
        said = f"no shapes of {', '.join(home)} are recorded, so fields at home are not checked"
        yield file.finding("no_shape", said, ("systems", "home"))


def _unrecorded(file: File, at: At, name: str) -> Any:
    prefix = package(name)
    near = nearest(name, [each for each in file.shapes if package(each) == prefix])
    if near and _alike(name, near):
        said = f"no shape of {name} is recorded"
        hint = f"did you mean {near}? If not, record it: connector discover"
        return file.finding("unknown_object", said, at, hint, level="error" if prefix else "warning")
    said = f"no shape of {name} is recorded, so its fields are not checked"
    return file.finding("no_shape", said, at, "record it: connector discover")


def _alike(name: str, near: str) -> bool:
    """Nearer than two objects of one package usually are."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - rare

    return SequenceMatcher(None, name.casefold(), near.casefold()).ratio() >= 0.8


def package(name: str) -> str:
    """`i360` of `i360__Prospect__c`, nothing of `Account` and `Mine__c`."""
    pieces = name.split("__")
    return pieces[0] if len(pieces) > 2 else ""


# ---- paths -----------------------------------------------------------------------------------------------


def paths(file: File) -> Findings:
    """Every step of every path is a field, or leads to another object that has it."""
    for thing in file.objects:
        uses = [*thing.uses, *(use for *_, value in thing.joins for use in value.uses)]
        longer = {use.path[:n] for use in uses for n in range(len(use.path))}
        for use in uses:
            shape = file.shapes.get(str(part(thing.reads, use.path[0]).get("object")))
            if shape:
                yield from _walk(file, use, shape, continued=use.path in longer or bool(thing.problems))


def _walk(file: File, use: Use, shape: Shape, *, continued: bool) -> Findings:
    """Follow the path; the last step must be a field, and a date where `latest` compares it.

    `continued`: other paths go on from where this one ends, as below an `each`.
    """
    where: Shape | None = shape
    field: Field | None = None
    listed = False
    for index, step in enumerate(use.path[1:], 1):
        if step == "*" or (listed and step in ("totalSize", "done")):
            continue
        if listed and step == "records":
            listed = False
            continue
        if listed:
            said = f"{use.path[index - 1]} is a list of children; its rows are under records"
            yield from _told(file, "unknown_field", said, use, index, f"write {use.path[index - 1]}.records[].{step}")
            return
        if field is not None:
            if field.type in _COMPOUND:
                return
            said = f"{field.name} holds {_kind(field)}, nothing stands below it"
            hint = f"did you mean {field.relationship}.{step}?" if field.relationship else f"leave {step} out"
            place = index - 1 if field.relationship else index
            yield from _told(file, "below_scalar", said, use, place, hint)
            return
        if where is None:
            return
        field = where.fields.get(step)
        if field is None:
            reference = next((f for f in where.fields.values() if f.relationship == step), None)
            child = where.children.get(step)
            if reference is not None:
                known = [file.shapes[target] for target in reference.targets if target in file.shapes]
                where = known[0] if len(known) == 1 == len(reference.targets) else None
            elif child is not None:
                where, listed = file.shapes.get(child.object), True
            else:
                rest = use.path[index + 1 :]
                said = f"{where.name} has no field {step}"
                yield from _told(file, "unknown_field", said, use, index, _meant(where, step, rest))
                return
    if field is None and len(use.path) > 1 and use.path[-1] != "*" and not continued:
        said = f"{use.path[-1]} is {'a list of rows' if listed or use.path[-1] == 'records' else 'a whole row'}"
        hint = "name a field of it, or read it under a name of its own and join it"
        yield from _told(file, "whole_row", said, use, len(use.path) - 1, hint)
    elif use.at[-2:-1] == ("latest",) and isinstance(use.at[-1], int):
        if field is not None and field.type not in _DATES:
            said = f"latest compares dates and times; {field.name} is {_kind(field)}"
            yield from _told(file, "not_a_date", said, use, len(use.path) - 1, instead("", _dated(where)))
        elif len(use.path) == 1:
            said = f"latest compares dates and times; {use.path[0]} is a whole row"
            yield from _told(file, "not_a_date", said, use, 0, instead("", _dated(shape)))


def _told(file: File, code: str, said: str, use: Use, index: int, hint: str) -> Findings:
    if use.steps[index] >= 0:  # else the each that contributed the step tells it
        yield file.step(code, said, use, index, hint)


def _kind(field: Field) -> str:
    return _KINDS.get(field.type, field.type)


def _dated(shape: Shape | None) -> list[str]:
    return [name for name, field in (shape.fields if shape else {}).items() if field.type in _DATES]


def _meant(shape: Shape, step: str, rest: tuple[str, ...]) -> str:
    if rest and (rest[0] in shape.fields or rest[0] in _relations(shape)):
        return f"one step too many; leave {step} out"
    return instead(step, [*shape.fields, *_relations(shape), *shape.children])


def _relations(shape: Shape) -> dict[str, Field]:
    return {field.relationship: field for field in shape.fields.values() if field.relationship}


# ---- what is asked of the source -------------------------------------------------------------------------


def selection(file: File) -> Findings:
    """Fields that select or order rows exist and can do so; a constant of `where` is in the picklist."""
    for thing in file.objects:
        for name in thing.reads:
            read, at = thing.reads[name], (*thing.at, "read", name)
            shape = file.shapes.get(str(part(thing.reads, name).get("object")))
            if not shape or not isinstance(read, dict):
                continue
            for field, wanted in part(read, "where").items():
                yield from _filter(file, shape, field, (*at, "where", field), key=True)
                for place, value in _items(wanted, (*at, "where", field)):
                    yield from _picked(file, shape.fields.get(field), value, place)
            for place, field in _items(read.get("order", []), (*at, "order")):
                yield from _filter(file, shape, field, place)
            watched = part(read, "watch").get("field")
            if isinstance(watched, str):
                place = (*at, "watch", "field")
                yield from _filter(file, shape, watched, place)
                if watched in shape.fields and shape.fields[watched].type not in _DATES:
                    said = f"watch compares times; {watched} is {_kind(shape.fields[watched])}"
                    yield file.finding("not_a_date", said, place, instead("", _dated(shape)))
        for n, read_name, field, _ in thing.joins:
            if shape := file.shapes.get(str(part(thing.reads, read_name).get("object"))):
                yield from _filter(file, shape, field, (*thing.at, "triggers", n, "with", read_name, field), key=True)


def _items(value: Any, at: At) -> Iterator[tuple[At, Any]]:
    if isinstance(value, list):
        yield from (((*at, n), item) for n, item in enumerate(value))
    else:
        yield at, value


def _filter(file: File, shape: Shape, name: Any, at: At, *, key: bool = False) -> Findings:
    if not isinstance(name, str):
        return
    field = shape.fields.get(name)
    if field is None:
        yield file.finding(
            "unknown_field", f"{shape.name} has no field {name}", at, instead(name, shape.fields), key=key
        )
    elif not field.filterable:
        said = f"{name} ({_kind(field)}) cannot select or order rows"
        yield file.finding("not_filterable", said, at, "choose a field that the system can filter by", key=key)


def _picked(file: File, field: Field | None, value: Any, at: At) -> Findings:
    if field is None or not field.restricted or not field.picklist or not isinstance(value, str) or not value.strip():
        return
    for word in value.split(";") if field.type == "multipicklist" else [value]:
        if word not in field.picklist:
            said = f"{field.name} has no value {word!r}"
            yield file.finding("not_in_picklist", said, at, instead(word, field.picklist))


# ---- what is written -------------------------------------------------------------------------------------


def targets(file: File) -> Findings:
    """Target fields exist and can be written; constants fit a restricted picklist; what is demanded is there."""
    for thing in file.objects:
        shape, fields = file.shapes.get(str(thing.node.get("write"))), thing.node.get("fields")
        if not shape or not isinstance(fields, dict):
            continue
        relations = _relations(shape)
        for name, node in fields.items():
            at, field = (*thing.at, "fields", name), shape.fields.get(name)
            nested = isinstance(node, dict) and ("fields" in node or "each" in node)
            if isinstance(node, dict) and "unmapped" in node:
                continue
            if field is None:
                if not (nested and name in relations):
                    said = f"{shape.name} has no field {name}"
                    writable = [each.name for each in shape.fields.values() if each.createable or each.updateable]
                    yield file.finding("unknown_field", said, at, instead(name, writable), key=True)
                continue
            if nested and field.type not in _COMPOUND:
                said = f"{name} of {shape.name} holds {_kind(field)}, not an object or a list"
                yield file.finding("nested_target", said, at, "give it one value", key=True)
            yield from _writable(file, thing, field, at)
            for place, value in _constants(node, at):
                yield from _picked(file, field, value, place)
        if thing.sure and part(thing.node, "match").get("missing") == "create":
            demanded = [f for f in shape.fields.values() if not f.nillable and not f.defaulted and f.createable]
            for field in demanded:
                if field.name not in fields:
                    said = f"{shape.name} demands {field.name}, and nothing writes it"
                    hint = f"map it, or say {field.name}: {{unmapped: why}}"
                    yield file.finding("required_field_unmapped", said, (*thing.at, "fields"), hint)


def _writable(file: File, thing: Object, field: Field, at: At) -> Findings:
    match = part(thing.node, "match")
    creates, updates = match.get("missing") == "create", match.get("found") in ("replace", "update", "link")
    said = f"{field.name} of {thing.node.get('write')} "
    if not field.createable and not field.updateable:
        why = "is calculated" if field.calculated else "can only be read"
        yield file.finding("read_only_target", said + why, at, "remove it", key=True)
    elif creates and not field.createable:
        said += "cannot be given when a record is created"
        yield file.finding("read_only_target", said, at, "remove it, or missing: skip", key=True)
    elif updates and not field.updateable:
        level: Level = "error" if match.get("found") == "replace" else "warning"
        said += "cannot be changed once the record is there"
        yield file.finding("read_only_target", said, at, "remove it, or found: skip", key=True, level=level)


def _constants(node: Any, at: At) -> Iterator[tuple[At, Any]]:
    """What a value may write whatever the source holds."""
    if not isinstance(node, dict):
        return
    if "value" in node:
        yield (*at, "value"), node["value"]
    for key, value in part(node, "values").items():
        yield (*at, "values", key), value
    chain = node.get("first")
    for n, item in enumerate(chain if isinstance(chain, list) else []):
        yield from _constants(item, (*at, "first", n))
