"""Turn the value of a field into a function of one row, and tell which paths it reads. Compiled once, called per row.

A bare string is a path (`paths.py`); everything else names one form of the table FORMS, `{template: ...}` among them
(`templates.py`). What a value has to ask the other side for (`link`, `lookup`) is asked before, a page at a time, and lies
in the row: evaluating stays a pure function. Compiling never raises for bad input, evaluating never raises for any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from connector import canon
from connector.model import ABOVE, ANSWERS, PARENT, UNMAPPED, Ask, Branch, Row, Skip, Why
from connector.values import code
from connector.values.nouns import (
    ABSENT,
    At,
    Evaluate,
    Names,
    Path,
    Problem,
    Refused,
    Scope,
    Use,
    Value,
    attempt,
    leaf,
    lost,
    missing,
    none_of,
    note,
    nothing,
)
from connector.values.paths import Reading, dotted, kind_of, path, runner, slots
from connector.values.text import FILTERS, FUNCTIONS, TYPES, Function, text

__all__ = [
    "ABSENT",
    "FILTERS",
    "FORMS",
    "FUNCTIONS",
    "Evaluate",
    "Function",
    "Names",
    "Problem",
    "Scope",
    "Use",
    "Value",
]
__all__ += ["compile_path", "compile_record", "compile_value", "missing"]

ALWAYS = {"value": True}
UNMAPPED_VALUE = "unmapped_value"


def compile_value(node: Any, at: At, problems: list[Problem]) -> Value:
    return _whole(_value(node, Scope(at, problems)))


def compile_path(text: Any, at: At, problems: list[Problem], names: Names | None = None) -> Value:
    """A path alone, as joins and match keys have it; `names` are those of list items, with where they stand."""
    return path(text, Scope(at, problems, names=names or {}))


def compile_record(
    node: Any, at: At, problems: list[Problem], asks: list[Ask] | None = None, names: Names | None = None
) -> Value:
    """A `fields:` mapping. Gives the nested record, or Skip when something `required` is missing. Fills `asks`."""
    return _whole(
        _record(node, Scope(at, problems, names=names or {}, asks=[] if asks is None else asks, top=names or {}))
    )


class _Skipped(Exception):
    """Leaves a record, with its Skip, at its first `required` that is missing."""


def _whole(value: Value) -> Value:
    """Closures for a trace, code for all else: made for the first row, so that linting does not pay for it."""
    traced = value.evaluate
    written: Callable[[Row, None], Any] | None = None

    def evaluate(row: Row, why: Why | None) -> Any:
        nonlocal written
        try:
            if why is not None:
                return traced(row, why)
            written = written or code.written(value)
            return written(row, None)
        except _Skipped as skipped:
            return skipped.args[0]

    return replace(value, evaluate=evaluate)


def _value(node: Any, scope: Scope) -> Value:
    if isinstance(node, str):
        return path(node, scope)
    forms = [form for form in FORMS if form in node] if isinstance(node, dict) else []
    if len(forms) != 1 and forms != ["each", "fields"]:
        said = "a value is a path, or an object with exactly one of: " + ", ".join(FORMS)
        return nothing("path", scope, said, code="no_form")
    form = forms[0]
    if form in ("first", "latest") and not (isinstance(node[form], list) and node[form]):
        return nothing(form, scope, f"`{form}` takes a list of paths")
    return _finished(FORMS[form](node, scope), node, scope)


# ---- one form each ---------------------------------------------------------------------------------------


def _first(node: Row, scope: Scope) -> Value:
    items = [_value(item, scope / "first" / n) for n, item in enumerate(node["first"])]
    reads = [item.evaluate for item in items]

    def evaluate(row: Row, why: Why | None) -> Any:
        for read in reads:
            value = read(row, why)
            if not (value is None or value is ABSENT or (isinstance(value, str) and (not value or value.isspace()))):
                break  # not missing(value): calling it here costs as much as all the rest
        else:
            value = none_of(read(row, None) for read in reads)
        if why is not None:
            for item in items[reads.index(read) + 1 :]:
                note(why, item.at, item.text, None, "not reached")
            note(why, scope.at, "first", value)
        return value

    kinds = {item.kind for item in items}
    kind = kinds.pop() if len(kinds) == 1 else None
    return Value("first", evaluate, _uses(items), kind, scope.at, "first", parts=("first", items))


def _latest(node: Row, scope: Scope) -> Value:
    items = [path(item, scope / "latest" / n) for n, item in enumerate(node["latest"])]
    reads = [(n, item.evaluate) for n, item in enumerate(items)]

    def evaluate(row: Row, why: Why | None) -> Any:
        newest, best = "", -1
        for n, read in reads:
            value = read(row, None)
            moment = None if value is None else canon.instant(value)
            if moment is not None and moment[:-1] > newest:  # without Z, a fraction sorts behind the whole second
                newest, best = moment[:-1], n
        result = newest + "Z" if newest else none_of(read(row, None) for _, read in reads)
        if why is not None:
            for n, item in enumerate(items):
                value = item.evaluate(row, None)
                reason = lost(value) or ("older" if canon.instant(value) else "no instant")
                why.append(Branch(item.at, item.text, value, n == best, "" if n == best else reason))
            note(why, scope.at, "latest", result)
        return result

    return Value("latest", evaluate, _uses(items), "instant", scope.at, "latest", parts=("latest", items))


def _template(node: Row, scope: Scope) -> Value:
    scope = replace(scope / "template", text=text(node["template"]))
    try:
        tree, names = slots(scope.text) or _by_jinja(scope)
        uses = Reading(tree, scope).uses
    except Refused as refused:
        return nothing("template", scope, *refused.args)
    when_missing = {"blank": "", "drop": ABSENT}.get(str(node.get("if_missing")))
    evaluate, reads = runner(tree), [dotted(path, scope) for path in names]

    def render(row: Row) -> tuple[Any, str]:
        for read in reads:
            if read(row, None) is not ABSENT:
                break
        else:
            if reads:
                return ABSENT, ""
        if when_missing is not None and any(missing(read(row, None)) for read in reads):
            return when_missing, "a value in it is missing"
        return text(evaluate(row)).strip(), ""

    return leaf("template", scope, render, "text", uses, ("template", tree, names, when_missing))


def _by_jinja(scope: Scope) -> tuple[Any, list[Path]]:
    from connector.values import templates  # noqa: PLC0415 - most mappings do without: it takes longer than they do

    return templates.parse(scope)


def _constant(form: str, scope: Scope, said: Any, value: Any, reason: str = "") -> Value:
    scope = replace(scope, text=text(said))
    return leaf(form, scope, lambda _row: (value, reason), kind_of(value), parts=("constant", value))


def _each(node: Row, scope: Scope) -> Value:
    source, name = path(node["each"], scope / "each"), str(node.get("as"))
    if not name.isidentifier() or name in scope.names:
        return nothing("each", scope, "`as` gives an item a name of its own: letters, digits, _", code="invalid_name")
    inner = replace(scope, names={**scope.names, name: source.items})
    fields, condition = _record(node.get("fields"), inner / "fields"), _value(node.get("if", ALWAYS), inner / "if")
    read, build, holds, always = source.evaluate, fields.evaluate, condition.evaluate, "if" not in node

    def evaluate(row: Row, why: Why | None) -> Any:
        items = read(row, None)
        found: Any = ABSENT if items is ABSENT else []
        local = dict(row)
        for item in items if isinstance(items, list) else ():
            local[name] = item
            if always or _holds(holds(local, why)):
                found.append(build(local, why))
        listed = items is None or items is ABSENT or isinstance(items, list)
        note(why, source.at, source.text, found, "" if listed else "not a list")
        return found

    uses, parts = _uses([source, condition, fields]), ("each", source, name, None if always else condition, fields)
    return Value("each", evaluate, uses, "json", scope.at, source.text, fields.children, parts=parts)


def _required(node: Row, scope: Scope) -> Value:
    value, condition = _value(node["required"], scope / "required"), _value(node.get("if", ALWAYS), scope / "if")
    if scope.listed:
        said = "`required` cannot stand in a list: leave an item out with the `if` of `each`"
        return nothing("required", scope, said, code="required_in_list")
    inner, holds, name = value.evaluate, condition.evaluate, ".".join(scope.field)
    skip = Skip("no_parent", name, f"{name} needs {value.text}, and that is missing")
    if value.form == "link":
        skip = Skip("parent_not_synced", name, f"{name} needs a linked {value.text}, and there is none")

    def evaluate(row: Row, why: Why | None) -> Any:
        if not _holds(holds(row, None)):
            note(why, scope.at, value.text, ABSENT, "condition false")
            return ABSENT
        found = inner(row, why)
        if missing(found):
            raise _Skipped(skip)
        return found

    parts = ("required", value, condition if "if" in node else None, skip)
    return replace(value, form="required", evaluate=evaluate, uses=_uses([value, condition]), parts=parts)


def _link(node: Row, scope: Scope) -> Value:
    if node["link"] == PARENT and "by" not in node:
        return leaf("link", replace(scope, text=PARENT), lambda row: (row.get(ABOVE), ""), "text")
    return _asked("link", node, scope)


def _lookup(node: Row, scope: Scope) -> Value:
    return _asked("lookup", node, scope)


def _asked(kind: Any, node: Row, scope: Scope) -> Value:
    """An id that was found for this row before it is evaluated; without an answer it is null."""
    name, field = text(node[kind]), ".".join(scope.field)
    by, condition = path(node.get("by"), scope / "by"), _value(node.get("if", ALWAYS), scope / "if")
    if scope.listed:
        return nothing(kind, scope, f"`{kind}` cannot stand in a list", code="required_in_list")
    given, holds = by.evaluate, condition.evaluate

    def of(row: Row) -> Any:
        wanted = given(row, None) if _holds(holds(row, None)) else None
        return None if missing(wanted) or not isinstance(wanted, str | int) else wanted

    def evaluate(row: Row, why: Why | None) -> Any:
        wanted = given(row, None) if _holds(holds(row, None)) else ABSENT
        answer = row.get(ANSWERS, {}).get((kind, name, wanted)) if isinstance(wanted, str | int) else None
        if answer and answer.outcome:
            raise _Skipped(Skip(answer.code, field, answer.message, answer.outcome))
        found = answer.id if answer else ABSENT if wanted is ABSENT else None
        note(why, scope.at, f"{name} of {by.text}", found, answer.code if answer else "")
        return found

    scope.asks.append(Ask(kind, name, field, of, scope.at))
    return Value(kind, evaluate, _uses([by, condition]), "text", scope.at, name)


FORMS: dict[str, Callable[[Row, Scope], Value]] = {
    "path": lambda node, scope: path(node["path"], scope / "path"),
    "first": _first,
    "latest": _latest,
    "template": _template,
    "value": lambda node, scope: _constant("value", scope, node["value"], node["value"]),
    "each": _each,
    "fields": lambda node, scope: _record(node["fields"], scope / "fields", inner=True),
    "required": _required,
    "link": _link,
    "lookup": _lookup,
    "file": lambda node, scope: replace(path(node["file"], scope / "file"), form="file", kind="file"),
    "unmapped": lambda node, scope: _constant("unmapped", scope, node["unmapped"], ABSENT, "unmapped"),
}
"""The key that names a form -> what compiles it. A new form is a line here and one in `schema.json`."""


# ---- parts of forms --------------------------------------------------------------------------------------


def _record(node: Any, scope: Scope, *, inner: bool = False) -> Value:
    if not isinstance(node, dict) or not node:
        return nothing("fields", scope, "`fields` names each field and its value", code="no_fields")
    children = {str(k): _value(n, replace(scope / str(k), field=(*scope.field, str(k)))) for k, n in node.items()}
    items = [(name, child.evaluate) for name, child in children.items()]

    def evaluate(row: Row, why: Why | None) -> Any:
        record = {}
        for name, child in items:
            value = child(row, why)
            if value is not ABSENT:
                record[name] = value
        return record or (ABSENT if inner else record)  # all of it absent: nothing is written

    parts = ("fields", children, inner)
    return Value("fields", evaluate, _uses(children.values()), "json", scope.at, "", children, parts=parts)


def _holds(value: Any) -> bool:
    """A condition is false when it is missing or false."""
    return value is not False and not missing(value)


def _uses(values: Iterable[Value]) -> tuple[Use, ...]:
    return tuple(use for value in values for use in value.uses)


def _finished(value: Value, node: Row, scope: Scope) -> Value:
    """What any form may carry: `values` first, then `as`, then `keep`."""
    kind, pairs, keep = None if "each" in node else node.get("as"), node.get("values"), "keep" in node
    if kind is not None and str(kind) not in TYPES:
        return nothing("path", scope, f"there is no type {kind}", code="unknown_type")
    convert, fold = TYPES.get(str(kind)), node.get("case") == "ignore"
    pairs = pairs if isinstance(pairs, dict) else {}
    names = {canon.fold(text(key)) if fold else text(key): written for key, written in pairs.items()}
    if len(names) < len(pairs):
        return nothing("path", scope / "values", "two of the values differ in letter case only", code="same_value")
    if convert is None and not names and not keep:
        return value
    inner = value.evaluate

    def change(found: Any) -> tuple[Any, str]:
        if names:
            key = canon.fold(text(found)) if fold else text(found)
            if key not in names:
                return None, UNMAPPED_VALUE
            found = names[key]
        if convert is None or found is None:
            return found, ""
        found = convert(found)
        return found, f"no {kind}" if found is None else ""

    def evaluate(row: Row, why: Why | None) -> Any:
        found = given = inner(row, why)
        if found is not None and found is not ABSENT:
            found, reason = attempt(change, found)
            if reason == UNMAPPED_VALUE and (unmapped := row.get(UNMAPPED)) is not None:
                unmapped[value.text, text(given)] = None
            if why is not None:
                why[-1] = replace(why[-1], value=found, won=not missing(found), reason=why[-1].reason or reason)
        return ABSENT if keep and missing(found) else found

    written = {kind_of(value) for value in names.values() if value is not None} or {value.kind}
    kind, parts = kind or (written.pop() if len(written) == 1 else None), ("changed", value, names, fold, convert, keep)
    return replace(value, evaluate=evaluate, kind=kind, parts=parts)
