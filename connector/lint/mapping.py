"""Rules of a mapping that need no shape: names, triggers, joins, match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress, islice, product
from typing import Any

from connector import canon, spec
from connector.lint.file import File, Findings, Object, named, part, places
from connector.lint.findings import instead
from connector.model import PARENT, SETTINGS, Shape
from connector.source import At
from connector.values import Problem, Use, Value, compile_path


def systems(file: File) -> Findings:
    given = part(file.tree, "systems")
    home, remote = (spec.part(each, "name") or each for each in (given.get("home"), given.get("remote")))
    if isinstance(home, str) and home == remote:
        said = f"home and remote are both {home}"
        yield file.finding("same_system", ("systems", "remote"), said, "give each side a name of its own")


def likes(file: File) -> Findings:
    """`like` names an object that is written out itself: one level, so that everybody finds what holds."""
    objects = part(file.tree, "objects")
    for at, name, _ in named(objects, "*.like", at=("objects",)):
        others = [other for other in objects if other != at[1] and "like" not in part(objects, other)]
        if name not in others:
            why = "is like another one itself" if name in objects else "is no object of this mapping"
            yield file.finding("unknown_object", at, f"{name} {why}", instead(name, others))


def words(file: File) -> Findings:
    """Names that stand outside of an object's own rules, and conditions, which look at settings alone."""
    objects = part(file.tree, "objects")
    for at, name, _ in named(file.tree, "sync.*", "objects.*.read.*.where.*.linked"):
        if name not in objects and file.clean(at):
            yield file.finding("unknown_object", at, f"this mapping has no object {name}", instead(name, objects))
    conditions = ("objects.*.enabled", "systems.*.calls")
    for at, text in places(file.tree, *conditions, "objects.*.fields.*.if"):
        pair = at[2:3] != ("fields",) or "pair" in part(file.tree, "objects", str(at[1]))
        if isinstance(text, str) and pair:
            yield from _condition(file, at, text)


def lookups(file: File) -> Findings:
    """A lookup that creates what is missing uses the call for it."""
    for at, missing in places(file.tree, "lookups.*.missing"):
        calls = part(file.tree, "lookups", str(at[1]), "calls")
        if missing in ("create", "create_or_empty") and calls and "create" not in calls and file.sound(at[:2]):
            said = f"{missing} makes what is missing, and calls does not name create"
            yield file.finding("missing_capability", at, said, "add create: required, or missing: empty")


def asks(file: File, thing: Object) -> Findings:
    """What a value asks the other side for is a lookup, or has links; and it says of which record."""
    objects, lookups = part(file.tree, "objects"), part(file.tree, "lookups")
    for ask in thing.asks:
        at, pool = (*ask.at, ask.kind), lookups if ask.kind == "lookup" else {**objects, **lookups}
        if ask.name not in pool and file.clean(at):
            what = "this mapping has no lookup" if ask.kind == "lookup" else "neither an object nor a lookup is called"
            code = "unknown_lookup" if ask.kind == "lookup" else "unknown_object"
            yield file.finding(code, at, f"{what} {ask.name}", instead(ask.name, pool))


def _condition(file: File, at: At, text: str) -> Findings:
    problems: list[Problem] = []
    value = compile_path(text, at, problems)
    yield from map(file.problem, problems)
    for use in value.uses:
        if use.path[0] != SETTINGS:
            said = f"a condition here looks at settings; there is no {use.path[0]}"
            yield from file.step("unknown_root", use, 0, said, "write settings.NAME")
        else:
            yield from _setting(file, use)


def _setting(file: File, use: Use) -> Findings:
    node: Any = file.tree.get("settings", {})
    for n, step in enumerate(use.path[1:], 1):
        if not isinstance(node, dict) or "choose" in node:
            return
        if step not in node:
            yield from file.step("unknown_setting", use, n, f"there is no setting {step}", instead(step, node))
            return
        node = node[step]


def settings(file: File) -> Findings:
    """What holds when a connection says nothing is one of the choices; of `many`, a list of them."""
    yield from _defaults(file, ("settings",), part(file.tree, "settings"))


