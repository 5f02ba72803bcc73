"""Turn the value of a field into a function of one row, and tell which paths it reads. Compiled once, called per row.

A bare string is a path (`paths.py`); everything else names one form of the table FORMS, `{template: ...}` among them
(`templates.py`). Compiling never raises for bad input, evaluating never raises for any row.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from connector import canon
from connector.model import Row, Skip, Why
from connector.values.nouns import (
    ABSENT,
    At,
    Evaluate,
    Path,
    Problem,
    Scope,
    Use,
    Value,
    lost,
    missing,
    none_of,
    note,
    nothing,
)
from connector.values.paths import FAILS, FUNCTIONS, Function, kind_of, path_and_items
from connector.values.paths import path as _path
from connector.values.text import FILTERS, TYPES, text

__all__ = ["ABSENT", "FILTERS", "FORMS", "FUNCTIONS", "Evaluate", "Function", "Problem", "Scope", "Use", "Value"]
__all__ += ["compile_path", "compile_record", "compile_value", "missing"]

Locals = Mapping[str, Iterable[Path]] | frozenset[str]
"""Names besides the reads: with the paths they stand for, or just names that are roots of their own."""


def compile_value(node: Any, at: At, problems: list[Problem], locals: Locals = frozenset()) -> Value:  # noqa: A002
    return _value(node, _scope(at, problems, locals))


def compile_path(text: Any, at: At, problems: list[Problem], locals: Locals = frozenset()) -> Value:  # noqa: A002
    """A path alone, as joins and match keys have it."""
    return _path(text, _scope(at, problems, locals))


def compile_record(node: Any, at: At, problems: list[Problem], locals: Locals = frozenset()) -> Value:  # noqa: A002
    """A `fields:` mapping. Gives the nested record; or Skip, from the first `required` that is missing, outer ones first."""
    value = _record(node, _scope(at, problems, locals))
    build, required = value.evaluate, list(_required(value))
    if not required:
        return value

    def evaluate(row: Row, why: Why | None) -> Any:
        for check in required:
            if isinstance(found := check(row, None), Skip):
                check(row, why)
                return found
        return build(row, why)

    return replace(value, evaluate=evaluate)


def _scope(at: At, problems: list[Problem], locals: Locals) -> Scope:  # noqa: A002
    bases = locals.items() if isinstance(locals, Mapping) else ((name, [(name,)]) for name in locals)
    return Scope(at, problems, {name: tuple(paths) for name, paths in bases})


def _required(value: Value) -> Iterable[Evaluate]:
    yield from (child.evaluate for child in value.children.values() if child.form == "required")
    for child in value.children.values():
        if child.form == "fields":
            yield from _required(child)


def _value(node: Any, scope: Scope) -> Value:
    if isinstance(node, str):
        return _path(node, scope)
    if not isinstance(node, dict):
        scope.problem("no_form", "a value is a path, or an object with one of: " + ", ".join(FORMS))
        return nothing("path", scope)
    forms = [form for form in FORMS if form in node]
    if "each" in forms and "fields" in forms:
        forms.remove("fields")
    if len(forms) != 1:
        near = [match for key in node for match in difflib.get_close_matches(str(key), FORMS, 1)]
        said = f"{' and '.join(forms)} cannot stand together" if forms else "it is not said how the value is made"
        hint = f"did you mean {near[0]}?" if near and not forms else "use one of: " + ", ".join(FORMS)
        scope.problem("two_forms" if forms else "no_form", said, hint=hint)
        return nothing("path", scope)
    value = FORMS[forms[0]](node, scope)
    return _kept(value) if node.get("keep") == "when_missing" else value


def _kept(value: Value) -> Value:
    inner = value.evaluate

    def evaluate(row: Row, why: Why | None) -> Any:
        found = inner(row, why)
        return ABSENT if missing(found) else found

    return replace(value, evaluate=evaluate)


# ---- one form each ---------------------------------------------------------------------------------------


def _path_form(node: Row, scope: Scope) -> Value:
    return _changed(_path(node["path"], scope / "path"), node, scope)


def _first(node: Row, scope: Scope) -> Value:
    items = _items(node, "first", scope, _value)
    evaluates = [item.evaluate for item in items]

    def evaluate(row: Row, why: Why | None) -> Any:
        if why is not None:
            return _explained(items, row, why, scope.at)
        for read in evaluates:
            value = read(row, None)
            if not (value is None or value is ABSENT or (isinstance(value, str) and (not value or value.isspace()))):
                return value  # not missing(value): calling it here costs as much as all the rest
        return none_of(read(row, None) for read in evaluates)

    uses = tuple(use for item in items for use in item.uses)
    kinds = {item.kind for item in items}
    value = Value("first", evaluate, uses, kinds.pop() if len(kinds) == 1 else None, scope.at, "first")
    return _changed(value, node, scope)


def _explained(items: list[Value], row: Row, why: Why, at: At) -> Any:
    """What `first` gives, with a line for each item."""
    found: list[Any] = []
    for item in items:
        if found and not missing(found[-1]):
            note(why, item.at, item.text, None, "not reached")
        else:
            found.append(item.evaluate(row, why))
    value = found[-1] if found and not missing(found[-1]) else none_of(found)
    note(why, at, "first", value)
    return value


def _latest(node: Row, scope: Scope) -> Value:
    items = _items(node, "latest", scope, _path)
    reads = [(n, item.evaluate) for n, item in enumerate(items)]

    def evaluate(row: Row, why: Why | None) -> Any:
        newest, best = "", -1
        for n, read in reads:
            value = read(row, None)
            if value is None or value is ABSENT:
                continue
            moment = canon.instant(value)
            if moment is not None and moment[:-1] > newest:  # without Z, a fraction sorts behind the whole second
                newest, best = moment[:-1], n
        result = newest + "Z" if best >= 0 else none_of(read(row, None) for _, read in reads)
        if why is not None:
            for n, item in enumerate(items):
                value = item.evaluate(row, None)
                reason = lost(value) or ("older" if canon.instant(value) else "not a date and time")
                note(why, item.at, item.text, value, reason)
                why[-1] = replace(why[-1], won=n == best, reason="" if n == best else reason)
            note(why, scope.at, "latest", result)
        return result

    return Value("latest", evaluate, tuple(use for item in items for use in item.uses), "instant", scope.at, "latest")


def _template(node: Row, scope: Scope) -> Value:
    from connector.values import templates  # noqa: PLC0415 - most mappings start without Jinja

    source, when_missing, at = node["template"], node.get("if_missing", "keep"), (*scope.at, "template")
    made = templates.template(source, scope / "template") if isinstance(source, str) else None
    if made is None:
        if not isinstance(source, str):
            scope.problem("invalid_template", "a template is a text")
        return nothing("template", scope, str(source))
    render, reads, uses = made

    def evaluate(row: Row, why: Why | None) -> Any:
        reason = ""
        if reads and all(read(row) is ABSENT for read in reads):
            value: Any = ABSENT
        elif when_missing != "keep" and any(missing(read(row)) for read in reads):
            value, reason = ("" if when_missing == "blank" else ABSENT), "a value in it is missing"
        else:
            try:
                value = text(render(row)).strip()
            except FAILS as error:
                value, reason = None, str(error)[:200]
        note(why, at, source, value, reason)
        return value

    return Value("template", evaluate, uses, "text", scope.at, source)


def _constant(node: Row, scope: Scope) -> Value:
    value, at = node["value"], (*scope.at, "value")

    def evaluate(_row: Row, why: Why | None) -> Any:
        note(why, at, text(value), value)
        return value

    return Value("value", evaluate, (), kind_of(value), scope.at, text(value))


def _each(node: Row, scope: Scope) -> Value:
    source, bases = path_and_items(node["each"], scope / "each")
    name = node.get("as")
    if not isinstance(name, str) or not name.isidentifier() or name in scope.locals:
        scope.problem("invalid_name", "`as` gives an item a name of its own: letters, digits and _")
        name = ""
    inner = replace(scope, locals={**scope.locals, name: bases}, in_list=True)
    condition = _path(node["if"], inner / "if") if "if" in node else None
    fields = _record(node.get("fields"), inner / "fields")
    read, build, at = source.evaluate, fields.evaluate, (*scope.at, "each")
    test = condition.evaluate if condition else None

    def evaluate(row: Row, why: Why | None) -> Any:
        items = read(row, None)
        if items is ABSENT:
            note(why, at, source.text, ABSENT)
            return ABSENT
        found, reason = [], "" if items is None or isinstance(items, list) else "not a list"
        local = dict(row)
        for item in items if isinstance(items, list) else ():
            local[name] = item
            if test is None or _holds(test(local, why)):
                found.append(build(local, why))
        note(why, at, source.text, found, reason)
        return found

    uses = (*source.uses, *(condition.uses if condition else ()), *fields.uses)
    return Value("each", evaluate, uses, "json", scope.at, source.text, fields.children)


def _fields(node: Row, scope: Scope) -> Value:
    value = _record(node["fields"], scope / "fields")
    build = value.evaluate
    return replace(value, evaluate=lambda row, why: build(row, why) or ABSENT)  # all of it absent: nothing is written


def _required_form(node: Row, scope: Scope) -> Value:
    value = _value(node["required"], scope / "required")
    condition = _path(node["if"], scope / "if") if "if" in node else None
    if scope.in_list:
        said = "`required` cannot stand in a list: leave an item out with the `if` of `each`"
        scope.problem("required_in_list", said)
    inner, test = value.evaluate, condition.evaluate if condition else None
    skip = Skip("no_parent", ".".join(scope.field), f"{'.'.join(scope.field)} needs {value.text}, and that is missing")

    def evaluate(row: Row, why: Why | None) -> Any:
        if test is not None and not _holds(test(row, None)):
            note(why, scope.at, value.text, ABSENT, "condition false")
            return ABSENT
        found = inner(row, why)
        return skip if missing(found) else found

    uses = (*value.uses, *(condition.uses if condition else ()))
    return replace(value, form="required", evaluate=evaluate, uses=uses)


def _unmapped(node: Row, scope: Scope) -> Value:
    said = str(node["unmapped"])

    def evaluate(_row: Row, why: Why | None) -> Any:
        note(why, scope.at, said, ABSENT, "unmapped")
        return ABSENT

    return Value("unmapped", evaluate, (), None, scope.at, said)


FORMS: dict[str, Callable[[Row, Scope], Value]] = {
    "path": _path_form,
    "first": _first,
    "latest": _latest,
    "template": _template,
    "value": _constant,
    "each": _each,
    "fields": _fields,
    "required": _required_form,
    "unmapped": _unmapped,
}
"""The key that names a form -> what compiles it. A new form is a line here and one in `schema.json`."""


# ---- parts of forms --------------------------------------------------------------------------------------


def _record(node: Any, scope: Scope) -> Value:
    if not isinstance(node, dict) or not node:
        scope.problem("no_fields", "`fields` names each field and its value")
        return nothing("fields", scope)
    names = {str(name): value for name, value in node.items()}
    children = {name: _value(n, replace(scope / name, field=(*scope.field, name))) for name, n in names.items()}
    items = [(name, child.evaluate) for name, child in children.items()]

    def evaluate(row: Row, why: Why | None) -> Any:
        record = {}
        for name, child in items:
            value = child(row, why)
            if value is not ABSENT:
                record[name] = value
        return record

    uses = tuple(use for child in children.values() for use in child.uses)
    return Value("fields", evaluate, uses, "json", scope.at, "", children)


def _items(node: Row, form: str, scope: Scope, make: Callable[[Any, Scope], Value]) -> list[Value]:
    if not isinstance(node[form], list) or not node[form]:
        scope.problem("invalid_expression", f"`{form}` takes a list of paths")
        return []
    return [make(item, scope / form / n) for n, item in enumerate(node[form])]


def _holds(value: Any) -> bool:
    """A condition is false when it is missing or false."""
    return value is not False and not missing(value)


def _changed(value: Value, node: Row, scope: Scope) -> Value:
    """`values` first, then `as`."""
    change, kind, inner = _change(node, scope), node.get("as"), value.evaluate
    if change is None:
        return value

    def evaluate(row: Row, why: Why | None) -> Any:
        before = inner(row, why)
        if before is None or before is ABSENT:
            return before
        after, reason = change(before)
        if why is not None:
            last = why[-1]
            why[-1] = replace(last, value=after, won=not missing(after), reason=last.reason or reason)
        return after

    if kind is None:
        kinds = {kind_of(written) for written in node["values"].values() if written is not None}
        kind = kinds.pop() if len(kinds) == 1 else None
    return replace(value, evaluate=evaluate, kind=kind)


def _change(node: Row, scope: Scope) -> Callable[[Any], tuple[Any, str]] | None:
    """A function of a value that is there: the changed value, and the reason when there is none."""
    kind, pairs, ignore = node.get("as"), node.get("values"), node.get("case") == "ignore"
    if kind is not None and not (isinstance(kind, str) and kind in TYPES):
        scope.problem("unknown_type", f"there is no type {kind}", hint="use one of: " + ", ".join(TYPES))
        return None
    convert, failed = TYPES[kind] if kind else (None, "")
    written: dict[str | None, Any] | None = None
    if isinstance(pairs, dict):
        spell = canon.fold if ignore else str
        written = {spell(text(key)): value for key, value in pairs.items()}
        if len(written) < len(pairs):
            (scope / "values").problem("same_value", "two entries are the same value when letter case does not count")
    if convert is None and written is None:
        return None

    def change(value: Any) -> tuple[Any, str]:
        if missing(value):
            return (value, "") if kind == "text" and written is None else (None, "")
        try:
            if written is not None:
                key = canon.fold(text(value)) if ignore else text(value)
                if key not in written:
                    return None, "unmapped_value"
                value = written[key]
            if convert is None or value is None:
                return value, ""
            value = convert(value)
        except FAILS as error:
            return None, str(error)[:200]
        return value, "" if value is not None else failed

    return change
