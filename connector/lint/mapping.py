"""Rules of a mapping that need no shape: names, triggers, joins, match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any

from connector import spec
from connector.lint.file import File, Findings, Object, part
from connector.lint.findings import instead
from connector.lint.grammar import UNKNOWN
from connector.source import At
from connector.values import Use, Value

Rule = Callable[[File], Findings]


def file_name(file: File) -> Findings:
    """The name inside is the name of the file: commands and other files find it by that."""
    name, stem = file.tree.get(file.kind), file.source.name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    if isinstance(name, str) and file.folder and stem != name:
        said = f"this file is called {stem}, the {file.kind} in it {name}"
        yield file.finding("wrong_file_name", said, (file.kind,), f"call both {stem} or both {name}")


def systems(file: File) -> Findings:
    given = part(file.tree, "systems")
    if isinstance(given.get("home"), str) and given.get("home") == given.get("remote"):
        said = f"home and remote are both {given['home']}"
        yield file.finding("same_system", said, ("systems", "remote"), "give each side a name of its own")


def schedule(file: File) -> Findings:
    yield from check_schedule(file, part(file.tree, "objects") or None)


def check_schedule(file: File, objects: dict[str, Any] | None) -> Findings:
    """Also of a connection; `objects` None: it is not known which there are."""
    node, at = part(file.tree, "schedule"), ("schedule",)
    every = node.get("every")
    if isinstance(every, str):
        seconds = spec.duration(every).total_seconds()
        if seconds < 30:
            said = "a run every few seconds would use up the day's calls"
            yield file.finding("schedule_out_of_range", said, (*at, "every"), "30s or more")
        elif seconds > 86_400:
            said = "less than one run a day; records may be changed twice in between"
            hint = "24h or less, or schedule: manual"
            yield file.finding("schedule_out_of_range", said, (*at, "every"), hint, level="warning")
    listed = node.get("objects")
    for n, name in enumerate(listed if isinstance(listed, list) and objects else []):
        if isinstance(name, str) and objects and name not in objects:
            said = f"the mapping has no object {name}"
            yield file.finding("unknown_object", said, (*at, "objects", n), instead(name, objects))


def one_way(file: File) -> Findings:
    for thing in file.objects:
        if thing.node.get("direction") == "both" and "read" in thing.node:
            said = f"{thing.name} has read, triggers and write, which flow one way"
            yield file.finding("one_way_object", said, (*thing.at, "direction"), "write pull or push")


def triggers(file: File) -> Findings:
    """`changed`, `with` and `unless_joined_by` name reads, in an order in which they can be filled."""
    for thing in file.objects:
        carried: dict[str, list[str]] = {}
        for n, trigger in thing.triggers if thing.reads else ():
            at, changed = (*thing.at, "triggers", n), trigger.get("changed")
            if isinstance(changed, str):
                yield from _changed(file, thing, (*at, "changed"), changed, carried)
            for name in part(trigger, "with"):
                if name not in thing.reads:
                    said = f"{thing.name} reads nothing called {name}"
                    yield file.finding("unknown_read", said, (*at, "with", name), instead(name, thing.reads), key=True)
                elif name == changed:
                    said = f"{name} is the changed read itself"
                    yield file.finding("join_order", said, (*at, "with", name), "join other reads to it", key=True)
            unless = trigger.get("unless_joined_by")
            for m, name in enumerate(unless if isinstance(unless, list) else []):
                if isinstance(name, str) and isinstance(changed, str):
                    yield from _unless(file, thing, (*at, "unless_joined_by", m), name, changed, carried)
            if isinstance(changed, str):
                carried.setdefault(changed, list(part(trigger, "with")))


def _changed(file: File, thing: Object, at: At, name: str, earlier: dict[str, list[str]]) -> Findings:
    read = thing.reads.get(name)
    if name not in thing.reads:
        watched = [each for each, node in thing.reads.items() if isinstance(node, dict) and "watch" in node]
        said = f"{thing.name} reads nothing called {name}"
        yield file.finding("unknown_read", said, at, instead(name, watched or thing.reads))
    elif isinstance(read, dict) and "watch" not in read:
        said = f"{name} triggers, but its read does not say what to watch"
        yield file.finding(
            "not_watched", said, at, f"give the read {name} watch: {{first: all}}, {{first: none}} or {{first: 15m}}"
        )
    elif thing.many(name):
        yield file.finding("many_as_row", f"{name} is a list of rows; one row triggers", at, "remove many: true")
    elif name in earlier:
        said = f"{name} already triggers above, so each changed record would be made twice"
        yield file.finding("repeated_trigger", said, at, "put what is joined into one trigger")


def _unless(file: File, thing: Object, at: At, name: str, changed: str, carried: dict[str, list[str]]) -> Findings:
    hint = instead(name, [each for each, joined in carried.items() if changed in joined])
    if name not in thing.reads:
        yield file.finding("unknown_read", f"{thing.name} reads nothing called {name}", at, hint)
    elif name not in carried:
        yield file.finding("never_joined", f"no earlier trigger starts from {name}", at, hint)
    elif changed not in carried[name]:
        said = f"the trigger of {name} does not join {changed}, so it can never have carried it"
        yield file.finding("never_joined", said, at, f"add {changed} to its with, or remove {name} here")


def joins(file: File) -> Findings:
    """What a join compares with is in the row already: the changed read, or a join above it."""
    for thing in file.objects:
        for n, read, _field, value in thing.joins if thing.reads else ():
            row = thing.rows[[index for index, _ in thing.triggers].index(n)]
            before = row[: row.index(read)]
            for use in value.uses:
                root = use.path[0]
                if root not in thing.reads:
                    yield _unknown_root(file, thing, use)
                elif root not in before:
                    said = f"{root} is not in the row yet when {read} is joined"
                    where = f"start from {' or '.join(before)}" if root not in row else f"put {root} above {read}"
                    yield file.step("join_order", said, use, 0, where)
                elif len(use.path) == 1:
                    yield file.step("whole_row", f"{root} is a whole row", use, 0, f"name a field of it: {root}.Id")
                elif thing.many(root) and use.path[1] != "*":
                    yield _many(file, use)


def roots(file: File) -> Findings:
    """Every path starts with a read that a trigger brings, in the shape in which it is brought."""
    for thing in file.objects:
        if not thing.reads:
            continue
        brought = {name for row in thing.rows for name in row}
        sure = thing.sure and brought <= set(thing.reads)  # else a misspelt name is the cause
        told: set[str] = set()
        for use in thing.uses:
            root, step = use.path[0], use.path[1:2]
            if use.steps[0] < 0:  # what an each contributed is looked at where the each stands
                continue
            if root not in thing.reads:
                yield _unknown_root(file, thing, use)
            elif root not in brought and sure and root not in told:
                told.add(root)
                said = f"no trigger brings {root}, so {'.'.join(use.path)} is always empty"
                yield file.step("read_not_joined", said, use, 0, f"join it: with: {{{root}: {{FIELD: path}}}}")
            elif thing.many(root) and step and step != ("*",):
                yield _many(file, use)
            elif not thing.many(root) and f"{root}[" in use.text and step == ("*",):
                said = f"{root} is one row, not a list, so this is always empty"
                yield file.step("row_as_many", said, use, 0, f"write {root}.FIELD, or many: true at the read")
            elif not thing.many(root) and not step and use.at[-1] == "each":
                said = f"{root} is one row; each takes a list"
                yield file.step("row_as_many", said, use, 0, "use fields:, or many: true at the read")


def unused(file: File) -> Findings:
    for thing in file.objects:
        used = {name for row in thing.rows for name in row} | {use.path[0] for use in thing.uses}
        for name in thing.reads if thing.sure and not thing.problems and used <= set(thing.reads) else ():
            if name not in used:
                said = f"nothing uses {name}"
                yield file.finding("unused_read", said, (*thing.at, "read", name), "remove it", key=True)


def _unknown_root(file: File, thing: Object, use: Use) -> Any:
    root = use.path[0]
    glued = next(
        (name for name in thing.reads if root.startswith(name) and ("__" in root or root[len(name)].isupper())), None
    )
    if glued and root != glued:
        said = f"there is no {root}; a dot is missing"
        return file.step("unknown_root", said, use, 0, f"did you mean {glued}.{root[len(glued) :]}?")
    said = f"a path starts with the name of a read; there is no {root}"
    return file.step("unknown_root", said, use, 0, instead(root, thing.reads))


def _many(file: File, use: Use) -> Any:
    root, rest = use.path[0], ".".join(step for step in use.path[1:] if step != "*")
    said = f"{root} is a list of rows (many: true), so {root}.{use.path[1]} is always empty"
    return file.step("many_as_row", said, use, 0, f"write {root}[].{rest}, or each: {root}")


# ---- match -----------------------------------------------------------------------------------------------


def match(file: File) -> Findings:
    """How the target is found again: keys that exist, and words that make sense together."""
    for thing in file.objects:
        node, at = thing.node.get("match"), (*thing.at, "match")
        if not isinstance(node, dict):
            continue
        keys, found, missing = node.get("keys"), node.get("found"), node.get("missing")
        if "by" in node and "keys" in node:
            said = "by: link compares no key, so keys are not used"
            yield file.finding("match_keys_or_link", said, (*at, "by"), "keep keys or by", key=True)
        elif "by" not in node and "keys" not in node:
            said = "a match needs keys: [FIELD] or by: link"
            yield file.finding("match_keys_or_link", said, at, f"keys are {', '.join(_scalars(thing)[:5])}")
        if "differs" in node and keys is not UNKNOWN and len(keys or ()) < 2:
            said = "differs says what happens when the first key is equal and another is not; there is no other"
            yield file.finding("differs_needs_two_keys", said, (*at, "differs"), "add a key, or remove it", key=True)
        if found == "link" and (missing == "create" or "by" in node):
            said = (
                "found: link only remembers what keys find, and never makes one"
                if missing == "create"
                else ("found: link needs keys to find something by")
            )
            place = "missing" if missing == "create" else "found"
            yield file.finding(
                "senseless_match",
                said,
                (*at, place),
                "missing: skip, ask or fail" if place == "missing" else "found: update",
            )
        elif found == "skip" and missing == "skip":
            said = "found: skip with missing: skip never does anything"
            yield file.finding("senseless_match", said, (*at, "missing"), "missing: create, or found: update")
        for where, name, source in thing.keys:
            yield from _key(file, thing, where, name, source)
        values = [source or _mapped(thing, name) for _, name, source in thing.keys]
        if values and thing.sure and all(value and value.form == "value" for value in values):
            said = "every record has this key, so all of them would be one"
            yield file.finding("constant_key", said, thing.keys[0][0], "key on something that the source says")
        if thing.sure and not thing.problems and "differs" not in node:
            yield from _unstable(file, thing)


def _key(file: File, thing: Object, at: At, name: str, source: Value | None) -> Findings:
    """A key is one value: a mapped field, or what `from` reads."""
    if source is None:
        node: Any = {"fields": thing.node.get("fields")}
        for step in name.split("."):
            fields = node.get("fields") if isinstance(node, dict) and "each" not in node else None
            if fields is UNKNOWN or node is UNKNOWN:
                return
            if not thing.sure and isinstance(fields, dict) and UNKNOWN in fields.values():
                return
            if not isinstance(fields, dict) or step not in fields:
                said = f"{thing.name} maps no field {name}, so it cannot be a key"
                yield file.finding("unknown_key_field", said, at, instead(name, _scalars(thing)))
                return
            node = fields[step]
        form = next((form for form in ("each", "fields", "unmapped") if isinstance(node, dict) and form in node), None)
        if form and node is not UNKNOWN:
            kind = {"each": "a list", "fields": "an object", "unmapped": "not mapped"}[form]
            yield file.finding(
                "key_not_scalar", f"{name} is {kind}; a key is one value", at, instead("", _scalars(thing))
            )
    value = source or _mapped(thing, name)
    for use in value.uses if value and value.form != "template" else ():
        if len(use.path) == 1 and use.text == use.path[0] and use.text in thing.reads:
            yield file.step("whole_row", f"{use.text} is a whole row", use, 0, f"name a field of it: {use.text}.Id")


def _mapped(thing: Object, name: str) -> Value | None:
    value: Value | None = thing.record
    for step in name.split("."):
        value = value.children.get(step) if value else None
    return value


def _scalars(thing: Object) -> list[str]:
    def walk(fields: Any, before: str) -> Iterator[str]:
        for name, node in fields.items() if isinstance(fields, dict) else ():
            if isinstance(node, dict) and "fields" in node and "each" not in node:
                yield from walk(node["fields"], f"{before}{name}.")
            elif not (isinstance(node, dict) and ("each" in node or "unmapped" in node)):
                yield before + name

    return list(walk(thing.node.get("fields"), ""))


def _unstable(file: File, thing: Object) -> Findings:
    """A key that reads a joined record changes when that record is attached later: the same row becomes a second one."""
    for at, name, source in thing.keys:
        value = source or _mapped(thing, name)
        if value is None or value.form == "unmapped":
            continue
        for changed, *joined in thing.rows:
            if read := _wavering(file, thing, value, changed, joined):
                said = f"the key {name} changes when {read} is joined to {changed} later: the same record becomes a second one"
                hint = f"key on {changed} alone, or say differs: create, replace or fail"
                yield file.finding("unstable_match_key", said, at, hint)
                break


def _wavering(file: File, thing: Object, value: Value, changed: str, joined: Sequence[str]) -> str | None:
    """The joined read that decides what the value is when `changed` triggers, if one does."""
    shape = file.shapes.get(str(part(thing.reads, changed).get("object")))
    for use in value.uses:
        root = use.path[0]
        if root in joined:
            return root
        field = shape.fields.get(use.path[1]) if shape and len(use.path) == 2 else None
        sure = use.path[1:] == ("Id",) or use.path[1:] == ("id",) or (field is not None and not field.nillable)
        if value.form == "first" and root == changed and sure:
            return None
    return None


# ---- combinations ----------------------------------------------------------------------------------------


def combinations(tree: Any, name: str, at_most: int = 1000) -> list[str]:
    """What one output can be built from, as people call it, in the order of the triggers: `Project + Prospect`."""
    node = part(part(tree, "objects"), name)
    reads = part(node, "read")

    def label(read: str) -> str:
        said = part(reads, read).get("label") or read
        return f"{said} (list)" if part(reads, read).get("many") is True else str(said)

    found: dict[str, None] = {}
    for trigger in node.get("triggers") or ():
        joined = list(part(trigger, "with"))
        for chosen in islice(product((False, True), repeat=len(joined)), at_most):
            names = [trigger["changed"], *(read for read, here in zip(joined, chosen, strict=True) if here)]
            found.setdefault(" + ".join(map(label, names)))
    return list(found)