def _defaults(file: File, at: At, node: dict[str, Any]) -> Findings:
    for name, rule in node.items():
        if "choose" not in part(node, name):
            yield from _defaults(file, (*at, name), part(node, name))
        elif not chosen(rule, rule.get("default")) and file.sound((*at, name)):
            shown = ", ".join(map(spec.text, rule["choose"]))
            said = f"{name} takes {'a list of' if rule.get('many') is True else 'one of'} {shown}"
            yield file.finding("unknown_setting", (*at, name, "default"), said, "choose what holds by itself")


def chosen(rule: dict[str, Any], given: object) -> bool:
    """Whether this can be chosen: true is not 1, and of `many` it is a list."""
    many, choices = rule.get("many") is True, [(type(one) is bool, one) for _, one in places(rule, "choose.*")]
    listed = given if isinstance(given, list) else [given]
    return many == isinstance(given, list) and all((type(one) is bool, one) in choices for one in listed)


_SIDES = ("pair.home.watch", "pair.remote.watch")


def windows(file: File) -> Findings:
    """How far a run looks back: no window is wider than `furthest`, none shorter than what is always read again."""
    objects = part(file.tree, "objects")
    for at, node in places(objects, "*.read.*.watch", *(f"*.{side}" for side in _SIDES), at=("objects",)):
        spans = {
            key: spec.duration(text)
            for key, text in {"overlap": spec.default("watch", "overlap"), **part({"": node}, "")}.items()
            if isinstance(text, str) and text not in ("all", "none") and key != "field" and file.clean((*at, key))
        }
        for key in ("furthest", "sync", "at_least"):
            if key in spans and spans[key] < spans["overlap"]:
                said = f"{key} is shorter than the overlap, which every run reads again"
                yield file.finding("out_of_range", (*at, key), said, "make it longer, or overlap: shorter")
        for key in ("first", "sync", "at_least"):
            if key in spans and "furthest" in spans and spans[key] > spans["furthest"]:
                said = f"{key} is longer than furthest, beyond which no run looks"
                yield file.finding("out_of_range", (*at, key), said, "make it shorter, or furthest: longer")


def pairs(file: File) -> Findings:
    """A row of a pair can be carried both ways, or says which one; and no two of them write one field."""
    for at, rows in places(file.tree, "objects.*.fields"):
        if not part(file.tree, "objects", str(at[1]), "pair"):
            continue
        seen: dict[object, str] = {}
        for name, row in rows.items() if isinstance(rows, dict) else ():
            here, remote, only = (*at, name), spec.part(row, "remote") or row, spec.part(row, "only")
            if "lookup" in part(rows, name) and only != "push":
                said = f"a lookup finds the remote's id; nothing says how {name} finds its way back"
                yield file.finding("not_invertible", (*here, "lookup"), said, "add only: push")
            back: dict[object, str] = {}
            for value, written in part(rows, name, "values").items() if only != "push" else ():
                key = canon.fold(spec.text(written)) if row.get("case") == "ignore" else spec.text(written)
                if back.setdefault(key, value) != value:
                    said = f"{spec.text(written)} stands for {back[key]} and {value}, so it has no way back"
                    yield file.finding("not_invertible", (*here, "values", value), said, "add only: push", key=True)
            if only != "pull" and isinstance(remote, str) and seen.setdefault(remote, name) != name:
                said = f"{remote} of the remote is written by {seen[remote]} already"
                yield file.finding("written_twice", here, said, f"say only: pull in one of {seen[remote]} and {name}")


def direction(file: File, thing: Object) -> Findings:
    """Reads are objects of the side that it flows from, `write` is one of the other side."""
    if thing.above:
        return
    tables, write = ", ".join(dict.fromkeys(map(thing.table, thing.reads))), thing.node.get("write")
    if thing.turned:
        reads, writes, other = ("home", "remote", "pull") if thing.pushes else ("remote", "home", "push")
        said = f"{thing.node['direction']} reads the {reads} side and writes the {writes} one, but "
        said += f"{tables} is of the remote one" if thing.pushes else f"{write} is of the remote one"
        hint = (
            f"write {other}" if thing.pushes else f"write {other}; or record the shape of {tables}: connector discover"
        )
        yield file.finding("wrong_direction", (*thing.at, "direction"), said, hint)


