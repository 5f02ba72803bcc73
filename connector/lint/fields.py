"""Rules against the recorded shapes: every name of a field is one, and can do what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import NamedTuple

from connector.lint.file import File, Findings, Object, named, part, places
from connector.lint.findings import Finding, Level, instead, nearest
from connector.model import Field, Shape
from connector.source import At

_MASKS = re.compile(r"""(['"`])(?:\\.|(?!\1).)*\1|(\|\||\b(?:not_null|max)(?=\s*\())""")
"""What stands in quotes, or (2) one of these."""
_TABLES = ("read.*.object|picklist", "write")
_DATES = ("date", "datetime")
_PICKLISTS = ("picklist", "multipicklist", "combobox")
_COMPOUND = ("address", "location")


def expressions(file: File, thing: Object) -> Findings:
    """Every path and template compiles, and none has an idea of missing of its own."""
    yield from map(file.problem, thing.problems)
    for use in (*thing.uses, *(use for _, value in thing.joins for use in value.uses)):
        for found in _MASKS.finditer(use.text) if use.at[-1] != "template" else ():
            if word := found[2]:
                hint = f"use {'latest' if word == 'max' else 'first'}: [...]"
                said = f"{word} does not treat blank text as missing"
                yield file.finding("jmespath_missing", use.at, said, hint, word=(found.start(), word))


def objects(file: File) -> Findings:
    """Objects of the remote side have a recorded shape; of the home side one note says which have none."""
    home, seen = dict[str, None](), set(file.shapes)
    for thing in file.objects:
        for at, name, _ in named(thing.node, *_TABLES, at=thing.at) if not thing.turned else ():
            name = name.partition(".")[0]  # noqa: PLW2901 - a picklist is OBJECT.FIELD
            if (at[len(thing.at)] == "read") == thing.pushes:
                home[name] = None
                continue
            if name in seen:
                continue
            seen.add(name)
            if near := nearest(name, (each for each in file.shapes if _package(each) == _package(name)), 0.8):
                level: Level = "error" if _package(name) else "warning"
                hint = f"did you mean {near}? If not, record it: connector discover"
                yield file.finding("unknown_object", at, f"no shape of {name} is recorded", hint, level=level)
            else:
                said = f"no shape of {name} is recorded, so its fields are not checked"
                yield file.finding("no_shape", at, said, "record it: connector discover")
    if home:
        said = f"no shapes of {', '.join(home)} are recorded, so fields at home are not checked"
        yield file.finding("no_shape", ("systems", "home"), said)


def _package(name: str) -> str:
    """`i360` of `i360__Prospect__c`, nothing of `Account` and `Mine__c`."""
    return name.partition("__")[0] if name.count("__") > 1 else ""


# ---- where a path leads ----------------------------------------------------------------------------------


class Told(NamedTuple):
    """What is wrong with one step of a path."""

    code: str
    step: int
    said: str
    hint: str


def follow(shapes: Mapping[str, Shape], shape: Shape, steps: tuple[str, ...]) -> Field | Told | None:
    """The field that a path below a row leads to, what is wrong with it, or None: nobody knows."""
    where: Shape | None = shape
    field: Field | None = None
    rows = ""  # the list of children that was entered
    for index, step in enumerate(steps):
        if step == "*":
            continue
        if rows and step == "records":
            rows = ""
        elif rows:
            said = f"{rows} is a list of children; its rows are under records"
            return Told("unknown_field", index, said, f"write {rows}.records[].{step}")
        elif field and field.type in _COMPOUND:
            return None
        elif field:
            parent = field.relationship
            hint = f"did you mean {parent}.{step}?" if parent else f"leave {step} out"
            said = f"{field.name} holds one value ({field.type}), nothing stands below it"
            return Told("below_scalar", index - bool(parent), said, hint)
        elif where is None:
            return None
        elif step in where.fields:
            field = where.fields[step]
        elif reference := _relations(where).get(step):
            where = shapes.get(reference.targets[0]) if len(reference.targets) == 1 else None
        elif step in where.children:
            where, rows = shapes.get(where.children[step].object), step
        else:
            names = {**where.fields, **_relations(where), **where.children}
            extra = index + 1 < len(steps) and steps[index + 1] in names
            hint = f"one step too many; leave {step} out" if extra else instead(step, names)
            return Told("unknown_field", index, f"{where.name} has no field {step}", hint)
    if field is None and steps and steps[-1] != "*":
        hint = "name a field of it, or read it under a name of its own and join it"
        return Told("whole_row", len(steps) - 1, f"{steps[-1]} is a whole row, or a list of them", hint)
    return field


def _relations(shape: Shape) -> dict[str, Field]:
    return {field.relationship: field for field in shape.fields.values() if field.relationship}


def paths(file: File, thing: Object) -> Findings:
    """Every step of every path is a field, or leads to another object that has it; `latest` compares dates."""
    uses = [*thing.uses, *(use for _, value in thing.joins for use in value.uses)]
    longer = {use.path[:n] for use in uses for n in range(len(use.path))}
    for use in uses:
        shape = thing.shape(use.path[0])
        found = follow(file.shapes, shape, use.path[1:]) if shape else None
        if isinstance(found, Told):
            # a path that goes on elsewhere, as below an each, may end at a row
            if found.code != "whole_row" or (thing.sure and not thing.problems and use.path not in longer):
                yield from file.step(found.code, use, found.step + 1, found.said, found.hint)
        elif found and use.at[-2:-1] == ("latest",) and found.type not in _DATES:
            said = f"latest compares dates and times; {found.name} is a {found.type}"
            yield from file.step("not_a_date", use, len(use.path) - 1, said, "choose a date or a time")


def _field(file: File, shape: Shape, at: At, name: str, *, key: bool) -> Generator[Finding, None, Field | None]:
    """The field of a name; or says that there is none."""
    found = follow(file.shapes, shape, (name,))
    if isinstance(found, Told):
        yield file.finding(found.code, at, found.said, found.hint, key=key)
        return None
    return found


def selection(file: File, thing: Object) -> Findings:
    """Fields that select or order rows exist and can do so; watch compares times."""
    patterns = ("read.*.where.*", "read.*.order.*", "read.*.watch.field", "triggers.*.with.*.*")
    for at, name, key in named(thing.node, *patterns, at=thing.at):
        shape = thing.shape(str(at[3] if at[2] == "read" else at[5])) if not thing.above else None
        field = (yield from _field(file, shape, at, name, key=key)) if shape else None
        if field and not field.filterable:
            said = f"{name} ({field.type}) cannot select or order rows"
            yield file.finding("not_filterable", at, said, "choose another field", key=key)
        elif field and at[-2:] == ("watch", "field") and field.type not in _DATES:
            said = f"watch compares dates and times; {name} is a {field.type}"
            yield file.finding("not_a_date", at, said, "choose a date or a time")


def picklists(file: File, thing: Object) -> Findings:
    """A constant that a field is compared with, or that is written to it, is in its restricted picklist."""
    written = ("fields.*.value", "fields.*.values.*", "fields.*.first.*.value", "fields.*.first.*.values.*")
    for at, value in places(thing.node, "read.*.where.*", "read.*.where.*.*", *written, at=thing.at):
        first = len(thing.at)
        shape, name = thing.target, at[first + 1]
        if at[first] == "read":
            shape, name = thing.shape(str(at[first + 1])), at[first + 3]
        field = shape.fields.get(str(name)) if shape else None
        if field and field.restricted and field.picklist and isinstance(value, str) and value.strip():
            for word in value.split(";") if field.type == "multipicklist" else [value]:
                if word not in field.picklist:
                    said = f"{name} has no value {word!r}"
                    yield file.finding("not_in_picklist", at, said, instead(word, field.picklist))


def options(file: File, thing: Object) -> Findings:
    """What is read as a picklist is one; by values of another only where an org makes it depend on that."""
    for at, text, _ in named(thing.node, "read.*.picklist", at=thing.at):
        name, _, column = text.partition(".")
        shape, word = None if thing.pushes else file.shapes.get(name), (len(name) + 1, column)
        field = follow(file.shapes, shape, (column,)) if shape else None
        if isinstance(field, Told):
            yield file.finding(field.code, at, field.said, field.hint, word=word)
        elif field and not field.options and field.type not in _PICKLISTS:
            said = f"{column} of {name} is a {field.type}; it has no values to choose from"
            yield file.finding("not_a_picklist", at, said, "choose a picklist", word=word)
        elif field and not field.controller and "valid_for" in part(thing.node, "read", str(at[-2])):
            said = f"{column} of {name} depends on no other field, so no value of it is valid for one in particular"
            yield file.finding("not_dependent", (*at[:-1], "valid_for"), said, "remove valid_for", key=True)


def targets(file: File, thing: Object) -> Findings:
    """Target fields exist and can be written; what the target demands is there."""
    shape, fields = thing.target, part(thing.node, "fields")
    if not shape:
        return
    creates, found = (part(thing.node, "match").get(key) for key in ("missing", "found"))
    for name in fields:
        at, nested = (*thing.at, "fields", name), bool({"fields", "each"} & part(fields, name).keys())
        if "unmapped" in part(fields, name) or (nested and name in _relations(shape)):
            continue
        field = yield from _field(file, shape, at, name, key=True)
        if field and "file" in part(fields, name) and field.type != "base64":
            said = f"a file is bytes; {name} of {shape.name} is a {field.type}"
            yield file.finding("wrong_type", (*at, "file"), said, "write it to a base64 field", key=True)
        if field and nested and field.type not in _COMPOUND:
            said = f"{name} of {shape.name} holds one value ({field.type}), not an object or a list"
            yield file.finding("nested_target", at, said, "give it one value", key=True)
        if field and not field.createable and (creates == "create" or not field.updateable):
            why = "cannot be given when a record is created" if field.updateable else "can only be read"
            yield file.finding("read_only_target", at, f"{name} of {shape.name} {why}", "remove it", key=True)
        elif field and not field.updateable and found in ("replace", "update", "link"):
            level: Level = "error" if found == "replace" else "warning"
            said = f"{name} of {shape.name} cannot be changed once the record is there"
            yield file.finding("read_only_target", at, said, "remove it, or found: skip", key=True, level=level)
    for field in shape.fields.values() if thing.sure and creates == "create" else ():
        if field.createable and not field.nillable and not field.defaulted and field.name not in fields:
            at, said = (*thing.at, "fields", field.name), f"{shape.name} demands {field.name}, and nothing writes it"
            yield file.finding("required_field_unmapped", at, said, f"map it, or {field.name}: {{unmapped: why}}")