def triggers(file: File, thing: Object) -> Findings:
    """What triggers is watched, is one row, and does so once; what is left to other triggers is joined by them."""
    carried: dict[str, Sequence[str]] = {}
    for n, trigger in thing.triggers:
        at, changed = (*thing.at, "triggers", n), trigger.get("changed")
        if not isinstance(changed, str):
            continue
        here, read = (*at, "changed"), part(thing.reads, changed)
        if (
            read
            and "watch" not in read
            and "picklist" not in read
            and not thing.pushes
            and _scheduled(file, thing.name)
        ):
            said = f"{changed} triggers without watch: every run reads all of them again"
            hint = f"give the read {changed} watch: {{first: all}}, {{first: none}} or {{first: 15m}}"
            yield file.finding("not_watched", here, said, hint)
        elif thing.many(changed):
            yield file.finding("many_as_row", here, f"{changed} is a list; one row triggers", "remove many: true")
        elif changed in carried:
            said = f"{changed} already triggers above, so each changed record would be made twice"
            yield file.finding("repeated_trigger", here, said, "put what is joined into one trigger")
        others = trigger.get("unless_joined_by")
        for m, other in enumerate(others if isinstance(others, list) else ()):
            if other in thing.reads and changed not in carried.get(other, ()):
                said = f"no trigger of {other} above joins {changed}, so none can have carried it"
                hint = f"add {changed} to its with, or remove {other} here"
                yield file.finding("never_joined", (*at, "unless_joined_by", m), said, hint)
        carried.setdefault(changed, thing.rows[n][1:])


def _scheduled(file: File, name: str) -> bool:
    """A plain run has it, and does not say itself that it is two-way, where all rows are compared."""
    chosen = [each for _, each in places(file.tree, "schedule.objects.*")]
    return "pair" not in part(file.tree, "objects", name) and name in (chosen or part(file.tree, "objects"))


def roots(file: File, thing: Object) -> Findings:
    """Every path starts with a read, one that is in the row already where it is joined by, and takes it as what it is."""
    for at, value in thing.joins if thing.reads else ():
        row, read = thing.rows[at[3]], str(at[5])
        before = row[: row.index(read)]
        for use in value.uses:
            if use.path[0] in thing.reads and use.path[0] not in before:
                said = f"{use.path[0]} is not in the row yet when {read} is joined"
                yield from file.step("join_order", use, 0, said, f"put it above, or start from {' or '.join(before)}")
            else:
                yield from _root(file, thing, use, one=True)
    keys = {use for *_, value in thing.keys if value and value.form != "template" for use in value.uses}
    for use in thing.uses if thing.reads else ():
        yield from _root(file, thing, use, one=use in keys or use.at[-2:-1] == ("latest",))


def _root(file: File, thing: Object, use: Use, *, one: bool) -> Findings:
    """`one`: a whole row is no value here."""
    root, rest = use.path[0], use.path[1:]
    if root == SETTINGS and root in thing.roots:
        yield from _setting(file, use)
    elif root == PARENT and thing.above:
        names = thing.above.record.children
        if rest and rest[0] not in names:
            said = f"{thing.above.name} writes no {rest[0]}"
            yield from file.step("unknown_field", use, 1, said, instead(rest[0], names))
    elif root not in thing.reads:
        glued = next((name for name in thing.reads if re.match(f"{name}([A-Z]|.*__)", root)), "")
        said, hint = f"a path starts with the name of a read; there is no {root}", instead(root, thing.roots)
        if glued:
            said, hint = f"there is no {root}; a dot is missing", f"did you mean {glued}.{root[len(glued) :]}?"
        yield from file.step("unknown_root", use, 0, said, hint)
    elif one and use.text == root:
        yield from file.step("whole_row", use, 0, f"{root} is a whole row", f"name a field of it: {root}.Id")
    elif thing.many(root):
        if rest and rest[0] != "*":
            said = f"{root} is a list of rows (many: true), so {root}.{rest[0]} is always empty"
            yield from file.step("many_as_row", use, 0, said, f"write {root}[].{rest[0]}, or each: {root}")
    elif (rest[:1] == ("*",) and f"{root}[" in use.text) or (not rest and use.at[-1] == "each"):
        hint = f"write {root}.FIELD, or many: true at the read"
        yield from file.step("row_as_many", use, 0, f"{root} is one row, not a list", hint)


def idle(file: File, thing: Object) -> Findings:
    """Every read is brought by a trigger."""
    if thing.above:
        return
    uses = [*thing.uses, *(use for below in thing.below for use in below.uses)]
    brought, used = {name for row in thing.rows.values() for name in row}, {use.path[0] for use in uses}
    used -= {SETTINGS, PARENT, *(name for below in thing.below for name in part(below.node, "read"))}
    if not thing.sure or thing.problems or not brought | used <= set(thing.reads):
        return  # a misspelt name is the cause
    for name in thing.reads:
        at = (*thing.at, "read", name)
        if name in used - brought:
            said, hint = (
                f"no trigger brings {name}, so its paths are always empty",
                f"with: {{{name}: {{FIELD: path}}}}",
            )
            yield file.finding("read_not_joined", at, said, hint, key=True)
        elif name not in brought:
            yield file.finding("unused_read", at, f"nothing uses {name}", "remove it", key=True)


# ---- match -----------------------------------------------------------------------------------------------


def keys(file: File, thing: Object) -> Findings:
    """A key is one value that the source says, and stays the same for the same record."""
    names, differs = _scalars(thing.record), "differs" in part(thing.node, "match")
    for at, name, value in thing.keys:
        if value is None and thing.sure:
            said = f"{thing.name} maps no field {name}, so it cannot be a key"
            yield file.finding("unknown_key_field", at, said, instead(name, names))
        elif value and value.form in ("each", "fields", "unmapped"):
            kind = {"each": "a list", "fields": "an object", "unmapped": "not mapped"}[value.form]
            yield file.finding("key_not_scalar", at, f"{name} is {kind}; a key is one value", instead("", names))
        for changed, *joined in thing.rows.values() if thing.sure and not differs else ():
            if value and (read := _wavering(value, thing.shape(changed), changed, joined)):
                said = f"the key {name} changes when {read} is joined to {changed} later: the same record becomes two"
                hint = f"key on {changed} alone, or say differs: create, replace or fail"
                yield file.finding("unstable_match_key", at, said, hint)
                break
    if thing.keys and thing.sure and all(value and value.form == "value" for *_, value in thing.keys):
        said = "every record has this key, so all of them would be one"
        yield file.finding("constant_key", thing.keys[0][0], said, "key on something that the source says")


def _scalars(record: Value, before: str = "") -> list[str]:
    found: list[str] = []
    for name, value in record.children.items():
        if value.form == "fields":
            found += _scalars(value, f"{before}{name}.")
        elif value.form not in ("each", "unmapped"):
            found.append(before + name)
    return found


def _wavering(value: Value, shape: Shape | None, changed: str, joined: Sequence[str]) -> str | None:
    """The joined read that decides what the value is when `changed` triggers, if one does."""
    for use in value.uses:
        if use.path[0] in joined:
            return use.path[0]
        field = shape.fields.get(use.path[1]) if shape and len(use.path) == 2 else None
        sure = use.path[1:] in (("Id",), ("id",)) or (field is not None and not field.nillable)
        if value.form == "first" and use.path[0] == changed and sure:
            return None
    return None


# ---- combinations ----------------------------------------------------------------------------------------


def combinations(tree: Any, name: str, at_most: int = 1000) -> list[str]:
    """What one output can be built from, as people call it, in the order of the triggers: `Project + Prospect`."""
    node, found = part(tree, "objects", name), dict[str, None]()
    for _, trigger in places(node, "triggers.*"):
        labels = []
        for read in (part({"": trigger}, "").get("changed"), *part(trigger, "with")):
            rule = part(node, "read", str(read))
            labels.append(f"{rule.get('label') or read}{' (list)' * (rule.get('many') is True)}")
        for chosen in islice(product((False, True), repeat=len(labels) - 1), at_most):
            found[" + ".join(compress(labels, (True, *chosen)))] = None
    return list(found)
